//! AWS services behind `aws` integrations (websocket-api, 6.2 and items 87, 88): what is sent, how
//! it is signed, what comes back.
//!
//! In:  messages of a client. Out: the requests of small servers that answer as services do.
//!
//! Holds always: services that keep what they are sent are in the client tests; these look at the
//! wire.

use serde_json::json;
use tidegate_testkit::{
    Answer, Client, FunctionBackend, GatewayToml, HttpBackend, RecordedRequest, Signer, refused,
};

use crate::{assert_error_frame, connection_id, start, watched_by};

const QUEUE: &str = "arn:aws:apigateway:eu-west-1:sqs:path/123456789012/messages";
const FORM: &str = "'application/x-www-form-urlencoded'";
const SENT: &str = r#"{"SendMessageResponse":{"SendMessageResult":{"MessageId":"m-1"},"ResponseMetadata":{"RequestId":"r-1"}}}"#;

/// Fails unless the request is signed with the default credentials of [`GatewayToml::service`].
fn assert_signed(request: &RecordedRequest, service: &str, region: &str) {
    let signer = |service: &str, region: &str| Signer {
        service: service.to_owned(),
        region: region.to_owned(),
        ..Signer::new("AKIDTEST", "test")
    };
    assert_eq!(signer(service, region).objection(request), None);
    assert!(signer("s3", region).objection(request).is_some(), "for {service} alone");
    assert!(signer(service, "us-gov-1").objection(request).is_some(), "for {region} alone");
}

/// A queue as API Gateway's users write it.
fn queue(backend: &HttpBackend) -> GatewayToml {
    GatewayToml::new()
        .service("sqs", &backend.url())
        .aws("queue", QUEUE)
        .parameter("queue", "integration.request.header.Content-Type", FORM)
        .request_template(
            "queue",
            "application/json",
            "Action=SendMessage&MessageBody=$util.urlEncode($input.body)",
        )
}

/// websocket-api, item 87.
#[tokio::test]
async fn a_queue_gets_the_body_and_its_json_reply_reaches_the_client() {
    let sqs =
        HttpBackend::answering(Answer::body_of(SENT).header("Content-Type", "application/json"))
            .await;
    let gateway = start(&queue(&sqs).two_way("$default", "queue")).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text(r#"{"some": "value+é&"}"#).await;
    assert_eq!(client.next_text().await, SENT);
    let request = sqs.next_request().await;
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/123456789012/messages")
    );
    assert_eq!(
        request.text(),
        "Action=SendMessage&MessageBody=%7B%22some%22%3A+%22value%2B%C3%A9%26%22%7D"
    );
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_signed(&request, "sqs", "eu-west-1");
}

/// websocket-api, item 88 and 2.7.
#[tokio::test]
async fn a_stream_without_a_response_template_passes_its_body_through() {
    let body = r#"{"SequenceNumber":"49","ShardId":"shardId-000000000000"}"#;
    let kinesis = HttpBackend::answering(
        Answer::body_of(body).header("Content-Type", "application/x-amz-json-1.1"),
    )
    .await;
    let template =
        r#"{"StreamName":"s","PartitionKey":"k","Data":"$util.base64Encode($input.body)"}"#;
    let toml = GatewayToml::new()
        .service("kinesis", &kinesis.url())
        .aws("stream", "arn:aws:apigateway:eu-west-1:kinesis:action/PutRecord")
        .request_template("stream", "application/json", template)
        // The service's selector is its status (2.6).
        .response("stream", "/200/", "response_templates", "{}")
        .two_way("$default", "stream");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("hello").await;
    assert_eq!(client.next_text().await, body);
    let request = kinesis.next_request().await;
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/"));
    assert_eq!(request.header("x-amz-target"), Some("Kinesis_20131202.PutRecord"));
    assert_eq!(request.header("content-type"), Some("application/x-amz-json-1.1"));
    let record = json!({ "StreamName": "s", "PartitionKey": "k", "Data": "aGVsbG8=" });
    assert_eq!(request.json(), record);
    assert_signed(&request, "kinesis", "eu-west-1");
}

