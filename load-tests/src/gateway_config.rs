//! The `gateway.toml` that all scenarios share.
//!
//! In:  where the backend listens; what a scenario wants otherwise; the command of a worker.
//! Out: the file's text.
//!
//! Holds always: nothing in it can throttle, refuse or close a load client within a run, but a
//! bound that the scenario has asked for.

use std::{net::SocketAddr, time::Duration};

/// What differs between scenarios.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) backend: SocketAddr,
    pub(crate) max_in_flight: usize,
    /// Upgrades that a node takes in a second; all of them where there is no bound.
    pub(crate) new_connections_per_s: Option<u32>,
    /// Whether the backend hears of each connection's beginning and end, and how many of these
    /// calls it works on at once.
    pub(crate) lifecycle_calls_in_flight: Option<u32>,
    /// The Redis that nodes share, and their lease.
    pub(crate) redis: Option<(String, Duration)>,
}

impl Settings {
    /// One node without bounds.
    pub(crate) fn new(backend: SocketAddr) -> Self {
        Self {
            backend,
            max_in_flight: 16,
            new_connections_per_s: None,
            lifecycle_calls_in_flight: None,
            redis: None,
        }
    }
}

/// Stage and api are `s` and `load`: [`crate::client`] and [`crate::post`] ask for `/s`.
pub(crate) fn gateway_toml(settings: &Settings) -> String {
    let Settings { backend, max_in_flight, .. } = settings;
    let new_connections = settings.new_connections_per_s;
    let new_connections =
        new_connections.map_or("\"none\"".to_owned(), |number| number.to_string());
    let calls = settings.lifecycle_calls_in_flight.unwrap_or(256);
    let mut text = format!(
        r#"[listen]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"

[management]
auth = "none"
throttle = "none"

[limits]
connections = 1000000
new_connections_per_s = {new_connections}
lifecycle_calls_in_flight = {calls}
max_connection_s = "none"
max_message_bytes = 131072
max_frame_bytes = 32768
max_in_flight = {max_in_flight}

[drain]
deadline_s = 10
spread_s = 1

[apis.load]
protocol = "websocket"
route_selection_expression = "$request.body.action"

[apis.load.stages.s]
throttle = "none"

# Two-way on a mock integration: the message itself is the reply.
[apis.load.integrations.mirror]
type = "mock"
status = 200

[apis.load.routes."$default"]
integration = "mirror"
reply = true

[apis.load.integrations.backend]
type = "http_proxy"
uri = "http://{backend}/reply"
method = "POST"

[apis.load.routes.route]
integration = "backend"
reply = true

# The backend answers with the connection id that the gateway names in a header.
[apis.load.integrations.identify]
type = "http_proxy"
uri = "http://{backend}/id"
method = "POST"

[apis.load.routes.id]
integration = "identify"
reply = true

# The reply shows that the connection is in the group.
[apis.load.integrations.room]
type = "mock"

[apis.load.integrations.room.request_templates]
"$default" = '{{"statusCode": 200}}'

[apis.load.integrations.room.integration_responses."$default"]
response_parameters = {{ "route.response.header.Tidegate-Join" = "'room'" }}
response_templates = {{ "$default" = "joined" }}

[apis.load.routes.join]
integration = "room"
reply = true

[apis.load.integrations.way_out]
type = "mock"

[apis.load.integrations.way_out.request_templates]
"$default" = '{{"statusCode": 200}}'

[apis.load.integrations.way_out.integration_responses."$default"]
response_parameters = {{ "route.response.header.Tidegate-Leave" = "'room'" }}
response_templates = {{ "$default" = "left" }}

[apis.load.routes.leave]
integration = "way_out"
reply = true
"#
    );
    if settings.lifecycle_calls_in_flight.is_some() {
        text += &lifecycle(*backend);
    }
    if let Some((url, lease)) = &settings.redis {
        let lease = lease.as_secs();
        text += &format!("\n[store]\nkind = \"redis\"\nurl = \"{url}\"\nnode_lease_s = {lease}\n");
    }
    text
}

