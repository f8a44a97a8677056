//! One connection to Redis as a pure state machine: commands out, replies in.
//!
//! Commands are encoded by the `redis` crate, those that write marks by [`command`](super::command), and
//! replies decoded by [`resp`](super::resp). Replies come
//! in the order of the commands, so what is waited for is a queue. The caller owns the socket, the
//! deadlines and the bounds: at most 1,000 keys per command and a bounded number of commands under
//! way ([`Session::unanswered`]). After an error the connection is of no further use: a new one gets
//! a new session, and what was under way counts as neither found nor stored.

use std::collections::VecDeque;

use redis::{Cmd, RedisWrite};

use super::Mark;
use super::command;
use super::resp::{Decoder, Malformed, Token};
use super::text::{read_mark, write_mark, write_mark_dict};
use crate::config::Layout;

/// Skyline's key of a metric's mark is this and the name.
const KEY_PREFIX: &str = "flux.last.";
/// Today's Skyline keeps every mark as a field of this hash.
const HASH_KEY: &str = "flux.last.metric_data";
/// Thunder takes a heartbeat older than this for a dead Flux; the reference's TTL.
const HEARTBEAT_TTL_SECONDS: u32 = 120;

/// The reference's TTL.
const RESOLUTION_TTL_SECONDS: u32 = 3600;

pub struct SessionConfig {
    pub username: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    /// Which of the two places of a mark are written. Reads take the newer of both, because another
    /// version of Skyline, or Vista, may have written the other one.
    pub layout: Layout,
}

#[derive(Debug, PartialEq)]
pub enum Event {
    /// The greeting was answered: look-ups and writes may start.
    Ready,
    /// One mark per name, in the order of the names. `unreadable` is how many held something else:
    /// they count as absent.
    Found {
        id: u64,
        marks: Vec<Option<Mark>>,
        unreadable: u32,
    },
    Stored {
        id: u64,
    },
    LookupRefused {
        id: u64,
        refusal: Refusal,
    },
    /// None, or only one of the two layouts, was written.
    StoreRefused {
        id: u64,
        refusal: Refusal,
    },
}

/// Why Redis refused a command. Only its kind: the text of a Redis error may repeat the command's
/// arguments, the password included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a password is required: put it into last.store (redis://:password@host)")]
    NoAuth,
    #[error("the user name or password is wrong")]
    WrongPass,
    #[error(
        "the user lacks a permission (Flux needs MGET, MSET, HMGET, HSET, SETEX, SADD, RENAME, PING)"
    )]
    NoPermission,
    #[error("it is a read-only replica: name the primary in last.store")]
    ReadOnly,
    #[error("it is loading its data or busy; it answers again by itself")]
    NotNow,
    #[error("it cannot save its data to disk and refuses writes (see its log)")]
    CannotSave,
    #[error("it is out of memory and refuses writes (maxmemory)")]
    OutOfMemory,
    #[error("flux.last.metric_data exists and is not a hash")]
    WrongType,
    #[error("it is a cluster, which is not supported: name a single server in last.store")]
    Cluster,
    #[error("it refused a command (see its log)")]
    Other,
}

/// The connection is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("Redis refused {step}: {refusal}")]
    Refused {
        step: &'static str,
        refusal: Refusal,
    },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a reply that does not fit its command: is this Redis?")]
    Unexpected,
}

