//! Templates that fail: at the start, at a reload, and with a message in hand (websocket-api, 4.5
//! and 6.3; mapping-templates, section 13).
//!
//! In:  files with templates that do not compile, messages that templates cannot take.
//! Out: what `tidegate check` and the log say; error frames; statuses of refused upgrades.
//!
//! Holds always: nothing that a client sent is repeated by an error.

use serde_json::json;
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionBackend, GatewayToml, HttpBackend, TestGateway, refused,
    run_to_end, wait_until,
};

use crate::{GATEWAY, assert_error_frame, connection_id, start, watched_by};

const OK: &str = r#"{"statusCode": 200}"#;
/// Compiles, and fails when it runs.
const FAILS: &str = "#set($s = 'ab')\n  $s.substring(7)";
/// Does not compile: an `#if` without an end, on its second line.
const BROKEN: &str = "a\n#if($x) b";

fn mock(toml: GatewayToml, name: &str, reply: &str) -> GatewayToml {
    toml.mock(name)
        .request_template(name, "application/json", OK)
        .response_template(name, "$default", "$default", reply)
        .two_way(name, name)
}

/// mapping-templates, section 13, and tidegate, section 1: each template with its key and its
/// place, all of them at once.
#[tokio::test]
async fn a_template_that_does_not_compile_is_refused_with_key_line_and_column() {
    let toml = mock(GatewayToml::new(), "one", BROKEN)
        .http("two", "http://127.0.0.1:1/")
        .request_template("two", "application/json", "fine\n\n   #set($x = null)")
        .route("$default", "two");
    let ended = run_to_end(GATEWAY, &["check", "gateway.toml"], &toml.build()).await;
    assert!(!ended.status.success(), "{}", ended.stdout);
    let said = |key: &str| {
        let line = ended.stderr.lines().find(|line| line.contains(key));
        line.unwrap_or_else(|| panic!("{key} in\n{}", ended.stderr)).to_owned()
    };
    let one = said("apis.test.integrations.one.integration_responses.");
    assert!(one.contains(r#"response_templates."$default""#), "{one}");
    assert!(one.contains("line 2, column "), "{one}");
    let two = said(r#"apis.test.integrations.two.request_templates."application/json""#);
    assert!(two.contains("line 3, column "), "{two}");
    // Where in the file, too.
    for line in [&one, &two] {
        let number = line.strip_prefix("gateway.toml:").and_then(|rest| rest.split(':').next());
        assert!(number.is_some_and(|text| text.parse::<u32>().is_ok()), "{line}");
    }
}

/// tidegate, section 3: a template in a file of its own, which is named when it is wrong.
#[tokio::test]
async fn a_template_in_a_file_is_refused_with_the_files_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file of ours");
    };
    let toml = GatewayToml::new()
        .mock("greet")
        .set(
            "apis.test.integrations.greet.request_templates",
            "application/json",
            r#"{ file = "greet.vtl" }"#,
        )
        .two_way("$default", "greet");
    write("gateway.toml", &toml.build());
    write("greet.vtl", BROKEN);
    let check = || {
        let output = std::process::Command::new(GATEWAY)
            .args(["check", "gateway.toml"])
            .current_dir(folder.path())
            .output()
            .expect("run tidegate check");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (taken, said) = check();
    assert!(!taken && said.contains("greet.vtl") && said.contains("line 2, column"), "{said}");
    write("greet.vtl", OK);
    let (taken, said) = check();
    assert!(taken, "{said}");
}

/// tidegate, section 7: a file that is refused changes nothing, one that is taken is for open
/// connections too.
#[tokio::test]
async fn a_reload_with_a_broken_template_keeps_the_old_one() {
    let api = |reply: &str| mock(GatewayToml::new(), "say", reply).two_way("$default", "say");
    let gateway = start(&api("first")).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("?").await;
    assert_eq!(client.next_text().await, "first");
    gateway.reload(&api(BROKEN).build()).await;
    wait_until(DEADLINE, "the log to name the template", async || {
        gateway.log_text().contains("line 2, column")
    })
    .await;
    client.send_text("?").await;
    assert_eq!(client.next_text().await, "first");
    gateway.reload(&api("second").build()).await;
    wait_until(DEADLINE, "the new template", async || {
        let mut other = Client::connect(&gateway.ws_url("prod")).await;
        other.send_text("?").await;
        other.next_text().await == "second"
    })
    .await;
    client.send_text("?").await;
    assert_eq!(client.next_text().await, "second", "the connection is the old one");
}

/// An api whose templates fail when they run: before the backend, and after it.
async fn failing() -> (HttpBackend, FunctionBackend, TestGateway) {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .http("before", &backend.url())
        .request_template("before", "application/json", FAILS)
        .http("after", &backend.url())
        .response_template("after", "$default", "$default", FAILS)
        .http("json", &backend.url())
        .request_template("json", "application/json", "$input.json('$')")
        .http("answer", &backend.url())
        .response_template("answer", "$default", "$default", "[$input.json('$')]")
        .two_way("$default", "json")
        .two_way("answer", "answer")
        .route("before-one-way", "before")
        .two_way("before-two-way", "before")
        .route("after-one-way", "after")
        .two_way("after-two-way", "after");
    let gateway = start(&toml).await;
    (backend, function, gateway)
}

/// websocket-api, 4.5: on one-way routes too, and the socket stays usable.
#[tokio::test]
async fn a_template_that_fails_sends_an_internal_server_error_frame_on_every_route() {
    let (backend, function, gateway) = failing().await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for (action, calls) in
        [("before-one-way", 0), ("before-two-way", 0), ("after-one-way", 1), ("after-two-way", 2)]
    {
        let secret = "what-the-client-said";
        client.send_text(&json!({ "action": action, "secret": secret }).to_string()).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
        assert_eq!(backend.count(), calls, "{action}");
        assert!(!gateway.log_text().contains(secret), "{}", gateway.log_text());
    }
    let line = gateway.wait_for_log("integration failed").await;
    let error = line["fields"]["error"].as_str().expect("an error in the log");
    assert!(error.starts_with("request_templates.\"application/json\", line 2, column "), "{line}");
    let gateway = &gateway;
    let failed = |route: &'static str, kind: &'static str| {
        let labels = [("api", "test"), ("stage", "prod"), ("route", route), ("kind", kind)];
        async move { gateway.metric("tidegate_integration_errors_total", &labels).await }
    };
    assert_eq!(failed("before-one-way", "request_template").await, 1.0);
    assert_eq!(failed("after-two-way", "response_template").await, 1.0);
    client.send_text("{}").await;
    assert_eq!(client.next_text().await, "ok", "the socket stays usable");
}

/// mapping-templates, sections 10 and 13: a body that starts as JSON and is none is the client's
/// mistake, and text that does not is no mistake at all.
#[tokio::test]
async fn a_message_that_is_read_as_json_and_is_none_is_the_clients_mistake() {
    let (backend, function, gateway) = failing().await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    client.send_text(r#"{"a":"#).await;
    assert_error_frame(&client.next_text().await, "Bad Request", &id);
    assert_eq!(backend.count(), 0);
    client.send_text("plain text").await;
    assert_eq!(client.next_text().await, "ok");
    assert_eq!(backend.next_request().await.text(), "\"plain text\"");
}

/// The same with a backend's answer: that is nothing the client can mend.
#[tokio::test]
async fn an_answer_that_is_read_as_json_and_is_none_is_an_internal_server_error() {
    let backend = HttpBackend::answering(Answer::body_of("{ no JSON")).await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .http("ask", &backend.url())
        .response_template("ask", "$default", "$default", "$input.json('$.a')")
        .two_way("$default", "ask");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    client.send_text("{}").await;
    assert_error_frame(&client.next_text().await, "Internal server error", &id);
}

/// websocket-api, 3.2 and mapping-templates, section 13.
#[tokio::test]
async fn a_template_that_fails_on_connect_is_a_500() {
    for broken in ["request", "response"] {
        let toml = GatewayToml::new()
            .mock("door")
            .request_template(
                "door",
                "application/json",
                if broken == "request" { FAILS } else { OK },
            )
            .response_template("door", "$default", "$default", FAILS)
            .route("$connect", "door");
        let refusal = refused(&start(&toml).await.ws_url("prod")).await;
        assert_eq!(refusal.status, 500, "{broken}");
        assert_eq!(refusal.json()["message"], "Internal server error");
        assert_eq!(refusal.header("x-amzn-errortype"), Some("InternalServerErrorException"));
    }
}

/// websocket-api, 3.8: a `$disconnect` template that fails is told to the log alone.
#[tokio::test]
async fn a_template_that_fails_on_disconnect_changes_nothing_for_the_client() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let toml = GatewayToml::new()
        .http("end", &backend.url())
        .request_template("end", "application/json", FAILS)
        .route("$disconnect", "end");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    assert_eq!(client.close(1000, "").await.0, 1000);
    let line = gateway.wait_for_log("integration failed").await;
    assert_eq!(line["fields"]["route_key"], "$disconnect");
    assert_eq!(backend.count(), 0);
}

/// mapping-templates, sections 6 and 13: 1,000 rounds of a loop, and no more.
#[tokio::test]
async fn a_loop_of_a_thousand_rounds_is_rendered_and_one_more_is_an_error() {
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .mock("count")
        .response_template(
            "count",
            "$default",
            "$default",
            // A mock's answer is empty, so the client's choice comes by way of an override.
            "#foreach($i in $context.requestOverride.path.list)x#end",
        )
        .request_template(
            "count",
            "application/json",
            "#set($context.requestOverride.path.list = $input.path('$.list')){\"statusCode\":200}",
        )
        .two_way("$default", "count");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let list = |length: usize| json!({ "list": vec![1; length] }).to_string();
    client.send_text(&list(1000)).await;
    assert_eq!(client.next_text().await, "x".repeat(1000));
    client.send_text(&list(1001)).await;
    assert_error_frame(&client.next_text().await, "Internal server error", &id);
}
