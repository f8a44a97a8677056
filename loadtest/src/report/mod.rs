//! The report.
mod table;
use crate::{Result, results};
pub fn write() -> Result<()> {
    let all = results::all(&results::folder())?;
    print!("{}", table::text(&all));
    Ok(())
}
