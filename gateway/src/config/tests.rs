//! What an operator sees of a configuration, good and bad.

use std::{fs, num::NonZeroU32, path::Path, time::Duration};

use proptest::prelude::*;
use tidegate_model::{Management, PostDuringConnect, SlowClient, Store, Throttle};

mod authorizers;
mod aws_and_functions;
mod integrations;
mod models;
mod overrides;
mod secrets;
mod store;
mod tracing;
mod usage;

use super::{
    Loaded, Overrides, Problems, load, parse, parse_among,
    reference::{FULL, SMALL, reference_page},
    report::Report,
    schema::json_schema,
    sections, summary,
    surroundings::Surroundings,
};

/// The small example with `to` for `from`.
fn small(from: &str, to: &str) -> Result<Loaded, Problems> {
    assert!(SMALL.contains(from), "{from}");
    parse(&SMALL.replace(from, to), Path::new("."), "gateway.toml")
}

/// The small example with `more` after it.
fn and(more: &str) -> Result<Loaded, Problems> {
    parse(&format!("{SMALL}{more}\n"), Path::new("."), "gateway.toml")
}

/// The small example with `more` before it, at line 1.
fn with(more: &str) -> Result<Loaded, Problems> {
    parse(&format!("{more}\n{SMALL}"), Path::new("."), "gateway.toml")
}

fn lines(result: Result<Loaded, Problems>) -> Vec<String> {
    let problems = result.expect_err("problems");
    problems.iter().map(ToString::to_string).collect()
}

/// The one problem's key and message.
fn problem(result: Result<Loaded, Problems>) -> (String, String) {
    let problems = result.expect_err("a problem");
    assert_eq!(problems.iter().len(), 1, "{problems}");
    let one = problems.iter().next().unwrap();
    (one.key.clone(), one.message.clone())
}

fn loaded(result: Result<Loaded, Problems>) -> Loaded {
    result.unwrap_or_else(|problems| panic!("{problems}"))
}

/// A folder with the files that the full example names.
fn example_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["cert.pem", "key.pem", "ca.pem"] {
        fs::write(folder.path().join(name), "").unwrap();
    }
    fs::write(folder.path().join("next-secret"), "from-file\r\n").unwrap();
    fs::write(folder.path().join("redis-url"), "redis://10.0.0.13:6379\n").unwrap();
    fs::write(folder.path().join("room.vtl"), "{\"text\": $input.json('$')}\n").unwrap();
    fs::write(folder.path().join("room.schema.json"), r#"{"type": "string"}"#).unwrap();
    fs::create_dir_all(folder.path().join("functions/rooms")).unwrap();
    folder
}

fn parse_full(text: &str, folder: &Path) -> Result<Loaded, Problems> {
    parse_full_with(text, &Overrides::default(), folder)
}

fn parse_full_with(text: &str, overrides: &Overrides, folder: &Path) -> Result<Loaded, Problems> {
    let known = [
        "TIDEGATE_SECRET",
        "TIDEGATE_SESSION_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "ROOMS_TOKEN",
        "PARTNER_API_KEY",
        "DEVICE_SECRET",
        "OTLP_AUTHORIZATION",
    ];
    let long_enough = "from-the-environment";
    let variable = |name: &str| match name {
        "TIDEGATE_REDIS_URL" => Some("redis://:hunter2@10.0.0.12:6379".to_owned()),
        name => known.contains(&name).then(|| long_enough.to_owned()),
    };
    parse_among(text, "gateway.toml", overrides, &Surroundings::new(folder, &variable))
}

