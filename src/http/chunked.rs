//! The chunk decoder (its own, because `httparse::parse_chunk_size` takes an empty size as 0).
