//! Which endpoint a path names, and which methods it takes.

use super::verdict::{self, Problem};
use crate::http::{Method, response::Answer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    MetricData,
    MetricDataPost,
    PopulateMetric,
}

impl Endpoint {
    /// The label of requests to it.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::MetricData => "metric_data",
            Endpoint::MetricDataPost => "metric_data_post",
            Endpoint::PopulateMetric => "populate_metric",
        }
    }

    /// Paths arrive with any number of leading slashes (the Apache example of Skyline's documentation
    /// sends two), and with or without the prefix a reverse proxy takes off.
    #[inline]
    pub fn of(path: &[u8]) -> Option<Endpoint> {
        // As nearly every request has it. Compared as a whole, where a pattern compares byte by byte.
        if path == b"/metric_data_post" {
            return Some(Endpoint::MetricDataPost);
        }
        if path == b"/metric_data" {
            return Some(Endpoint::MetricData);
        }
        Endpoint::spelt(path)
    }

    /// However it is spelt.
    fn spelt(path: &[u8]) -> Option<Endpoint> {
        let path = after_slashes(path)?;
        let path = match path.strip_prefix(b"flux") {
            Some(rest) => after_slashes(rest)?,
            None => path,
        };
        match path {
            b"metric_data" => Some(Endpoint::MetricData),
            b"metric_data_post" => Some(Endpoint::MetricDataPost),
            b"populate_metric" => Some(Endpoint::PopulateMetric),
            _ => None,
        }
    }
}

fn after_slashes(path: &[u8]) -> Option<&[u8]> {
    let slashes = path.iter().take_while(|&&byte| byte == b'/').count();
    (slashes > 0).then(|| &path[slashes..])
}

/// The endpoint a request is for, or the answer that ends it here.
pub fn route(path: &[u8], method: Method) -> Result<Endpoint, Answer> {
    allowed(Endpoint::of(path), method)
}

/// The same where it is known what the path names.
#[inline]
pub fn allowed(endpoint: Option<Endpoint>, method: Method) -> Result<Endpoint, Answer> {
    match (endpoint, method) {
        (Some(Endpoint::MetricData), Method::Get) => Ok(Endpoint::MetricData),
        (Some(Endpoint::MetricDataPost), Method::Post) => Ok(Endpoint::MetricDataPost),
        _ => others(endpoint, method),
    }
}

fn others(endpoint: Option<Endpoint>, method: Method) -> Result<Endpoint, Answer> {
    let Some(endpoint) = endpoint else {
        return Err(verdict::refuse(Problem::NotFound, ""));
    };
    let (wanted, allow, allow_with_options) = match endpoint {
        Endpoint::MetricData => (Method::Get, "GET", "GET, OPTIONS"),
        Endpoint::MetricDataPost | Endpoint::PopulateMetric => {
            (Method::Post, "POST", "POST, OPTIONS")
        }
    };
    match method {
        method if method == wanted => Ok(endpoint),
        Method::Options => Err(verdict::options(allow)),
        _ => Err(verdict::method_not_allowed(allow_with_options)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_leading_slashes_and_perhaps_the_proxys_prefix() {
        for path in [
            "/metric_data",
            "//metric_data",
            "/flux/metric_data",
            "///flux//metric_data",
        ] {
            let post = format!("{path}_post");
            for (path, endpoint) in [
                (path, Endpoint::MetricData),
                (&post, Endpoint::MetricDataPost),
            ] {
                assert_eq!(Endpoint::of(path.as_bytes()), Some(endpoint), "{path}");
                assert_eq!(Endpoint::spelt(path.as_bytes()), Some(endpoint), "{path}");
            }
        }
        for path in [
            "",
            "*",
            "metric_data",
            "/metric_data/",
            "/Metric_Data",
            "/nope",
            "/flux",
            "/fluxmetric_data",
            "/flux/flux/metric_data",
            "/Flux/metric_data",
            "/metric_data_pos",
        ] {
            assert_eq!(Endpoint::of(path.as_bytes()), None, "{path}");
        }
    }
}
