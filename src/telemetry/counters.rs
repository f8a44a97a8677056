//! The numbers one shard keeps: plain fields, no clock, no atomics, no names.
//!
//! Where a point is counted: *received*, *discarded* and *rejected* on the shard that read the request,
//! *accepted*, *duplicate* and all that follows on the shard that owns the metric. So the sums below
//! hold over all shards together, and once nothing is under way:
//! received = accepted + duplicate + discarded + rejected. By namespace everything is counted on the shard
//! that read the request: the owner's verdict brings back how many were duplicates.

use super::Merge;

/// A struct of numbers whose `merge` cannot forget a field.
macro_rules! numbers {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl Merge for $name {
            fn merge(&mut self, other: &$name) {
                $(self.$field.merge(&other.$field);)*
            }
        }
    };
}

/// A short list of causes: an array's index, and a label's value.
macro_rules! causes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant,)*];
            pub const COUNT: usize = $name::ALL.len();

            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)* }
            }
        }
    };
}

causes! {
    /// Why points were accepted from the client's point of view and not kept.
    Discard {
        NotFinite = "not_finite",
        /// Texts and booleans of a Telegraf batch; the answer names them.
        NotNumeric = "not_numeric",
        /// Values of Telegraf metrics that no name can be made for.
        Unnamed = "unnamed",
        /// Their name matches a skip pattern.
        Skipped = "skipped",
    }
}

causes! {
    /// Why the points of a request were refused. A bad request of n items rejects n.
    Reject {
        Json = "json",
        /// A field is missing, repeated or of the wrong kind.
        Parameters = "parameters",
        Key = "key",
        Name = "name",
        Timestamp = "timestamp",
        Value = "value",
        /// No three fields, or not UTF-8.
        Line = "line",
        TooLarge = "too_large",
        /// New metrics of a namespace that has as many as it may.
        Quota = "quota",
        /// A bound was reached: 429, and the client sends them again.
        Busy = "busy",
        Other = "other",
    }
}

causes! {
    /// Why accepted points were given up before they were delivered.
    Loss {
        /// The drain's deadline passed at a stop.
        Stop = "stop",
        /// The points file or a frame cannot hold them.
        Output = "output",
    }
}

causes! {
    Endpoint {
        MetricData = "metric_data",
        MetricDataPost = "metric_data_post",
        PopulateMetric = "populate_metric",
        /// No such route.
        Other = "other",
    }
}

/// The statuses told apart; any other counts under the last, 0.
pub const STATUSES: [u16; 21] = [
    204, 200, 207, 429, 400, 401, 504, 404, 405, 408, 413, 414, 415, 417, 431, 500, 501, 502, 503,
    505, 0,
];

/// Answers by status.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statuses([u64; STATUSES.len()]);

impl Statuses {
    pub fn count(&mut self, status: u16) {
        let known = STATUSES.iter().position(|known| *known == status);
        self.0[known.unwrap_or(STATUSES.len() - 1)] += 1;
    }

    pub fn of(&self, status: u16) -> u64 {
        let known = STATUSES.iter().position(|known| *known == status);
        known.map_or(0, |index| self.0[index])
    }

    /// Those that were answered at least once.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let seen = STATUSES.iter().copied().zip(self.0);
        seen.filter(|(_, count)| *count > 0)
    }
}

impl Merge for Statuses {
    fn merge(&mut self, other: &Statuses) {
        self.0.merge(&other.0);
    }
}

numbers! {
    Points {
        received: u64,
        accepted: u64,
        /// The timestamp of the last accepted one, again.
        duplicate_same: u64,
        duplicate_older: u64,
        discarded: [u64; Discard::COUNT],
        rejected: [u64; Reject::COUNT],
        /// Of the accepted ones: decided without the last store, because it was down or late.
        unchecked: u64,
        delivered: u64,
        recovered: u64,
        /// Counted as delivered after the bounded number of repeats. A part of `delivered`.
        unconfirmed: u64,
        lost: [u64; Loss::COUNT],
    }
}

impl Points {
    pub fn discard(&mut self, cause: Discard, points: u64) {
        self.discarded[cause as usize] += points;
    }

    pub fn reject(&mut self, cause: Reject, points: u64) {
        self.rejected[cause as usize] += points;
    }

    pub fn lose(&mut self, cause: Loss, points: u64) {
        self.lost[cause as usize] += points;
    }

    /// How many of the received ones have had their verdict; equals `received` when nothing is under way.
    pub fn decided(&self) -> u64 {
        let duplicate = self.duplicate_same + self.duplicate_older;
        let discarded: u64 = self.discarded.iter().sum();
        let rejected: u64 = self.rejected.iter().sum();
        self.accepted + duplicate + discarded + rejected
    }
}

numbers! {
    Namespace {
        received: u64,
        duplicate: u64,
        rejected: u64,
    }
}

numbers! {
    Http {
        /// What encoded bodies came to.
        inflated_bytes: u64,
        requests: [Statuses; Endpoint::COUNT],
        /// Answered by the decoder, before the request had a meaning; not in `requests`.
        refused: Statuses,
        connections_accepted: u64,
        /// Accepts that failed: no descriptor was free, or the client had gone.
        connections_refused: u64,
    }
}

impl Http {
    pub fn answer(&mut self, endpoint: Endpoint, status: u16) {
        self.requests[endpoint as usize].count(status);
    }

    /// Over all endpoints.
    pub fn answered(&self, status: u16) -> u64 {
        self.requests.iter().map(|by| by.of(status)).sum()
    }
}

