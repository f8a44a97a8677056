//! What to ask: the metric's last timestamp in the local Graphite where no mark is known, and each of the
//! job's URLs as it has to go out.

use super::address::encode_value;
use super::job::Remote;

/// Where the local Graphite is asked, one after the other, until one of them has a value.
pub const WINDOWS: [&str; 6] = [
    "-50mins", "-6hours", "-24hours", "-7days", "-30days", "-90days",
];

/// A mark younger than this is recent: Prometheus is asked for what is missing only. Skyline's.
const RECENT_SECONDS: u32 = 600;

/// The search for a metric's last timestamp in Graphite.
#[derive(Clone, Debug)]
pub struct Search {
    render: String,
    target: String,
    window: usize,
}

impl Search {
    /// `render` is the address of the render API, without a slash at its end.
    pub fn new(render: &str, metric: &str) -> Search {
        let mut target = String::with_capacity(metric.len());
        // A `%` in a name is part of it: Skyline encodes %2F, %3A and + so; here every character is.
        encode_value(metric, &mut target);
        Search {
            render: render.to_owned(),
            target,
            window: 0,
        }
    }

    /// What to ask next; `None`: Graphite has no value in any window.
    pub fn next(&self) -> Option<String> {
        let window = WINDOWS.get(self.window)?;
        let Search { render, target, .. } = self;
        Some(format!(
            "{render}/?from={window}&target={target}&format=json"
        ))
    }

    /// That window has no value, or gave no answer.
    pub fn widen(&mut self) {
        self.window += 1;
    }
}

/// Whether only what is missing has to be asked for: a stored mark that is young, or one from Graphite.
pub fn is_recent(mark: u32, from_graphite: bool, now: u32) -> bool {
    from_graphite || now < mark.saturating_add(RECENT_SECONDS)
}

/// A job's URL as it goes out; `recent` is the mark, where it is recent.
pub fn outgoing(url: &str, remote: Remote, recent: Option<u32>, now: u32) -> String {
    let url = match (remote, recent) {
        (Remote::Prometheus, Some(mark)) => {
            // A minute for the one under way, and one for what the division cuts off.
            let minutes = now.saturating_sub(mark) / 60 + 2;
            shortened(url, minutes)
        }
        _ => url.to_owned(),
    };
    // As today's Skyline: Graphite wants a slash behind a dot encoded twice, and a plus is a blank to it.
    url.replace(".%2F", ".%252F").replace('+', "%2B")
}