#[test]
fn ten_mistakes_are_ten_problems_each_with_its_line_and_key() {
    let text = r#"[listen]
address = "localhost:8080"
[limits]
max_conection_s = 60
max_message_bytes = "128k"
connections = 0
slow_client = "drop"
[apis.chat]
route_selection_expression = "${request.body.action"
domains = ["chat.example.com", "not a host"]
[apis.chat.stages.prod]
throttle = { rate = -1, burst = 5 }
[apis.chat.integrations.backend]
type = "http_proxy"
uri = "http://${stageVariables.host}/"
timeout_ms = 30000
[apis.chat.routes."$connect"]
integration = "bakend"
"#;
    let expected = r#"
gateway.toml:2: listen.address: "localhost:8080" is no address: an IP address and a port such as 127.0.0.1:8080 or [::]:8080
gateway.toml:4: limits.max_conection_s: unknown key, did you mean `max_connection_s`?
gateway.toml:5: limits.max_message_bytes: expected an integer, found a string
gateway.toml:6: limits.connections: 0 is an error, "none" lifts it
gateway.toml:7: limits.slow_client: expected "close", "drop_oldest" or "drop_newest", found "drop"
gateway.toml:9: apis.chat.route_selection_expression: `${` at character 1 has no closing `}`
gateway.toml:10: apis.chat.domains[1]: `not a host` is no domain: a host name such as chat.example.com or *.example.com
gateway.toml:12: apis.chat.stages.prod.throttle.rate: expected a finite number of at least 0, found -1
gateway.toml:15: apis.chat.integrations.backend.uri: in stage prod: `http://${stageVariables.host}/` needs the stage variable `host`, which the stage does not define
gateway.toml:16: apis.chat.integrations.backend.timeout_ms: expected 50 to 29000, found 30000
gateway.toml:18: apis.chat.routes."$connect".integration: there is no integration "bakend", did you mean `backend`?"#;
    let problems = parse(text, Path::new("."), "gateway.toml").expect_err("problems");
    assert_eq!(format!("\n{problems}"), expected);
}

#[test]
fn an_unknown_key_suggests_the_one_meant_or_lists_those_known() {
    let (key, message) = problem(with("[drain]\ndeadlin_s = 3\nspread_s = 1"));
    assert_eq!(
        (key.as_str(), message.as_str()),
        ("drain.deadlin_s", "unknown key, did you mean `deadline_s`?")
    );
    let (key, message) = problem(with("[admin]\ncolour = 3"));
    assert_eq!(
        (key.as_str(), message.as_str()),
        ("admin.colour", "unknown key, known here: address")
    );
}

#[test]
fn what_a_later_version_takes_is_not_called_a_mistake() {
    let text = SMALL.replace("reply = true", "reply = true\nroute_responses = 1");
    let text = format!("{text}\n[vpc_links.x]\n");
    let problems = parse(&text, Path::new("."), "f").expect_err("problems");
    assert_eq!(problems.iter().len(), 2, "{problems}");
    for problem in problems.iter() {
        assert_eq!(problem.message, "is not supported yet by this version", "{problem}");
    }
}

#[test]
fn a_value_that_a_later_version_takes_says_so() {
    for line in ["protocol = \"rest\"", "compression = \"permessage-deflate\""] {
        let text = SMALL.replace("[apis.chat]\n", &format!("[apis.chat]\n{line}\n"));
        let (_, message) = problem(parse(&text, Path::new("."), "f"));
        assert!(message.contains("not supported yet by this version"), "{message}");
    }
}

