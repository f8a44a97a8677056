//! Why a fetch gave nothing: the one table of reasons, for counters, the jobs file and the admin listener.

macro_rules! causes {
    ($($(#[$doc:meta])* $cause:ident = $code:literal, $label:literal, $text:literal;)+) => {
        /// A reason. Its code stands in the jobs file, so a code never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Cause {
            $($(#[$doc])* #[error($text)] $cause,)+
        }

        impl Cause {
            pub const ALL: &'static [Cause] = &[$(Cause::$cause),+];

            pub fn code(self) -> u8 {
                match self { $(Cause::$cause => $code,)+ }
            }

            pub fn from_code(code: u8) -> Option<Cause> {
                match code { $($code => Some(Cause::$cause),)+ _ => None }
            }

            /// The label under a counter.
            pub fn label(self) -> &'static str {
                match self { $(Cause::$cause => $label,)+ }
            }
        }
    };
}

causes! {
    /// Nothing listens there, there is no way there, or the name is unknown.
    Refused = 1, "refused", "no connection to the remote";
    /// A deadline of `[populate]` passed.
    Timeout = 2, "timeout", "the remote took too long";
    /// Another status than 200, and no redirect.
    Status = 3, "status", "the remote answered with another status than 200";
    /// More bytes than `response_bytes_max`, or more points than a job may hold.
    TooLarge = 4, "too_large", "the remote's answer is too large";
    /// No HTTP, no gzip, no JSON, or JSON of another shape.
    Decode = 5, "decode", "the remote's answer cannot be read";
    /// No handshake, or a certificate that is not trusted.
    Tls = 6, "tls", "no trusted TLS connection to the remote";
    /// Too many, or to nowhere.
    Redirect = 7, "redirect", "the remote redirects in a circle or to nowhere";
    /// `allowed_hosts` does not name it.
    HostNotAllowed = 8, "host_not_allowed", "the host is not in populate.allowed_hosts";
    /// The connection broke after it was made.
    Lost = 9, "lost", "the connection to the remote broke";
    /// No series, or one without points.
    Empty = 10, "empty", "the remote has no data for this";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_labels_are_told_apart_and_lead_back() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_code(cause.code()), Some(*cause));
            let same = |other: &&Cause| other.label() == cause.label();
            assert_eq!(Cause::ALL.iter().filter(same).count(), 1);
        }
        assert_eq!(Cause::from_code(0), None);
    }
}
