//! What integrations ask for by headers: `Tidegate-Join`, `-Leave` and `-Reply` (tidegate,
//! section 5).
//!
//! In:  answers of functions, of web servers, and of templates, to `$connect` and to messages.
//! Out: who is in which group afterwards, what the client read first, what the log says.
//!
//! Holds always: by the time the client has its 101 or its reply, what was asked for is done.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_testkit::{
    Answer, Client, FunctionAnswer, FunctionBackend, GatewayToml, HttpBackend, RawClient, refused,
};

use crate::{
    groups::{Member, Rooms, assert_done, sent_to},
    start, text,
};

const OK: &str = r#"{"statusCode": 200}"#;

/// Whether each group has the one member that there is.
async fn assert_in(rooms: &Rooms, groups: &[(&str, bool)]) {
    for (group, is_in) in groups {
        assert_eq!(rooms.count(group).await, u64::from(*is_in), "{group}");
    }
}

#[tokio::test]
async fn a_function_joins_and_leaves_on_connect_and_on_messages() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("join=a,%20b%20,,c,&leave=c").await;
    assert_in(&rooms, &[("a", true), ("b", true), ("c", false)]).await;
    for (headers, wanted) in [
        (json!({ "headers": { "Tidegate-Join": "c" } }), [true, true, true]),
        (json!({ "headers": { "tidegate-leave": "a,b" } }), [false, false, true]),
        // Names have any case, values come in one line or in several.
        (json!({ "multiValueHeaders": { "TIDEGATE-JOIN": ["a", "b, c"] } }), [true, true, true]),
        (
            json!({
                "headers": { "Tidegate-Join": "c" },
                "multiValueHeaders": { "Tidegate-Leave": ["c", "a"], "Tidegate-Join": ["a"] },
            }),
            // A group that both name is left.
            [false, true, false],
        ),
        (json!({ "headers": { "Tidegate-Join": "b" } }), [false, true, false]),
        (json!({ "headers": { "Tidegate-Leave": "a" } }), [false, true, false]),
        (json!({ "headers": { "Tidegate-Join": "" } }), [false, true, false]),
    ] {
        let mut answer = headers.clone();
        answer["statusCode"] = 200.into();
        answer["body"] = "done".into();
        assert_eq!(member.ask(&answer).await, "done");
        let now = [("a", wanted[0]), ("b", wanted[1]), ("c", wanted[2])];
        assert_in(&rooms, &now).await;
    }
    member.got_nothing().await;
}

/// A route that answers nothing does what it is asked for all the same.
#[tokio::test]
async fn the_answer_of_a_one_way_route_may_ask_too() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("").await;
    let answer = json!({ "statusCode": 200, "headers": { "Tidegate-Join": "red" } });
    let message = json!({ "action": "one-way", "answer": answer }).to_string();
    member.client.send_text(&message).await;
    tidegate_testkit::wait_until(tidegate_testkit::DEADLINE, "the join", async || {
        rooms.count("red").await == 1
    })
    .await;
    member.got_nothing().await;
}

