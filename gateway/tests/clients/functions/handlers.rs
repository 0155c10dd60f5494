//! The same function in three languages: what it serves, and what its clients see when it goes
//! wrong (websocket-api, 3.2, 4.4 and 4.5).

use serde_json::json;
use tidegate_testkit::{Client, refused};

use super::{Code, FUNCTION, Served, ask, assert_error_frame, greet, send};

const INTERNAL: &str = "Internal server error";

/// What handlers can answer that is no proxy response.
const NONSENSE: [&str; 6] = ["nothing", "text", "number", "list", "no-status", "bad-status"];

/// `$connect` decides, a reply comes back with what Lambda's context says, `$disconnect` runs.
async fn is_served(code: Code) {
    let served = Served::start(code, &[("memory_mb", "256")]).await;
    let url = served.gateway.ws_url("prod");
    assert_eq!(refused(&format!("{url}?token=stolen")).await.status, 403);
    let mut client = served.connect().await;
    let greeting = ask(&mut client, json!({ "action": "greet", "name": "Ada" })).await;
    assert_eq!(greeting["text"], "hello Ada");
    assert_eq!(greeting["function"], FUNCTION);
    assert_eq!(greeting["memory"], 256);
    assert_eq!(greeting["arn"], "arn:aws:lambda:us-east-1:000000000000:function:chat");
    let remaining = greeting["remainingMs"].as_u64().expect("a number");
    assert!((1..=15_000).contains(&remaining), "{remaining} ms");
    client.close(1000, "").await;
    let id = greeting["connectionId"].as_str().expect("a connection id");
    let output = served.output(&format!("goodbye {id}")).await;
    assert_eq!(output["function"], FUNCTION);
}

/// The handler posts with its own SDK to an address that it builds itself.
async fn posts_back(code: Code, route: &str) {
    let served = Served::start(code, &[]).await;
    let mut client = served.connect().await;
    for text in ["hello", "grüße 🌊"] {
        send(&mut client, json!({ "action": route, "text": text })).await;
        assert_eq!(client.next_text().await, text);
    }
    greet(&mut client).await;
}

/// A message, then an upgrade, goes wrong in this way; after each the next message works.
/// `crashes`: whether the worker is lost.
async fn goes_wrong(code: Code, ways: &[&str], crashes: bool, keys: &[(&str, &str)]) {
    let served = Served::start(code, keys).await;
    let mut client = served.connect().await;
    let id = greet(&mut client).await;
    for way in ways {
        send(&mut client, json!({ "action": "misbehave", "how": way })).await;
        assert_error_frame(&client.next_text().await, INTERNAL, &id);
        greet(&mut client).await;

        let url = format!("{}?how={way}", served.gateway.ws_url("prod"));
        let refusal = refused(&url).await;
        assert_eq!(refusal.status, 502, "{way}: {}", refusal.text());
        assert_eq!(refusal.header("x-amzn-ErrorType"), Some("InternalServerErrorException"));
        let pending = refusal.json()["connectionId"].as_str().unwrap_or_default().to_owned();
        assert_error_frame(refusal.text(), INTERNAL, &pending);
        greet(&mut client).await;
        greet(&mut served.connect().await).await;
    }
    served.crashes(if crashes { 2 } else { 0 }).await;
}

/// A worker that hangs is ended at the function's own timeout.
async fn hangs(code: Code) {
    goes_wrong(code, &["hang"], true, &[("timeout_ms", "2000"), ("max_workers", "1")]).await;
}

/// What it prints never holds it up, and the log takes what it can.
async fn prints_a_megabyte(code: Code) {
    let served = Served::start(code, &[]).await;
    let mut client = served.connect().await;
    send(&mut client, json!({ "action": "misbehave", "how": "print" })).await;
    assert_eq!(client.next_text().await, "printed");
    greet(&mut client).await;
    let long = served.output("xxxxxxxx").await;
    assert!(long["line"].as_str().expect("text").len() <= 64 * 1024);
    served.output("line 7").await;
    Client::connect(&format!("{}?how=print", served.gateway.ws_url("prod"))).await;
}

macro_rules! handlers {
    ($($name:ident($code:expr, more nonsense $nonsense:expr) { $($case:ident: $check:expr;)* })+) => {
        $(mod $name {
            use super::*;

            const CODE: Code = $code;

            #[tokio::test]
            async fn it_serves_connect_a_reply_and_disconnect() {
                is_served(CODE).await;
            }

            #[tokio::test]
            async fn it_posts_back_to_the_domain_name_of_the_event() {
                posts_back(CODE, "announce").await;
            }

            #[tokio::test]
            async fn one_that_throws_fails_its_message_and_the_next_works() {
                goes_wrong(CODE, &["throw"], false, &[]).await;
            }

            #[tokio::test]
            async fn one_that_hangs_fails_its_message_and_the_next_works() {
                hangs(CODE).await;
            }

            #[tokio::test]
            async fn one_that_exits_fails_its_message_and_the_next_works() {
                goes_wrong(CODE, &["exit"], true, &[]).await;
            }

            #[tokio::test]
            async fn one_that_exits_without_an_error_fails_its_message_and_the_next_works() {
                goes_wrong(CODE, &["leave"], true, &[]).await;
            }

            #[tokio::test]
            async fn one_that_prints_a_megabyte_is_answered() {
                prints_a_megabyte(CODE).await;
            }

            #[tokio::test]
            async fn one_that_answers_nonsense_fails_its_message_and_the_next_works() {
                goes_wrong(CODE, &NONSENSE, false, &[]).await;
                goes_wrong(CODE, $nonsense, false, &[]).await;
            }

            $(#[tokio::test]
            async fn $case() {
                $check.await;
            })*
        })+
    };
}

handlers! {
    awslambdaric(Code::Python("app"), more nonsense &["unspeakable"]) {
        it_posts_back_to_amazons_name_of_the_api: posts_back(CODE, "announce-by-api");
    }
    aws_lambda_ric(Code::Node("mjs"), more nonsense &["unspeakable"]) {
        it_posts_back_to_amazons_name_of_the_api: posts_back(CODE, "announce-by-api");
    }
    lambda_runtime(Code::Rust, more nonsense &[]) {
        one_that_panics_fails_its_message_and_the_next_works:
            goes_wrong(CODE, &["panic"], false, &[]);
    }
}

/// The older form of Node modules.
mod aws_lambda_ric_with_commonjs {
    use super::*;

    const CODE: Code = Code::Node("cjs");

    #[tokio::test]
    async fn it_posts_back_to_the_domain_name_of_the_event() {
        posts_back(CODE, "announce").await;
    }

    #[tokio::test]
    async fn it_posts_back_to_amazons_name_of_the_api() {
        posts_back(CODE, "announce-by-api").await;
    }
}