/// The range of a Prometheus query, `[15d]`, shortened to minutes.
///
/// The last pair of brackets is the range, and what stands behind a colon in it is its resolution, which
/// stays. Skyline replaces everything from the first bracket to the last, which breaks a query that has a
/// window of its own, `sum(rate(a[5m]))[15d:1m]`. A `query_range` has its range in other parameters: its
/// brackets are windows, and to change one would change the values. Brackets around anything but a duration
/// belong to a label's pattern.
fn shortened(url: &str, minutes: u32) -> String {
    let path = url.split('?').next().unwrap_or_default();
    if path.ends_with("/query_range") {
        return url.to_owned();
    }
    let pairs = [("[", "]"), ("%5B", "%5D"), ("%5b", "%5d")];
    let last = pairs.iter().filter_map(|(open, close)| {
        let end = url.rfind(close)?;
        let start = url[..end].rfind(open)? + open.len();
        Some((start, end))
    });
    let Some((start, end)) = last.max() else {
        return url.to_owned();
    };
    let range = &url[start..end];
    let (range, step) = range.split_at(range.find([':', '%']).unwrap_or(range.len()));
    let is_duration = range.starts_with(|c: char| c.is_ascii_digit())
        && range.ends_with(|c: char| c.is_ascii_lowercase())
        && range.chars().all(|c| c.is_ascii_alphanumeric());
    if !is_duration {
        return url.to_owned();
    }
    format!("{}{minutes}m{step}{}", &url[..start], &url[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::populate::address::Address;

    const NOW: u32 = 1_478_022_000;

    #[test]
    fn graphite_is_asked_over_widening_windows_and_then_no_more() {
        let mut search = Search::new("http://g/render", "a.b");
        for window in [
            "-50mins", "-6hours", "-24hours", "-7days", "-30days", "-90days",
        ] {
            let url = format!("http://g/render/?from={window}&target=a.b&format=json");
            assert_eq!(search.next(), Some(url));
            search.widen();
        }
        assert_eq!(search.next(), None);
    }

    #[test]
    fn a_metrics_name_is_asked_for_as_it_is() {
        for (metric, sent) in [
            ("a.%2Fb", "a.%252Fb"),
            ("a+b", "a%2Bb"),
            ("a%3Ab", "a%253Ab"),
            ("a%b", "a%25b"),
            ("a/b:c=d", "a/b:c%3Dd"),
            ("café", "caf%C3%A9"),
        ] {
            let url = Search::new("http://g/render", metric).next().unwrap();
            let url = Address::parse(&url).unwrap().url().to_owned();
            let expected = format!("http://g/render/?from=-50mins&target={sent}&format=json");
            assert_eq!(url, expected, "{metric}");
        }
    }

    #[test]
    fn a_mark_is_recent_for_ten_minutes_or_when_graphite_has_it() {
        for (mark, from_graphite, recent) in [
            (NOW - 599, false, true),
            (NOW - 600, false, false),
            (NOW + 60, false, true),
            (0, true, true),
            (u32::MAX, false, true),
        ] {
            assert_eq!(is_recent(mark, from_graphite, NOW), recent, "{mark}");
        }
    }

    fn sent(url: &str, recent: Option<u32>) -> String {
        outgoing(url, Remote::Prometheus, recent, NOW)
    }

    #[test]
    fn the_range_of_a_recent_prometheus_query_covers_what_is_missing() {
        for (seconds, minutes) in [(0, 2), (59, 2), (60, 3), (599, 11), (86_400, 1442)] {
            let recent = Some(NOW - seconds);
            assert_eq!(
                sent("http://p/q?query=a[15d]", recent),
                format!("http://p/q?query=a[{minutes}m]")
            );
            assert_eq!(
                sent("http://p/q?query=a%5B15d%5D&x=1", recent),
                format!("http://p/q?query=a%5B{minutes}m%5D&x=1")
            );
        }
        assert_eq!(
            sent("http://p/q?query=a[15d]", Some(NOW + 100)),
            "http://p/q?query=a[2m]"
        );
        assert_eq!(
            sent("http://p/q?query=a[15d]", None),
            "http://p/q?query=a[15d]"
        );
        for url in [
            "http://p/q?query=a{b=~\"c[0-9]\"}",
            "http://p/q?query=a",
            "http://p/q?query=a[15d",
            "http://p/q?query=a]15d[",
        ] {
            assert_eq!(sent(url, Some(NOW)), url);
        }
        let graphite = "http://g/render/?target=a[0-9]&from=-6hours";
        assert_eq!(
            outgoing(graphite, Remote::Graphite, Some(NOW), NOW),
            graphite
        );
    }

    #[test]
    fn a_window_inside_a_query_stays() {
        for (url, expected) in [
            (
                "http://p/api/v1/query?query=sum(rate(a[5m]))[15d:1m]",
                "http://p/api/v1/query?query=sum(rate(a[5m]))[2m:1m]",
            ),
            (
                "http://p/api/v1/query?query=rate(a%5B5m%5D)%5B15d%3A1m%5D",
                "http://p/api/v1/query?query=rate(a%5B5m%5D)%5B2m%3A1m%5D",
            ),
            (
                "http://p/api/v1/query?query=rate(a%5b5m%5d)[15d]",
                "http://p/api/v1/query?query=rate(a%5b5m%5d)[2m]",
            ),
            (
                "http://p/api/v1/query_range?query=rate(a[5m])&start=1&end=2&step=60s",
                "http://p/api/v1/query_range?query=rate(a[5m])&start=1&end=2&step=60s",
            ),
        ] {
            assert_eq!(sent(url, Some(NOW)), expected);
        }
    }

    #[test]
    fn a_slash_behind_a_dot_and_a_plus_are_encoded_as_skyline_does() {
        let graphite = |url: &str| outgoing(url, Remote::Graphite, None, NOW);
        let url = "http://g/render/?target=a.%2Fb%2Fc.d+e&from=-6hours";
        let expected = "http://g/render/?target=a.%252Fb%2Fc.d%2Be&from=-6hours";
        assert_eq!(graphite(url), expected);
        assert_eq!(sent(url, None), expected);
    }
}
