//! Metrics over HTTP into Graphite.
//!
//! Everything that decides is pure and synchronous: bytes in, effects out, time as an argument.
//! Only [`runtime`] (and the few other edges the tidy test lists) knows sockets, files and clocks; it
//! asks a shard's [`pipeline`] "here are bytes / a tick / a reply" and carries out what comes back.
//!
//! ```text
//!             ┌────────────────────────────── shard (xN) ──────────────────────────────┐
//!  socket ──► connection ──► http ──► api ──► router ──► dedup ──► journal ──► outbound ──► carbon
//!             (runtime)     (bytes    (points, │  ▲       │ ▲     (then 204)      │
//!                           → message) verdict)▼  │       │ │ misses              ▼ delivered
//!                                        mesh to owner    └─┴─ last ◄── flux.last.<metric>
//!  populate core: admin listener, replay of what earlier runs have left, the populate worker's place
//! ```
//!
//! Arrows only go down this list; a module uses what stands above it and nothing below.
//!
//! | module | what it is for |
//! |---|---|
//! | [`point`] | a point, and a block of points that can travel between shards |
//! | [`telemetry`] | the catalog of every metric, plain counters, the text they are shown in |
//! | [`python`] | Python's literals: a Skyline's settings, the lists that Vista sends |
//! | [`config`] | typed sections with defaults; every problem found at once |
//! | [`http`] | bytes ⇄ messages; knows no metrics |
//! | [`api`] | messages → points and a verdict; *the 429 and every other status are decided in* [`api::verdict`] |
//! | [`budget`] | admission; beside the ledgers of [`api::quota`] the one thing shards share |
//! | [`last`] | the last store: *a mark is written in* `last::writer`; Redis and embedded |
//! | [`carbon`] | *a frame is cut in* [`carbon::lane`]; what is in flight, delivered and gone in `carbon::outbound` |
//! | [`journal`] | accepted points in files until they are delivered: *what a 204 waits for* |
//! | [`outputs`] | beside carbon: statsd, our own series, what Skyline's other programs look at, the points file |
//! | [`request`] | a request under way: which owners have answered, whose turn it is |
//! | [`router`] | the owner shard of a name; groups a request's points by owner |
//! | [`dedup`] | fresh, duplicate or unknown; the bounded table |
//! | [`populate`] | a metric's history from a remote: the job, what to ask, what to send |
//! | [`pipeline`] | composes the pure stages for one shard |
//! | [`tune`] | the list of host settings and its four verbs; *what a start requires of a host is in* [`tune::needs`] |
//! | [`preflight`] | what must be true before a start |
//! | [`runtime`] | the only importer of glommio |
//! | [`cli`] | the commands |

pub mod api;
pub mod budget;
pub mod carbon;
pub mod cli;
pub mod config;
pub mod dedup;
pub mod http;
pub mod journal;
pub mod last;
pub mod outputs;
pub mod pipeline;
pub mod point;
pub mod populate;
pub mod preflight;
pub mod python;
pub mod request;
pub mod router;
pub mod runtime;
pub mod telemetry;
pub mod tune;
