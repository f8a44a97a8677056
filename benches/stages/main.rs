//! The pure stages one by one, with throughput. Each bench asserts its answer.

mod bodies;
mod dedup;
mod flood;
mod frame;
mod http;
mod journal;
mod json;
mod last;
mod name;
mod router;

fn main() {
    divan::main();
}
