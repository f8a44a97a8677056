//! Marks waiting to be written: latest per metric, many per command, never moving one back.
