//! The `tidegate` program.

use std::process::ExitCode;

use clap::Parser as _;
use tidegate::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