#[test]
fn a_misspelt_or_broken_piece_is_reported_once_and_nothing_that_follows_from_it() {
    // No "missing route_selection_expression", no "there are no routes", no "no integration".
    let misspelt = SMALL
        .replace("route_selection_expression", "route_selection_expresion")
        .replace("apis.chat.routes.", "apis.chat.route.")
        .replace("apis.chat.integrations.", "apis.chat.integration.");
    let keys: Vec<_> = parse(&misspelt, Path::new("."), "f")
        .expect_err("problems")
        .iter()
        .map(|problem| problem.key.clone())
        .collect();
    assert_eq!(
        keys,
        ["apis.chat.route_selection_expresion", "apis.chat.integration", "apis.chat.route"]
    );
    // A stage variable of the wrong type: its uri is not blamed.
    let text = SMALL
        .replace("[apis.chat.stages.prod]", "[apis.chat.stages.prod]\nvariables = { port = 3000 }")
        .replace(":3000/", ":${stageVariables.port}/");
    assert_eq!(
        problem(parse(&text, Path::new("."), "f")).0,
        "apis.chat.stages.prod.variables.port"
    );
    // An integration that is no table is still one that routes may name.
    let text = SMALL
        .replace("[apis.chat.integrations.backend]\n", "[apis.chat.integrations]\n")
        .replace("type = \"http_proxy\"\nuri = ", "backend = ");
    let (key, message) = problem(parse(&text, Path::new("."), "f"));
    assert_eq!(
        (key.as_str(), message.as_str()),
        ("apis.chat.integrations.backend", "expected a table, found a string")
    );
    // Two figures or addresses are not compared where one of them is the default's stand-in.
    for text in [
        "[drain]\ndeadline_s = \"1m\"\nspread_s = 40",
        "[drain]\ndeadlin_s = 60\nspread_s = 40",
        "[listen]\naddress = 8080\n[admin]\naddress = \"127.0.0.1:8080\"",
        "[listn]\naddress = \"127.0.0.1:1\"\n[admin]\naddress = \"127.0.0.1:8080\"",
    ] {
        problem(with(text));
    }
}

#[test]
fn what_must_be_there_is_named_when_it_is_not() {
    assert_eq!(
        lines(parse("", Path::new("."), "gateway.toml")),
        ["gateway.toml:1: apis: is missing, expected a table such as [apis.<id>]"]
    );
    assert_eq!(
        lines(parse("\n[apis]", Path::new("."), "gateway.toml")),
        ["gateway.toml:2: apis: there are none, a gateway needs one at least"]
    );
    assert_eq!(
        lines(parse("\n[apis.chat]", Path::new("."), "gateway.toml")),
        [
            "gateway.toml:2: apis.chat.route_selection_expression: is missing, expected a string",
            "gateway.toml:2: apis.chat.stages: is missing, expected a table such as [apis.chat.stages.<name>]",
            "gateway.toml:2: apis.chat.routes: is missing, expected a table such as [apis.chat.routes.<key>]",
        ]
    );
    let text = SMALL.replace("uri = \"http://127.0.0.1:3000/messages\"\n", "");
    let expected = "apis.chat.integrations.backend.uri";
    assert_eq!(problem(parse(&text, Path::new("."), "f")).0, expected);
    let text = SMALL.replace("type = \"http_proxy\"\n", "");
    let (key, message) = problem(parse(&text, Path::new("."), "f"));
    assert_eq!(key, "apis.chat.integrations.backend.type");
    assert_eq!(
        message,
        r#"is missing, expected "http_proxy", "http", "aws_proxy", "aws" or "mock""#
    );
}

#[test]
fn text_that_is_not_toml_names_line_and_column() {
    let line = &lines(with("\n[listen]\naddress = "))[0];
    assert!(line.starts_with("gateway.toml:3: column 11: "), "{line}");
    let line = &lines(with("[listen]\n[listen]"))[0];
    assert!(line.starts_with("gateway.toml:2: column "), "{line}");
    assert!(lines(with("[a"))[0].contains("expected"), "what would be right is said");
}

#[test]
fn defaults_are_api_gateways_quotas() {
    let configuration = loaded(with("")).configuration;
    let limits = &configuration.limits;
    assert_eq!(limits.max_message_bytes, 128 * 1024);
    assert_eq!(limits.max_frame_bytes, 32 * 1024);
    assert_eq!(limits.idle_timeout, Duration::from_mins(10));
    assert_eq!(limits.max_connection, Some(Duration::from_hours(2)));
    assert_eq!(limits.new_connections_per_s, NonZeroU32::new(500));
    let api = &configuration.apis[0];
    assert_eq!(api.stages[0].throttle, Some(Throttle { rate: 10_000.0, burst: 5_000 }));
    assert_eq!(api.integrations[0].timeout, Duration::from_secs(29));
}

