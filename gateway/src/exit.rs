//! How the program ends and what it says then.
//!
//! In:  what went wrong.
//! Out: words on stderr for the person at the terminal, and an exit code.

use std::{fmt, process::ExitCode};

/// A file that cannot be served (sysexits.h, EX_USAGE).
const BAD_FILE: u8 = 64;

/// Anything else that went wrong.
const FAILED: u8 = 1;

/// A file that cannot be served: its problems, a line each.
pub(crate) fn refuse(problems: &dyn fmt::Display) -> ExitCode {
    say(&problems.to_string());
    ExitCode::from(BAD_FILE)
}

/// Something went wrong: it and its causes, in one line.
pub(crate) fn fail(err: &dyn std::error::Error) -> ExitCode {
    say(&format!("tidegate: {}", with_causes(err)));
    ExitCode::from(FAILED)
}

/// An error with what caused it.
pub(crate) fn with_causes(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Tells the person at the terminal, whatever the log's format and level.
#[expect(clippy::print_stderr, reason = "this is the program's own voice, not a log event")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}
