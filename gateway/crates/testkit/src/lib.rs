//! What tests of a running gateway share: the process, the backends behind it, the clients before it.
//!
//! ```text
//! Client, RawClient, HttpClient ──► TestGateway (the real binary) ──► HttpBackend, FunctionBackend
//!                                        ▲ GatewayToml          └─► TcpProxy ──► RedisServer
//! ```
//!
//! In:  a `gateway.toml` (by [`GatewayToml`] or as text), the path of the binary under test
//!      (`env!("CARGO_BIN_EXE_tidegate")` in the test), handlers that say what backends answer.
//! Out: what each side really saw: requests, events, frames, close codes, log lines, metrics.
//!
//! Holds always: every wait ends at [`DEADLINE`] with a panic that says what was waited for;
//! everything listens on a loopback port of its own choosing; nothing outlives its value.
//!
//! ```no_run
//! # async fn test() {
//! use serde_json::json;
//! use tidegate_testkit::{Client, FunctionBackend, GatewayToml, TestGateway};
//!
//! let backend = FunctionBackend::start(|_event| json!({ "statusCode": 200, "body": "hello" })).await;
//! let toml = GatewayToml::new().function("f", &backend.url()).two_way("$default", "f");
//! # let binary = "";
//! let gateway = TestGateway::start(binary, &toml.build()).await;
//! let mut client = Client::connect(&gateway.ws_url("prod")).await;
//! client.send_text("hi").await;
//! assert_eq!(client.next_text().await, "hello");
//! # }
//! ```

mod client;
mod function_backend;
mod gateway;
mod gateway_toml;
mod http_backend;
mod http_client;
mod lambda_backend;
mod metrics;
mod otlp_receiver;
mod process_signal;
mod raw_client;
mod redis_program;
mod redis_server;
mod redis_topologies;
mod sigv4;
mod tcp_proxy;
mod token_issuer;
mod wait;

pub use client::{Client, NotOpened, refused, refused_with};
pub use function_backend::{FunctionAnswer, FunctionBackend};
pub use gateway::{Ended, TestGateway, run_to_end};
pub use gateway_toml::GatewayToml;
pub use http_backend::{Answer, HttpBackend, RecordedRequest};
pub use http_client::{HttpClient, HttpResponse, http_call, try_http_call};
pub use lambda_backend::{Invocation, InvokeAnswer, LambdaBackend};
pub use metrics::metric_value;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
pub use otlp_receiver::{OtlpReceiver, ReceivedSpan};
pub use raw_client::{Frame, Opcode, RawClient, ReceivedFrame};
pub use redis_program::{RedisCertificates, RedisProgram};
pub use redis_server::RedisServer;
pub use redis_topologies::{RedisCluster, RedisSentinels};
pub use sigv4::Signer;
pub use tcp_proxy::TcpProxy;
pub use token_issuer::{TokenIssuer, TokenKey, shared_secret_token, unsecured_token};
pub use wait::{DEADLINE, wait_until, within};