#[test]
fn the_other_defaults_are_those_of_the_contract() {
    let Loaded { configuration, warnings } = loaded(with(""));
    let limits = &configuration.limits;
    assert_eq!(configuration.listen.address.to_string(), "127.0.0.1:8080");
    assert_eq!(configuration.admin.to_string(), "127.0.0.1:8081");
    assert!(configuration.listen.tls.is_none());
    assert_eq!(limits.send_queue_bytes, 1_048_576);
    assert_eq!(limits.slow_client, SlowClient::Close);
    assert_eq!(limits.max_in_flight.get(), 16);
    assert_eq!(limits.lifecycle_calls_in_flight.get(), 256);
    assert_eq!(limits.handshake_timeout, Duration::from_secs(10));
    assert_eq!(limits.connections, NonZeroU32::new(1_000_000));
    assert_eq!(limits.connections_per_ip, None);
    assert_eq!(configuration.drain.deadline, Duration::from_secs(30));
    assert_eq!(configuration.drain.spread, Duration::from_secs(20));
    assert_eq!(configuration.store, Store::Memory);
    let api = &configuration.apis[0];
    assert_eq!(api.post_during_connect, PostDuringConnect::Held);
    assert!(api.allowed_origins.is_none() && api.integrations[0].context_headers);
    // Nobody can call the management API, which starts all the same.
    assert!(matches!(&configuration.management, Management::SigV4(keys) if keys.is_empty()));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("management.credentials"), "{warnings:?}");
}

#[test]
fn limits_are_lifted_by_none_where_that_is_allowed() {
    let limits = loaded(with(
        "[limits]\nmax_connection_s = \"none\"\nconnections = \"none\"\n\
         new_connections_per_s = \"none\"\nconnections_per_ip = 7",
    ))
    .configuration
    .limits;
    assert_eq!(limits.max_connection, None);
    assert_eq!((limits.connections, limits.new_connections_per_s), (None, None));
    assert_eq!(limits.connections_per_ip, NonZeroU32::new(7));
    let (_, message) = problem(with("[limits]\nidle_timeout_s = \"none\""));
    assert_eq!(message, "expected an integer, found a string");
    let (_, message) = problem(with("[limits]\nmax_connection_s = \"never\""));
    assert_eq!(message, "expected an integer or \"none\", found \"never\"");
    let (_, message) = problem(with("[limits]\nmax_connection_s = 0"));
    assert_eq!(message, "0 is an error, \"none\" lifts it");
    let (_, message) = problem(with("[limits]\nidle_timeout_s = 0"));
    assert_eq!(message, "expected 1 to 4294967295, found 0");
    let text = SMALL.replace("stages.prod]", "stages.prod]\nthrottle = \"none\"");
    let configuration = loaded(parse(&text, Path::new("."), "f")).configuration;
    assert_eq!(configuration.apis[0].stages[0].throttle, None);
}

#[test]
fn a_throttle_of_zero_is_kept_and_one_that_is_no_number_is_not() {
    let throttle = |text: &str| {
        let text = SMALL.replace("stages.prod]", &format!("stages.prod]\nthrottle = {text}"));
        parse(&text, Path::new("."), "f")
    };
    let configuration = loaded(throttle("{ rate = 0, burst = 0 }")).configuration;
    assert_eq!(configuration.apis[0].stages[0].throttle, Some(Throttle { rate: 0.0, burst: 0 }));
    for rate in ["nan", "-0.5", "inf", "\"1\"", "true"] {
        let (key, _) = problem(throttle(&format!("{{ rate = {rate}, burst = 1 }}")));
        assert_eq!(key, "apis.chat.stages.prod.throttle.rate", "{rate}");
    }
    assert_eq!(problem(throttle("{ rate = 1 }")).0, "apis.chat.stages.prod.throttle.burst");
}

#[test]
fn management_calls_have_api_gateways_quota_unless_another_is_written() {
    let throttle = |text: &str| with(&format!("[management]\n{text}"));
    let of = |text| loaded(throttle(text)).configuration.management_throttle;
    assert_eq!(of(""), Some(Throttle { rate: 10_000.0, burst: 5_000 }));
    assert_eq!(of("throttle = { rate = 0, burst = 1 }"), Some(Throttle { rate: 0.0, burst: 1 }));
    assert_eq!(of("throttle = \"none\""), None);
    assert_eq!(problem(throttle("throttle = { rate = 1 }")).0, "management.throttle.burst");
    assert_eq!(problem(throttle("throttle = 5")).0, "management.throttle");
}

