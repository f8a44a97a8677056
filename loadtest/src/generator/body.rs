//! Requests made ahead of time. Only their timestamps are written over, in place, so that offering one costs next to
//! nothing and every point is a new one inside the window that the service accepts.

use super::{Form, Plan};
use crate::KEY;

/// Digits of a Unix time until 2286, and of a counted name.
const DIGITS: usize = 10;

struct Body {
    bytes: Vec<u8>,
    head: usize,
    /// Where its timestamps stand, and its counted names if there are any.
    timestamps: Vec<usize>,
    names: Vec<usize>,
    under_way: bool,
}

pub struct Bodies {
    all: Vec<Body>,
    at: usize,
    timestamp: u32,
    digits: [u8; DIGITS],
    new_names: Option<u64>,
}

impl Bodies {
    pub fn new(plan: &Plan) -> Bodies {
        let mut random = Random(plan.seed);
        Bodies {
            all: (0..plan.bodies)
                .map(|number| Body::new(plan, number, &mut random))
                .collect(),
            at: 0,
            timestamp: plan.from,
            digits: digits(plan.from.into()),
            new_names: plan.new_names_from,
        }
    }

    /// The next request. One that is still under way is passed over: its metrics' later points must not overtake.
    pub fn next(&mut self) -> std::io::Result<usize> {
        for _ in 0..=self.all.len() {
            if self.at == self.all.len() {
                self.at = 0;
                self.timestamp += 1;
                self.digits = digits(self.timestamp.into());
            }
            let number = self.at;
            self.at += 1;
            if !self.all[number].under_way {
                self.prepare(number);
                return Ok(number);
            }
        }
        Err(std::io::Error::other("fewer bodies than connections"))
    }

    fn prepare(&mut self, number: usize) {
        let body = &mut self.all[number];
        body.under_way = true;
        for place in &body.timestamps {
            body.bytes[*place..*place + DIGITS].copy_from_slice(&self.digits);
        }
        if let Some(count) = &mut self.new_names {
            for place in &body.names {
                body.bytes[*place..*place + DIGITS].copy_from_slice(&digits(*count));
                *count += 1;
            }
        }
    }

    pub fn bytes(&self, number: usize) -> &[u8] {
        &self.all[number].bytes
    }

    /// Without its head.
    pub fn body(&self, number: usize) -> &[u8] {
        let body = &self.all[number];
        &body.bytes[body.head..]
    }

    pub fn free(&mut self, number: usize) {
        self.all[number].under_way = false;
    }

    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }
}

impl Body {
    fn new(plan: &Plan, number: usize, random: &mut Random) -> Body {
        let mut timestamps = Vec::with_capacity(plan.points);
        let mut names = Vec::new();
        let mut text = String::new();
        let (start, end) = match (plan.form, plan.points) {
            (Form::Flux, 1) => (String::new(), String::new()),
            (Form::Flux, _) => (format!("{{\"key\": \"{KEY}\", \"metrics\": ["), "]}".into()),
            (Form::Opentsdb, _) => ("[".into(), "]".into()),
        };
        text += &start;
        for point in 0..plan.points {
            if point > 0 {
                text += ", ";
            }
            let metric = number * plan.points + point;
            text += "{\"metric\": \"";
            text += &name(&plan.prefix, metric);
            if plan.new_names_from.is_some() {
                text += ".n";
                names.push(text.len());
                text += "0000000000";
            }
            text += &format!("\", \"value\": {}, \"timestamp\": ", random.value());
            timestamps.push(text.len());
            text += "0000000000";
            text += &match (plan.form, plan.points) {
                (Form::Flux, 1) => format!(", \"key\": \"{KEY}\"}}"),
                (Form::Flux, _) => "}".into(),
                (Form::Opentsdb, _) => ", \"tags\": {}}".into(),
            };
        }
        text += &end;
        let path = match plan.form {
            Form::Flux => "/metric_data_post",
            Form::Opentsdb => "/api/put",
        };
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        let moved = |places: Vec<usize>| places.iter().map(|at| at + head.len()).collect();
        Body {
            timestamps: moved(timestamps),
            names: moved(names),
            head: head.len(),
            bytes: (head.clone() + &text).into_bytes(),
            under_way: false,
        }
    }
}

/// A name of the kind and length that hosts' agents send; the same in `wrk/load.lua`.
pub fn name(prefix: &str, number: usize) -> String {
    format!(
        "{prefix}.dc{}.web{:05}.interface.eth{}.rx",
        number % 7,
        number / 4,
        number % 4
    )
}

pub fn digits(number: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// Knuth's constants: the bodies need to differ and to repeat, no more.
struct Random(u64);

impl Random {
    /// Two decimals, of one to five digits before them.
    fn value(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let bits = self.0 >> 33;
        let scale = 10_u64.pow((bits % 5) as u32 + 3);
        (bits / 5 % scale) as f64 / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(form: Form, points: usize) -> Plan {
        Plan {
            points,
            bodies: 2,
            ..Plan::new(0, form, 1_700_000_000)
        }
    }

    fn json(request: &[u8]) -> serde_json::Value {
        let text = std::str::from_utf8(request).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let length = head.rsplit(": ").next().expect("a length");
        assert_eq!(length, body.len().to_string());
        serde_json::from_str(body).expect("JSON")
    }

    #[test]
    fn a_point_is_new_each_time_its_body_comes_round() {
        let mut bodies = Bodies::new(&plan(Form::Flux, 3));
        let mut seen = std::collections::BTreeSet::new();
        for turn in 0..10 {
            let number = bodies.next().expect("a body");
            let body = json(bodies.bytes(number));
            for point in body["metrics"].as_array().expect("a list") {
                let name = point["metric"].as_str().expect("a name").to_owned();
                let timestamp = point["timestamp"].as_u64().expect("a time");
                assert_eq!(timestamp, 1_700_000_000 + turn / 2);
                assert!(seen.insert((name, timestamp)), "{point} twice");
            }
            bodies.free(number);
        }
        assert_eq!(seen.len(), 30);
    }

    #[test]
    fn a_body_under_way_is_passed_over() {
        let mut bodies = Bodies::new(&plan(Form::Opentsdb, 2));
        let first = bodies.next().expect("a body");
        let other = bodies.next().expect("a body");
        assert_ne!(first, other);
        assert!(bodies.next().is_err(), "both are under way");
        bodies.free(first);
        assert_eq!(bodies.next().expect("a body"), first);
        assert_eq!(
            json(bodies.bytes(first)).as_array().expect("a list").len(),
            2
        );
    }

    #[test]
    fn counted_names_never_come_again() {
        let mut counted = plan(Form::Flux, 2);
        counted.new_names_from = Some(95);
        let mut bodies = Bodies::new(&counted);
        for expected in [95, 97, 99] {
            let number = bodies.next().expect("a body");
            let body = json(bodies.bytes(number));
            let name = body["metrics"][0]["metric"]
                .as_str()
                .expect("a name")
                .to_owned();
            assert!(name.ends_with(&format!(".n{expected:010}")), "{name}");
            bodies.free(number);
        }
    }
}
