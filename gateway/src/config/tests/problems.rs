//! What is said of a mistake: where it stands, what is wrong, what would be right; and warnings.

use super::*;

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
