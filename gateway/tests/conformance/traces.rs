//! Traces (docs/operating.md, "Traces"; docs/adr/0018-traces.md).
//!
//! In:  sessions of clients, calls of the management API, a `[tracing]` section.
//! Out: the spans that a collector got, and the headers that backends got.
//!
//! Holds always: the collector is a real server that decodes what it gets by OpenTelemetry's own
//! message types.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionBackend, GatewayToml, HttpBackend, InvokeAnswer,
    LambdaBackend, OtlpReceiver, ReceivedSpan, Signer, SpanKind, http_call, refused, wait_until,
};

use crate::{connection_id, reply, start, text, watched_by};

/// The example of W3C Trace Context, 3.2, which is sampled.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

const SPANS: &str = "tidegate_trace_spans_total";

trait Traced: Sized {
    /// With traces to this collector.
    fn traced(self, collector: &OtlpReceiver) -> Self;
}

impl Traced for GatewayToml {
    fn traced(self, collector: &OtlpReceiver) -> Self {
        self.set("tracing", "otlp_endpoint", &format!("{:?}", collector.url()))
    }
}

/// A file with two-way `$default`, `$connect` and `$disconnect` at one HTTP backend.
fn proxied(backend: &HttpBackend) -> GatewayToml {
    GatewayToml::new()
        .http_proxy("backend", &format!("{}/in?token=hidden", backend.url()))
        .route("$connect", "backend")
        .route("$disconnect", "backend")
        .two_way("$default", "backend")
}

fn points_at(link: &ReceivedSpan, to: &ReceivedSpan) {
    assert_eq!(link.links, [(to.trace_id.clone(), to.span_id.clone())], "{link:?}");
}

fn is_child(child: &ReceivedSpan, of: &ReceivedSpan) {
    assert_eq!((&child.trace_id, &child.parent), (&of.trace_id, &of.span_id), "{child:?}");
    assert!(child.took_ns <= of.took_ns, "{child:?} within {of:?}");
}

