//! API keys, compared in constant time, and the namespace each one writes under.

/// The configured keys.
#[derive(Debug)]
pub struct Keys {}
