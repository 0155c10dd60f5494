//! Calls to AWS over real sockets: what a service of Amazon's, or one compatible, gets and answers.

// The helpers of a test are test code too, which the lint cannot tell here.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderName, Method, Response};
use tidegate_flow::request_parameters::MappedParameters;
use tidegate_integrations::{
    Aws, AwsCallSettings, AwsEnvironment, BackendPools, BackendTls, IntegrationError, LambdaCall,
    PoolLimits, ServiceCall,
};
use tidegate_model::{AwsCredentials, AwsSettings, AwsUri, Secret, UriTemplate};
use tidegate_testkit::{Answer, HttpBackend, RecordedRequest, Signer};

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:chat";
const SETTINGS: AwsCallSettings<'static> = AwsCallSettings {
    api_id: "chat",
    credentials: None,
    timeout: Duration::from_secs(10),
    max_answer_bytes: 1024,
};

fn pools() -> BackendPools {
    BackendPools::new(PoolLimits::default(), BackendTls::native())
}

fn credentials(name: &str, session_token: Option<&str>) -> (String, AwsCredentials) {
    let keys = AwsCredentials {
        access_key_id: format!("AKID{name}"),
        secret_access_key: Secret::new("s3cret".to_owned()),
        session_token: session_token.map(|token| Secret::new(token.to_owned())),
    };
    (name.to_owned(), keys)
}

/// All services are at `backend`, whose path is `base`.
fn aws_at(backend: &HttpBackend, base: &str) -> Arc<Aws> {
    let uri = UriTemplate::parse(&format!("{}{base}", backend.url())).unwrap();
    let endpoint = uri.expand(&BTreeMap::new()).unwrap();
    let services = [
        "lambda", "sqs", "sns", "kinesis", "dynamodb", "states", "events", "logs", "firehose",
        "ssm", "s3", "iotdata", "new",
    ];
    let settings = AwsSettings {
        endpoints: services.into_iter().map(|name| (name.to_owned(), endpoint.clone())).collect(),
        credentials: [credentials("default", None), credentials("temporary", Some("to/ken"))]
            .into_iter()
            .collect(),
        ..AwsSettings::default()
    };
    Arc::new(Aws::new(settings, AwsEnvironment::new(|_| None)))
}

fn lambda(backend: &HttpBackend, uri: &str, settings: AwsCallSettings<'_>) -> LambdaCall {
    let uri = AwsUri::parse(uri).unwrap();
    LambdaCall::compile(&aws_at(backend, ""), &uri, &BTreeMap::new(), settings).unwrap()
}

/// `tail` is what follows `arn:aws:apigateway:eu-west-1:`.
fn service(backend: &HttpBackend, method: &Method, tail: &str) -> ServiceCall {
    let uri = AwsUri::parse(&format!("arn:aws:apigateway:eu-west-1:{tail}")).unwrap();
    let variables = BTreeMap::new();
    ServiceCall::compile(&aws_at(backend, ""), &uri, method, &variables, SETTINGS).unwrap()
}

async fn post(call: &ServiceCall, body: &'static str) -> Response<Bytes> {
    let (mapped, overrides) = (MappedParameters::default(), MappedParameters::default());
    call.call(&pools(), mapped, overrides, Bytes::from_static(body.as_bytes())).await.unwrap()
}