#[tokio::test]
async fn a_session_is_a_trace_for_each_run_that_points_at_its_connect() {
    let collector = OtlpReceiver::start().await;
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = proxied(&backend)
        .traced(&collector)
        .set("tracing", "service_name", r#""gate""#)
        .set("tracing", "headers", r#"{ authorization = "Bearer collector" }"#);
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod?token=secret")).await;
    client.send_text(r#"{"action":"join","password":"secret"}"#).await;
    client.next_text().await;
    client.close(4001, "secret").await;

    let disconnect = collector.span("disconnect test/prod").await;
    let connect = collector.span("connect test/prod").await;
    let message = collector.span("message $default").await;
    let calls = collector.wait_for("integration backend", 3).await;

    assert_eq!((connect.kind, connect.parent.as_str()), (SpanKind::Server, ""));
    assert_eq!(connect.attribute("tidegate.api"), "test");
    assert_eq!(connect.attribute("tidegate.stage"), "prod");
    assert_eq!(connect.attribute("tidegate.outcome"), "accepted");
    assert_eq!(connect.attribute("http.request.method"), "GET");
    assert_eq!(connect.attribute("http.response.status_code"), "101");
    assert_eq!(connect.attribute("http.route"), "/prod");
    assert_eq!(connect.source["service.name"], "gate");
    assert_eq!(connect.source["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(connect.source["service.instance.id"].len(), 32);

    assert_eq!((message.kind, message.parent.as_str()), (SpanKind::Server, ""));
    assert_eq!(message.attribute("tidegate.route_key"), "$default");
    assert_eq!(message.attribute("tidegate.status"), "200");
    assert_eq!(message.attribute("tidegate.outcome"), "ok");
    assert_eq!(message.attribute("tidegate.message.bytes"), "37");
    assert_eq!(disconnect.attribute("tidegate.close_code"), "4001");
    assert_eq!(disconnect.attribute("tidegate.close_cause"), "client");
    for (run, call) in [&connect, &message, &disconnect].into_iter().zip(&calls) {
        is_child(call, run);
        assert_eq!(call.kind, SpanKind::Client);
        assert_eq!(call.attribute("tidegate.integration"), "backend");
        assert_eq!(call.attribute("http.request.method"), "POST");
        assert_eq!(call.attribute("http.response.status_code"), "200");
        assert_eq!(call.attribute("server.address"), "127.0.0.1");
        assert_eq!(call.attribute("server.port"), backend.address().port().to_string());
    }
    points_at(&message, &connect);
    points_at(&disconnect, &connect);
    let id = connect.attribute("tidegate.connection_id");
    for run in [&connect, &message, &disconnect] {
        assert!(!run.failed, "{run:?}");
        assert_eq!(run.attribute("tidegate.connection_id"), id);
        assert_eq!(run.attribute("tidegate.request_id").len(), 16);
    }
    // Each backend request is within its call, and says so in both languages.
    for (request, call) in backend.requests().iter().zip(&calls) {
        assert_eq!(request.header("traceparent"), Some(call.traceparent().as_str()));
        let root = format!("Root=1-{}-{}", &call.trace_id[..8], &call.trace_id[8..]);
        let amazon = request.header("x-amzn-trace-id").expect("Amazon's header");
        assert!(amazon.starts_with(&root) && amazon.ends_with(";Sampled=1"), "{amazon} {root}");
    }
    let everything = format!("{:?}", collector.spans());
    for hidden in ["secret", "hidden"] {
        assert!(!everything.contains(hidden), "{everything}");
    }
    for post in collector.http().requests() {
        assert_eq!(post.header("authorization"), Some("Bearer collector"));
    }
    let exported = collector.spans().len() as f64;
    let counted = async || gateway.metric(SPANS, &[("outcome", "exported")]).await == exported;
    wait_until(DEADLINE, "all spans counted as exported", counted).await;
    assert!(!gateway.log_text().contains("Bearer"));
}

#[tokio::test]
async fn without_an_endpoint_no_header_is_added_and_a_clients_own_is_passed_on() {
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let gateway = start(&proxied(&backend)).await;
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    client.send_text("x").await;
    client.next_text().await;
    let [connect, message] = [backend.next_request().await, backend.next_request().await];
    assert_eq!(connect.header("traceparent"), Some(PARENT));
    assert_eq!(connect.header("tracestate"), Some("a=1"));
    assert_eq!(message.header("traceparent"), None);
    for request in [connect, message] {
        let amazon = request.header("x-amzn-trace-id").expect("Amazon's header");
        assert_eq!(amazon.len(), "Root=1-65d2ff2e-0123456789abcdef01234567".len(), "{amazon}");
    }
    assert!(!gateway.metrics().await.contains(SPANS));
}

#[tokio::test]
async fn a_stranger_neither_joins_a_trace_nor_has_one_recorded() {
    let collector = OtlpReceiver::start().await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function).traced(&collector).set("tracing", "sample_ratio", "0");
    let gateway = start(&toml).await;
    let headers = [("traceparent", PARENT), ("tracestate", "a=1")];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    let event = function.next_event("CONNECT").await;
    let told = text(&event["headers"]["traceparent"]);
    assert!(told.ends_with("-00") && !told.contains(TRACE), "{told}");
    assert_eq!(event["headers"]["tracestate"], json!(null));
    let request = &function.http().requests()[0];
    let around = request.header("traceparent").expect("a traceparent");
    assert_eq!(around[..35], told[..35], "one trace");
    assert_ne!(around, told, "the call's span is below the upgrade's");
    client.close(1000, "").await;
    function.next_event("DISCONNECT").await;
    // A call of somebody who is known may have a trace recorded, and comes after all the others.
    let target = "/prod/@connections/AAAAAAAAAAAAAAA=";
    http_call(&gateway.http_url(), "GET", target, &[("traceparent", PARENT)], b"").await;
    collector.span("management get").await;
    assert_eq!(collector.spans().len(), 1, "{:?}", collector.spans());
}

#[tokio::test]
async fn a_trusted_clients_trace_goes_on_and_decides() {
    let collector = OtlpReceiver::start().await;
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = proxied(&backend).traced(&collector).set("tracing", "sample_ratio", "0").set(
        "tracing",
        "trust_client_context",
        "true",
    );
    let gateway = start(&toml).await;
    let headers = [("traceparent", UNSAMPLED), ("tracestate", "a=1")];
    let _unsampled = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    let headers = [("TraceParent", PARENT), ("TraceState", "a=1"), ("tracestate", "b=2")];
    let _sampled = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    let connect = collector.span("connect test/prod").await;
    assert_eq!((connect.trace_id.as_str(), connect.parent.as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!(connect.trace_state, "a=1,b=2");
    let call = collector.span("integration backend").await;
    is_child(&call, &connect);
    assert_eq!(collector.spans().len(), 2, "{:?}", collector.spans());
    let [unsampled, sampled] = [backend.next_request().await, backend.next_request().await];
    assert_eq!(sampled.header("traceparent"), Some(call.traceparent().as_str()));
    assert_eq!(sampled.header("tracestate"), Some("a=1,b=2"));
    let told = unsampled.header("traceparent").expect("a traceparent");
    assert!(told.contains(TRACE) && told.ends_with("-00"), "{told}");
    assert_eq!(unsampled.header("tracestate"), Some("a=1"));
}

#[tokio::test]
async fn what_fails_says_what_it_was_and_whose_fault() {
    let collector = OtlpReceiver::start().await;
    let who = FunctionBackend::start(|event| {
        let denied = event["queryStringParameters"]["deny"].is_string();
        if denied { json!("no policy") } else { crate::authorizers::allow() }
    })
    .await;
    let toml = crate::authorizers::guarded_by(GatewayToml::new(), &who.url())
        .http_proxy("away", "http://127.0.0.1:1/")
        .echo("echo")
        .two_way("away", "away")
        .route("never", "echo")
        .route_key("never", "throttle", "{ rate = 0, burst = 0 }")
        .two_way("echo", "echo")
        .traced(&collector);
    let gateway = start(&toml).await;
    let url = gateway.ws_url("prod");
    assert_eq!(refused(&format!("{url}?deny=1")).await.status, 500);
    let mut client = Client::connect(&url).await;
    for action in ["away", "never", "nobody", "echo"] {
        client.send_text(&json!({ "action": action }).to_string()).await;
        client.next_text().await;
    }
    let of = async |name: &str, outcome: &str, blame: &str, failed: bool| {
        let span = collector.span(name).await;
        assert_eq!(span.attribute("tidegate.outcome"), outcome, "{span:?}");
        assert_eq!(span.attribute("tidegate.blame"), blame, "{span:?}");
        assert_eq!(span.failed, failed, "{span:?}");
        span
    };
    let refused = of("connect test/prod", "authorizer_error", "api_owner", true).await;
    assert_eq!(refused.attribute("http.response.status_code"), "500");
    let away = of("message away", "unreachable", "api_owner", true).await;
    assert_eq!(away.attribute("error.type"), "unreachable");
    assert_eq!(away.attribute("tidegate.status"), "504");
    let call = collector.span("integration away").await;
    is_child(&call, &away);
    assert_eq!((call.attribute("error.type"), call.failed), ("unreachable", true));
    of("message never", "THROTTLED", "client", false).await;
    let nobody = of("message -", "ACCESS_DENIED", "client", false).await;
    assert_eq!(nobody.attribute("tidegate.status"), "403");
    of("message echo", "ok", "", false).await;
    let asked = collector.wait_for("authorizer guard", 2).await;
    is_child(&asked[0], &refused);
    assert!(asked[0].failed && !asked[1].failed, "{asked:?}");
    let questions = who.http().requests();
    for (question, span) in questions.iter().zip(&asked) {
        assert_eq!(question.header("traceparent"), Some(span.traceparent().as_str()));
    }
}

#[tokio::test]
async fn a_management_call_is_a_span_of_its_callers_trace_once_the_caller_is_known() {
    let collector = OtlpReceiver::start().await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function).signed("AKIDTEST", "secret").traced(&collector);
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    let target = format!("/prod/@connections/{}", id.replace('=', "%3D"));
    let host = gateway.address().to_string();
    let post = async |secret: &str, body: &str| {
        let signer = Signer::new("AKIDTEST", secret);
        let signed = [("Host", host.as_str())];
        let now = SystemTime::now();
        let mut headers = signer.sign("POST", &target, &signed, body.as_bytes(), now);
        headers.push(("traceparent".to_owned(), PARENT.to_owned()));
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        http_call(&gateway.http_url(), "POST", &target, &headers, body.as_bytes()).await.status
    };
    assert_eq!(post("secret", "for you").await, 200);
    assert_eq!(client.next_text().await, "for you");
    assert_eq!(post("guessed", "not for you").await, 403);
    let posts = collector.wait_for("management post", 2).await;
    let [known, stranger] = &posts[..] else { panic!("two posts, not {posts:?}") };
    assert_eq!((known.trace_id.as_str(), known.parent.as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!(known.kind, SpanKind::Server);
    assert_eq!(known.attribute("http.response.status_code"), "200");
    assert_eq!(known.attribute("http.request.method"), "POST");
    assert_eq!(known.attribute("tidegate.operation"), "post");
    assert_eq!(known.attribute("tidegate.connection_id"), id);
    assert_eq!(known.attribute("tidegate.stage"), "prod");
    assert_ne!(stranger.trace_id, TRACE);
    assert_eq!(stranger.parent, "");
    assert_eq!(stranger.attribute("http.response.status_code"), "403");
    assert_eq!(stranger.attribute("tidegate.connection_id"), "", "nothing was looked up");
    assert_eq!((stranger.attribute("tidegate.blame"), stranger.failed), ("api_owner", false));
}

/// Lambda's own header, which its runtime tells the function's tracing library.
#[tokio::test]
async fn a_function_behind_lambda_is_told_in_amazons_words() {
    let collector = OtlpReceiver::start().await;
    let lambda = LambdaBackend::start(|_| InvokeAnswer::from(reply("ok"))).await;
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:chat";
    let toml = GatewayToml::new()
        .function("f", arn)
        .service("lambda", &lambda.url())
        .route("$connect", "f")
        .two_way("$default", "f")
        .traced(&collector);
    let gateway = start(&toml).await;
    let theirs = "Root=1-5759e988-bd862e3fe1be46a994272793";
    let headers = [("X-Amzn-Trace-Id", theirs)];
    let mut client = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;
    client.send_text("x").await;
    assert_eq!(client.next_text().await, "ok");
    let requests = lambda.http().requests();
    let [connect, message] = &requests[..] else { panic!("two calls, not {requests:?}") };
    assert_eq!(connect.header("x-amzn-trace-id"), Some(theirs), "a client's own is kept");
    let calls = collector.wait_for("integration f", 2).await;
    let ReceivedSpan { trace_id, span_id, .. } = &calls[1];
    let (time, rest) = trace_id.split_at(8);
    let ours = format!("Root=1-{time}-{rest};Parent={span_id};Sampled=1");
    assert_eq!(message.header("x-amzn-trace-id"), Some(ours.as_str()));
}

/// A worker's runtime client hands `Lambda-Runtime-Trace-Id` on as `_X_AMZN_TRACE_ID`.
#[tokio::test]
async fn a_local_function_is_told_in_amazons_words() {
    let collector = OtlpReceiver::start().await;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let worker = r#"
import json, os, urllib.request
base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
while True:
    with urllib.request.urlopen(base + "next") as call:
        call.read()
        told = call.headers
    answer = {"statusCode": 200, "body": told["Lambda-Runtime-Trace-Id"]}
    path = base + told["Lambda-Runtime-Aws-Request-Id"] + "/response"
    urllib.request.urlopen(path, json.dumps(answer).encode()).read()
"#;
    std::fs::write(folder.path().join("worker.py"), worker).expect("a file");
    let toml = GatewayToml::new()
        .local_function("f", &["python3", "worker.py"], folder.path())
        .two_way("$default", "f")
        .traced(&collector);
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    let told = client.next_text().await;
    let call = collector.span("integration f").await;
    let (time, rest) = call.trace_id.split_at(8);
    assert_eq!(told, format!("Root=1-{time}-{rest};Parent={};Sampled=1", call.span_id));
}

/// The collector answers nothing at all, and more spans come than may wait.
#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let collector = OtlpReceiver::start_with(|_| std::future::ready(Answer::stall())).await;
    let toml = GatewayToml::new()
        .echo("echo")
        .two_way("$default", "echo")
        .set("drain", "deadline_s", "2")
        .set("drain", "spread_s", "0")
        .traced(&collector);
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("first").await;
    client.next_text().await;
    collector.http().wait_for_requests(1).await;
    for _ in 0..50 {
        for _ in 0..100 {
            client.send_text("x").await;
        }
        for _ in 0..100 {
            client.next_text().await;
        }
    }
    let dropped = gateway.metric(SPANS, &[("outcome", "dropped")]).await;
    // 5,001 messages and a connect; 4,096 wait, and a batch of the first ones is under way.
    assert!((390.0..910.0).contains(&dropped), "{dropped}");
    // The end does not wait for the collector beyond its deadline.
    client.close(1000, "").await;
    let began = Instant::now();
    let ended = gateway.terminate(DEADLINE).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}, and a post may take 10 s");
}

#[tokio::test]
async fn a_collector_that_is_away_for_a_while_gets_its_spans_later() {
    let posts = Arc::new(AtomicUsize::new(0));
    let collector = OtlpReceiver::start_with(move |_| {
        let nth = posts.fetch_add(1, Ordering::SeqCst);
        std::future::ready(if nth == 0 { Answer::status(503) } else { OtlpReceiver::taken() })
    })
    .await;
    let toml = GatewayToml::new().echo("echo").two_way("$default", "echo").traced(&collector);
    let gateway = start(&toml).await;
    let _client = Client::connect(&gateway.ws_url("prod")).await;
    let log = gateway.wait_for_log("traces cannot be exported").await;
    assert!(text(&log["fields"]["error"]).contains("503"), "{log}");
    gateway.wait_for_log("traces are exported again").await;
    assert_eq!(gateway.metric(SPANS, &[("outcome", "exported")]).await, 1.0);
    assert_eq!(gateway.metric(SPANS, &[]).await, 1.0, "each span is counted once");
}

#[tokio::test]
async fn spans_that_a_collector_refuses_are_counted() {
    let posts = Arc::new(AtomicUsize::new(0));
    let collector = OtlpReceiver::start_with(move |_| {
        let nth = posts.fetch_add(1, Ordering::SeqCst);
        let refusal =
            if nth == 0 { OtlpReceiver::refusing(1, "too old") } else { Answer::status(400) };
        std::future::ready(refusal)
    })
    .await;
    let toml = GatewayToml::new().echo("echo").two_way("$default", "echo").traced(&collector);
    let gateway = start(&toml).await;
    let rejected = async |count: f64| {
        let is = async || gateway.metric(SPANS, &[("outcome", "rejected")]).await == count;
        wait_until(DEADLINE, "the rejected spans to be counted", is).await;
    };
    let _first = Client::connect(&gateway.ws_url("prod")).await;
    rejected(1.0).await;
    let log = gateway.wait_for_log("the collector refused spans").await;
    assert_eq!(log["fields"]["why"], "too old");
    let _second = Client::connect(&gateway.ws_url("prod")).await;
    rejected(2.0).await;
    assert_eq!(collector.http().count(), 2, "what is refused is not sent again");
}

#[tokio::test]
async fn the_last_spans_are_sent_before_a_drained_node_ends() {
    let collector = OtlpReceiver::start().await;
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_by(&function).traced(&collector)).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    connection_id(&function).await;
    let end = tokio::spawn(gateway.terminate(DEADLINE));
    assert_eq!(client.next_close().await.0, 1001);
    assert!(end.await.expect("the end").status.success());
    let names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(names.contains(&"disconnect test/prod".to_owned()), "{names:?}");
}

#[tokio::test]
async fn a_part_of_all_traces_is_recorded_whole() {
    let collector = OtlpReceiver::start().await;
    let backend = HttpBackend::answering(Answer::body_of("ok")).await;
    let toml = GatewayToml::new()
        .http_proxy("backend", &backend.url())
        .two_way("$default", "backend")
        .traced(&collector)
        .set("tracing", "sample_ratio", "0.5");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    for _ in 0..200 {
        client.send_text("x").await;
        client.next_text().await;
    }
    client.close(1000, "").await;
    assert!(gateway.terminate(DEADLINE).await.status.success());
    let spans = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (messages, calls) = (named("message $default"), named("integration backend"));
    // Off by 6 standard deviations or less.
    assert!((57..=143).contains(&messages.len()), "{}", messages.len());
    assert_eq!(messages.len(), calls.len(), "a trace is recorded whole or not at all");
    let flags = |end: &str| {
        let told = |request: &&_| -> bool {
            let request: &tidegate_testkit::RecordedRequest = request;
            request.header("traceparent").is_some_and(|parent| parent.ends_with(end))
        };
        backend.requests().iter().filter(told).count()
    };
    assert_eq!((flags("-01"), flags("-00")), (messages.len(), 200 - messages.len()));
}

#[tokio::test]
async fn a_reload_says_that_tracing_changes_at_the_next_start() {
    let collector = OtlpReceiver::start().await;
    let toml = GatewayToml::new().echo("echo").two_way("$default", "echo");
    let gateway = start(&toml).await;
    gateway.reload(&toml.traced(&collector).build()).await;
    let log = gateway.wait_for_log("this change takes effect at the next start").await;
    assert_eq!(log["fields"]["key"], "tracing");
    let within = Duration::from_millis(200);
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.expect_silence(within).await;
    assert_eq!(collector.http().count(), 0);
}
