//! The shard's side of the last store: look-ups and marks out, answers in. The store being down, slow
//! or read-only never delays a request beyond one look-up deadline; here it costs only retries.

use super::aside::giving_way;
use super::control::Phase;
use super::dial::{self, Backoff, Dialled, Target};
use super::pace::Pace;
use super::shard::Shard;
use super::skyline::Courtesies;
use crate::config::{Layout, Skyline};
use crate::last::Mark;
use crate::last::embedded;
use crate::last::filter::Known;
use crate::last::redis::{Event, Session, SessionConfig};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Marks in one command: a reply of this size is decoded in one go without a stall.
const MARKS_PER_WRITE_MAX: usize = 1000;
/// Look-ups and writes under way at once. More would only queue in the store.
const UNANSWERED_MAX: usize = 16;
/// A refused write (read-only, out of memory) is tried again this often.
const RETRY: Duration = Duration::from_millis(500);
/// How often marks go to the embedded store, and to the disk; a kill -9 loses those since, which costs repeats.
/// Of a metric's marks only the newest is written.
const ROUND_EVERY_MS: u64 = 1000;
/// Bounds how long one transaction keeps the other shards waiting, a few hundred milliseconds, and the memory that a round
/// takes: its names and some 100 bytes for each.
const ROUND_MARKS_MAX: usize = 250_000;
/// Of a round, the shard hands over or books so many marks before it looks whether it should let others go first: some
/// 20 µs.
const MARKS_PER_PIECE: usize = 128;
/// So many have their names in one piece of memory.
const MARKS_PER_SHEET: usize = 1024;
/// What a name of a sheet has room for to begin with: most are shorter.
const NAME_BYTES: usize = 64;

/// How to reach Redis.
#[derive(Clone)]
pub struct Redis {
    pub target: Target,
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    pub layout: Layout,
    pub skyline: Skyline,
}

/// What the reading and the writing side of one connection share.
struct Line {
    session: RefCell<Session>,
    courtesies: Courtesies,
    ready: Cell<bool>,
    lost: RefCell<Option<String>>,
    /// Writes were refused: not again before this.
    writes_after_ms: Cell<u64>,
}

pub async fn run_redis(shard: Rc<Shard>, redis: Redis) {
    let mut backoff = Backoff::new(shard.index as u64 + 0x51ed_270b);
    while shard.control.phase() < Phase::Stopped {
        match dial::dial(&redis.target).await {
            Ok(dialled) => {
                let reason = converse(&shard, dialled, &redis, &mut backoff).await;
                shard.turn(|pipeline, _| pipeline.store_lost());
                shard.last.down(reason);
            }
            Err(error) => {
                shard.last.down(error);
            }
        }
        glommio::timer::sleep(backoff.delay()).await;
    }
}

async fn converse(
    shard: &Rc<Shard>,
    dialled: Dialled,
    redis: &Redis,
    backoff: &mut Backoff,
) -> String {
    let Dialled { reader, mut writer } = dialled;
    let mut out = Vec::new();
    let mut session = Session::new(SessionConfig {
        username: redis.username.clone(),
        password: redis.password.clone(),
        database: redis.database,
        layout: redis.layout,
    });
    session.greet(&mut out);
    let line = Rc::new(Line {
        session: RefCell::new(session),
        courtesies: Courtesies::new(shard, redis.skyline),
        ready: Cell::new(false),
        lost: RefCell::new(None),
        writes_after_ms: Cell::new(0),
    });
    let replies = glommio::spawn_local(replies(shard.clone(), reader, line.clone()));
    let reason = loop {
        if let Some(reason) = line.lost.borrow_mut().take() {
            break reason;
        }
        if line.ready.get() {
            backoff.reset();
            ask(shard, &line, &mut out);
        }
        if out.is_empty() {
            shard.store.wait().await;
            continue;
        }
        if let Err(error) = writer.write_all(&out).await {
            break error.to_string();
        }
        out.clear();
    };
    drop(replies);
    // What was sent and not read must not be carried out after a newer connection's writes.
    dial::abort(&writer);
    reason
}