/// The answer of a web server, as `http_proxy` passes it and as `http` without templates does.
#[tokio::test]
async fn a_web_server_joins_leaves_and_greets() {
    for kind in ["http_proxy", "http"] {
        let backend = HttpBackend::start(|request| {
            let answer = match request.header("tidegate-event-type") {
                Some("CONNECT") => Answer::status(201)
                    .header("tidegate-join", "red, blue")
                    .header("Tidegate-Join", "green")
                    .header("Tidegate-Reply", "grüße, {\"a\": 1}")
                    .header("Tidegate-Reply", "a second one counts for nothing"),
                // Whatever the status: it is the answer.
                _ => Answer::status(404).header("Tidegate-Leave", "blue").body("left"),
            };
            std::future::ready(answer)
        })
        .await;
        let rooms = Rooms::start_with(|toml| {
            let toml = match kind {
                "http" => toml
                    .http("web", &backend.url())
                    .integration("web", "method", r#""POST""#)
                    .request_template("web", "application/json", "{}"),
                _ => toml.http_proxy("web", &backend.url()),
            };
            toml.route("$connect", "web").two_way("$default", "web")
        })
        .await;
        let mut client = Client::connect(&rooms.gateway.ws_url("prod")).await;
        assert_eq!(client.next_text().await, "grüße, {\"a\": 1}", "{kind}");
        let told = client.header_names();
        assert!(!told.iter().any(|name| name.starts_with("tidegate")), "{kind}: {told:?}");
        assert_in(&rooms, &[("red", true), ("blue", true), ("green", true)]).await;
        client.send_text("{}").await;
        assert_eq!(client.next_text().await, "left", "{kind}");
        assert_in(&rooms, &[("red", true), ("blue", false), ("green", true)]).await;
        client.ping_pong().await;
    }
}

/// `$context.responseOverride.header` of a template, where no function says it.
#[tokio::test]
async fn templates_join_leave_and_greet() {
    let connect = r##"#set($context.responseOverride.header.Tidegate-Join = ["red", $input.params("room")])
#set($context.responseOverride.header["Tidegate-Reply"] = "you are $context.connectionId")
{"statusCode": 200}"##;
    let leave =
        r##"#set($context.responseOverride.header.Tidegate-Leave = $input.path("$.group"))left"##;
    let backend = HttpBackend::answering(
        Answer::body_of("{\"group\": \"red\"}").header("Tidegate-Join", "by-backend"),
    )
    .await;
    let rooms = Rooms::start_with(|toml| {
        toml.mock("welcome")
            .request_template("welcome", "application/json", connect)
            .route("$connect", "welcome")
            .http("web", &backend.url())
            .integration("web", "method", r#""POST""#)
            .request_template("web", "application/json", OK)
            .response_template("web", "$default", "$default", leave)
            .two_way("$default", "web")
    })
    .await;
    let mut client = Client::connect(&rooms.gateway.ws_url("prod?room=blue")).await;
    let greeting = client.next_text().await;
    let id = greeting.strip_prefix("you are ").expect("the template's greeting");
    assert_eq!(rooms.gateway.get_connection("prod", id).await.status, 200);
    assert_in(&rooms, &[("red", true), ("blue", true)]).await;
    client.send_text("{}").await;
    assert_eq!(client.next_text().await, "left");
    // The template's word and, beside it, the backend's own.
    assert_in(&rooms, &[("red", false), ("blue", true), ("by-backend", true)]).await;
}

/// The greeting comes before what was posted while `$connect` ran.
#[tokio::test]
async fn the_greeting_comes_before_held_posts() {
    let (told, mut ids) = tokio::sync::mpsc::unbounded_channel();
    let (go, gate) = tokio::sync::watch::channel(false);
    let function = FunctionBackend::start_async(move |event| {
        let (told, mut gate) = (told.clone(), gate.clone());
        async move {
            if event["requestContext"]["eventType"] == "CONNECT" {
                let id = text(&event["requestContext"]["connectionId"]).to_owned();
                told.send(id).expect("the test waits");
                gate.wait_for(|open| *open).await.expect("the test opens it");
            }
            let headers = json!({ "Tidegate-Reply": "first", "Tidegate-Join": "red" });
            FunctionAnswer::from(json!({ "statusCode": 200, "headers": headers }))
        }
    })
    .await;
    let toml = GatewayToml::new().function("f", &function.url()).route("$connect", "f");
    let rooms = Rooms { gateway: start(&toml).await, function };
    let url = rooms.gateway.ws_url("prod");
    let connecting = tokio::spawn(async move { Client::connect(&url).await });
    let id = ids.recv().await.expect("an id");
    for body in ["second", "third"] {
        let posted = rooms.gateway.post_to("prod", &id, body.as_bytes()).await;
        assert_eq!(posted.status, 200, "{posted:?}");
    }
    // Its groups are those of `$connect`'s answer, which is not there yet; one may join it, though.
    assert_in(&rooms, &[("red", false)]).await;
    let early = format!("/prod/@groups/early/connections/{id}");
    assert_done(&rooms.call("PUT", &early, b"").await);
    assert_eq!(rooms.ok("POST", "/prod/@groups/early", b"fourth").await, sent_to(1));
    go.send_replace(true);
    let mut client = connecting.await.expect("the client");
    for wanted in ["first", "second", "third", "fourth"] {
        assert_eq!(client.next_text().await, wanted);
    }
    assert_in(&rooms, &[("red", true), ("early", true)]).await;
    let labels = [("route", "$connect"), ("direction", "out")];
    let counted = rooms.gateway.metric("tidegate_messages_total", &labels).await;
    assert_eq!(counted, 1.0, "the greeting is the route's message");
}

/// A frame behind the 101, whatever its length.
#[tokio::test]
async fn a_greeting_may_be_empty_or_long() {
    let long = "y".repeat(6_000);
    for greeting in ["", "x", &long] {
        let sent = greeting.to_owned();
        let function = FunctionBackend::start(
            move |_| json!({ "statusCode": 200, "headers": { "Tidegate-Reply": sent } }),
        )
        .await;
        let toml = GatewayToml::new().function("f", &function.url()).route("$connect", "f");
        let gateway = start(&toml).await;
        let mut client = RawClient::connect(&gateway.ws_url("prod")).await;
        let frame = client.next_frame().await.expect("a frame");
        assert_eq!((frame.last, frame.payload.as_slice()), (true, greeting.as_bytes()));
    }
}

/// On `$connect` only: a message's answer is what a two-way route sends.
#[tokio::test]
async fn a_greeting_in_the_answer_to_a_message_is_nothing() {
    let rooms = Rooms::start().await;
    let mut member = rooms.member("").await;
    let answer =
        json!({ "statusCode": 200, "headers": { "Tidegate-Reply": "no" }, "body": "the body" });
    assert_eq!(member.ask(&answer).await, "the body");
    member.got_nothing().await;
}

/// Whoever is not accepted joins nothing and reads nothing.
#[tokio::test]
async fn a_refused_client_is_in_no_group() {
    let function = FunctionBackend::start(|_| {
        let headers = json!({ "Tidegate-Join": "red", "Tidegate-Reply": "hello" });
        json!({ "statusCode": 403, "headers": headers, "body": "no" })
    })
    .await;
    let toml = GatewayToml::new().function("f", &function.url()).route("$connect", "f");
    let rooms = Rooms { gateway: start(&toml).await, function };
    let response = refused(&rooms.gateway.ws_url("prod")).await;
    assert_eq!((response.status, response.text()), (403, "no"));
    let names: Vec<_> = response.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert!(!names.iter().any(|name| name.starts_with("tidegate")), "{names:?}");
    assert_in(&rooms, &[("red", false)]).await;
}

/// It is the backend's mistake: logged with the header's name, and nothing else happens.
#[tokio::test]
async fn a_name_that_is_none_is_logged_and_harmless() {
    let rooms = Rooms::start().await;
    let long = "x".repeat(129);
    let mut member = rooms.member(&format!("join=red,no%20name,{long}")).await;
    assert_eq!(rooms.count("red").await, 1, "the good names count");
    let line = rooms.gateway.wait_for_log("an integration's header was not understood").await;
    let fields = &line["fields"];
    assert_eq!((&line["level"], &fields["header"]), (&"WARN".into(), &"tidegate-join".into()));
    assert_eq!(fields["connection_id"], member.id);
    assert_eq!(fields["route_key"], "$connect");
    assert!(text(&fields["error"]).contains("\"no name\" is no group name"), "{line}");
    let answer = json!({ "statusCode": 200, "body": "done", "headers": {
        "Tidegate-Leave": "red!, ,red", "Tidegate-Join": "größe,blue",
    } });
    assert_eq!(member.ask(&answer).await, "done");
    assert_in(&rooms, &[("red", false), ("blue", true)]).await;
    member.got_nothing().await;
}

/// A greeting that is no text would break the client: it is logged, and the client is let in.
#[tokio::test]
async fn a_greeting_that_is_no_utf_8_is_logged_and_left_out() {
    let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = backend.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut socket, _) = backend.accept().await.expect("the gateway");
        let mut head = [0; 4096];
        assert!(socket.read(&mut head).await.expect("a request") > 0);
        let answer = b"HTTP/1.1 200 OK\r\nTidegate-Reply: \xff\xfe\r\nContent-Length: 0\r\n\r\n";
        socket.write_all(answer).await.expect("an answer");
        socket
    });
    let toml =
        GatewayToml::new().http_proxy("web", &format!("http://{address}")).route("$connect", "web");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.expect_silence(Duration::from_millis(50)).await;
    let line = gateway.wait_for_log("an integration's header was not understood").await;
    assert_eq!(line["fields"]["header"], "tidegate-reply");
    drop(served);
}

/// Only the route's integration may ask, and only the gateway says `Tidegate-`: neither a client
/// nor an authorizer puts anybody into a group.
#[tokio::test]
async fn neither_clients_nor_authorizers_may_ask() {
    let who = FunctionBackend::start(|_| {
        let mut allowed = crate::authorizers::allow();
        allowed["headers"] = json!({ "Tidegate-Join": "red" });
        FunctionAnswer::from(allowed)
    })
    .await;
    let rooms = Rooms::start_with(|toml| crate::authorizers::guarded_by(toml, &who.url())).await;
    let host = [("Host", "test.localhost"), ("Tidegate-Join", "red")];
    let client = Client::connect_with(&rooms.gateway.ws_url("prod"), &host, &[]).await;
    let mut member = Member { client, id: String::new() };
    member.id = member.client.next_text().await;
    assert_in(&rooms, &[("red", false)]).await;
    let event: Value = rooms.function.next_event("CONNECT").await;
    assert!(event["headers"].get("Tidegate-Join").is_none(), "{event}");
}
