//! Offers requests and times their answers, on one thread.
//!
//! In a closed loop each connection sends its next request when it has its answer. At a constant rate each request
//! has an appointed time, whatever became of those before it, and its latency counts from there: a server that
//! stops for a while is charged for everyone who would have come meanwhile.

mod body;
mod connection;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::hiccups::now_us;
use body::Bodies;
use connection::{Connection, Progress};

/// Answers that are still out when the time is over may take this long.
const STRAGGLERS: Duration = Duration::from_secs(10);
/// One hour: a latency above it is a bug here.
const MICROS_MAX: u64 = 3_600_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `POST /metric_data_post`, as Skyline's clients do
    Flux,
    /// `POST /api/put`, as OpenTSDB's clients do
    Opentsdb,
}

#[derive(Clone, Debug, Args)]
pub struct Plan {
    #[arg(long)]
    pub port: u16,
    #[arg(long, default_value = "flux")]
    pub form: Form,
    #[arg(long, default_value_t = 32)]
    pub connections: usize,
    /// Points of a request
    #[arg(long, default_value_t = 450)]
    pub points: usize,
    /// Distinct requests made ahead; a metric comes again after as many
    #[arg(long, default_value_t = 200)]
    pub bodies: usize,
    /// Requests a second; 0: as fast as answers come
    #[arg(long, default_value_t = 0.0)]
    pub rate: f64,
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
    /// The first timestamp; it rises by one a round of the bodies
    #[arg(long)]
    pub from: u32,
    /// A word in every name
    #[arg(long, default_value = "load")]
    pub prefix: String,
    /// Every name is a new one, counted from here
    #[arg(long)]
    pub new_names_from: Option<u64>,
    /// Ends after as many, if the seconds have not ended it before
    #[arg(long)]
    pub requests_max: Option<u64>,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Goes before everything else on its CPU (needs root), so that its own waiting is not taken for the server's
    #[arg(long)]
    pub first: bool,
    /// Tells of each request when it was due and how long its answer took
    #[arg(long)]
    pub each: bool,
}

impl Plan {
    /// One batch after another, as fast as answers come.
    pub fn new(port: u16, form: Form, from: u32) -> Plan {
        Plan {
            port,
            form,
            from,
            connections: 32,
            points: 450,
            bodies: 200,
            rate: 0.0,
            seconds: 5.0,
            prefix: "load".into(),
            new_names_from: None,
            requests_max: None,
            seed: 1,
            first: false,
            each: false,
        }
    }

    /// As [`Args`] reads them.
    pub fn arguments(&self) -> Vec<String> {
        let form = match self.form {
            Form::Flux => "flux",
            Form::Opentsdb => "opentsdb",
        };
        let mut arguments = vec![
            format!("--port={}", self.port),
            format!("--form={form}"),
            format!("--from={}", self.from),
            format!("--connections={}", self.connections),
            format!("--points={}", self.points),
            format!("--bodies={}", self.bodies),
            format!("--rate={}", self.rate),
            format!("--seconds={}", self.seconds),
            format!("--prefix={}", self.prefix),
            format!("--seed={}", self.seed),
        ];
        arguments.extend(
            self.new_names_from
                .map(|from| format!("--new-names-from={from}")),
        );
        let limit = self
            .requests_max
            .map(|count| format!("--requests-max={count}"));
        arguments.extend(limit);
        arguments.extend(self.first.then(|| "--first".to_owned()));
        arguments.extend(self.each.then(|| "--each".to_owned()));
        arguments
    }
}

/// Bodies to be offered by somebody else.
pub fn plain(bodies: usize, points: usize, from: u32) -> Bodies {
    let plan = Plan {
        bodies,
        points,
        ..Plan::new(0, Form::Flux, from)
    };
    Bodies::new(&plan)
}

#[derive(Serialize, Deserialize)]
pub struct Offered {
    pub requests: u64,
    pub seconds: f64,
    pub refused: u64,
    pub errors: u64,
    /// The last timestamp that was sent.
    pub until: u32,
    /// The share of the appointed requests that waited for a connection to be free.
    pub waited: f64,
    /// In µs, for who reads this by eye.
    #[serde(default)]
    pub p50: u64,
    #[serde(default)]
    pub p99: u64,
    /// Pairs of a value in µs and how many answers took as long.
    pub micros: Vec<(u64, u64)>,
    /// In µs: when each request was due, by the monotonic clock, and how long its answer took. If it was asked for.
    #[serde(default)]
    pub each: Vec<(u64, u64)>,
}

pub fn main(plan: &Plan) -> Result<()> {
    let offered = offer(plan)?;
    println!(
        "{}",
        serde_json::to_string(&offered).map_err(|e| e.to_string())?
    );
    Ok(())
}

struct Generator {
    plan: Plan,
    bodies: Bodies,
    connections: Vec<Connection>,
    idle: VecDeque<usize>,
    began: Instant,
    began_us: u64,
    micros: Histogram<u64>,
    each: Vec<(u64, u64)>,
    sent: u64,
    waited: u64,
    refused: u64,
    errors: u64,
}

