//! parse → load → preflight → run; prints one error line with its causes.

use std::process::ExitCode;

use skyline_flux::cli;

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(error.exit_code())
        }
    }
}
