//! Pickle frames: 4-byte big-endian length, then pickle protocol 2 of a list of
//! `(name, (timestamp, value))`. A point is encoded once, as its tuple; a frame is header + tuples + trailer.
//! Source of the shape: carbon's `MetricPickleReceiver`, reference section 10.2.
