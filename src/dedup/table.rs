//! The table of last accepted timestamps: open addressing, bounded, keyed hashes instead of names.