const KEY: &str =
    "[[management.credentials]]\naccess_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = ";

#[test]
fn an_access_key_is_given_once_and_counted_as_the_file_has_it() {
    // Item 0 is dropped for its type; the others keep their places in the messages.
    let text = format!(
        "[management]\ncredentials = [\n7,\n{{ access_key_id = \"A\", secret_access_key = \"x\" }},\n\
         {{ access_key_id = \"A\", secret_access_key = \"y\" }},\n]\n{SMALL}"
    );
    assert_eq!(
        lines(parse(&text, Path::new("."), "f")),
        [
            "f:3: management.credentials[0]: expected a table, found an integer",
            "f:5: management.credentials[2].access_key_id: \"A\" is given twice, first on line 4",
        ]
    );
}

#[test]
fn a_path_of_a_custom_domain_leads_to_one_stage() {
    let api = |id: &str, mappings: &str| {
        SMALL
            .replace("chat", id)
            .replace("action\"\n", &format!("action\"\napi_mappings = [{mappings}]\n"))
    };
    let mapping = |rest: &str| format!("{{ domain = \"d.example.com\", {rest} }}");
    let good = api(
        "one",
        &[mapping("key = \"v1\", stage = \"prod\""), mapping("stage = \"prod\"")].join(", "),
    );
    let one = &loaded(parse(&good, Path::new("."), "f")).configuration.apis[0];
    let keys: Vec<_> =
        one.mappings.iter().map(|m| m.key.as_ref().map(|key| key.as_str())).collect();
    assert_eq!(keys, [Some("v1"), None]);
    for (mappings, said) in [
        (mapping("key = \"a/b\", stage = \"prod\""), "`a/b` is no mapping key"),
        (mapping("stage = \"prd\""), "there is no stage \"prd\", did you mean `prod`?"),
        (
            [mapping("stage = \"prod\""), mapping("stage = \"prod\"")].join(", "),
            "the rest of `d.example.com` leads to apis.one already",
        ),
        ("{ domain = \"no host\", stage = \"prod\" }".to_owned(), "`no host` is no domain"),
    ] {
        let lines: Vec<_> = lines(parse(&api("one", &mappings), Path::new("."), "f"));
        assert!(lines.len() == 1 && lines[0].contains(said), "{said}: {lines:?}");
    }
    let text = format!(
        "{}{}",
        api("one", &mapping("key = \"v1\", stage = \"prod\"")),
        api("two", &mapping("key = \"v1\", stage = \"prod\""))
            .replace("action\"\n", "action\"\ndomains = [\"d.example.com\"]\n"),
    );
    let lines: Vec<_> = lines(parse(&text, Path::new("."), "f"));
    assert!(
        lines.iter().any(|line| line.contains("`v1` of `d.example.com` leads to apis.one already")),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("is one of the domains of apis.two already")),
        "{lines:?}"
    );
}

#[test]
fn a_domain_leads_to_one_api() {
    let api = |id: &str| {
        SMALL
            .replace("chat", id)
            .replace("action\"\n", "action\"\ndomains = [\"a.example.com\", \"A.example.com\"]\n")
    };
    let text = format!("{}{}", api("one"), api("two"));
    let keys: Vec<_> = lines(parse(&text, Path::new("."), "f"));
    assert_eq!(
        keys,
        [
            "f:3: apis.one.domains[1]: `a.example.com` is given twice",
            "f:22: apis.two.domains[0]: `a.example.com` leads to apis.one already",
            "f:22: apis.two.domains[1]: `a.example.com` is given twice",
        ]
    );
}

