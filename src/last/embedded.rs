//! The embedded store: a table in a file under the data directory. Blocking: called off the shards.