/// What the next reply answers.
#[derive(Clone, Copy, PartialEq)]
enum Expected {
    /// The name of a command of the greeting.
    Greeting(&'static str),
    /// Of the look-up at the front.
    Strings,
    Hash,
    /// Of the write at the front.
    Store,
    Ignored,
}

/// The last command of the greeting: its answer means ready.
const PING: &str = "PING";

struct Lookup {
    id: u64,
    marks: Vec<Option<Mark>>,
    unreadable: u32,
    refusal: Option<Refusal>,
    replies_left: u8,
}

struct Store {
    id: u64,
    refusal: Option<Refusal>,
    replies_left: u8,
}

pub struct Session {
    config: SessionConfig,
    expected: VecDeque<Expected>,
    lookups: VecDeque<Lookup>,
    stores: VecDeque<Store>,
    decoder: Decoder,
    /// The beginning of an unfinished token.
    input: Vec<u8>,
    /// Inside the reply to a look-up: the element that comes next.
    element: Option<usize>,
    /// Kept for their memory only: commands under construction, and one key.
    strings: Cmd,
    hash: Cmd,
    text: Vec<u8>,
}

impl Session {
    pub fn new(config: SessionConfig) -> Self {
        Session {
            config,
            expected: VecDeque::new(),
            lookups: VecDeque::new(),
            stores: VecDeque::new(),
            decoder: Decoder::default(),
            input: Vec::new(),
            element: None,
            strings: Cmd::new(),
            hash: Cmd::new(),
            text: Vec::new(),
        }
    }

    /// How many commands have not been answered yet.
    pub fn unanswered(&self) -> usize {
        self.expected.len() + usize::from(self.element.is_some())
    }