#[test]
fn a_route_demands_headers_and_query_parameters_only() {
    let demand = |source: &str| {
        let line = format!("\nrequest_parameters = {{ \"{source}\" = {{ required = true }} }}\n");
        let connect = "routes.\"$connect\"]";
        parse(&SMALL.replace(connect, &format!("{connect}{line}")), Path::new("."), "f")
    };
    let configuration = loaded(demand("route.request.header.X-Token")).configuration;
    let routes = &configuration.apis[0].routes;
    let connect = routes.iter().find(|route| route.key.as_str() == "$connect").unwrap();
    assert!(connect.request_parameters[0].required);
    for bad in ["route.request.body.token", "context.stage", "token"] {
        let (key, _) = problem(demand(bad));
        assert!(key.starts_with("apis.chat.routes.\"$connect\".request_parameters."), "{key}");
    }
}

#[test]
fn names_of_apis_stages_and_routes_are_checked_where_they_stand() {
    let text = SMALL.replace("chat", "Chat").replace("prod", "\"a b\"");
    let text = text.replace("\"$default\"", "\"$other\"");
    let keys: Vec<_> = parse(&text, Path::new("."), "f")
        .expect_err("problems")
        .iter()
        .map(|problem| (problem.line.unwrap(), problem.key.clone()))
        .collect();
    assert_eq!(
        keys,
        [
            (1, "apis.Chat".to_owned()),
            (4, "apis.Chat.stages.\"a b\"".to_owned()),
            (16, "apis.Chat.routes.\"$other\"".to_owned()),
        ]
    );
}

#[test]
fn files_that_the_configuration_names_must_be_there() {
    let folder = example_folder();
    for name in ["cert.pem", "key.pem", "ca.pem", "next-secret", "room.vtl", "room.schema.json"] {
        let text = FULL.replace(name, "absent.pem");
        let (_, message) = problem(parse_full(&text, folder.path()));
        assert!(message.contains("absent.pem: there is no such file"), "{message}");
    }
    let text = FULL.replace("functions/rooms", "functions/absent");
    let (key, message) = problem(parse_full(&text, folder.path()));
    assert_eq!(key, "functions.rooms.directory");
    assert!(message.ends_with("functions/absent is no folder that is there"), "{message}");
    let text = FULL.replace("\"access.log\"", "\"absent/access.log\"");
    let (key, message) = problem(parse_full(&text, folder.path()));
    assert_eq!(key, "apis.chat.stages.prod.access_log.path");
    assert!(message.ends_with("absent is not there"), "{message}");
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = example_folder();
    let configuration = loaded(parse_full(FULL, folder.path())).configuration;
    let tls = configuration.listen.tls.unwrap();
    assert_eq!(tls.certificate, folder.path().join("cert.pem"));
    let mut stages = configuration.apis.iter().flat_map(|api| &api.stages);
    let log = stages.find_map(|stage| stage.access_log.as_ref());
    assert_eq!(log.unwrap().path, folder.path().join("access.log"));
}

#[test]
fn a_file_is_read_with_its_own_name_and_folder() {
    let folder = example_folder();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, format!("{KEY}{{ file = \"next-secret\" }}\n{SMALL}")).unwrap();
    let load = |path: &Path| load(path, &Overrides::default());
    loaded(load(&path));
    fs::write(&path, "x = 1").unwrap();
    assert!(lines(load(&path))[0].starts_with(&format!("{}:1: ", path.display())));
    fs::write(&path, b"# caf\xc3\xa9\n\xff").unwrap();
    assert_eq!(
        lines(load(&path)),
        [format!("{}:2: is not UTF-8 text, which TOML is", path.display())]
    );
    let absent = folder.path().join("absent.toml");
    assert_eq!(
        lines(load(&absent)),
        [format!("{}: cannot be read: there is no such file", absent.display())]
    );
}

#[test]
fn what_is_allowed_and_odd_is_a_warning_with_its_line() {
    let text = "[management]\nauth = \"none\"\n[limits]\nsend_queue_bytes = 1024\n".to_owned()
        + SMALL
        + "[apis.chat.integrations.spare]\ntype = \"mock\"\nstatus = 200\n";
    let text = text.replace("$connect\"]", "$connect\"]\nreply = true");
    let warnings = loaded(parse(&text, Path::new("."), "f")).warnings;
    assert_eq!(
        warnings,
        [
            "f:4: limits.send_queue_bytes: less than max_message_bytes (131072), so the largest messages can never be sent",
            "f:15: apis.chat.routes.\"$connect\".reply: no message runs this route, nothing replies",
            "f:24: apis.chat.integrations.spare: no route uses it",
        ]
    );
}

