//! Memory.
use super::*;
pub fn measure(_: &Experiment, _: &str, _: usize, _: usize) -> Result<Vec<Outcome>> {
    Ok(vec![])
}
