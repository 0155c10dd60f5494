//! `tidegate_function_*`: what the workers of local functions did, read when somebody scrapes.

use std::fmt::Write as _;

/// The workers of one local function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionWorkers {
    /// The function's name, from the configuration: letters, digits, `_` and `-`.
    pub function: String,
    /// Processes that run now.
    pub workers: u64,
    /// Starts since the function was configured.
    pub starts: u64,
    /// Ends that nobody asked for.
    pub crashes: u64,
}

/// Appends the figures of all functions in the text format of Prometheus; nothing without any.
pub(crate) fn append(functions: &[FunctionWorkers], text: &mut String) {
    if functions.is_empty() {
        return;
    }
    type Figure = fn(&FunctionWorkers) -> u64;
    let figures: [(&str, &str, &str, Figure); 3] = [
        ("workers", "gauge", "Workers of local functions that run.", |one| one.workers),
        ("worker_starts_total", "counter", "Starts of workers.", |one| one.starts),
        (
            "worker_crashes_total",
            "counter",
            "Workers that failed to start, ended unasked, or exceeded their timeout.",
            |one| one.crashes,
        ),
    ];
    for (name, kind, help, figure) in figures {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP tidegate_function_{name} {help}");
        let _ = writeln!(text, "# TYPE tidegate_function_{name} {kind}");
        for one in functions {
            let (function, value) = (&one.function, figure(one));
            let _ = writeln!(text, "tidegate_function_{name}{{function=\"{function}\"}} {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_has_its_line_in_each_metric() {
        let one = |function: &str, workers| FunctionWorkers {
            function: function.to_owned(),
            workers,
            starts: 7,
            crashes: 1,
        };
        let mut text = String::new();
        append(&[one("chat", 2), one("who", 0)], &mut text);
        for line in [
            "tidegate_function_workers{function=\"chat\"} 2",
            "tidegate_function_workers{function=\"who\"} 0",
            "tidegate_function_worker_starts_total{function=\"chat\"} 7",
            "tidegate_function_worker_crashes_total{function=\"who\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        let mut nothing = String::new();
        append(&[], &mut nothing);
        assert_eq!(nothing, "");
    }
}