fn offer(plan: &Plan) -> Result<Offered> {
    // A thread's timers may be 50 µs late by default, which is more than we want to tell apart.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZero::new(1));
    if plan.first {
        // Without the right to it, the load waits its turn like the others there.
        let _ = rustix::process::setpriority_process(None, -19);
    }
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?;
    let mut connections = Vec::new();
    for number in 0..plan.connections {
        let connection = Connection::open(plan.port)
            .and_then(|connection| {
                let data = epoll::EventData::new_u64(number as u64);
                epoll::add(&poll, &connection.stream, data, connection.interest())?;
                Ok(connection)
            })
            .map_err(|error| format!("port {}: {error}", plan.port))?;
        connections.push(connection);
    }
    let mut generator = Generator {
        bodies: Bodies::new(plan),
        idle: (0..plan.connections).collect(),
        connections,
        began: Instant::now(),
        began_us: 0,
        each: Vec::new(),
        micros: Histogram::new_with_bounds(1, MICROS_MAX, 3).map_err(|e| e.to_string())?,
        sent: 0,
        waited: 0,
        refused: 0,
        errors: 0,
        plan: plan.clone(),
    };
    generator.run(&poll).map_err(|error| error.to_string())?;
    Ok(generator.told())
}

impl Generator {
    fn run(&mut self, poll: &impl std::os::fd::AsFd) -> std::io::Result<()> {
        let end = Duration::from_secs_f64(self.plan.seconds);
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.connections.len());
        self.began = Instant::now();
        self.began_us = now_us();
        if self.plan.each {
            let expected = self.plan.seconds * self.plan.rate;
            self.each.reserve(expected as usize + 1);
        }
        loop {
            let now = self.began.elapsed();
            let next = self.send_what_is_due(now, end)?;
            let all_idle = self.idle.len() == self.connections.len();
            let enough = self
                .plan
                .requests_max
                .is_some_and(|limit| self.sent >= limit);
            if ((now >= end || enough) && all_idle) || now >= end + STRAGGLERS || self.errors > 0 {
                self.errors += u64::from(!all_idle);
                return Ok(());
            }
            let limit = next.unwrap_or(Duration::from_millis(100));
            let limit = limit.saturating_sub(self.began.elapsed());
            let limit = Timespec {
                tv_sec: limit.as_secs() as i64,
                tv_nsec: limit.subsec_nanos().into(),
            };
            events.clear();
            epoll::wait(
                poll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&limit),
            )?;
            for event in events.drain(..) {
                self.on(event.data.u64() as usize);
            }
        }
    }

    /// When the next request is due, if one can be sent then.
    fn send_what_is_due(
        &mut self,
        now: Duration,
        end: Duration,
    ) -> std::io::Result<Option<Duration>> {
        while let Some(&number) = self.idle.front() {
            let due = match self.plan.rate > 0.0 {
                true => Duration::from_secs_f64(self.sent as f64 / self.plan.rate),
                false => self.began.elapsed(),
            };
            if due >= end
                || self
                    .plan
                    .requests_max
                    .is_some_and(|limit| self.sent >= limit)
            {
                return Ok(Some(self.began.elapsed() + Duration::from_millis(100)));
            }
            if due > now && self.plan.rate > 0.0 {
                return Ok(Some(due));
            }
            self.idle.pop_front();
            self.sent += 1;
            let body = self.bodies.next()?;
            let connection = &mut self.connections[number];
            connection.begin(body, due);
            if connection.push(&self.bodies).is_err() {
                self.errors += 1;
            }
        }
        // Nobody is free: what is due by now will have waited.
        if self.plan.rate > 0.0 && (self.sent as f64) < now.as_secs_f64() * self.plan.rate {
            self.waited += 1;
        }
        Ok(Some(self.began.elapsed() + Duration::from_millis(100)))
    }

    fn on(&mut self, number: usize) {
        let connection = &mut self.connections[number];
        match connection.proceed(&self.bodies) {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Answered { status, body, due }) => {
                let took = self.began.elapsed().saturating_sub(due);
                let took_us = (took.as_micros() as u64).max(1);
                self.micros.saturating_record(took_us);
                if self.plan.each {
                    let due_us = self.began_us + due.as_micros() as u64;
                    self.each.push((due_us, took_us));
                }
                self.refused += u64::from(!(200..300).contains(&status));
                self.bodies.free(body);
                self.idle.push_back(number);
            }
            Err(_) => self.errors += 1,
        }
    }

    fn told(self) -> Offered {
        Offered {
            requests: self.micros.len(),
            seconds: self.began.elapsed().as_secs_f64(),
            refused: self.refused,
            errors: self.errors,
            until: self.bodies.timestamp(),
            waited: self.waited as f64 / self.sent.max(1) as f64,
            p50: self.micros.value_at_quantile(0.5),
            p99: self.micros.value_at_quantile(0.99),
            micros: self
                .micros
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect(),
            each: self.each,
        }
    }
}
