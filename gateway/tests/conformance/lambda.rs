//! Functions behind Lambda's Invoke API (clients, section 6; websocket-api, 3.2, 4.4 to 4.6, 6.2
//! and items 89, 92, 93).
//!
//! In:  sessions of clients through `aws_proxy` and `aws` integrations with ARNs as uris.
//! Out: the invocations that Lambda saw, with their signatures; upgrades, replies, error frames.
//!
//! Holds always: Lambda is a server of the test that takes signed calls only.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_testkit::{
    Client, GatewayToml, Invocation, InvokeAnswer, LambdaBackend, Signer, refused,
};

use crate::{assert_error_frame, reply, start, text};

const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:chat";

/// The answers that a test may ask for, by a query parameter or a member of the message.
fn answer(wish: &str) -> InvokeAnswer {
    match wish {
        "threw" => InvokeAnswer::threw("boom"),
        "malformed" => json!("just text").into(),
        "nothing" => InvokeAnswer::returned(""),
        "missing" => InvokeAnswer::refused(404, "ResourceNotFoundException"),
        "forbidden" => InvokeAnswer::refused(403, "AccessDeniedException"),
        "throttled" => InvokeAnswer::refused(429, "TooManyRequestsException"),
        "too large" => InvokeAnswer::refused(413, "RequestTooLargeException"),
        "broken" => InvokeAnswer::refused(500, "ServiceException"),
        "not ready" => InvokeAnswer::refused(502, "ResourceNotReadyException"),
        "stall" => InvokeAnswer::stall(),
        status => {
            let status: u16 = status.parse().expect("a wish");
            json!({ "statusCode": status, "body": "text" }).into()
        }
    }
}

/// A function that answers what the proxy event asks for; `200` and the connection id if nothing.
async fn wishes() -> LambdaBackend {
    LambdaBackend::start(|invocation: Invocation| {
        let event = invocation.event();
        let message = event["body"].as_str().and_then(|body| serde_json::from_str(body).ok());
        let message: Value = message.unwrap_or_default();
        match event["queryStringParameters"]["do"].as_str().or(message["do"].as_str()) {
            Some(wish) => answer(&wish.replace('+', " ")),
            None => reply(text(&event["requestContext"]["connectionId"])).into(),
        }
    })
    .await
}

/// A file whose integration `f` is the function `uri` at `lambda`.
fn function(lambda: &LambdaBackend, uri: &str) -> GatewayToml {
    GatewayToml::new().function("f", uri).service("lambda", &lambda.url())
}

/// websocket-api, 3.2.
#[tokio::test]
async fn what_lambda_answers_decides_an_upgrade() {
    let lambda = wishes().await;
    let toml = function(&lambda, ARN).integration("f", "timeout_ms", "300").route("$connect", "f");
    let gateway = start(&toml).await;
    let at = |wish| format!("{}?do={wish}", gateway.ws_url("prod"));
    for accepted in ["200", "201"] {
        Client::connect(&at(accepted)).await;
    }
    for (wish, status) in [
        ("301", 301),
        ("401", 401),
        ("403", 403),
        ("501", 501),
        ("threw", 502),
        ("malformed", 502),
        ("nothing", 502),
        ("missing", 500),
        ("forbidden", 500),
        ("broken", 500),
        ("not+ready", 500),
        ("too+large", 500),
        ("throttled", 429),
        ("stall", 504),
    ] {
        let refusal = refused(&at(wish)).await;
        assert_eq!(refusal.status, status, "{wish}");
        let said = refusal.text();
        assert!(!said.contains("boom") && !said.contains("service's"), "{wish}: {said}");
    }
}

/// websocket-api, 4.4 to 4.6, on one-way and two-way routes.
#[tokio::test]
async fn what_lambda_answers_to_a_message_is_a_reply_or_an_error_frame() {
    let lambda = wishes().await;
    let toml = function(&lambda, ARN)
        .integration("f", "timeout_ms", "300")
        .route("$connect", "f")
        .route("tell", "f")
        .two_way("ask", "f");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"action":"ask"}"#).await;
    let id = client.next_text().await;
    for (wish, message) in [
        ("threw", "Internal server error"),
        ("malformed", "Internal server error"),
        ("nothing", "Internal server error"),
        ("missing", "Internal server error"),
        ("forbidden", "Internal server error"),
        ("broken", "Internal server error"),
        ("too large", "Internal server error"),
        ("throttled", "Too Many Requests"),
        ("stall", "Endpoint request timed out"),
    ] {
        for action in ["tell", "ask"] {
            client.send_text(&json!({ "action": action, "do": wish }).to_string()).await;
            assert_error_frame(&client.next_text().await, message, &id);
        }
    }
    for status in ["200", "403", "500"] {
        client.send_text(&json!({ "action": "tell", "do": status }).to_string()).await;
        client.send_text(&json!({ "action": "ask", "do": status }).to_string()).await;
        assert_eq!(client.next_text().await, "text", "whatever the status, and once");
    }
    assert_eq!(client.close(1000, "").await.0, 1000);
}

