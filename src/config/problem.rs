//! What is wrong with a configuration, said so that it can be repaired without looking anything up.

use std::fmt;

/// One thing to repair. It names the place, what is wrong there and the cure; it never repeats a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// A key's path (`http.backlog`), an environment variable, a flag, or the file itself.
    pub path: String,
    pub what: String,
    pub cure: String,
}

impl Problem {
    pub fn new(
        path: impl Into<String>,
        what: impl Into<String>,
        cure: impl Into<String>,
    ) -> Problem {
        Problem {
            path: path.into(),
            what: what.into(),
            cure: cure.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.what, self.cure)
    }
}

/// All of them, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}