fn headers(all: &[(&str, &str)]) -> Vec<(HeaderName, String)> {
    all.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Signs what arrived once more, with another implementation, and compares.
fn assert_signed(request: &RecordedRequest, name: &str, region: &str, service: &str) {
    let authorization = request.header("authorization").expect("a signature");
    let (_, signed) = authorization.split_once("SignedHeaders=").unwrap();
    let (signed, _) = signed.split_once(',').unwrap();
    // Those the signer adds itself.
    let own = ["x-amz-date", "x-amz-security-token"];
    let signed: Vec<_> = signed
        .split(';')
        .filter(|name| !own.contains(name))
        .map(|name| (name, request.header(name).expect("a signed header is sent")))
        .collect();
    assert!(signed.iter().any(|(name, _)| *name == "host"));
    let signer = Signer {
        region: region.to_owned(),
        service: service.to_owned(),
        session_token: request.header("x-amz-security-token").map(str::to_owned),
        ..Signer::new(&format!("AKID{name}"), "s3cret")
    };
    let date = request.header("x-amz-date").expect("a date");
    let expected = (0..120)
        .map(|age_s| SystemTime::now() - Duration::from_secs(age_s))
        .map(|at| signer.sign(&request.method, &request.target, &signed, &request.body, at))
        .find(|added| added[0].1 == date)
        .expect("it was signed just now");
    assert_eq!(authorization, expected.last().unwrap().1);
}

#[tokio::test]
async fn a_function_is_invoked_by_its_whole_arn_and_gives_its_result() {
    let backend = HttpBackend::answering(Answer::body_of(r#"{"statusCode":200}"#)).await;
    let call = lambda(&backend, &format!("{FUNCTION}:prod"), SETTINGS);
    let answer = call.invoke(&pools(), Bytes::from("{\"a\":1}"), &[]).await.unwrap();
    assert_eq!(answer, r#"{"statusCode":200}"#);

    let request = backend.next_request().await;
    assert_eq!(request.method, "POST");
    assert_eq!(
        request.target,
        "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Achat\
         /invocations?Qualifier=prod"
    );
    assert_eq!(request.text(), "{\"a\":1}");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("content-length"), Some("7"));
    assert_eq!(request.header("user-agent"), Some("AmazonAPIGateway_chat"));
    assert_eq!(request.header("x-amz-invocation-type"), None);
    assert_signed(&request, "default", "eu-west-1", "lambda");
}

#[tokio::test]
async fn a_lambda_path_under_an_endpoints_own_path_is_signed_as_it_is_sent() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let uri = "arn:aws:apigateway:us-east-2:lambda:path/2015-03-31/functions/${stageVariables.f}/invocations";
    let variables = [("f".to_owned(), "chat:$LATEST".to_owned())].into();
    let uri = AwsUri::parse(uri).unwrap();
    let settings = AwsCallSettings { credentials: Some("temporary"), ..SETTINGS };
    let call = LambdaCall::compile(&aws_at(&backend, "/aws/"), &uri, &variables, settings).unwrap();
    call.invoke(&pools(), Bytes::new(), &[]).await.unwrap();

    let request = backend.next_request().await;
    assert_eq!(request.target, "/aws/2015-03-31/functions/chat/invocations?Qualifier=%24LATEST");
    assert_eq!(request.header("content-length"), Some("0"));
    assert_eq!(request.header("x-amz-security-token"), Some("to/ken"));
    assert_signed(&request, "temporary", "us-east-2", "lambda");
}

#[tokio::test]
async fn what_a_function_throws_is_told_apart_from_what_it_returns() {
    let object = r#"{"errorMessage":"Unauthorized","errorType":"Error","trace":[]}"#;
    let answer = Answer::body_of(object).header("X-Amz-Function-Error", "Unhandled");
    let backend = HttpBackend::answering(answer).await;
    let error = lambda(&backend, FUNCTION, SETTINGS).invoke(&pools(), Bytes::new(), &[]).await;
    let Err(IntegrationError::FunctionFailed(failure)) = error else { panic!("{error:?}") };
    assert_eq!(failure.error_message.as_deref(), Some("Unauthorized"));
    assert_eq!(failure.error_type.as_deref(), Some("Error"));
    assert_eq!(failure.payload, object);
}

#[tokio::test]
async fn what_lambda_refuses_says_so_and_does_not_repeat_its_message() {
    for (status, class, expected) in [
        (404, "ResourceNotFoundException", "404 Not Found ResourceNotFoundException"),
        (403, "AccessDeniedException:http://internal/", "403 Forbidden AccessDeniedException"),
        (500, "ServiceException", "500 Internal Server Error ServiceException"),
        (413, "<script>", "413 Payload Too Large script"),
    ] {
        let answer = Answer::status(status).header("x-amzn-ErrorType", class).body("hunter2");
        let backend = HttpBackend::answering(answer).await;
        let call = lambda(&backend, FUNCTION, SETTINGS);
        let error = call.invoke(&pools(), Bytes::new(), &[]).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Lambda does not invoke `{FUNCTION}`: {expected}"));
        assert_eq!(error.status(), 500);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_throttled_function_is_asked_once() {
    let answer = Answer::status(429).header("x-amzn-ErrorType", "TooManyRequestsException");
    let backend = HttpBackend::answering(answer).await;
    let call = lambda(&backend, FUNCTION, SETTINGS);
    let error = call.invoke(&pools(), Bytes::new(), &[]).await.unwrap_err();
    assert!(matches!(error, IntegrationError::Throttled), "{error:?}");
    assert_eq!(backend.count(), 1);
}

#[tokio::test]
async fn an_event_is_handed_over_and_nothing_comes_back() {
    let backend = HttpBackend::answering(Answer::status(202)).await;
    let mapped = headers(&[
        ("x-amz-invocation-type", "Event"),
        ("x-amz-client-context", "e30="),
        ("host", "evil.example"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("authorization", "Bearer x"),
        ("x-amz-date", "20150830T123600Z"),
    ]);
    let call = lambda(&backend, FUNCTION, SETTINGS);
    let answer = call.invoke(&pools(), Bytes::from("{}"), &mapped).await.unwrap();
    assert!(answer.is_empty());
    let request = backend.next_request().await;
    assert_eq!(request.header("x-amz-invocation-type"), Some("Event"));
    assert_eq!(request.header("x-amz-client-context"), Some("e30="));
    assert_eq!(request.header("host"), Some(backend.address().to_string().as_str()));
    assert_eq!(request.header("content-length"), Some("2"));
    assert_eq!(request.header("transfer-encoding"), None);
    assert_signed(&request, "default", "eu-west-1", "lambda");
}

#[tokio::test]
async fn a_call_ends_with_its_timeout_and_an_answer_at_its_bound() {
    let stalled = HttpBackend::answering(Answer::stall()).await;
    let timeout = Duration::from_millis(50);
    let call = lambda(&stalled, FUNCTION, AwsCallSettings { timeout, ..SETTINGS });
    let error = call.invoke(&pools(), Bytes::new(), &[]).await.unwrap_err();
    assert!(matches!(error, IntegrationError::TimedOut(after) if after == timeout), "{error:?}");

    let large = HttpBackend::answering(Answer::body_of(vec![b'x'; 1025])).await;
    let call = lambda(&large, FUNCTION, SETTINGS);
    let error = call.invoke(&pools(), Bytes::new(), &[]).await.unwrap_err();
    assert!(matches!(error, IntegrationError::AnswerTooLarge(1024)), "{error:?}");
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let settings = AwsCallSettings { credentials: Some("nobody"), ..SETTINGS };
    let call = lambda(&backend, FUNCTION, settings);
    let error = call.invoke(&pools(), Bytes::new(), &[]).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), ("no_credentials", 500));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("[aws.credentials.nobody]"), "{source}");
    assert_eq!(backend.count(), 0);
}

#[tokio::test]
async fn a_uri_of_the_other_kind_is_refused() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let aws = aws_at(&backend, "");
    let function = AwsUri::parse(FUNCTION).unwrap();
    let queue = AwsUri::parse("arn:aws:apigateway:eu-west-1:sqs:path/1/jobs").unwrap();
    let none = BTreeMap::new();
    assert!(ServiceCall::compile(&aws, &function, &Method::POST, &none, SETTINGS).is_err());
    assert!(LambdaCall::compile(&aws, &queue, &none, SETTINGS).is_err());
}

#[tokio::test]
async fn a_json_service_gets_its_action_in_the_target_header() {
    for (tail, target, content_type) in [
        ("dynamodb:action/PutItem", "DynamoDB_20120810.PutItem", "application/x-amz-json-1.0"),
        ("kinesis:action/PutRecord", "Kinesis_20131202.PutRecord", "application/x-amz-json-1.1"),
        (
            "states:action/StartExecution",
            "AWSStepFunctions.StartExecution",
            "application/x-amz-json-1.0",
        ),
        ("events:action/PutEvents", "AWSEvents.PutEvents", "application/x-amz-json-1.1"),
        ("firehose:action/PutRecord", "Firehose_20150804.PutRecord", "application/x-amz-json-1.1"),
        ("logs:action/PutLogEvents", "Logs_20140328.PutLogEvents", "application/x-amz-json-1.1"),
        ("ssm:action/GetParameter", "AmazonSSM.GetParameter", "application/x-amz-json-1.1"),
    ] {
        let backend = HttpBackend::answering(Answer::body_of("{}")).await;
        post(&service(&backend, &Method::POST, tail), r#"{"a":1}"#).await;
        let request = backend.next_request().await;
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/"), "{tail}");
        assert_eq!(request.header("x-amz-target"), Some(target));
        assert_eq!(request.header("content-type"), Some(content_type), "{tail}");
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.text(), r#"{"a":1}"#);
        assert_signed(&request, "default", "eu-west-1", tail.split(':').next().unwrap());
    }
}

#[tokio::test]
async fn a_query_service_gets_its_action_unless_the_template_gave_it() {
    let form = "application/x-www-form-urlencoded";
    for (tail, body, target) in [
        ("sns:action/Publish", "Action=Publish&TopicArn=t&Message=hi", "/?Version=2010-03-31"),
        (
            "sns:action/Publish",
            "TopicArn=t&Message=Action=x",
            "/?Action=Publish&Version=2010-03-31",
        ),
        ("sqs:action/SendMessage", "Action=SendMessage&Version=2012-11-05", "/"),
        ("new:action/Do&Version=1&Key=a", "", "/?Version=1&Key=a&Action=Do"),
    ] {
        let backend = HttpBackend::answering(Answer::ok()).await;
        post(&service(&backend, &Method::POST, tail), body).await;
        let request = backend.next_request().await;
        assert_eq!((request.target.as_str(), request.text()), (target, body));
        let content_type = (!body.is_empty()).then_some(form);
        assert_eq!(request.header("content-type"), content_type, "{tail}");
        assert_eq!(request.header("x-amz-target"), None);
        assert_signed(&request, "default", "eu-west-1", tail.split(':').next().unwrap());
    }
}

/// websocket-api, 6.2: the queue's own path, the call in the body.
#[tokio::test]
async fn a_queues_path_takes_the_templates_form_and_its_answer_comes_back_as_it_is() {
    let answer = Answer::status(400)
        .header("content-type", "application/json")
        .body(r#"{"Error":{"Code":"InvalidParameterValue"}}"#);
    let backend = HttpBackend::answering(answer).await;
    let call = service(&backend, &Method::POST, "sqs:path/123456789012/jobs.fifo");
    let body = "Action=SendMessage&MessageBody=hello%20there";
    let response = post(&call, body).await;
    assert_eq!(response.status(), 400, "an error of the service is an answer");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.body(), r#"{"Error":{"Code":"InvalidParameterValue"}}"#);
    let request = backend.next_request().await;
    assert_eq!((request.target.as_str(), request.text()), ("/123456789012/jobs.fifo", body));
    assert_eq!(request.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_signed(&request, "default", "eu-west-1", "sqs");
}

#[tokio::test]
async fn what_is_mapped_is_over_the_defaults_and_what_a_template_overrides_over_both() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let call = service(&backend, &Method::PUT, "pictures.s3:path/{room}/{key}?a=b");
    let mapped = MappedParameters {
        headers: headers(&[("content-type", "image/png"), ("x-amz-acl", "private")]),
        query: pairs(&[("c", "1 2"), ("d", "3")]),
        path: pairs(&[("room", "a/b"), ("key", "k")]),
    };
    let overrides = MappedParameters {
        headers: headers(&[("accept", "*/*"), ("x-amz-acl", "public-read")]),
        query: pairs(&[("c", "4")]),
        path: pairs(&[("key", "o+k")]),
    };
    call.call(&pools(), mapped, overrides, Bytes::from_static(b"\x89PNG")).await.unwrap();
    let request = backend.next_request().await;
    assert_eq!(request.method, "PUT");
    assert_eq!(request.target, "/a%2Fb/o%2Bk?a=b&d=3&c=4");
    assert_eq!(request.body, b"\x89PNG");
    assert_eq!(request.header("content-type"), Some("image/png"));
    assert_eq!(request.header("accept"), Some("*/*"));
    let sent = |name: &str| request.headers.iter().filter(|(own, _)| own == name).count();
    assert_eq!((request.header("x-amz-acl"), sent("x-amz-acl")), (Some("public-read"), 1));
    assert_eq!(request.header("host"), Some(format!("pictures.{}", backend.address()).as_str()));
    assert!(request.header("x-amz-content-sha256").is_some(), "S3 demands it");
}

#[tokio::test]
async fn a_path_parameter_that_nothing_is_mapped_to_sends_nothing() {
    let backend = HttpBackend::answering(Answer::ok()).await;
    let call = service(&backend, &Method::POST, "a1b2.iotdata:path/topics/{topic}");
    let nothing = MappedParameters::default;
    let error = call.call(&pools(), nothing(), nothing(), Bytes::new()).await.unwrap_err();
    assert!(matches!(&error, IntegrationError::PathParameter(name) if name == "topic"));
    assert_eq!(backend.count(), 0);
}
