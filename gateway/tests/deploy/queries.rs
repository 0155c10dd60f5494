//! The queries of the dashboard and the alerts.
//!
//! In:  `deploy/grafana/dashboards/tidegate.json`, `deploy/prometheus/alerts.yml`.
//! Out: each query with where it stands, and the names of the metrics in it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::programs::{in_repository, python, run, text_of};

/// One query of one panel.
pub(crate) struct PanelQuery {
    /// The panel's title.
    pub(crate) panel: String,
    /// As the file has it, with Grafana's variables.
    pub(crate) query: String,
}

/// The dashboard.
pub(crate) fn dashboard() -> Value {
    let text = text_of("deploy/grafana/dashboards/tidegate.json");
    serde_json::from_str(&text).expect("the dashboard is JSON")
}

/// Every query of every panel.
pub(crate) fn of_dashboard(dashboard: &Value) -> Vec<PanelQuery> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| {
        let panel_title = panel["title"].as_str().expect("a title").to_owned();
        panel["targets"].as_array().into_iter().flatten().map(move |target| PanelQuery {
            panel: panel_title.clone(),
            query: target["expr"].as_str().expect("a query").to_owned(),
        })
    });
    targets.collect()
}

/// Every alerting rule, as the file has it.
pub(crate) async fn alerts() -> Vec<Value> {
    let path = in_repository("deploy/prometheus/alerts.yml");
    let file = run(python("validate.py").arg("yaml").arg(path)).await.json();
    let groups = file["groups"].as_array().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).cloned().collect()
}

/// The gateway's metrics in a query, without what a histogram's samples add to its name.
pub(crate) fn metrics_in(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("tidegate_"));
    let base = |word: &str| {
        let histogram = "tidegate_integration_seconds";
        let is_sample = word.starts_with(histogram);
        if is_sample { histogram.to_owned() } else { word.to_owned() }
    };
    ours.map(base).collect()
}
