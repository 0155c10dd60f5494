//! Reading one figure out of Prometheus' text form.
//!
//! In:  the text of `/metrics`, a sample's name, some of its labels. Out: the sum of the samples
//! that have them.
//!
//! Holds always: a sample that does not exist counts 0, as a counter that never moved.

/// The sum of the samples called `name` that carry all of `labels`; 0 when there is none.
/// A histogram's samples have their full names (`..._count`, `..._sum`, `..._bucket`).
///
/// # Panics
/// When a matching line does not end in a number.
pub fn metric_value(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let samples = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (own, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None if rest.starts_with(' ') => ("", rest),
            None => return None,
        };
        let has = |(label, value): &(&str, &str)| {
            let wanted =
                format!("{label}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
            own.match_indices(&wanted).any(|(at, _)| at == 0 || own[..at].ends_with(','))
        };
        labels.iter().all(has).then(|| {
            let value = value.split_whitespace().next().unwrap_or_default();
            value.parse::<f64>().unwrap_or_else(|_| panic!("no number at the end of {line:?}"))
        })
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total help\n# TYPE a_total counter\n\
        a_total{api=\"x\",stage=\"prod\"} 2\na_total{api=\"y\",stage=\"prod\"} 3.5\n\
        a_total_more{api=\"x\"} 100\nplain 7\n";

    #[test]
    fn samples_with_all_the_labels_are_summed() {
        assert_eq!(metric_value(TEXT, "a_total", &[("stage", "prod")]), 5.5);
        assert_eq!(metric_value(TEXT, "a_total", &[("stage", "prod"), ("api", "x")]), 2.0);
        assert_eq!(metric_value(TEXT, "plain", &[]), 7.0);
    }

    #[test]
    fn a_sample_that_does_not_exist_is_zero() {
        assert_eq!(metric_value(TEXT, "a_total", &[("api", "z")]), 0.0);
        assert_eq!(metric_value(TEXT, "nothing", &[]), 0.0);
        assert_eq!(metric_value(TEXT, "a_total", &[("pi", "x")]), 0.0, "label names are whole");
    }
}
