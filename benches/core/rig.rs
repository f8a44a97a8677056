//! One shard's pure core with a clock of its own: requests in as bytes, answers, frames, journal writes and marks
//! out. What it costs between the read and the answers is one function, and what comes after it another, so that
//! callgrind can be told to count either and nothing else.

use crate::case::{Bytes, CONNECTIONS};
use skyline_flux::api::{Api, quota::Quotas};
use skyline_flux::budget::Budgets;
use skyline_flux::carbon::outbound::{self, Outbound};
use skyline_flux::config::{Config, Layout};
use skyline_flux::dedup::{Owner, lookup::Lookups, table::Table};
use skyline_flux::http::Limits;
use skyline_flux::journal::{Durability, Journal, commit};
use skyline_flux::last::redis::{Event, Session, SessionConfig};
use skyline_flux::last::writer::Writer;
use skyline_flux::outputs::distinct::Distinct;
use skyline_flux::pipeline::{Connection, Now, Pipeline, Settings, Stages};
use skyline_flux::populate::address::Hosts;
use skyline_flux::router::{Gathered, NameHasher};
use skyline_flux::telemetry::Snapshot;
use std::sync::Arc;

pub const KEY: &str = "0123456789abcdef0123456789abcdef";
/// 01 Nov 2016, 17:35:00: ten digits, as every timestamp of the cases.
pub const SECOND: u32 = 1_478_021_700;
const DATE: [u8; 29] = *b"Tue, 01 Nov 2016 17:35:00 GMT";
/// As the runtime has it.
const MARKS_PER_WRITE_MAX: usize = 1000;
/// Small, so that the steady state (frames are let go as new ones come) is reached in a second under valgrind.
const REDO_BYTES: usize = 128 * 1024;

pub struct Rig {
    pub pipeline: Pipeline,
    connections: Vec<Connection>,
    store: Session,
    events: Vec<Event>,
    /// What was last sent to the client, to carbon and to the last store.
    pub out: Vec<u8>,
    pub to_store: Vec<u8>,
    now: Now,
}

impl Rig {
    /// As the service starts it by default, with carbon and Redis configured, on one shard.
    pub fn new() -> Rig {
        let mut config = Config::default();
        config.keys.self_key = Some(KEY.to_owned());
        let api = Arc::new(Api::of(&config, Quotas::default()));
        let Config {
            http,
            carbon,
            journal,
            points,
            last,
            telemetry,
            ..
        } = &config;
        let limits = outbound::Limits {
            protocol: carbon.protocol,
            points_per_frame: carbon.points_per_frame,
            frame_bytes_max: carbon.frame_bytes_max,
            flush_interval_ms: u64::from(carbon.flush_interval_ms),
            redo_window_ms: u64::from(carbon.redo_window_ms),
            redo_bytes: REDO_BYTES,
        };
        let journal_limits = commit::Limits {
            segment_bytes: journal.segment_bytes,
            shard_bytes_max: journal.bytes_max,
        };
        let stages = Stages {
            gathered: Gathered::new(NameHasher::new([9; 16]), 0, 1),
            owner: Owner::new(Table::new(last.entries_max), true, 0, Lookups::new(50)),
            journal: Journal::new(Durability::Journal, 1, 0, journal_limits),
            outbound: Outbound::new(limits),
            writer: Writer::new(last.entries_max),
        };
        let settings = Settings {
            shard: 0,
            shards: 1,
            pipeline_max: http.pipeline_max,
            request_deadline_ms: u64::from(http.request_deadline_ms),
            hosts: Hosts(Vec::new()),
            tick_ms: 5,
        };
        let limits = Limits {
            head_bytes_max: http.head_bytes_max,
            body_bytes_max: http.body_bytes_max,
        };
        let budgets = Budgets::new(1, points.in_flight_bytes_max);
        let mut pipeline = Pipeline::new(settings, api, budgets, stages);
        pipeline.beside.distinct = Some(Distinct::new(telemetry.interval_seconds));
        pipeline.outbound.connected();
        let store = Session::new(SessionConfig {
            username: None,
            password: None,
            database: 0,
            layout: Layout::String,
        });
        let now = Now {
            unix_seconds: SECOND,
            us: 0,
        };
        let mut rig = Rig {
            pipeline,
            connections: (0..CONNECTIONS)
                .map(|index| Connection::new(index, limits))
                .collect(),
            store,
            events: Vec::new(),
            out: Vec::new(),
            to_store: Vec::new(),
            now,
        };
        rig.segments();
        rig
    }

    /// Now, as a client would write it.
    pub fn timestamp(&self) -> u32 {
        self.now.unix_seconds
    }

    pub fn snapshot(&self) -> Snapshot {
        self.pipeline.snapshot(self.now)
    }

    /// From the bytes of reads, each of a connection of its own, to the bytes of their answers, the one write of the
    /// journal included that takes what all of them have brought.
    #[inline(never)]
    pub fn read_to_answers(&mut self, reads: &mut [Bytes]) {
        let Rig { pipeline, now, .. } = self;
        for (connection, read) in self.connections.iter_mut().zip(&mut *reads) {
            let taken = pipeline.read(connection, &mut read.text, *now);
            assert_eq!(taken.consumed, read.text.len());
        }
        while let Some((id, names)) = pipeline.take_lookup() {
            pipeline.looked_up(id, names.iter().map(|_| None), *now);
        }
        if let Some(write) = pipeline.journal.start() {
            pipeline.journal_written(write, true, 0);
        }
        for connection in &mut self.connections[..reads.len()] {
            let over = pipeline.answers(connection, &mut self.out, &DATE, *now);
            assert!(over, "nothing is missing");
        }
    }

    /// From the accepted points to what carbon and the last store are sent, and what they say to it.
    #[inline(never)]
    pub fn frames_to_marks(&mut self) {
        let Rig {
            pipeline,
            store,
            events,
            to_store,
            now,
            ..
        } = self;
        while pipeline.outbound.next_due(now.ms()).is_some() {}
        let position = pipeline.outbound.position();
        pipeline.outbound.acknowledged(position, now.ms());
        while pipeline.tick(*now) {}
        while let Some(writes) = pipeline.writer.take_batch(MARKS_PER_WRITE_MAX) {
            store.store(writes.id, writes.marks(), to_store);
            let read = store.on_bytes(b"+OK\r\n", events);
            assert!(read.is_ok());
        }
        for event in events.drain(..) {
            match event {
                Event::Stored { id } => pipeline.marks_stored(id),
                other => panic!("{other:?}"),
            }
        }
    }

    /// A second passes: the next point of a metric is a new one, a frame that waited is due, and one that was
    /// written counts as delivered.
    pub fn pass(&mut self) {
        self.now.unix_seconds += 1;
        self.now.us += 1_000_000;
        self.to_store.clear();
        self.pipeline.effects.wake.clear();
        self.segments();
    }

    fn segments(&mut self) {
        let journal = &mut self.pipeline.journal;
        while let Some(id) = journal.wanted() {
            journal.segments.created(id);
        }
        while journal.take_delivered().is_some() {
            journal.segments.deleted();
        }
    }
}