/// Appends the commands that are due: look-ups first, because requests wait for them.
fn ask(shard: &Shard, line: &Line, out: &mut Vec<u8>) {
    let mut session = line.session.borrow_mut();
    shard.turn(|pipeline, now| {
        while session.unanswered() < UNANSWERED_MAX {
            let Some((id, names)) = pipeline.take_lookup() else {
                break;
            };
            session.lookup(LOOKUP | id, names.iter().map(String::as_str), out);
        }
        if now.ms() < line.writes_after_ms.get() {
            return;
        }
        while session.unanswered() < UNANSWERED_MAX {
            if let Some(names) = pipeline.writer.take_unchecked(MARKS_PER_WRITE_MAX) {
                session.lookup(names.id, names.names(), out);
            } else if let Some(writes) = pipeline.writer.take_batch(MARKS_PER_WRITE_MAX) {
                session.store(writes.id, writes.marks(), out);
            } else {
                break;
            }
        }
    });
    line.courtesies
        .ask(shard, &mut session, UNANSWERED_MAX, out);
    if session.unanswered() >= UNANSWERED_MAX {
        // Our own turns ring for what still waits. Only a reply makes room for it, and rings: to come back before
        // that would hold the shard for ever.
        shard.store.hush();
    }
}

/// Set in the id of a look-up that requests wait for; the writer's own look-ups count from 1 without it.
const LOOKUP: u64 = 1 << 63;

async fn replies(shard: Rc<Shard>, mut reader: TcpStream, line: Rc<Line>) {
    let mut buffer = vec![0; 64 * 1024];
    let mut events = Vec::new();
    let reason = loop {
        let length = match reader.read(&mut buffer).await {
            Ok(0) => break "it closed the connection".to_owned(),
            Ok(length) => length,
            Err(error) => break error.to_string(),
        };
        let result = line
            .session
            .borrow_mut()
            .on_bytes(&buffer[..length], &mut events);
        for event in events.drain(..) {
            carry_out(&shard, &line, event);
        }
        shard.store.ring();
        if let Err(error) = result {
            break error.to_string();
        }
    };
    *line.lost.borrow_mut() = Some(reason);
    dial::sever(&reader);
    shard.store.ring();
}

fn carry_out(shard: &Shard, line: &Line, event: Event) {
    match event {
        Event::Ready => {
            line.ready.set(true);
            shard.last.up();
            shard.turn(|pipeline, _| pipeline.store_answers());
        }
        Event::Found {
            id,
            marks,
            unreadable,
        } => shard.turn(|pipeline, now| {
            pipeline.counters.last.unreadable += u64::from(unreadable);
            if id & LOOKUP != 0 {
                let marks = marks.iter().map(|mark| mark.map(|mark| mark.timestamp));
                pipeline.looked_up(id & !LOOKUP, marks, now);
            } else {
                pipeline.marks_checked(id, &marks);
            }
        }),
        Event::Stored { id } => shard.turn(|pipeline, _| pipeline.marks_stored(id)),
        Event::LookupRefused { id, refusal } | Event::StoreRefused { id, refusal } => {
            shard.last.complains(refusal);
            let retry = shard.clock.now().ms() + RETRY.as_millis() as u64;
            line.writes_after_ms.set(retry);
            shard.turn(|pipeline, now| {
                pipeline.counters.last.marks_refused += 1;
                if id & LOOKUP != 0 {
                    // Nobody waits for a look-up that was refused: decided as if it had timed out.
                    pipeline.store_silent(now);
                } else {
                    pipeline.writer.refused(id);
                }
            });
        }
    }
}

/// The embedded store: the same questions, answered by the blocking pool.
pub async fn run_embedded(shard: Rc<Shard>, store: Arc<embedded::Store>) {
    shard.last.up();
    let rounds = Rc::new(Rounds::default());
    while shard.control.phase() < Phase::Stopped {
        // Only Redis has a place for them: Vista reads nothing else.
        while shard.turn(|pipeline, _| pipeline.take_extra()).is_some() {}
        if rounds.is_due(&shard) {
            rounds.writing.set(true);
            let (shard, store, rounds) = (shard.clone(), store.clone(), rounds.clone());
            glommio::spawn_local(async move {
                let full = write(&shard, &store, &rounds.empty).await;
                tidy_up(&shard, &store).await;
                rounds.over(&shard, full);
            })
            .detach();
        }
        if !(look_up(&shard, &store).await | check(&shard, &store).await) {
            shard.store.wait().await;
        }
    }
}

/// When the next round of writes begins. Requests wait for look-ups, which therefore never wait for a write: redb reads beside it.
#[derive(Default)]
struct Rounds {
    writing: Cell<bool>,
    after_ms: Cell<u64>,
    /// Sheets for the next round, at most those of the largest one there may be.
    empty: RefCell<Vec<Sheet>>,
}