    /// The first bytes on a connection; answered by [`Event::Ready`].
    pub fn greet(&mut self, out: &mut Vec<u8>) {
        if let Some(password) = &self.config.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(username) = &self.config.username {
                auth.arg(username);
            }
            auth.arg(password).write_packed_command(out);
            self.expected.push_back(Expected::Greeting("AUTH"));
        }
        if self.config.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.config.database).write_packed_command(out);
            self.expected.push_back(Expected::Greeting("SELECT"));
        }
        redis::cmd(PING).write_packed_command(out);
        self.expected.push_back(Expected::Greeting(PING));
    }

    /// Asks for the marks of these names: at least one, at most 1,000.
    pub fn lookup<'n>(&mut self, id: u64, names: impl Iterator<Item = &'n str>, out: &mut Vec<u8>) {
        start(&mut self.strings, "MGET");
        start(&mut self.hash, "HMGET");
        self.hash.write_arg(HASH_KEY.as_bytes());
        let mut count = 0;
        for name in names {
            count += 1;
            write_key(&mut self.strings, &mut self.text, name);
            self.hash.write_arg(name.as_bytes());
        }
        debug_assert!(count > 0, "MGET without a key is an error");
        self.strings.write_packed_command(out);
        self.expected.push_back(Expected::Strings);
        self.hash.write_packed_command(out);
        self.expected.push_back(Expected::Hash);
        self.lookups.push_back(Lookup {
            id,
            marks: vec![None; count],
            unreadable: 0,
            refusal: None,
            replies_left: 2,
        });
    }

    /// Writes these marks, without a TTL, in the layout configured: at least one, at most 1,000.
    pub fn store<'n>(
        &mut self,
        id: u64,
        marks: impl ExactSizeIterator<Item = (&'n str, Mark)> + Clone,
        out: &mut Vec<u8>,
    ) {
        let strings = self.config.layout != Layout::Hash;
        let hash = self.config.layout != Layout::String;
        let words = 2 * marks.len();
        if strings {
            command::start(out, "MSET", words);
            for (name, mark) in marks.clone() {
                command::word(out, KEY_PREFIX, name);
                command::short_word(out, |out| write_mark(out, mark));
            }
            self.expected.push_back(Expected::Store);
        }
        if hash {
            command::start(out, "HSET", 1 + words);
            command::word(out, HASH_KEY, "");
            for (name, mark) in marks {
                command::word(out, name, "");
                command::short_word(out, |out| write_mark_dict(out, mark));
            }
            self.expected.push_back(Expected::Store);
        }
        self.stores.push_back(Store {
            id,
            refusal: None,
            replies_left: u8::from(strings) + u8::from(hash),
        });
    }

    /// Says that Flux is alive; whether it was stored is of no interest.
    pub fn heartbeat(&mut self, key: &str, now_seconds: u64, out: &mut Vec<u8>) {
        let mut setex = redis::cmd("SETEX");
        setex.arg(key).arg(HEARTBEAT_TTL_SECONDS).arg(now_seconds);
        setex.write_packed_command(out);
        self.expected.push_back(Expected::Ignored);
    }

    /// Adds to a set: at least one, at most 1,000; whether it was stored is of no interest.
    pub fn add_to_set<S: AsRef<str>>(&mut self, key: &str, members: &[S], out: &mut Vec<u8>) {
        let mut sadd = redis::cmd("SADD");
        sadd.arg(key);
        for member in members {
            sadd.arg(member.as_ref());
        }
        sadd.write_packed_command(out);
        self.expected.push_back(Expected::Ignored);
    }

    /// Writes the same text into fields of a hash: at least one, at most 1,000; whether it was stored is of no
    /// interest.
    pub fn set_fields(&mut self, key: &str, fields: &[String], text: &str, out: &mut Vec<u8>) {
        let mut hset = redis::cmd("HSET");
        hset.arg(key);
        for field in fields {
            hset.arg(field).arg(text);
        }
        hset.write_packed_command(out);
        self.expected.push_back(Expected::Ignored);
    }

    /// In place of what is there; an error where there is nothing to rename is of no interest.
    pub fn rename(&mut self, from: &str, to: &str, out: &mut Vec<u8>) {
        redis::cmd("RENAME")
            .arg(from)
            .arg(to)
            .write_packed_command(out);
        self.expected.push_back(Expected::Ignored);
    }

    /// How many seconds lie between a metric's points, as Vista asks; whether it was stored is of no interest.
    pub fn resolution(&mut self, metric: &str, seconds: u32, out: &mut Vec<u8>) {
        let mut setex = redis::cmd("SETEX");
        setex
            .arg(format!("vista.last.resolution.{metric}"))
            .arg(RESOLUTION_TTL_SECONDS)
            .arg(seconds);
        setex.write_packed_command(out);
        self.expected.push_back(Expected::Ignored);
    }

    /// Takes what was read from the socket and appends what it means.
    pub fn on_bytes(&mut self, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), SessionError> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut rest = &input[..];
        while let Some(token) = self.decoder.next(&mut rest)? {
            match self.element {
                Some(element) => self.on_element(element, token, events)?,
                None => self.on_reply(token, events)?,
            }
        }
        let used = input.len() - rest.len();
        input.drain(..used);
        self.input = input;
        Ok(())
    }

    fn on_reply(&mut self, token: Token<'_>, events: &mut Vec<Event>) -> Result<(), SessionError> {
        // Without a command there is only a server that turns us away, as in protected mode.
        let expected = self.expected.pop_front();
        match (expected.unwrap_or(Expected::Greeting("connection")), token) {
            (Expected::Greeting(step), Token::Error(error)) => {
                let refusal = refusal(error);
                return Err(SessionError::Refused { step, refusal });
            }
            (Expected::Greeting(step), Token::Simple(_)) if expected.is_some() => {
                if step == PING {
                    events.push(Event::Ready);
                }
            }
            (Expected::Strings | Expected::Hash, Token::Array(count)) => {
                let names = self.lookups.front().map_or(0, |lookup| lookup.marks.len());
                if count as usize != names {
                    return Err(SessionError::Unexpected);
                }
                self.element = Some(0);
            }
            (Expected::Strings, Token::Error(error)) => {
                self.on_lookup_reply(Some(refusal(error)), events);
            }
            (Expected::Hash, Token::Error(error)) => {
                let refusal = Some(refusal(error)).filter(|&kind| kind != Refusal::WrongType);
                // Any type may be found there; the other place may still hold marks.
                self.lookups.front_mut().expect(ASKED).unreadable += u32::from(refusal.is_none());
                self.on_lookup_reply(refusal, events);
            }
            (Expected::Store, Token::Error(error)) => {
                self.on_store_reply(Some(refusal(error)), events);
            }
            (Expected::Store, Token::Simple(_) | Token::Integer(_)) => {
                self.on_store_reply(None, events);
            }
            (Expected::Ignored, Token::Simple(_) | Token::Integer(_) | Token::Error(_)) => {}
            _ => return Err(SessionError::Unexpected),
        }
        Ok(())
    }

    fn on_element(
        &mut self,
        element: usize,
        token: Token<'_>,
        events: &mut Vec<Event>,
    ) -> Result<(), SessionError> {
        let lookup = self.lookups.front_mut().expect(ASKED);
        let found = match token {
            Token::Nil => None,
            Token::Bulk(text) => {
                let mark = read_mark(text);
                lookup.unreadable += u32::from(mark.is_none());
                mark
            }
            Token::BulkTooLong => {
                lookup.unreadable += 1;
                None
            }
            _ => return Err(SessionError::Unexpected),
        };
        let mark = &mut lookup.marks[element];
        if found.is_some_and(|found| mark.is_none_or(|mark| found.timestamp > mark.timestamp)) {
            *mark = found;
        }
        if element + 1 < lookup.marks.len() {
            self.element = Some(element + 1);
        } else {
            self.element = None;
            self.on_lookup_reply(None, events);
        }
        Ok(())
    }

    fn on_lookup_reply(&mut self, refusal: Option<Refusal>, events: &mut Vec<Event>) {
        let lookup = self.lookups.front_mut().expect(ASKED);
        lookup.refusal = lookup.refusal.or(refusal);
        lookup.replies_left -= 1;
        if lookup.replies_left > 0 {
            return;
        }
        let lookup = self.lookups.pop_front().expect(ASKED);
        let id = lookup.id;
        events.push(match lookup.refusal {
            Some(refusal) => Event::LookupRefused { id, refusal },
            None => Event::Found {
                id,
                marks: lookup.marks,
                unreadable: lookup.unreadable,
            },
        });
    }

    fn on_store_reply(&mut self, refusal: Option<Refusal>, events: &mut Vec<Event>) {
        let store = self.stores.front_mut().expect(ASKED);
        store.refusal = store.refusal.or(refusal);
        store.replies_left -= 1;
        if store.replies_left > 0 {
            return;
        }
        let Store { id, refusal, .. } = self.stores.pop_front().expect(ASKED);
        events.push(match refusal {
            Some(refusal) => Event::StoreRefused { id, refusal },
            None => Event::Stored { id },
        });
    }
}

