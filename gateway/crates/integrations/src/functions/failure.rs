//! What a caller is told when a local function has no result, in Lambda's words.

use std::{
    borrow::Cow, fmt, os::unix::process::ExitStatusExt as _, process::ExitStatus, sync::Arc,
    time::Duration,
};

use tidegate_flow::context::iso_8601;

use crate::FunctionFailure;

/// Why a worker never asked for an invocation.
#[derive(Debug, Clone)]
pub(super) enum StartFailure {
    /// It said so itself, to `/init/error`.
    Reported(FunctionFailure),
    /// Its process ended.
    Exited(ExitStatus),
    /// It took longer than this.
    TimedOut(Duration),
    /// There is no process.
    NotStarted(Arc<str>),
}

impl StartFailure {
    /// For the caller of the invocation `id`.
    pub(super) fn describe(&self, id: &str, now_ms: u64) -> FunctionFailure {
        match self {
            Self::Reported(failure) => failure.clone(),
            Self::Exited(status) => exited(id, *status),
            Self::TimedOut(limit) => timed_out("Init", id, now_ms, *limit),
            Self::NotStarted(why) => {
                let message = format!("RequestId: {id} Error: {why}");
                FunctionFailure::new("Runtime.InvalidEntrypoint", message)
            }
        }
    }
}

/// For the log: what a function says about itself may repeat a payload, so its class only.
impl fmt::Display for StartFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reported(failure) => write!(out, "it reported {failure}"),
            Self::Exited(status) => write!(out, "it exited: {status}"),
            Self::TimedOut(limit) => write!(out, "it asked for no invocation within {limit:?}"),
            Self::NotStarted(why) => out.write_str(why),
        }
    }
}

/// The process ended with the invocation `id`.
pub(super) fn exited(id: &str, status: ExitStatus) -> FunctionFailure {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
        (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
        (None, Some(signal)) => {
            format!("Runtime exited with error: signal: {}", signal_name(signal))
        }
        (None, None) => "Runtime exited with error".to_owned(),
    };
    FunctionFailure::new("Runtime.ExitError", format!("RequestId: {id} Error: {how}"))
}

/// As Lambda names the signals that end processes.
fn signal_name(signal: i32) -> Cow<'static, str> {
    match signal {
        6 => "aborted".into(),
        9 => "killed".into(),
        11 => "segmentation fault".into(),
        15 => "terminated".into(),
        other => other.to_string().into(),
    }
}

/// The invocation `id` took longer than `limit`.
pub(super) fn task_timed_out(id: &str, now_ms: u64, limit: Duration) -> FunctionFailure {
    timed_out("Task", id, now_ms, limit)
}

fn timed_out(what: &str, id: &str, now_ms: u64, limit: Duration) -> FunctionFailure {
    let message = format!(
        "{} {id} {what} timed out after {:.2} seconds",
        iso_8601(now_ms),
        limit.as_secs_f64()
    );
    FunctionFailure::new("Sandbox.Timedout", message)
}

/// The gateway ended the worker of the invocation `id`.
pub(super) fn ended(id: &str) -> FunctionFailure {
    let message = format!("RequestId: {id} Error: the worker was ended with its gateway");
    FunctionFailure::new("Runtime.ExitError", message)
}

/// The result has more than `limit` bytes.
pub(super) fn result_too_large(limit: usize) -> FunctionFailure {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
    FunctionFailure::new("Function.ResponseSizeTooLarge", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "6f1c0d3e-0000-4000-8000-000000000000";

    fn message(failure: &FunctionFailure) -> &str {
        failure.error_message.as_deref().unwrap()
    }

    #[test]
    fn an_exit_reads_as_lambdas_does() {
        let said = |raw| {
            let failure = exited(ID, ExitStatus::from_raw(raw));
            assert_eq!(failure.error_type.as_deref(), Some("Runtime.ExitError"));
            message(&failure).to_owned()
        };
        let with = |how: &str| format!("RequestId: {ID} Error: {how}");
        assert_eq!(said(1 << 8), with("Runtime exited with error: exit status 1"));
        assert_eq!(said(0), with("Runtime exited without providing a reason"));
        assert_eq!(said(9), with("Runtime exited with error: signal: killed"));
    }

    #[test]
    fn a_timeout_reads_as_lambdas_does() {
        let failure = task_timed_out(ID, 0, Duration::from_secs(3));
        assert_eq!(failure.error_type.as_deref(), Some("Sandbox.Timedout"));
        assert_eq!(
            message(&failure),
            format!("1970-01-01T00:00:00.000Z {ID} Task timed out after 3.00 seconds")
        );
    }
}