/// The backend is asked about each connection and told of its end.
fn lifecycle(backend: SocketAddr) -> String {
    format!(
        r#"
[apis.load.integrations.beginning]
type = "http_proxy"
uri = "http://{backend}/connect"
method = "POST"

[apis.load.routes."$connect"]
integration = "beginning"

[apis.load.integrations.ending]
type = "http_proxy"
uri = "http://{backend}/disconnect"
method = "POST"

[apis.load.routes."$disconnect"]
integration = "ending"
"#
    )
}

/// What stands behind it where a local function is measured: with one, the gateway also keeps an
/// authority and a worker, which are no part of the other figures.
pub(crate) fn local_function(command: &[String]) -> String {
    // A JSON array of strings is a TOML array of strings.
    let command = serde_json::json!(command);
    format!(
        r#"
[functions.echo]
command = {command}
min_workers = 1
max_workers = 1

[apis.load.integrations.worker]
type = "aws_proxy"
function = "echo"

[apis.load.routes.local]
integration = "worker"
reply = true

# The worker answers with its own time.
[apis.load.routes.times]
integration = "worker"
reply = true
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_toml_with_every_route_the_backend_and_the_worker_in_it() {
        let backend = SocketAddr::from(([127, 0, 0, 1], 4321));
        let command = ["/a \"b\"/load-tests".to_owned(), "worker".to_owned()];
        let settings = Settings { max_in_flight: 32, ..Settings::new(backend) };
        let text = gateway_toml(&settings) + &local_function(&command);
        let file: toml::Table = text.parse().expect("toml");
        let api = &file["apis"]["load"];
        assert_eq!(
            api["integrations"]["backend"]["uri"].as_str(),
            Some("http://127.0.0.1:4321/reply")
        );
        assert_eq!(file["limits"]["max_in_flight"].as_integer(), Some(32));
        let routes = api["routes"].as_table().expect("routes");
        let keys = ["$default", "id", "join", "leave", "local", "route", "times"];
        assert_eq!(routes.keys().collect::<Vec<_>>(), keys);
        let function = api["integrations"]["worker"]["function"].as_str().expect("a name");
        let worker = file["functions"][function]["command"].as_array().expect("a command");
        assert_eq!(worker.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>(), command);
        for (key, route) in routes {
            assert_eq!(route["reply"].as_bool(), Some(true), "{key} must answer");
            let integration = route["integration"].as_str().expect("a name");
            assert!(api["integrations"].get(integration).is_some(), "{key} leads nowhere");
        }
    }

    #[test]
    fn what_a_cluster_needs_stands_in_its_file() {
        let settings = Settings {
            new_connections_per_s: Some(7),
            lifecycle_calls_in_flight: Some(5),
            redis: Some(("redis://127.0.0.1:10001".to_owned(), Duration::from_secs(3))),
            ..Settings::new(SocketAddr::from(([127, 0, 0, 1], 4321)))
        };
        let file: toml::Table = gateway_toml(&settings).parse().expect("toml");
        assert_eq!(file["limits"]["new_connections_per_s"].as_integer(), Some(7));
        assert_eq!(file["limits"]["lifecycle_calls_in_flight"].as_integer(), Some(5));
        assert_eq!(file["store"]["url"].as_str(), Some("redis://127.0.0.1:10001"));
        assert_eq!(file["store"]["node_lease_s"].as_integer(), Some(3));
        let routes = file["apis"]["load"]["routes"].as_table().expect("routes");
        for (route, path) in [("$connect", "connect"), ("$disconnect", "disconnect")] {
            let integration = routes[route]["integration"].as_str().expect("a name");
            let integration = &file["apis"]["load"]["integrations"][integration];
            let uri = format!("http://127.0.0.1:4321/{path}");
            assert_eq!(integration["uri"].as_str(), Some(&uri[..]));
        }
    }
}
