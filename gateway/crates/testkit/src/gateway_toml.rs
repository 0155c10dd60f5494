//! Writing the `gateway.toml` of a test: one api `test` with a stage `prod`, and what it needs.
//!
//! In:  integrations, routes and settings, in any order. Out: the file's text.
//!
//! Holds always: the ports are free loopback ports, the rate of new connections is unlimited and
//! management calls are unsigned, until the test says otherwise.

use std::{collections::BTreeMap, path::Path};

/// A file under construction. Values that end in `_toml` are TOML text, others are quoted here.
#[derive(Debug, Clone)]
pub struct GatewayToml {
    /// Table name to key to TOML value.
    tables: BTreeMap<String, BTreeMap<String, String>>,
    extra: String,
}

impl Default for GatewayToml {
    fn default() -> Self {
        Self::new()
    }
}

impl GatewayToml {
    /// The common ground: api `test`, stage `prod`, selection by `$request.body.action`.
    pub fn new() -> Self {
        let empty = Self { tables: BTreeMap::new(), extra: String::new() };
        empty
            .set("listen", "address", r#""127.0.0.1:0""#)
            .set("admin", "address", r#""127.0.0.1:0""#)
            .set("management", "auth", r#""none""#)
            .set("limits", "new_connections_per_s", r#""none""#)
            .set("apis.test", "protocol", r#""websocket""#)
            .stage("prod")
            .expression("$request.body.action")
    }

    /// Sets one key of one table: `set("limits", "idle_timeout_s", "1")`. The table's name and the
    /// value are TOML; the last word holds.
    pub fn set(mut self, table: &str, key: &str, value_toml: &str) -> Self {
        self.tables.entry(table.to_owned()).or_default().insert(quoted(key), value_toml.to_owned());
        self
    }

    /// Takes one key out again.
    pub fn unset(mut self, table: &str, key: &str) -> Self {
        if let Some(keys) = self.tables.get_mut(table) {
            keys.remove(&quoted(key));
        }
        self
    }

    /// The api's route selection expression.
    pub fn expression(self, expression: &str) -> Self {
        self.set("apis.test", "route_selection_expression", &quoted(expression))
    }

    /// One more stage.
    pub fn stage(mut self, name: &str) -> Self {
        self.tables.entry(format!("apis.test.stages.{}", quoted(name))).or_default();
        self
    }

    /// A variable of stage `prod`.
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.set(r#"apis.test.stages."prod".variables"#, name, &quoted(value))
    }

    /// The node shares a Redis with others: a single server's url, or those of a cluster. A node is
    /// dead after 2 s, the least that may be.
    pub fn redis(self, urls: &[String]) -> Self {
        let url = match urls {
            [only] => quoted(only),
            several => format!(
                "[{}]",
                several.iter().map(|url| quoted(url)).collect::<Vec<_>>().join(", ")
            ),
        };
        self.set("store", "kind", r#""redis""#).set("store", "url", &url).set(
            "store",
            "node_lease_s",
            "2",
        )
    }

    /// A key of `[limits]`.
    pub fn limit(self, key: &str, value_toml: &str) -> Self {
        self.set("limits", key, value_toml)
    }

    /// A key of `[apis.test]`.
    pub fn api(self, key: &str, value_toml: &str) -> Self {
        self.set("apis.test", key, value_toml)
    }

    /// An `aws_proxy` integration that POSTs events to `uri`.
    pub fn function(self, name: &str, uri: &str) -> Self {
        self.integration(name, "type", r#""aws_proxy""#).integration(name, "uri", &quoted(uri))
    }

    /// `[functions.NAME]`, started in `directory`, and an `aws_proxy` integration of the same name
    /// that invokes it.
    pub fn local_function(self, name: &str, command: &[&str], directory: &Path) -> Self {
        let command: Vec<_> = command.iter().map(|argument| quoted(argument)).collect();
        let directory = directory.to_str().expect("a folder whose path is text");
        self.local_function_key(name, "command", &format!("[{}]", command.join(", ")))
            .local_function_key(name, "directory", &quoted(directory))
            .integration(name, "type", r#""aws_proxy""#)
            .integration(name, "function", &quoted(name))
    }

    /// One key of a local function: `local_function_key("f", "timeout_ms", "100")`.
    pub fn local_function_key(self, name: &str, key: &str, value_toml: &str) -> Self {
        self.set(&format!("functions.{}", quoted(name)), key, value_toml)
    }

    /// An `http_proxy` integration that POSTs messages to `uri`.
    pub fn http_proxy(self, name: &str, uri: &str) -> Self {
        self.integration(name, "type", r#""http_proxy""#)
            .integration(name, "uri", &quoted(uri))
            .integration(name, "method", r#""POST""#)
    }

    /// A `mock` integration that answers a message with itself.
    pub fn echo(self, name: &str) -> Self {
        self.integration(name, "type", r#""mock""#).integration(name, "status", "200")
    }

    /// A `mock` integration without anything yet; it needs a request template.
    pub fn mock(self, name: &str) -> Self {
        self.integration(name, "type", r#""mock""#)
    }

    /// An `http` integration that POSTs what its templates make to `uri`.
    pub fn http(self, name: &str, uri: &str) -> Self {
        self.integration(name, "type", r#""http""#).integration(name, "uri", &quoted(uri))
    }

    /// An `aws` integration.
    pub fn aws(self, name: &str, uri: &str) -> Self {
        self.integration(name, "type", r#""aws""#).integration(name, "uri", &quoted(uri))
    }

    /// Where a service of AWS is, and the key `AKIDTEST` with the secret `test` to sign with.
    pub fn service(self, name: &str, url: &str) -> Self {
        self.set("aws.endpoints", name, &quoted(url))
            .set("aws.credentials.default", "access_key_id", r#""AKIDTEST""#)
            .set("aws.credentials.default", "secret_access_key", r#""test""#)
    }

    /// A request template by its key.
    pub fn request_template(self, integration: &str, key: &str, template: &str) -> Self {
        let table = format!("apis.test.integrations.{}.request_templates", quoted(integration));
        self.set(&table, key, &quoted(template))
    }

    /// One key of an integration response, which this also adds: `response("f", r"/4\d\d/",
    /// "template_selection_expression", r#""$default""#)`.
    pub fn response(self, integration: &str, response: &str, key: &str, value_toml: &str) -> Self {
        let table = response_table(integration, response);
        self.set(&table, key, value_toml)
    }

    /// A response template by the keys of its integration response and of itself.
    pub fn response_template(
        mut self,
        integration: &str,
        response: &str,
        key: &str,
        template: &str,
    ) -> Self {
        let table = response_table(integration, response);
        self.tables.entry(table.clone()).or_default();
        self.set(&format!("{table}.response_templates"), key, &quoted(template))
    }

    /// One key of an integration: `integration("f", "timeout_ms", "100")`.
    pub fn integration(self, name: &str, key: &str, value_toml: &str) -> Self {
        self.set(&format!("apis.test.integrations.{}", quoted(name)), key, value_toml)
    }

    /// A mapped parameter: `parameter("f", "integration.request.header.id", "context.connectionId")`.
    pub fn parameter(self, integration: &str, target: &str, source: &str) -> Self {
        let table = format!("apis.test.integrations.{}.request_parameters", quoted(integration));
        self.set(&table, target, &quoted(source))
    }

    /// A one-way route.
    pub fn route(self, key: &str, integration: &str) -> Self {
        self.route_key(key, "integration", &quoted(integration))
    }

    /// A route whose integration's answer goes back to the client.
    pub fn two_way(self, key: &str, integration: &str) -> Self {
        self.route(key, integration).route_key(key, "reply", "true")
    }

    /// One key of a route: `route_key("$connect", "throttle", "{ rate = 0, burst = 0 }")`.
    pub fn route_key(self, route: &str, key: &str, value_toml: &str) -> Self {
        self.set(&format!("apis.test.routes.{}", quoted(route)), key, value_toml)
    }

    /// Management calls must be signed with this key.
    pub fn signed(self, access_key_id: &str, secret_access_key: &str) -> Self {
        self.set("management", "auth", r#""sigv4""#).section(&format!(
            "[[management.credentials]]\naccess_key_id = {}\nsecret_access_key = {}\n",
            quoted(access_key_id),
            quoted(secret_access_key)
        ))
    }

    /// Raw TOML after everything else: whole tables only.
    pub fn section(mut self, toml: &str) -> Self {
        self.extra += toml;
        self.extra += "\n";
        self
    }

    /// The file's text.
    pub fn build(&self) -> String {
        let mut text = String::new();
        for (table, keys) in &self.tables {
            text += &format!("[{table}]\n");
            for (key, value) in keys {
                text += &format!("{key} = {value}\n");
            }
            text.push('\n');
        }
        text + &self.extra
    }
}

fn response_table(integration: &str, response: &str) -> String {
    let integration = quoted(integration);
    format!("apis.test.integrations.{integration}.integration_responses.{}", quoted(response))
}

/// A TOML basic string. JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_what_was_asked_for_and_nothing_twice() {
        let text = GatewayToml::new()
            .function("f", "http://127.0.0.1:1/x")
            .two_way("$default", "f")
            .variable("host", "h:1")
            .limit("idle_timeout_s", "3")
            .limit("idle_timeout_s", "4")
            .expression(r"\$default")
            .section("[drain]\nspread_s = 1")
            .build();
        for line in [
            "[limits]\n\"idle_timeout_s\" = 4\n\"new_connections_per_s\" = \"none\"\n",
            "[apis.test.routes.\"$default\"]\n\"integration\" = \"f\"\n\"reply\" = true\n",
            "[apis.test.stages.\"prod\"]\n\n[apis.test.stages.\"prod\".variables]\n\"host\" = \"h:1\"\n",
            "\"route_selection_expression\" = \"\\\\$default\"\n",
            "[drain]\nspread_s = 1\n",
        ] {
            assert!(text.contains(line), "{line}\nis missing in\n{text}");
        }
    }
}
