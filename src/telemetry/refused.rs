//! The last refused points of a shard, in the words their senders were told, for the people who look at the
//! live page. Costs nothing while nothing is refused, and a flood costs one text a second and reason.

use super::counters::Reject;

/// Remembered of each reason, so that a flood under one of them pushes none of the others out: with the
/// eleven reasons 22 in all, a few kilobytes a shard.
const PER_REASON: usize = 2;
/// Longer than any answer's message; the list of an over-quota answer is cut.
const TOLD_CHARS_MAX: usize = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Unix seconds.
    pub at: u32,
    pub cause: Reject,
    /// As in `api::Tally`.
    pub namespace: Option<u16>,
    /// Refused in that second for that reason; the text is the first one's. 0 where no point could be read.
    pub points: u64,
    pub told: String,
}

#[derive(Clone, Debug, Default)]
pub struct Refusals([Vec<Refusal>; Reject::COUNT]);

impl Refusals {
    /// `told` is asked for a text only where one is kept.
    pub fn note(
        &mut self,
        at: u32,
        cause: Reject,
        namespace: Option<u16>,
        points: u64,
        told: impl FnOnce() -> String,
    ) {
        let kept = &mut self.0[cause as usize];
        if let Some(last) = kept.last_mut()
            && last.at == at
        {
            last.points += points;
            return;
        }
        if kept.len() == PER_REASON {
            kept.remove(0);
        }
        let mut told = told();
        if let Some((end, _)) = told.char_indices().nth(TOLD_CHARS_MAX) {
            told.truncate(end);
            told.push('…');
        }
        kept.push(Refusal {
            at,
            cause,
            namespace,
            points,
            told,
        });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.0.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_one_reason_costs_a_text_a_second_and_hides_no_other() {
        let mut refusals = Refusals::default();
        refusals.note(7, Reject::Name, None, 1, || "a name".into());
        let mut texts = 0;
        for n in 0..30_000u32 {
            refusals.note(10 + n / 1000, Reject::Timestamp, Some(1), 2, || {
                texts += 1;
                "é".repeat(5000)
            });
        }
        assert_eq!(texts, 30);
        let kept: Vec<_> = refusals.iter().map(|r| (r.at, r.cause, r.points)).collect();
        assert_eq!(
            kept,
            [
                (7, Reject::Name, 1),
                (38, Reject::Timestamp, 2000),
                (39, Reject::Timestamp, 2000)
            ]
        );
        let long = refusals.iter().last().expect("three were kept");
        assert_eq!(long.told.chars().count(), TOLD_CHARS_MAX + 1);
    }
}
