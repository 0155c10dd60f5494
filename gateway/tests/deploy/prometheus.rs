//! `deploy/prometheus`: by promtool, and against the runbook.

use std::collections::BTreeSet;

use crate::{
    programs::{in_repository, program, run, text_of},
    queries,
};

async fn promtool(arguments: &[&str]) {
    let mut promtool = program("promtool");
    promtool.current_dir(in_repository("deploy/prometheus"));
    run(promtool.args(arguments)).await.expect_well();
}

#[tokio::test]
async fn prometheus_takes_configuration_and_rules() {
    promtool(&["check", "config", "prometheus.yml"]).await;
    promtool(&["check", "rules", "--lint-fatal", "alerts.yml"]).await;
}

/// Each alert is raised by figures that call for it, and none on a good day.
#[tokio::test]
async fn the_alerts_are_raised_when_they_should_be() {
    promtool(&["test", "rules", "alerts_test.yml"]).await;
    let tests = text_of("deploy/prometheus/alerts_test.yml");
    for alert in queries::alerts().await {
        let name = alert["alert"].as_str().expect("a name");
        let quiet = format!("- {{ eval_time: 50m, alertname: {name} }}");
        assert!(tests.contains(&quiet), "{name} is not looked at on a good day");
        let raised = format!("alertname: {name}\n        exp_alerts:\n          - exp_labels:");
        assert!(tests.contains(&raised), "{name} is never raised");
    }
}

/// Who is woken up finds what it means, whose fault it is and what to do.
#[tokio::test]
async fn every_alert_has_a_section_in_the_runbook() {
    let runbook = text_of("docs/runbook.md");
    let sections: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## Tidegate")).collect();
    let mut named = BTreeSet::new();
    let alerts = queries::alerts().await;
    for alert in &alerts {
        let name = alert["alert"].as_str().expect("a name");
        named.insert(name.strip_prefix("Tidegate").expect("our prefix"));
        let anchor = format!("docs/runbook.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], anchor, "{name}");
        let fault = alert["labels"]["fault"].as_str().unwrap_or_default();
        assert!(["node", "backend", "client", "redis"].contains(&fault), "{name}: {fault:?}");
        let severity = alert["labels"]["severity"].as_str().unwrap_or_default();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity:?}");
    }
    assert_eq!(named, sections, "alerts, and sections of docs/runbook.md");
    for section in runbook.split("\n## ").filter(|it| it.starts_with("Tidegate")) {
        for word in ["**Means.**", "**Whose.**", "**Do.**"] {
            let title = section.lines().next().unwrap_or_default();
            assert!(section.contains(word), "{title} lacks {word}");
        }
    }
}
