//! stub
use std::cell::Cell;
pub fn info(t: &str) {
    eprintln!("{t}")
}
pub fn error(t: &str) {
    eprintln!("{t}")
}
pub fn up(shard: usize, what: &str, state: &Cell<bool>) {
    if !state.replace(true) {
        eprintln!("shard {shard}: {what} up")
    }
}
pub fn down(shard: usize, what: &str, why: &str, state: &Cell<bool>) {
    if state.replace(false) {
        eprintln!("shard {shard}: {what} down: {why}")
    }
}
pub fn warn_once(shard: usize, what: &str, why: &str) {
    eprintln!("shard {shard}: {what}: {why}")
}