/// websocket-api, 6.2: the service of the uri is the one that is signed for, the region its own.
#[tokio::test]
async fn each_service_is_told_its_action_and_signed_for_itself() {
    let backend = HttpBackend::answering(Answer::body_of("{}")).await;
    for (uri, service, region, target) in [
        ("us-west-2:sns:action/Publish", "sns", "us-west-2", None),
        (
            "eu-west-1:dynamodb:action/PutItem",
            "dynamodb",
            "eu-west-1",
            Some("DynamoDB_20120810.PutItem"),
        ),
        (
            "eu-west-1:states:action/StartExecution",
            "states",
            "eu-west-1",
            Some("AWSStepFunctions.StartExecution"),
        ),
        ("eu-west-1:events:action/PutEvents", "events", "eu-west-1", Some("AWSEvents.PutEvents")),
        (
            "${stageVariables.region}:kinesis:action/PutRecord",
            "kinesis",
            "ap-northeast-1",
            Some("Kinesis_20131202.PutRecord"),
        ),
    ] {
        let toml = GatewayToml::new()
            .service(service, &backend.url())
            .variable("region", "ap-northeast-1")
            .aws("call", &format!("arn:aws:apigateway:{uri}"))
            .two_way("$default", "call");
        let gateway = start(&toml).await;
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        client.send_text("A=b").await;
        assert_eq!(client.next_text().await, "{}", "{uri}");
        let request = backend.next_request().await;
        assert_eq!(request.header("x-amz-target"), target, "{uri}");
        if target.is_none() {
            let query = request.query.clone().unwrap_or_default();
            assert!(query.contains("Action=Publish"), "{query:?}");
        }
        assert_signed(&request, service, region);
    }
}

/// websocket-api, 6.2 (`credentialsArn`): credentials by their name, a session token with them.
#[tokio::test]
async fn an_integration_signs_with_the_credentials_that_it_names() {
    let sqs = HttpBackend::answering(Answer::body_of(SENT)).await;
    let toml = queue(&sqs)
        .integration("queue", "credentials", r#""queues""#)
        .set("aws.credentials.queues", "access_key_id", r#""AKIDQUEUES""#)
        .set("aws.credentials.queues", "secret_access_key", r#""another""#)
        .set("aws.credentials.queues", "session_token", r#""to/ken+=""#)
        .two_way("$default", "queue");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    assert_eq!(client.next_text().await, SENT);
    let request = sqs.next_request().await;
    let signer = Signer {
        service: "sqs".to_owned(),
        region: "eu-west-1".to_owned(),
        session_token: Some("to/ken+=".to_owned()),
        ..Signer::new("AKIDQUEUES", "another")
    };
    assert_eq!(signer.objection(&request), None);
    assert!(!gateway.log_text().contains("another") && !gateway.log_text().contains("to/ken"));
}

/// websocket-api, 2.6: a service that refuses has answered; its status picks the response. On
/// `$connect` it is the status of the refusal (5.2).
#[tokio::test]
async fn a_services_error_is_an_answer_that_a_response_can_be_for() {
    let error = r#"{"Error":{"Code":"AWS.SimpleQueueService.NonExistentQueue"}}"#;
    let sqs = HttpBackend::answering(Answer::status(400).body(error)).await;
    let toml = queue(&sqs)
        .response_template("queue", r"/2\d\d/", "$default", "queued")
        .response_template(
            "queue",
            r"/4\d\d/",
            "$default",
            "not queued: $input.path('$.Error.Code') ($context.status)",
        )
        .two_way("$default", "queue");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    let said = "not queued: AWS.SimpleQueueService.NonExistentQueue (400)";
    assert_eq!(client.next_text().await, said);

    let gateway = start(&queue(&sqs).route("$connect", "queue")).await;
    assert_eq!(refused(&gateway.ws_url("prod")).await.status, 400);
}

/// websocket-api, 6.2: on a one-way route nothing of the service's answer is seen.
#[tokio::test]
async fn a_one_way_route_queues_and_says_nothing() {
    let sqs = HttpBackend::answering(Answer::body_of(SENT)).await;
    let toml = queue(&sqs).route("$default", "queue").echo("echo").two_way("ping", "echo");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    client.send_text("x").await;
    sqs.next_request().await;
    let ping = r#"{"action":"ping"}"#;
    client.send_text(ping).await;
    assert_eq!(client.next_text().await, ping);
}

/// websocket-api, 4.5 and 3.2: a service that is away or slow.
#[tokio::test]
async fn a_service_that_cannot_be_reached_or_stalls_fails_the_call() {
    let slow = HttpBackend::answering(Answer::stall()).await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function)
        .service("sqs", "http://127.0.0.1:1")
        .service("kinesis", &slow.url())
        .aws("away", QUEUE)
        .aws("slow", "arn:aws:apigateway:eu-west-1:kinesis:action/PutRecord")
        .integration("slow", "timeout_ms", "200")
        .route("away", "away")
        .two_way("slow", "slow");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let id = connection_id(&function).await;
    for (action, message) in
        [("away", "Internal server error"), ("slow", "Endpoint request timed out")]
    {
        client.send_text(&json!({ "action": action }).to_string()).await;
        assert_error_frame(&client.next_text().await, message, &id);
    }
    for (integration, status) in [("away", 504), ("slow", 504)] {
        let gateway = start(&toml.clone().route("$connect", integration)).await;
        assert_eq!(refused(&gateway.ws_url("prod")).await.status, status);
    }
}
