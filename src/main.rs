//! parse → load → preflight → run; prints one error line with its causes.

fn main() {}
