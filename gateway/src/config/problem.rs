//! What is wrong with a configuration, and where.

use std::fmt;

/// One thing that is wrong with `gateway.toml`, or with what the command line sets over it.
///
/// Reads `gateway.toml:12: apis.chat.routes.join.integration: …`, or `--set limits.connections: …`.
/// The message is lowercase, without a full stop, and never contains a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: String,
    /// Counted from 1; `None` where no line is to blame (the file could not be read).
    pub line: Option<usize>,
    /// What stands before the `=` of the `--set` that is to blame rather than the file.
    pub set: Option<String>,
    /// The full dotted key; empty where no key is to blame (the text is not TOML).
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.set {
            Some(set) => write!(out, "--set {set}")?,
            None => out.write_str(&self.file)?,
        }
        if let Some(line) = self.line {
            write!(out, ":{line}")?;
        }
        if !self.key.is_empty() && self.set.as_ref() != Some(&self.key) {
            write!(out, ": {}", self.key)?;
        }
        write!(out, ": {}", self.message)
    }
}

/// Everything that is wrong with one `gateway.toml`, at least one thing: first what `--set` is to
/// blame for, then the rest in the file's order.
///
/// Reads as one line for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub(super) Vec<Problem>);

impl Problems {
    /// The problems, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str("\n")?;
            }
            problem.fmt(out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
