//! What may be an authorizer's function: Lambda, a local function, a web server (websocket-api, 9.5;
//! clients, section 6; tidegate, section 4).
//!
//! In:  the same four decisions, from each form of function.
//! Out: the same four statuses.
//!
//! Holds always: a form that cannot be asked admits nobody.

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_testkit::{
    Answer, DEADLINE, FunctionAnswer, FunctionBackend, GatewayToml, HttpBackend, RecordedRequest,
    TestGateway, wait_until,
};

use crate::{
    authorizers::{GuardKey, allow, answer, case, guard, guarded_by, statement},
    start,
    upgrade::upgrade_status,
    watched_by,
};

/// The four answers that an authorizer may give, as each form of function gives them.
async fn assert_form_decides(form: &str, gateway: &TestGateway) {
    for (case, status) in [("allow", 101), ("deny", 403), ("unauthorized", 401), ("boom", 500)] {
        let url = format!("{}?case={case}", gateway.ws_url("prod"));
        assert_eq!(upgrade_status(&url, &[]).await, status, "{form}: {case}");
    }
}

/// websocket-api, 9.5, and clients, section 6: a stand-in for Lambda's Invoke API.
#[tokio::test]
async fn a_lambda_function_decides_by_its_answer() {
    let lambda = HttpBackend::start(|request: RecordedRequest| {
        let thrown = |message: &str| {
            let body = json!({ "errorMessage": message, "errorType": "Error" }).to_string();
            Answer::body_of(body).header("X-Amz-Function-Error", "Unhandled")
        };
        let event = request.json();
        std::future::ready(match case(&event) {
            "allow" => Answer::body_of(allow().to_string()),
            "deny" => Answer::body_of(answer(&json!([statement("Deny", "*")])).to_string()),
            "unauthorized" => thrown("Unauthorized"),
            "absent" => Answer::status(404)
                .header("x-amzn-ErrorType", "ResourceNotFoundException")
                .body(r#"{"Message":"no such function"}"#),
            "throttled" => Answer::status(429)
                .header("x-amzn-ErrorType", "TooManyRequestsException")
                .body(r#"{"Message":"Rate exceeded"}"#),
            "forbidden" => Answer::status(403)
                .header("x-amzn-ErrorType", "AccessDeniedException")
                .body(r#"{"Message":"no"}"#),
            _ => thrown("boom"),
        })
    })
    .await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:who:live";
    let toml = guarded_by(GatewayToml::new(), arn)
        .set("aws.endpoints", "lambda", &format!("{:?}", lambda.url()))
        .set("aws.credentials.default", "access_key_id", r#""AKIDEXAMPLE""#)
        .set("aws.credentials.default", "secret_access_key", r#""secret""#);
    let gateway = start(&toml).await;
    assert_form_decides("lambda", &gateway).await;
    for case in ["absent", "throttled", "forbidden"] {
        let url = format!("{}?case={case}", gateway.ws_url("prod"));
        let status = upgrade_status(&url, &[]).await;
        assert_eq!(status, 500, "whoever cannot be asked admits nobody: {case}");
    }
    let request = lambda.next_request().await;
    let path = request.path.replace("%3A", ":");
    let function = "arn:aws:lambda:us-east-1:000000000000:function:who";
    assert_eq!(path, format!("/2015-03-31/functions/{function}/invocations"));
    assert_eq!(request.query.as_deref(), Some("Qualifier=live"));
    let signed = request.header("authorization").expect("a signature");
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
}

/// A Lambda runtime client and an authorizer in one, without any library.
const LOCAL_AUTHORIZER: &str = r#"
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
base = "/2018-06-01/runtime/invocation/"
while True:
    api.request("GET", base + "next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    place = base + answer.headers["Lambda-Runtime-Aws-Request-Id"]
    case = event["queryStringParameters"].get("case")
    if case in ("allow", "deny"):
        result = {"principalId": "u1", "context": {"pid": os.getpid()}, "policyDocument": {
            "Version": "2012-10-17", "Statement": [{"Action": "execute-api:Invoke",
            "Effect": case.capitalize(), "Resource": event["methodArn"]}]}}
        api.request("POST", place + "/response", json.dumps(result))
    elif case == "exit":
        os._exit(1)
    else:
        error = {"errorMessage": case.capitalize(), "errorType": "Exception"}
        api.request("POST", place + "/error", json.dumps(error))
    api.getresponse().read()
"#;

/// tidegate, section 4: a local function decides; one that ends in the middle admits nobody, and
/// the next client finds a worker again.
#[tokio::test]
async fn a_local_function_decides_by_its_answer() {
    let folder = TempDir::with_prefix("tidegate-authorizer-").expect("a folder");
    std::fs::write(folder.path().join("who.py"), LOCAL_AUTHORIZER).expect("a file of ours");
    let directory = Value::from(folder.path().to_str().expect("UTF-8")).to_string();
    let function = FunctionBackend::accepting().await;
    let toml = guard(watched_by(&function))
        .guard_key("integration", r#""who""#)
        .integration("who", "type", r#""aws_proxy""#)
        .integration("who", "function", r#""who""#)
        .set("functions.who", "command", r#"["python3", "who.py"]"#)
        .set("functions.who", "directory", &directory);
    let gateway = start(&toml).await;
    assert_form_decides("local", &gateway).await;
    let event = function.next_event("CONNECT").await;
    let pid = &event["requestContext"]["authorizer"]["pid"];
    assert!(pid.as_str().is_some_and(|pid| pid.parse::<u32>().is_ok()), "{event}");
    let ask = |case: &str| format!("{}?case={case}", gateway.ws_url("prod"));
    assert_eq!(upgrade_status(&ask("exit"), &[]).await, 500);
    wait_until(DEADLINE, "a worker that decides again", async || {
        upgrade_status(&ask("allow"), &[]).await == 101
    })
    .await;
}

/// tidegate, section 4: a web server is a function.
#[tokio::test]
async fn a_web_server_decides_by_its_answer() {
    let who = FunctionBackend::start(|event| -> FunctionAnswer {
        match case(&event) {
            "allow" => allow().into(),
            "deny" => answer(&json!([statement("Deny", "*")])).into(),
            "unauthorized" => Answer::status(500).body(r#"{"errorMessage":"Unauthorized"}"#).into(),
            _ => FunctionAnswer::error(),
        }
    })
    .await;
    let gateway = start(&guarded_by(GatewayToml::new(), &who.url())).await;
    assert_form_decides("web server", &gateway).await;
}