impl Rounds {
    fn is_due(&self, shard: &Shard) -> bool {
        // A stop waits for nothing.
        let due = shard.clock.now().ms() >= self.after_ms.get()
            || shard.control.phase() >= Phase::Draining;
        due && !self.writing.get() && shard.pipeline.borrow().writer.has_ready()
    }

    fn over(&self, shard: &Shard, full: bool) {
        let pause_ms = if full { 0 } else { ROUND_EVERY_MS };
        self.writing.set(false);
        self.after_ms.set(shard.clock.now().ms() + pause_ms);
        shard.store.ring();
    }
}

async fn look_up(shard: &Shard, store: &Arc<embedded::Store>) -> bool {
    let Some((id, names)) = shard.turn(|pipeline, _| pipeline.take_lookup()) else {
        return false;
    };
    let found = get(store, names).await;
    let known = shard.turn(|pipeline, now| match found {
        Ok((marks, known)) => {
            let marks = marks.iter().map(|mark| mark.map(|mark| mark.timestamp));
            pipeline.looked_up(id, marks, now);
            Some(known)
        }
        Err(_) => {
            pipeline.store_silent(now);
            None
        }
    });
    learn(shard, known);
    true
}

async fn check(shard: &Shard, store: &Arc<embedded::Store>) -> bool {
    let batch = shard.turn(|pipeline, _| {
        let names = pipeline.writer.take_unchecked(MARKS_PER_WRITE_MAX)?;
        Some((names.id, names.names().map(str::to_owned).collect()))
    });
    let Some((id, names)) = batch else {
        return false;
    };
    let found = get(store, names).await;
    let known = shard.turn(|pipeline, _| match found {
        Ok((marks, known)) => {
            pipeline.store_answers();
            pipeline.marks_checked(id, &marks);
            Some(known)
        }
        Err(_) => {
            pipeline.writer.refused(id);
            None
        }
    });
    learn(shard, known);
    true
}

/// What needs no look-up from here on. What was known before is freed elsewhere: a filter may have megabytes, and to give
/// them back takes milliseconds.
fn learn(shard: &Shard, known: Option<Known>) {
    let Some(known) = known else { return };
    // An answer may have been under way while a round was written.
    if shard.pipeline.borrow().owner().lookups.known.is_newest() {
        return;
    }
    let former = shard.turn(|pipeline, _| pipeline.store_knows(known));
    let free = async move { glommio::executor().spawn_blocking(|| drop(former)).await };
    glommio::spawn_local(free).detach();
}

async fn get(
    store: &Arc<embedded::Store>,
    names: Vec<String>,
) -> Result<(Vec<Option<Mark>>, Known), embedded::StoreError> {
    let store = store.clone();
    glommio::executor()
        .spawn_blocking(move || {
            // What comes to be known between the two is asked for again.
            let known = store.known();
            Ok((store.get_many(&names)?, known))
        })
        .await
}

/// Marks on their way to the file, and the batches they came in.
#[derive(Default)]
struct Round {
    ids: Vec<u64>,
    sheets: Vec<Sheet>,
    marks: usize,
}

/// Some marks of a round, their names one after the other. The thread that writes frees none: it gives way and may hold
/// the allocator's lock meanwhile, where the shard waits for it. Sheets come back, and are used again.
struct Sheet {
    names: String,
    /// Where each name ends.
    marks: Vec<(usize, Mark)>,
}

impl Round {
    fn add<'n>(
        &mut self,
        id: u64,
        marks: impl Iterator<Item = (&'n str, Mark)>,
        empty: &mut Vec<Sheet>,
    ) {
        self.ids.push(id);
        let full = |sheet: &Sheet| sheet.marks.len() >= MARKS_PER_SHEET;
        if self.sheets.last().is_none_or(full) {
            self.sheets.push(empty.pop().unwrap_or_else(Sheet::new));
        }
        let Some(sheet) = self.sheets.last_mut() else {
            return;
        };
        let before = sheet.marks.len();
        for (name, mark) in marks {
            sheet.names.push_str(name);
            sheet.marks.push((sheet.names.len(), mark));
        }
        self.marks += sheet.marks.len() - before;
    }
}

impl Sheet {
    fn new() -> Sheet {
        Sheet {
            names: String::with_capacity(MARKS_PER_SHEET * NAME_BYTES),
            marks: Vec::with_capacity(MARKS_PER_SHEET),
        }
    }

