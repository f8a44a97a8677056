//! The text of a mark: what Python's `str([ts, value])` prints, and a tolerant reader.