const ASKED: &str = "an expected reply belongs to a command under way";

fn start(command: &mut Cmd, name: &str) {
    command.clear();
    command.write_arg(name.as_bytes());
}

fn write_key(command: &mut Cmd, text: &mut Vec<u8>, name: &str) {
    text.clear();
    text.extend_from_slice(KEY_PREFIX.as_bytes());
    text.extend_from_slice(name.as_bytes());
    command.write_arg(text);
}

fn refusal(error: &[u8]) -> Refusal {
    let code = error.split(|&byte| byte == b' ').next().unwrap_or(error);
    match code {
        b"NOAUTH" | b"DENIED" => Refusal::NoAuth,
        b"WRONGPASS" => Refusal::WrongPass,
        b"NOPERM" => Refusal::NoPermission,
        b"READONLY" => Refusal::ReadOnly,
        b"LOADING" | b"BUSY" | b"MASTERDOWN" | b"TRYAGAIN" => Refusal::NotNow,
        b"MISCONF" | b"NOREPLICAS" => Refusal::CannotSave,
        b"OOM" => Refusal::OutOfMemory,
        b"WRONGTYPE" => Refusal::WrongType,
        b"MOVED" | b"ASK" | b"CROSSSLOT" | b"CLUSTERDOWN" => Refusal::Cluster,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn session(layout: Layout) -> Session {
        Session::new(SessionConfig {
            username: None,
            password: None,
            database: 0,
            layout,
        })
    }

    fn mark(timestamp: u32, value: f64) -> Mark {
        Mark {
            timestamp,
            value: Some(value),
        }
    }

    /// The commands (arrays of bulk strings) with their words joined by `|`.
    fn commands(mut out: &[u8]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut commands = Vec::new();
        while let Some(token) = decoder.next(&mut out).unwrap() {
            let Token::Array(count) = token else {
                panic!("a command is an array: {token:?}");
            };
            let words = (0..count).map(|_| match decoder.next(&mut out) {
                Ok(Some(Token::Bulk(word))) => String::from_utf8(word.to_vec()).unwrap(),
                other => panic!("of bulk strings: {other:?}"),
            });
            commands.push(words.collect::<Vec<_>>().join("|"));
        }
        commands
    }

    /// The events, however the replies are cut.
    fn events(prepare: impl Fn() -> Session, replies: &[u8]) -> Result<Vec<Event>, SessionError> {
        let mut whole = Vec::new();
        let result = prepare().on_bytes(replies, &mut whole);
        for size in [1, 2, 3, 7] {
            let (mut session, mut cut) = (prepare(), Vec::new());
            let cut_result = replies
                .chunks(size)
                .try_for_each(|part| session.on_bytes(part, &mut cut));
            assert_eq!((&cut, cut_result), (&whole, result), "cut every {size}");
            assert!(result.is_err() || session.input.is_empty());
        }
        result.map(|()| whole)
    }

    #[test]
    fn the_greeting_names_the_user_the_database_and_asks_for_an_answer() {
        let prepare = || {
            let mut session = Session::new(SessionConfig {
                username: Some("flux".into()),
                password: Some("secret".into()),
                database: 3,
                layout: Layout::String,
            });
            let mut out = Vec::new();
            session.greet(&mut out);
            assert_eq!(commands(&out), ["AUTH|flux|secret", "SELECT|3", "PING"]);
            session
        };
        let ready = events(prepare, b"+OK\r\n+OK\r\n+PONG\r\n");
        assert_eq!(ready, Ok(vec![Event::Ready]));
        assert_eq!(events(prepare, b"+OK\r\n+OK\r\n"), Ok(vec![]));
        // The server repeats the arguments of a command it does not know.
        let refused = events(
            prepare,
            b"-ERR unknown command 'AUTH', with args beginning with: 'secret'\r\n",
        )
        .unwrap_err();
        let step = "AUTH";
        let refusal = Refusal::Other;
        assert_eq!(refused, SessionError::Refused { step, refusal });
        assert!(!format!("{refused} {refused:?}").contains("secret"));
    }

    #[test]
    fn a_look_up_takes_the_newer_of_both_places_and_counts_what_it_cannot_read() {
        let prepare = || {
            let mut session = session(Layout::String);
            let mut out = Vec::new();
            session.lookup(7, ["a", "b", "c", "d", "é"].into_iter(), &mut out);
            let mget = "MGET|flux.last.a|flux.last.b|flux.last.c|flux.last.d|flux.last.é";
            let hmget = "HMGET|flux.last.metric_data|a|b|c|d|é";
            assert_eq!(commands(&out), [mget, hmget]);
            assert_eq!(session.unanswered(), 2);
            session
        };
        let mut replies = Vec::new();
        replies
            .extend_from_slice(b"*5\r\n$8\r\n[5, 1.0]\r\n$8\r\n[5, 1.0]\r\n$-1\r\n$3\r\nfoo\r\n");
        replies.extend_from_slice(format!("$9000\r\n{}\r\n", "x".repeat(9000)).as_bytes());
        replies.extend_from_slice(b"*5\r\n$30\r\n{'timestamp': 6, 'value': 2.0}\r\n");
        replies.extend_from_slice(b"$30\r\n{'timestamp': 4, 'value': 2.0}\r\n$-1\r\n$-1\r\n");
        replies.extend_from_slice(b"$31\r\n{'timestamp': 6, 'value': None}\r\n");
        let none_at_6 = Mark {
            timestamp: 6,
            value: None,
        };
        let found = Event::Found {
            id: 7,
            marks: vec![
                Some(mark(6, 2.0)),
                Some(mark(5, 1.0)),
                None,
                None,
                Some(none_at_6),
            ],
            unreadable: 2,
        };
        assert_eq!(events(prepare, &replies), Ok(vec![found]));
    }

    #[test]
    fn commands_under_way_are_answered_in_their_order_and_one_refusal_costs_only_its_own() {
        let prepare = || {
            let mut session = session(Layout::Both);
            let mut out = Vec::new();
            session.store(
                1,
                [("a", mark(5, 0.1)), ("b", mark(6, 1e-5))].into_iter(),
                &mut out,
            );
            session.lookup(2, ["a"].into_iter(), &mut out);
            session.heartbeat("flux.listen", 1_478_021_700, &mut out);
            session.store(3, [("a", mark(7, 1.0))].into_iter(), &mut out);
            session.add_to_set("vista.fetcher.unique_metrics", &["x y"], &mut out);
            session.lookup(4, ["a"].into_iter(), &mut out);
            let expected = [
                "MSET|flux.last.a|[5, 0.1]|flux.last.b|[6, 1e-05]",
                "HSET|flux.last.metric_data|a|{'timestamp': 5, 'value': 0.1}|b|{'timestamp': 6, 'value': 1e-05}",
                "MGET|flux.last.a",
                "HMGET|flux.last.metric_data|a",
                "SETEX|flux.listen|120|1478021700",
                "MSET|flux.last.a|[7, 1.0]",
                "HSET|flux.last.metric_data|a|{'timestamp': 7, 'value': 1.0}",
                "SADD|vista.fetcher.unique_metrics|x y",
                "MGET|flux.last.a",
                "HMGET|flux.last.metric_data|a",
            ];
            assert_eq!(commands(&out), expected);
            session
        };
        let wrong_type = "-WRONGTYPE Operation against a key\r\n";
        let replies = format!(
            "+OK\r\n:2\r\n*1\r\n$8\r\n[5, 0.1]\r\n{wrong_type}-READONLY no\r\n+OK\r\n{wrong_type}:1\r\n-LOADING\r\n*1\r\n$-1\r\n"
        );
        let expected = vec![
            Event::Stored { id: 1 },
            Event::Found {
                id: 2,
                marks: vec![Some(mark(5, 0.1))],
                unreadable: 1,
            },
            Event::StoreRefused {
                id: 3,
                refusal: Refusal::WrongType,
            },
            Event::LookupRefused {
                id: 4,
                refusal: Refusal::NotNow,
            },
        ];
        assert_eq!(events(prepare, replies.as_bytes()), Ok(expected));
    }

    #[test]
    fn the_layout_decides_what_is_written() {
        let written = |layout| {
            let mut out = Vec::new();
            session(layout).store(1, [("a", mark(5, 1.0))].into_iter(), &mut out);
            let names = commands(&out);
            names
                .iter()
                .map(|command| command[..4].to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(written(Layout::String), ["MSET"]);
        assert_eq!(written(Layout::Hash), ["HSET"]);
        assert_eq!(written(Layout::Both), ["MSET", "HSET"]);
    }

    #[test]
    fn a_reply_that_does_not_fit_ends_the_session() {
        let prepare = || {
            let mut session = session(Layout::String);
            session.lookup(1, ["a", "b"].into_iter(), &mut Vec::new());
            session
        };
        for reply in [
            "*1\r\n",
            "*0\r\n",
            "*-1\r\n",
            "+OK\r\n",
            "*2\r\n*1\r\n",
            "*2\r\n:1\r\n",
        ] {
            let result = events(prepare, reply.as_bytes());
            assert_eq!(result, Err(SessionError::Unexpected), "{reply:?}");
        }
        let http = events(prepare, b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!(http, Err(SessionError::Malformed(Malformed)));
        let unasked = events(|| session(Layout::String), b"+OK\r\n");
        assert_eq!(unasked, Err(SessionError::Unexpected));
        let step = "connection";
        let refusal = Refusal::NoAuth;
        let denied = events(|| session(Layout::String), b"-DENIED protected\r\n");
        assert_eq!(denied, Err(SessionError::Refused { step, refusal }));
    }

    struct Server(Child);

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn converse(stream: &mut UnixStream, session: &mut Session, out: &mut Vec<u8>) -> Vec<Event> {
        stream.write_all(out).unwrap();
        out.clear();
        let (mut events, mut buffer) = (Vec::new(), [0; 4096]);
        while session.unanswered() > 0 {
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "the server closed");
            session.on_bytes(&buffer[..read], &mut events).unwrap();
        }
        events
    }

    #[test]
    fn a_real_server_stores_finds_and_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("redis.sock");
        let spawned = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--requirepass",
                "secret",
                "--unixsocket",
            ])
            .arg(&socket)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn();
        let Ok(child) = spawned else {
            eprintln!("skipped: no redis-server here");
            return;
        };
        let _server = Server(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let with = |password: &str| {
            Session::new(SessionConfig {
                username: None,
                password: Some(password.to_owned()),
                database: 1,
                layout: Layout::Both,
            })
        };

        let mut session = with("secret");
        let mut out = Vec::new();
        session.greet(&mut out);
        assert_eq!(
            converse(&mut stream, &mut session, &mut out),
            [Event::Ready]
        );

        let names: Vec<String> = (0..1000).map(|n| format!("métrique.{n}")).collect();
        let marks = names.iter().enumerate();
        let marks = marks.map(|(n, name)| (name.as_str(), mark(n as u32, n as f64 / 7.0)));
        session.store(1, marks.clone(), &mut out);
        session.add_to_set("flux.last.a set", &["member"], &mut out);
        let asked = names.iter().map(String::as_str).chain(["a set", "absent"]);
        session.lookup(2, asked, &mut out);
        redis::cmd("DEL")
            .arg(HASH_KEY)
            .write_packed_command(&mut out);
        session.expected.push_back(Expected::Ignored);
        session.add_to_set(HASH_KEY, &["member"], &mut out);
        session.lookup(3, [names[9].as_str()].into_iter(), &mut out);
        session.store(4, marks.clone().take(1), &mut out);
        for words in [
            ["CONFIG", "SET", "maxmemory", "1"],
            ["REPLICAOF", "127.0.0.1", "1", ""],
        ] {
            let mut command = redis::cmd(words[0]);
            words[1..]
                .iter()
                .filter(|word| !word.is_empty())
                .for_each(|&word| {
                    command.arg(word);
                });
            command.write_packed_command(&mut out);
            session.expected.push_back(Expected::Ignored);
            session.store(5, marks.clone().take(1), &mut out);
        }
        let events = converse(&mut stream, &mut session, &mut out);
        let found: Vec<_> = marks
            .map(|(_, mark)| Some(mark))
            .chain([None, None])
            .collect();
        let refused = |id, refusal| Event::StoreRefused { id, refusal };
        let expected = [
            Event::Stored { id: 1 },
            Event::Found {
                id: 2,
                marks: found.clone(),
                unreadable: 0,
            },
            Event::Found {
                id: 3,
                marks: vec![found[9]],
                unreadable: 1,
            },
            refused(4, Refusal::WrongType),
            refused(5, Refusal::OutOfMemory),
            refused(5, Refusal::ReadOnly),
        ];
        assert_eq!(events, expected);

        let mut stream = UnixStream::connect(&socket).unwrap();
        let mut session = with("wrong");
        session.greet(&mut out);
        stream.write_all(&out).unwrap();
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        let refused = session.on_bytes(&buffer[..read], &mut Vec::new());
        let refusal = Refusal::WrongPass;
        let step = "AUTH";
        assert_eq!(refused, Err(SessionError::Refused { step, refusal }));
    }
}
