//! Calls over real sockets: what backends see, and what becomes of a call when they misbehave
//! (websocket-api, 4.4 and 5; tidegate, section 4; reliability, 31).
//!
//! In:  integrations, compiled for a stage of an api, and what happened on a connection.
//! Out: what a call came to, what its backend saw of it, and what the pools kept.
//!
//! Holds always: one binary with one module per subject; every test has pools and backends of its
//! own; a call that does not end fails its test at a deadline.

// The helpers of a test are test code too, which the lint cannot tell here.
#![allow(clippy::unwrap_used)]

mod backend;
mod call_future;
mod connections;
mod exchange;
mod misbehaving;
mod reaching;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use tidegate_flow::{
    context::{ConnectionFacts, Event, Occurrence},
    opaque_id::OpaqueId,
};
use tidegate_integrations::{
    Answer, Aws, AwsEnvironment, BackendPools, BackendTls, CompiledIntegration, FunctionLimits,
    IntegrationError, InvalidIntegration, LocalFunctions, PoolLimits, Surroundings,
    WorkerSurroundings,
};
use tidegate_model::{
    AwsCredentials, AwsSettings, HttpTarget, Integration, IntegrationKind, Secret, UriTemplate,
};
use tokio::time::{sleep, timeout};

pub(crate) const LIMIT: usize = 1 << 20;
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) fn pools(limits: PoolLimits) -> BackendPools {
    BackendPools::new(limits, BackendTls::native())
}

pub(crate) fn http(uri: &str, method: Method) -> IntegrationKind {
    IntegrationKind::HttpProxy(HttpTarget { uri: UriTemplate::parse(uri).unwrap(), method })
}

pub(crate) fn integration(kind: IntegrationKind, timeout: Duration) -> Integration {
    Integration {
        name: "backend".to_owned(),
        kind,
        timeout,
        request_parameters: Vec::new(),
        context_headers: true,
        credentials: None,
    }
}

pub(crate) fn compiled(kind: IntegrationKind, timeout: Duration) -> CompiledIntegration {
    compile(&integration(kind, timeout), &BTreeMap::new()).unwrap()
}

/// For a stage with these variables, on a node without functions of its own.
pub(crate) fn compile(
    integration: &Integration,
    variables: &BTreeMap<String, String>,
) -> Result<CompiledIntegration, InvalidIntegration> {
    let aws = Arc::new(Aws::new(AwsSettings::default(), AwsEnvironment::new(|_| None)));
    let surroundings = WorkerSurroundings {
        region: "us-east-1".to_owned(),
        account_id: "000000000000".to_owned(),
        credentials: AwsCredentials {
            access_key_id: String::new(),
            secret_access_key: Secret::new(String::new()),
            session_token: None,
        },
        ca_bundle: None,
        gateway_port: None,
        variables: BTreeMap::new(),
    };
    let functions = LocalFunctions::start(&[], surroundings, FunctionLimits::default()).unwrap();
    let around = Surroundings {
        api_id: "chat",
        variables,
        max_answer_bytes: LIMIT,
        aws: &aws,
        functions: &functions,
    };
    CompiledIntegration::compile(&around, integration)
}

/// Posts to `uri`, with plenty of time.
pub(crate) fn post(uri: &str) -> CompiledIntegration {
    compiled(http(uri, Method::POST), DEADLINE)
}

pub(crate) fn message(text: &str) -> Occurrence {
    let body = Bytes::copy_from_slice(text.as_bytes());
    Occurrence::Message { message_id: OpaqueId::random(), body, binary: false }
}

/// The connection whose events the calls are about.
pub(crate) fn connection() -> ConnectionFacts {
    ConnectionFacts {
        id: OpaqueId::random(),
        api_id: "chat".into(),
        stage: "prod".into(),
        domain_name: "chat.example.com".into(),
        source_ip: [203, 0, 113, 7].into(),
        user_agent: None,
        connected_at_ms: 1_708_326_702_789,
        authorization: None,
    }
}

static NO_VARIABLES: BTreeMap<String, String> = BTreeMap::new();

/// What happened on it, on a stage without variables.
pub(crate) fn event<'a>(connection: &'a ConnectionFacts, occurrence: &'a Occurrence) -> Event<'a> {
    Event {
        connection,
        route_key: "sendmessage",
        occurrence,
        request_id: OpaqueId::random(),
        at_ms: 1_708_326_702_790,
        stage_variables: &NO_VARIABLES,
        trace: None,
    }
}

pub(crate) async fn call(
    integration: &CompiledIntegration,
    pools: &BackendPools,
    occurrence: &Occurrence,
) -> Result<Answer, IntegrationError> {
    let connection = connection();
    let event = event(&connection, occurrence);
    timeout(DEADLINE, integration.call(pools, &event)).await.expect("a call ends in time")
}

/// Waits until `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let all = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, all).await.unwrap_or_else(|_| panic!("never: {what}"));
}