    /// To be used again, with no more memory than one that is new.
    fn clear(&mut self) {
        self.names.clear();
        self.names.shrink_to(MARKS_PER_SHEET * NAME_BYTES);
        self.marks.clear();
    }

    fn marks(&self) -> impl Iterator<Item = (&str, Mark)> {
        let mut from = 0;
        self.marks.iter().map(move |(end, mark)| {
            let name = &self.names[std::mem::replace(&mut from, *end)..*end];
            (name, *mark)
        })
    }
}

/// Writes what waits in one transaction. True: there was more of it than one takes.
async fn write(shard: &Shard, store: &Arc<embedded::Store>, empty: &RefCell<Vec<Sheet>>) -> bool {
    let Round { ids, sheets, marks } = gather(shard, empty).await;
    let full = marks >= ROUND_MARKS_MAX;
    let (store, sheets) = (store.clone(), Arc::new(sheets));
    let written = sheets.clone();
    let result = glommio::executor()
        .spawn_blocking(|| {
            giving_way(move || {
                let marks: Vec<_> = written.iter().flat_map(Sheet::marks).collect();
                store.put_many(&marks)?;
                Ok(store.known())
            })
        })
        .await;
    if let Ok(mut sheets) = Arc::try_unwrap(sheets) {
        sheets.iter_mut().for_each(Sheet::clear);
        empty.borrow_mut().append(&mut sheets);
    }
    // Before any of its entries can leave the table: from here on they are asked for.
    learn(shard, result.as_ref().ok().cloned());
    let mut pace = Pace::new(&shard.clock);
    for id in ids {
        match result {
            Ok(_) => shard.turn(|pipeline, _| pipeline.marks_stored(id)),
            Err(_) => shard.turn(|pipeline, _| pipeline.writer.refused(id)),
        }
        pace.piece_done().await;
    }
    if let Err(error) = result {
        complain(shard, &error).await;
    }
    full
}

/// Keeps the store in order. Not while a stop waits for what else is to be written.
async fn tidy_up(shard: &Shard, store: &Arc<embedded::Store>) {
    while shard.control.phase() < Phase::Draining {
        let store = store.clone();
        let result = glommio::executor()
            .spawn_blocking(|| giving_way(move || Ok((store.tidy_up()?, store.known()))))
            .await;
        match result {
            Ok((true, known)) => learn(shard, Some(known)),
            Ok((false, _)) => return,
            Err(error) => return complain(shard, &error).await,
        }
    }
}

async fn complain(shard: &Shard, error: &embedded::StoreError) {
    shard.last.complains(error);
    glommio::timer::sleep(RETRY).await;
}

async fn gather(shard: &Shard, empty: &RefCell<Vec<Sheet>>) -> Round {
    let mut round = Round::default();
    let mut pace = Pace::new(&shard.clock);
    while round.marks < ROUND_MARKS_MAX {
        let taken = shard.turn(|pipeline, _| {
            let writes = pipeline.writer.take_batch(MARKS_PER_PIECE)?;
            round.add(writes.id, writes.marks(), &mut empty.borrow_mut());
            Some(())
        });
        if taken.is_none() {
            break;
        }
        pace.piece_done().await;
    }
    round
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_the_marks_of_its_batches_in_order() {
        let mark = |timestamp| Mark {
            timestamp,
            value: None,
        };
        let long = "n".repeat(MARKS_PER_SHEET * NAME_BYTES);
        let mut used = Sheet::new();
        used.names.push_str(&long.repeat(2));
        used.clear();
        assert!(used.names.capacity() < 2 * long.len());
        let mut empty = vec![used];
        let mut round = Round::default();
        let mut expected = Vec::new();
        for id in 0..3 * MARKS_PER_SHEET as u32 {
            let batch = [
                ("a", mark(id)),
                ("", mark(2)),
                (&long[..1], mark(3)),
                ("é", mark(4)),
            ];
            round.add(u64::from(id), batch.into_iter(), &mut empty);
            expected.extend(batch);
        }
        round.add(u64::MAX, [(long.as_str(), mark(5))].into_iter(), &mut empty);
        expected.push((&long, mark(5)));
        let marks: Vec<_> = round.sheets.iter().flat_map(Sheet::marks).collect();
        assert_eq!(marks, expected);
        assert_eq!(
            (round.marks, round.ids.len()),
            (expected.len(), 3 * MARKS_PER_SHEET + 1)
        );
        assert_eq!(round.sheets.len(), expected.len().div_ceil(MARKS_PER_SHEET));
        assert!(empty.is_empty());
    }
}