#[test]
fn two_listeners_do_not_share_an_address() {
    let (key, _) = problem(with("[admin]\naddress = \"127.0.0.1:8080\""));
    assert_eq!(key, "admin.address");
    loaded(with("[admin]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"127.0.0.1:0\""));
}

#[test]
fn a_drain_spreads_over_less_than_its_deadline() {
    assert_eq!(problem(with("[drain]\nspread_s = 30")).0, "drain.spread_s");
    loaded(with("[drain]\ndeadline_s = 60\nspread_s = 30"));
}

#[test]
fn the_summary_tells_what_is_served_and_what_is_unusual() {
    let folder = example_folder();
    let configuration = loaded(parse_full(FULL, folder.path())).configuration;
    let log = folder.path().join("access.log");
    let text = summary(&configuration).replace(&log.display().to_string(), "access.log");
    let text = text.replace(&folder.path().display().to_string(), "/srv");
    let expected = r#"
listen      0.0.0.0:8443, https and wss, client certificates required
admin       127.0.0.1:8081
management  signed by AKIDEXAMPLE, AKIDNEXT; 1000/s, burst 500
store       redis cluster at 10.0.0.11:6379, 10.0.0.12:6379, 10.0.0.13:6379, prefix tidegate, lease 10 s
limits      max_connection_s = none (default 7200)
            slow_client = drop_oldest (default close)
            connections_per_ip = 1000 (default none)
traces      https://collector.example.com:4318/v1/traces, ratio 0.1, as tidegate
aws         region eu-west-1, account 123456789012
            credentials default, queues
            lambda at http://127.0.0.1:9001/
            sqs at https://queues.example.com/local
functions
  rooms  1 to 10 workers  /srv/functions/rooms  watched
api keys
  partner
usage plans
  partners  chat/prod, chat/beta, alerts/prod  keys partner  10/s, burst 5; 10000 a day

api alerts
  selects by  $request.body.action
  hosts       alerts.localhost, alerts.execute-api.*
  besides     api keys come from the authorizer
  stages
    /prod  10000/s, burst 5000
  routes
    $connect  → nothing   authorizer who, api key required
    $default  → function
  authorizers
    who  request  decide
  integrations
    decide    aws_proxy  POST  arn:aws:lambda:eu-west-1:123456789012:function:who:${stageVariables.alias}
    function  aws_proxy  POST  http://127.0.0.1:9000/function

api chat
  selects by  ${request.body.service}/${request.body.action}
  hosts       chat.example.com, *.chat.example.com, chat.localhost, chat.execute-api.*
  besides     binary messages go to $default; only the allowed origins
  models      Join, Room
  stages
    /beta  unthrottled
    /prod  10000/s, burst 5000  logs to access.log
  routes
    $connect     → backend  authorizer token, api key required, demands parameters
    $default     → rooms    two-way
    $disconnect  → backend
    chat/join    → room     100/s, burst 20, checks messages
    chat/ping    → echo     two-way
    chat/send    → queue
    chat/time    → time     two-way
  authorizers
    token  jwt  https://id.example.com
  integrations
    backend  http_proxy  POST  http://127.0.0.1:3000/messages  in beta
                               http://10.0.0.7:3000/messages  in prod
    echo     mock              200
    queue    aws         POST  arn:aws:apigateway:eu-west-1:sqs:path/123456789012/messages
    room     http        PUT   unix:/run/rooms.sock:/rooms/{room}
    rooms    aws_proxy   POST  function rooms
    time     mock              answered by templates

api devices
  selects by  $request.body.action
  hosts       devices.localhost, devices.execute-api.*
  stages
    /prod  10000/s, burst 5000
  routes
    $connect  → nothing  authorizer signed
  authorizers
    signed  iam  signed by AKIDDEVICE
"#;
    assert_eq!(format!("\n{text}"), expected);
}