/// clients, section 6, and an api's promise that a message is handled at most once.
#[tokio::test]
async fn a_call_that_fails_is_not_tried_again() {
    let lambda = wishes().await;
    let gateway = start(&function(&lambda, ARN).two_way("$default", "f")).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for (sent, wish) in ["throttled", "broken", "threw", "missing"].into_iter().enumerate() {
        client.send_text(&json!({ "do": wish }).to_string()).await;
        client.next_text().await;
        assert_eq!(lambda.http().count(), sent + 1, "{wish}");
    }
}

/// websocket-api, 1.4, 4.3 and 6.2: a bare ARN and the uri of API Gateway name the same function;
/// version, alias and stage variables are parts of either. The region that is called and signed
/// for is the uri's.
#[tokio::test]
async fn a_uri_names_function_version_and_alias_with_stage_variables_in_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let lambda = LambdaBackend::start(move |invocation| {
        kept.lock().expect("no test panics with it").push(invocation);
        reply("ok")
    })
    .await;
    let path = |arn: &str| {
        format!("arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/{arn}/invocations")
    };
    for (uri, region, qualifier) in [
        (ARN.to_owned(), "eu-west-1", None),
        (format!("{ARN}:7"), "eu-west-1", Some("7")),
        (format!("{ARN}:live"), "eu-west-1", Some("live")),
        (path(ARN), "eu-west-1", None),
        (path(&format!("{ARN}:live")), "eu-west-1", Some("live")),
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:${stageVariables.name}:${stageVariables.alias}"
                .to_owned(),
            "eu-west-1",
            Some("live"),
        ),
        (path(&ARN.replace("chat", "${stageVariables.name}")), "eu-west-1", None),
        (ARN.replace("eu-west-1", "ap-southeast-2"), "ap-southeast-2", None),
    ] {
        let toml = function(&lambda, &uri)
            .variable("name", "chat")
            .variable("alias", "live")
            .two_way("$default", "f");
        let gateway = start(&toml).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        client.send_text("hello").await;
        assert_eq!(client.next_text().await, "ok", "{uri}");
        let invocation = seen.lock().expect("no test panics with it").pop();
        let invocation = invocation.expect("it answered");
        assert_eq!(invocation.function, ARN.replace("eu-west-1", region), "{uri}");
        assert_eq!(invocation.qualifier.as_deref(), qualifier, "{uri}");
        let event = invocation.event();
        assert_eq!(event["requestContext"]["eventType"], "MESSAGE");
        assert_eq!(event["body"], "hello");
        let request = lambda.http().next_request().await;
        let signer = Signer {
            service: "lambda".to_owned(),
            region: region.to_owned(),
            ..Signer::new("AKIDTEST", "test")
        };
        assert_eq!(signer.objection(&request), None, "{uri}");
        let wrong = Signer { region: "us-east-1".to_owned(), ..signer };
        assert!(wrong.objection(&request).is_some(), "the signature is for {region} alone");
    }
}

/// websocket-api, item 89 and 6.2: the template's output is the whole event; without a response
/// template the function's complete return value is the reply.
#[tokio::test]
async fn the_templates_output_is_the_event_and_the_return_value_the_reply() {
    let lambda = LambdaBackend::start(|invocation: Invocation| {
        let returned = json!({ "statusCode": 418, "body": "no proxy", "got": invocation.event() });
        InvokeAnswer::from(returned)
    })
    .await;
    let template = r#"{"from":"$context.connectionId","text":$input.json('$.text')}"#;
    let toml = GatewayToml::new()
        .service("lambda", &lambda.url())
        .aws("custom", ARN)
        .request_template("custom", "application/json", template)
        .route("$connect", "custom")
        .two_way("$default", "custom");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"text":"größe \"1\""}"#).await;
    let received = client.next_json().await;
    assert_eq!((&received["statusCode"], &received["body"]), (&json!(418), &json!("no proxy")));
    assert_eq!(received["got"]["text"], "größe \"1\"");
    let requests = lambda.http().wait_for_requests(2).await;
    let event = requests[1].json();
    assert_eq!(event, received["got"], "and nothing else");
    assert_eq!(event.as_object().map(serde_json::Map::len), Some(2));
    assert_eq!(requests[0].json()["from"], event["from"], "on connect too");
}

