//! The only importer of glommio.

use crate::config::Config;
use crate::preflight::Ready;

#[derive(Debug, thiserror::Error)]
pub enum Error {}

/// Serves until it is told to stop.
pub fn run(config: &Config, ready: Ready) -> Result<(), Error> {
    let _ = (config, ready);
    Ok(())
}
