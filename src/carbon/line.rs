//! Carbon's line protocol: `name value timestamp\n`.
