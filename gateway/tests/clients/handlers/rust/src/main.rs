//! A function behind a WebSocket API, written for Lambda with `lambda_runtime`.
//!
//! Nothing here knows Tidegate. `app.py` and `chat.mjs` beside it are the same function.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_config::SdkConfig;
use aws_sdk_apigatewaymanagement::{Client, config::Builder as ManagementConfig, primitives::Blob};
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_from_env().await;
    lambda_runtime::run(service_fn(|event| handler(&config, event))).await
}

async fn handler(config: &SdkConfig, event: LambdaEvent<Value>) -> Result<Value, Error> {
    let LambdaEvent { payload: event, context } = event;
    let request = &event["requestContext"];
    match request["eventType"].as_str() {
        Some("CONNECT") => return on_connect(&event["queryStringParameters"]).await,
        Some("DISCONNECT") => {
            println!("goodbye {}", text(request, "connectionId"));
            return Ok(json!({ "statusCode": 200 }));
        }
        _ => {}
    }
    let message: Value = serde_json::from_str(text(&event, "body"))?;
    match text(request, "routeKey") {
        "greet" => Ok(greet(&message, request, &context)),
        "announce" => announce(config, &message, request).await,
        "misbehave" => misbehave(text(&message, "how")).await,
        other => Err(format!("no such route: {other}").into()),
    }
}

async fn on_connect(query: &Value) -> Result<Value, Error> {
    if let Some(how) = query["how"].as_str() {
        return misbehave(how).await;
    }
    Ok(json!({ "statusCode": if query["token"] == "stolen" { 403 } else { 200 } }))
}

/// The reply of a two-way route.
fn greet(message: &Value, request: &Value, context: &Context) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let greeting = json!({
        "text": format!("hello {}", text(message, "name")),
        "connectionId": request["connectionId"],
        "function": context.env_config.function_name,
        "memory": context.env_config.memory,
        "arn": context.invoked_function_arn,
        "remainingMs": context.deadline.saturating_sub(now.as_millis() as u64),
    });
    json!({ "statusCode": 200, "body": greeting.to_string() })
}

/// A post back, to the address that most handlers build.
async fn announce(config: &SdkConfig, message: &Value, request: &Value) -> Result<Value, Error> {
    let endpoint = format!("https://{}/{}", text(request, "domainName"), text(request, "stage"));
    let management =
        Client::from_conf(ManagementConfig::from(config).endpoint_url(endpoint).build());
    let data = Blob::new(text(message, "text"));
    let id = text(request, "connectionId");
    management.post_to_connection().connection_id(id).data(data).send().await?;
    Ok(json!({ "statusCode": 200 }))
}

async fn misbehave(how: &str) -> Result<Value, Error> {
    Ok(match how {
        "throw" => return Err("boom".into()),
        "panic" => panic!("boom"),
        "hang" => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            Value::Null
        }
        "exit" => std::process::exit(3),
        "leave" => std::process::exit(0),
        "print" => {
            println!("{}", "x".repeat(1_000_000));
            for line in 0..50_000 {
                println!("line {line}");
            }
            json!({ "statusCode": 200, "body": "printed" })
        }
        "nothing" => Value::Null,
        "text" => json!("hello"),
        "number" => json!(200),
        "list" => json!([200]),
        "no-status" => json!({ "body": "hello" }),
        "bad-status" => json!({ "statusCode": "yes", "body": "hello" }),
        other => return Err(format!("no such way: {other}").into()),
    })
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}
