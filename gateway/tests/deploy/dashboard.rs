//! Every query of the dashboard and the alerts, asked of a real Prometheus that scrapes real
//! gateways under a little of everything.
//!
//! Grafana itself is in no package that can be installed here: that it draws the panels is not shown.

use std::{collections::BTreeSet, fs, net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_testkit::{
    Client, DEADLINE, FunctionBackend, GatewayToml, RedisServer, TestGateway, http_call, wait_until,
};
use tokio::{process::Child, time::sleep};

use crate::{
    GATEWAY,
    programs::{free_address, in_repository, program, replaced, serve, text_of},
    queries,
};

/// Queries that give nothing while nothing is wrong. They are asked, and their metrics must be there.
const EMPTY_WHEN_HEALTHY: &[&str] = &[
    "sum by (instance) (tidegate_draining{instance=~\"$instance\"}) > 0",
    "sum by (instance, reason) (rate(tidegate_bus_failed_total{instance=~\"$instance\"}[$__rate_interval])) > 0",
];

/// A Prometheus with `deploy/prometheus`, its addresses and its pace replaced.
struct Prometheus {
    url: String,
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    async fn start(gateways: &[&TestGateway]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let alerts = in_repository("deploy/prometheus/alerts.yml");
        fs::copy(alerts, folder.path().join("alerts.yml")).expect("a file of ours");
        let admins: Vec<_> =
            gateways.iter().map(|it| it.admin_url().replace("http://", "")).collect();
        let configuration = replaced(
            &text_of("deploy/prometheus/prometheus.yml"),
            &[
                ("gateway-1:8081, gateway-2:8081, gateway-3:8081", admins.join(", ")),
                ("balancer:8404", free_address().to_string()),
                ("_interval: 10s", "_interval: 500ms".to_owned()),
            ],
        );
        let path = folder.path().join("prometheus.yml");
        fs::write(&path, configuration).expect("a file of ours");
        let address: SocketAddr = free_address();
        let mut command = program("prometheus");
        command
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        let child = serve(&mut command);
        let this = Self { url: format!("http://{address}"), _child: child, _folder: folder };
        wait_until(DEADLINE, "Prometheus to listen", async || {
            tokio::net::TcpStream::connect(address).await.is_ok()
        })
        .await;
        wait_until(DEADLINE, "Prometheus to be ready", async || {
            http_call(&this.url, "GET", "/-/ready", &[], b"").await.status == 200
        })
        .await;
        this
    }

    /// The series of an instant query.
    async fn ask(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let target = format!("/api/v1/query?query={encoded}");
        let answer = http_call(&self.url, "GET", &target, &[], b"").await;
        let answer = answer.json();
        assert_eq!(answer["status"], "success", "{query}: {}", answer["error"]);
        answer["data"]["result"].as_array().expect("a vector").clone()
    }
}

/// What Grafana puts in place of its variables when everything is selected.
fn filled_in(query: &str) -> String {
    let query = ["$instance", "$api", "$stage"]
        .iter()
        .fold(query.to_owned(), |query, name| query.replace(&format!("\"{name}\""), "\".*\""));
    let query = query.replace("$__rate_interval", "4s");
    assert!(!query.contains('$'), "an unknown variable in {query}");
    query
}

/// An api with everything that the dashboard asks for: answers, a dead backend, a throttle, a local
/// function that nobody calls.
fn toml(function: &FunctionBackend, dead: SocketAddr, redis: &RedisServer) -> String {
    GatewayToml::new()
        .function("function", &function.url())
        .http_proxy("dead", &format!("http://{dead}/"))
        .local_function("idle", &["false"], std::path::Path::new("."))
        .route("$connect", "function")
        .two_way("$default", "function")
        .two_way("dead", "dead")
        .two_way("throttled", "function")
        .route_key("throttled", "throttle", "{ rate = 0, burst = 0 }")
        .redis(&[redis.url()])
        .build()
}

/// Clients that stay, one that comes and goes, messages of every kind, posts from the other node.
async fn traffic(gateways: &[TestGateway; 2], function: &FunctionBackend) -> ! {
    let mut staying = Client::connect(&gateways[0].ws_url("prod")).await;
    let event = function.next_event("CONNECT").await;
    let id = event["requestContext"]["connectionId"].as_str().expect("an id").to_owned();
    loop {
        let mut passing = Client::connect(&gateways[1].ws_url("prod")).await;
        for message in ["plain", r#"{"action":"dead"}"#, r#"{"action":"throttled"}"#] {
            passing.send_text(message).await;
            passing.next_text().await;
        }
        passing.close(1000, "").await;
        for gateway in gateways {
            gateway.post_to("prod", &id, b"post").await;
            staying.next_text().await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

struct Live {
    gateways: [TestGateway; 2],
    function: FunctionBackend,
    prometheus: Prometheus,
    _redis: RedisServer,
}

impl Live {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let function = FunctionBackend::start(|event| match &event["body"] {
            Value::String(body) => json!({ "statusCode": 200, "body": body }),
            _ => json!({ "statusCode": 200 }),
        })
        .await;
        let toml = toml(&function, free_address(), &redis);
        let gateways =
            [TestGateway::start(GATEWAY, &toml).await, TestGateway::start(GATEWAY, &toml).await];
        for gateway in &gateways {
            wait_until(DEADLINE, "a node to be ready", async || {
                gateway.admin("/health/ready").await.status == 200
            })
            .await;
        }
        // One reload that is refused: what is counted of it has no line before.
        gateways[0].reload("nonsense").await;
        gateways[0].wait_for_log("configuration refused, the old one stays").await;
        let prometheus = Prometheus::start(&[&gateways[0], &gateways[1]]).await;
        Self { gateways, function, prometheus, _redis: redis }
    }

    /// The names of all metrics that the nodes have.
    async fn metrics(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for gateway in &self.gateways {
            let text = gateway.metrics().await;
            let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
            names.extend(types.filter_map(|line| line.split(' ').next()).map(str::to_owned));
        }
        names
    }

    /// Waits until each query has given a series at some time.
    async fn all_give_series(&self, queries: &[(String, String)]) {
        let mut waiting: Vec<_> = queries.iter().collect();
        let until = tokio::time::Instant::now() + 2 * DEADLINE;
        while !waiting.is_empty() {
            let mut empty = Vec::new();
            for (place, query) in waiting {
                if self.prometheus.ask(query).await.is_empty() {
                    empty.push(
                        &queries[queries
                            .iter()
                            .position(|it| it.1 == *query && it.0 == *place)
                            .expect("one of them")],
                    );
                }
            }
            waiting = empty;
            assert!(
                tokio::time::Instant::now() < until,
                "these queries of the dashboard give nothing: {waiting:#?}"
            );
            sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn every_query_of_the_dashboard_gives_series_from_real_gateways() {
    let live = Live::start().await;
    let dashboard = queries::dashboard();
    let mut queries: Vec<(String, String)> = queries::of_dashboard(&dashboard)
        .into_iter()
        .filter(|it| !EMPTY_WHEN_HEALTHY.contains(&it.query.as_str()))
        .map(|it| (it.panel, filled_in(&it.query)))
        .collect();
    assert!(queries.len() > 40, "{} queries", queries.len());
    // What the variables offer.
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        let query = variable["definition"].as_str().expect("a query");
        let inner = query.strip_prefix("label_values(").and_then(|it| it.strip_suffix(')'));
        let (selector, label) =
            inner.and_then(|it| it.rsplit_once(", ")).expect("label_values(selector, label)");
        let query = format!("group by ({label}) ({{{label}!=\"\"}} and {})", filled_in(selector));
        let query = query.replace("({", "({__name__=~\"up|tidegate_connect_total\",");
        queries.push((format!("variable {}", variable["name"]), query));
    }
    tokio::select! {
        () = live.all_give_series(&queries) => {}
        never = traffic(&live.gateways, &live.function) => never,
    }
    // And they say what is so.
    let down = live.prometheus.ask(&filled_in(&queries[0].1)).await;
    assert_eq!(down[0]["value"][1], "0", "nodes that are down");
}

/// A query that names a metric, or a label's place in the file, that is no more would be empty too.
#[tokio::test]
async fn queries_that_are_empty_when_all_is_well_ask_for_what_there_is() {
    let live = Live::start().await;
    let client = Client::connect(&live.gateways[0].ws_url("prod")).await;
    let dashboard = queries::dashboard();
    let of_dashboard = queries::of_dashboard(&dashboard);
    for query in EMPTY_WHEN_HEALTHY {
        assert!(of_dashboard.iter().any(|it| it.query == *query), "not in the dashboard: {query}");
        live.prometheus.ask(&filled_in(query)).await;
    }
    let mut failing = Client::connect(&live.gateways[0].ws_url("prod")).await;
    failing.send_text(r#"{"action":"dead"}"#).await;
    failing.next_text().await;
    let metrics = live.metrics().await;
    let alerts = queries::alerts().await;
    let of_alerts = alerts.iter().map(|it| it["expr"].as_str().expect("a query").to_owned());
    for query in of_alerts.chain(of_dashboard.into_iter().map(|it| it.query)) {
        let missing: Vec<_> = queries::metrics_in(&query).difference(&metrics).cloned().collect();
        assert!(missing.is_empty(), "no node has {missing:?}, which is asked for by {query}");
    }
    for alert in &alerts {
        live.prometheus.ask(alert["expr"].as_str().expect("a query")).await;
    }
    drop(client);
}

/// What the panels say of themselves.
#[test]
fn every_panel_says_what_it_shows_and_lies_beside_the_others() {
    let dashboard = queries::dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: its id is another's");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{title} is wider than the page");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} lies over another panel");
            }
        }
        if panel["type"] != "row" {
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(!description.is_empty(), "{title} has no description");
            assert_eq!(panel["datasource"]["uid"], "prometheus", "{title}");
        }
    }
    let source = text_of("deploy/grafana/provisioning/datasources/prometheus.yaml");
    assert!(source.contains("uid: prometheus"), "the data source that the panels name");
}
