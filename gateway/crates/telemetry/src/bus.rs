//! `tidegate_bus_*`: what goes between this node and others, read when somebody scrapes.
//!
//! In:  figures, by whoever knows them at that moment.
//! Out: their lines in the text format of Prometheus.

use std::fmt::Write as _;

/// The figures of one scrape, in the order in which they were added. Names, labels and their values
/// come from the code, whence `'static`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BusFigures {
    text: String,
}

impl BusFigures {
    /// Adds a figure that goes up and down. `name` is what follows `tidegate_bus_`.
    #[must_use]
    pub fn gauge(self, name: &'static str, help: &'static str, value: u64) -> Self {
        self.family(name, "gauge", help, &[("", value)])
    }

    /// Adds a figure that only grows.
    #[must_use]
    pub fn counter(self, name: &'static str, help: &'static str, value: u64) -> Self {
        self.family(name, "counter", help, &[("", value)])
    }

    /// Adds figures that only grow, each with its labels as they stand in the text:
    /// `{reason="late"}`.
    #[must_use]
    pub fn counters(
        self,
        name: &'static str,
        help: &'static str,
        values: &[(&'static str, u64)],
    ) -> Self {
        self.family(name, "counter", help, values)
    }

    fn family(mut self, name: &str, kind: &str, help: &str, values: &[(&str, u64)]) -> Self {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP tidegate_bus_{name} {help}");
        let _ = writeln!(self.text, "# TYPE tidegate_bus_{name} {kind}");
        for (labels, value) in values {
            let _ = writeln!(self.text, "tidegate_bus_{name}{labels} {value}");
        }
        self
    }
}

/// Appends the figures in the text format of Prometheus.
pub(crate) fn append(figures: &BusFigures, text: &mut String) {
    text.push_str(&figures.text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_the_text_with_their_kind_their_help_and_their_labels() {
        let reasons = [("{reason=\"late\"}", 3), ("{reason=\"foreign\"}", 0)];
        let figures = BusFigures::default()
            .gauge("up", "Whether.", 1)
            .counter("sent_total", "How often.", 2)
            .counters("dropped_total", "How many.", &reasons);
        let mut text = "before 1\n".to_owned();
        append(&figures, &mut text);
        let expected = r#"before 1
# HELP tidegate_bus_up Whether.
# TYPE tidegate_bus_up gauge
tidegate_bus_up 1
# HELP tidegate_bus_sent_total How often.
# TYPE tidegate_bus_sent_total counter
tidegate_bus_sent_total 2
# HELP tidegate_bus_dropped_total How many.
# TYPE tidegate_bus_dropped_total counter
tidegate_bus_dropped_total{reason="late"} 3
tidegate_bus_dropped_total{reason="foreign"} 0
"#;
        assert_eq!(text, expected);
    }
}