/// The chat example is what `tidegate demo` serves and what newcomers copy.
#[test]
fn the_chat_example_is_a_good_file_without_warnings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/chat/gateway.toml");
    assert_eq!(loaded(load(Path::new(path), &Overrides::default())).warnings, [""; 0]);
}

#[test]
fn every_example_of_the_reference_page_is_a_good_file() {
    let folder = example_folder();
    let page = reference_page();
    let examples: Vec<_> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples, [SMALL, FULL]);
    for example in examples {
        loaded(parse_full(example, folder.path()));
    }
    assert!(loaded(parse_full(FULL, folder.path())).warnings.is_empty());
}

#[test]
fn the_full_example_has_every_key() {
    let schema = json_schema();
    let keys = schema["$defs"].as_object().unwrap().values();
    let keys = keys.filter_map(|one| one["properties"].as_object()).flatten();
    for (key, _) in keys {
        let whole = |at: usize| {
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !FULL[..at].ends_with(word) && !FULL[at + key.len()..].starts_with(word)
        };
        assert!(FULL.match_indices(key.as_str()).any(|(at, _)| whole(at)), "{key}");
    }
}

#[test]
fn the_committed_reference_page_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = reference_page();
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        fs::write(path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(path).unwrap_or_default() == page,
        "docs/configuration.md is not what the doc comments say; to write it anew: \
         TIDEGATE_BLESS=1 cargo test -p tidegate config"
    );
}

/// The rest of a broken file is deserialized: whatever stands in whichever place, the schema must
/// have found it, so that every problem has its key and nothing is left for `serde` to refuse.
#[test]
fn every_wrong_value_in_every_place_is_found_by_the_schema() {
    let values = [
        "\"x\"",
        "\"\"",
        "\"none\"",
        "-1",
        "0",
        "1.5",
        "nan",
        "true",
        "[]",
        "{}",
        "[1]",
        "[\"x\"]",
        "{ a = 1 }",
        "{ env = 1 }",
        "{ env = \"A\" }",
        "1979-05-27",
        "99999999999",
        "99999999999999999999",
        "[{}]",
        "{ rate = {}, burst = [] }",
        "{ rate = 1, burst = 1.5 }",
        "{ file = 1 }",
        "{ file = \"absent\", env = \"A\" }",
        "{ Statement = [{ Effect = 1979-05-27 }, nan] }",
        "[\"RS256\", \"HS256\", 7]",
    ];
    // Every fourth line at a time: one by one takes long, all at once leaves nothing good beside.
    for (value, first) in values.iter().flat_map(|value| (0..4).map(move |first| (value, first))) {
        let lines = FULL.lines().enumerate().map(|(number, line)| match line.split_once(" = ") {
            Some((key, _)) if number % 4 == first => format!("{key} = {value}"),
            _ => line.to_owned(),
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let mut report = Report::new("gateway.toml", &text);
        assert!(
            sections(&text, &Overrides::default(), &mut report).is_some(),
            "{value} from line {first}"
        );
        for problem in report.finish().err().iter().flat_map(Problems::iter) {
            assert!(!problem.key.is_empty(), "{value}: {problem}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_gives_a_configuration_or_problems_and_no_panic(text in any::<String>()) {
        if let Err(problems) = parse(&text, Path::new("."), "gateway.toml") {
            prop_assert!(problems.iter().len() > 0);
        }
    }

    #[test]
    fn a_damaged_file_gives_a_configuration_or_problems_and_no_panic(
        at in 0..FULL.len(),
        length in 0..40usize,
        put in "[\\[\\]{}\"'=.,$#a-z0-9\\n ]{0,12}",
    ) {
        let end = (at + length).min(FULL.len());
        let text = format!("{}{put}{}", &FULL[..at], &FULL[end..]);
        if let Err(problems) = parse(&text, Path::new("/absent"), "gateway.toml") {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(problems.iter().len() > 0);
            for problem in problems.iter() {
                prop_assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)));
            }
        }
    }
}
