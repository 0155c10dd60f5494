//! The `gateway.toml` that all scenarios share.
//!
//! In:  where the backend listens; the command of a worker. Out: the file's text.
//!
//! Holds always: nothing in it can throttle, refuse or close a load client within a run.

use std::net::SocketAddr;

/// Stage and api are `s` and `load`: [`crate::client`] and [`crate::post`] ask for `/s`.
pub(crate) fn gateway_toml(backend: SocketAddr, max_in_flight: usize) -> String {
    format!(
        r#"[listen]
address = "127.0.0.1:0"

[admin]
address = "127.0.0.1:0"

[management]
auth = "none"
throttle = "none"

[limits]
connections = 1000000
new_connections_per_s = "none"
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
        let text = gateway_toml(backend, 32) + &local_function(&command);
        let file: toml::Table = text.parse().expect("toml");
        let api = &file["apis"]["load"];
        assert_eq!(
            api["integrations"]["backend"]["uri"].as_str(),
            Some("http://127.0.0.1:4321/reply")
        );
        assert_eq!(file["limits"]["max_in_flight"].as_integer(), Some(32));
        let routes = api["routes"].as_table().expect("routes");
        let keys = ["$default", "id", "join", "local", "route", "times"];
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
}