/// websocket-api, items 92 and 93 and 2.7.
#[tokio::test]
async fn a_response_template_is_chosen_by_expression_or_by_status_and_never_by_an_error_message() {
    let lambda =
        LambdaBackend::start(|invocation: Invocation| match invocation.event()["fail"].as_str() {
            None => json!({ "fine": true }).into(),
            Some(message) => InvokeAnswer::threw(message),
        })
        .await;
    let mut toml = GatewayToml::new().service("lambda", &lambda.url());
    for (name, expression) in [
        ("message", Some("$integration.response.body.errorMessage")),
        ("type", Some("$integration.response.header.Content-Type")),
        ("status", Some("${integration.response.statuscode}")),
        ("none", None),
    ] {
        toml = toml.aws(name, ARN).two_way(name, name);
        if let Some(expression) = expression {
            let expression = Value::from(expression).to_string();
            toml = toml.response(name, "$default", "template_selection_expression", &expression);
        }
        for (key, said) in [
            ("boom", "by the error message"),
            ("application/json", "by the type"),
            ("200", "by the status"),
            ("$default", "by default"),
        ] {
            toml = toml.response_template(name, "$default", key, said);
        }
    }
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for (name, said) in [
        ("message", "by default"),
        ("type", "by the type"),
        // Also where the function reported an error.
        ("status", "by the status"),
        ("none", "by the status"),
    ] {
        for message in [json!({ "action": name }), json!({ "action": name, "fail": "boom" })] {
            client.send_text(&message.to_string()).await;
            assert_eq!(client.next_text().await, said, "{message}");
        }
    }
}

/// websocket-api, 2.6: what a function throws is chosen by its message, success is `$default`'s.
#[tokio::test]
async fn a_functions_error_message_picks_its_integration_response() {
    let lambda =
        LambdaBackend::start(|invocation: Invocation| match invocation.event()["throw"].as_str() {
            None => json!({ "errorMessage": "Unauthorized", "but": "returned" }).into(),
            Some(message) => InvokeAnswer::threw(message),
        })
        .await;
    let denied = r#"{"denied":$input.json('$.errorMessage')}"#;
    let toml = GatewayToml::new()
        .service("lambda", &lambda.url())
        .aws("f", ARN)
        .response_template("f", "/.*Unauthorized.*/", "$default", denied)
        .response_template("f", "$default", "$default", "else: $input.path('$.errorMessage')")
        .aws("strict", ARN)
        .response_template("strict", "/.*Unauthorized.*/", "$default", denied)
        .two_way("$default", "f")
        .two_way("strict", "strict")
        .mock("me")
        .request_template("me", "application/json", r#"{"statusCode":200}"#)
        .response_template("me", "$default", "$default", "$context.connectionId")
        .two_way("me", "me");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"action":"me"}"#).await;
    let id = client.next_text().await;
    for (sent, received) in [
        (r#"{"throw":"401 Unauthorized user"}"#, r#"{"denied":"401 Unauthorized user"}"#),
        (r#"{"throw":"boom"}"#, "else: boom"),
        // A dot matches no line break, and the whole message must match.
        (r#"{"throw":"first\nUnauthorized"}"#, "else: first\nUnauthorized"),
        ("{}", "else: Unauthorized"),
        (r#"{"action":"strict","throw":"Unauthorized"}"#, r#"{"denied":"Unauthorized"}"#),
    ] {
        client.send_text(sent).await;
        assert_eq!(client.next_text().await, received, "{sent}");
    }
    for nobodys in [r#"{"action":"strict","throw":"boom"}"#, r#"{"action":"strict"}"#] {
        client.send_text(nobodys).await;
        assert_error_frame(&client.next_text().await, "Internal server error", &id);
    }
}

/// websocket-api, 2.6 on `$connect`: what is thrown may become a refusal by a template's status.
#[tokio::test]
async fn a_thrown_unauthorized_becomes_a_401_on_connect() {
    let lambda =
        LambdaBackend::start(|invocation: Invocation| match invocation.event()["key"].as_str() {
            Some("open") => json!(null).into(),
            _ => InvokeAnswer::threw("Unauthorized"),
        })
        .await;
    let toml = GatewayToml::new()
        .service("lambda", &lambda.url())
        .aws("door", ARN)
        .request_template("door", "application/json", r#"{"key":"$input.params('key')"}"#)
        .response_template(
            "door",
            "/Unauthorized/",
            "$default",
            "#set($context.responseOverride.status = 401)",
        )
        .response("door", "$default", "response_templates", "{}")
        .route("$connect", "door");
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    assert_eq!(refused(&url).await.status, 401);
    Client::connect(&(url + "?key=open")).await;
}

/// clients, section 6: the header is mapped as on API Gateway, and nothing comes back.
#[tokio::test]
async fn an_event_is_handed_over_without_waiting_for_its_function() {
    let lambda = LambdaBackend::start(|_| InvokeAnswer::threw("too late to be heard")).await;
    let toml = GatewayToml::new()
        .service("lambda", &lambda.url())
        .aws("later", ARN)
        .parameter("later", "integration.request.header.X-Amz-Invocation-Type", "'Event'")
        .request_template("later", "application/json", r#"{"do":"threw"}"#)
        .two_way("$default", "later");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    assert_eq!(client.next_text().await, "");
    let request = lambda.http().next_request().await;
    assert_eq!(request.header("x-amz-invocation-type"), Some("Event"));
}
