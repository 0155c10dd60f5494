//! Structured logs on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// `TIDEGATE_LOG` does not parse.
    #[error("TIDEGATE_LOG: {0}; write for example info or info,tidegate_edge=debug")]
    Filter(String),
    /// Called twice in one process.
    #[error("logging was started already")]
    Started,
}

/// Starts logging to stderr. The level comes from `TIDEGATE_LOG` (tracing's filter syntax),
/// by default `info`.
pub fn start_logging(format: LogFormat) -> Result<(), LoggingError> {
    let filter = match std::env::var("TIDEGATE_LOG") {
        Ok(text) if !text.trim().is_empty() => {
            EnvFilter::try_new(&text).map_err(|err| LoggingError::Filter(err.to_string()))?
        }
        _ => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => builder.json().try_init(),
    }
    .map_err(|_| LoggingError::Started)
}