numbers! {
    /// Carbon's line protocol, in.
    Line {
        /// Of the received ones.
        points: u64,
        pauses: u64,
        /// Connections closed because nothing came.
        idle_closed: u64,
    }
}

numbers! {
    Last {
        lookups: u64,
        lookup_timeouts: u64,
        /// Found there, but neither a mark nor absent.
        unreadable: u64,
        marks_written: u64,
        /// Writes the store answered with an error; they are tried again.
        marks_refused: u64,
        /// Of the sets and hashes that other programs of Skyline look at.
        names_dropped: u64,
    }
}

numbers! {
    Carbon {
        connects: u64,
        frames_sent: u64,
        /// Of those: sent again after a lost connection.
        frames_repeated: u64,
        bytes_sent: u64,
    }
}

numbers! {
    Journal {
        commits: u64,
        commits_failed: u64,
        bytes_written: u64,
        /// Writes on the shard itself that took too long: the next ones are made off it.
        stalls: u64,
        /// Of earlier runs: what could not be read, and what was not believed.
        damaged: u64,
        torn: u64,
        segments_kept: u64,
        cursors_ignored: u64,
        repeats: u64,
    }
}

numbers! {
    Statsd {
        datagrams_sent: u64,
        points_sent: u64,
        /// The queue was full, or the socket would not have them.
        points_dropped: u64,
        /// The socket said that something went wrong, or the name has no address.
        errors: u64,
    }
}

numbers! {
    /// Points of the program's own series: in none of `Points`.
    OwnSeries {
        sent: u64,
        dropped: u64,
    }
}

numbers! {
    Table {
        evicted: u64,
        /// Of those: their mark was not stored yet, so a repeat of their last point may be accepted.
        evicted_unsaved: u64,
    }
}

numbers! {
    Mesh {
        groups_sent: u64,
    }
}

numbers! {
    Populate {
        accepted: u64,
        repeated: u64,
        recovered: u64,
        done: u64,
        failed: Labelled,
        skipped: Labelled,
        points: u64,
        paced: u64,
    }
}

/// Numbers by a label that another room chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labelled(pub Vec<(&'static str, u64)>);

impl Labelled {
    pub fn add(&mut self, label: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == label) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((label, count)),
        }
    }
}

impl Merge for Labelled {
    fn merge(&mut self, other: &Labelled) {
        other
            .0
            .iter()
            .for_each(|(label, count)| self.add(label, *count));
    }
}

numbers! {
    /// Only ever go up.
    Counters {
        points: Points,
        /// By `Tally::namespace`; grows to the highest index seen, which the configuration bounds.
        namespaces: Vec<Namespace>,
        http: Http,
        line: Line,
        last: Last,
        carbon: Carbon,
        journal: Journal,
        populate: Populate,
        statsd: Statsd,
        own_series: OwnSeries,
        table: Table,
        mesh: Mesh,
    }
}

impl Counters {
    pub fn namespace(&mut self, index: u16) -> &mut Namespace {
        let index = usize::from(index);
        if self.namespaces.len() <= index {
            self.namespaces.resize_with(index + 1, Namespace::default);
        }
        &mut self.namespaces[index]
    }
}

numbers! {
    /// Set when a snapshot is taken. What is 0 or 1 on a shard counts shards in a sum.
    Gauges {
        points_queued: u64,
        /// The shard has answered.
        up: u64,
        /// Since the oldest point that is not delivered was accepted; and since the oldest segment of
        /// earlier runs was written. In seconds, 0 without one.
        points_age: u64,
        journal_age: u64,
        /// In the last whole interval of telemetry; 0 where that is not sent to carbon.
        metrics_distinct: u64,
        /// Of earlier runs, still to be taken up.
        journal_points: u64,
        journal_bytes: u64,
        journal_bytes_max: u64,
        journal_full: u64,
        jobs_queued: u64,
        jobs_running: u64,
        jobs_bytes: u64,
        in_flight_bytes: u64,
        in_flight_bytes_max: u64,
        connections_open: u64,
        connections_max: u64,
        buffered_bytes: u64,
        last_up: u64,
        marks_pending: u64,
        /// Of the process; shard 0 says it.
        filter_bytes: u64,
        carbon_connected: u64,
        table_entries: u64,
        table_unsaved: u64,
        table_bytes: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_shards_add_up_field_by_field() {
        let mut reader = Counters::default();
        reader.points.received = 10;
        reader.points.discard(Discard::NotFinite, 1);
        reader.points.reject(Reject::Busy, 2);
        reader.namespace(3).rejected = 2;
        reader.http.answer(Endpoint::MetricDataPost, 429);
        reader.http.answer(Endpoint::MetricData, 204);
        let mut owner = Counters::default();
        owner.points.accepted = 4;
        owner.points.duplicate_same = 1;
        owner.points.duplicate_older = 2;
        owner.http.answer(Endpoint::MetricDataPost, 429);
        owner.namespace(0).received = 7;

        let mut sum = Counters::default();
        sum.merge(&reader);
        sum.merge(&owner);
        assert_eq!(sum.points.received, sum.points.decided());
        assert_eq!(sum.http.answered(429), 2);
        assert_eq!(sum.http.answered(204), 1);
        assert_eq!(sum.namespaces.len(), 4);
        assert_eq!(sum.namespaces[0].received, 7);
        assert_eq!(sum.namespaces[3].rejected, 2);
    }

    #[test]
    fn an_unknown_status_is_still_counted() {
        let mut statuses = Statuses::default();
        statuses.count(418);
        statuses.count(204);
        assert_eq!(statuses.iter().collect::<Vec<_>>(), [(204, 1), (0, 1)]);
    }
}
