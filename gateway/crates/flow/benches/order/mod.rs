//! What the benchmarks transform: the message of 1 KB and the template of 1 KB that the benchmarks
//! of `tidegate-vtl` render, from a client's event to the backend's body.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_flow::{
    context::{Authorization, AuthorizerFacts, ConnectionFacts, Event, Occurrence},
    opaque_id::OpaqueId,
    transformation::{BackendBody, Transformation},
};

const TEMPLATE: &str = include_str!("../../../vtl/benches/order/template.vtl");
const MESSAGE: &str = include_str!("../../../vtl/benches/order/message.json");

/// The compiled integration and the client's event.
pub(crate) struct Order {
    transformation: Transformation,
    connection: ConnectionFacts,
    stage_variables: BTreeMap<String, String>,
    occurrence: Occurrence,
}

impl Order {
    /// Compiles the integration, once.
    pub(crate) fn new() -> Self {
        let configured = tidegate_model::Transformation {
            request_templates: [("application/json".to_owned(), TEMPLATE.to_owned())].into(),
            ..Default::default()
        };
        let authorizer =
            AuthorizerFacts { principal_id: "user-42".to_owned(), ..AuthorizerFacts::default() };
        Self {
            transformation: Transformation::compile(&configured).expect("it is a template"),
            connection: ConnectionFacts {
                id: OpaqueId::from_bytes([1; 11]),
                api_id: "orders".into(),
                stage: "prod".into(),
                domain_name: "orders.example.com".into(),
                source_ip: [203, 0, 113, 7].into(),
                user_agent: Some(
                    "Mozilla/5.0 (X11; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0".into(),
                ),
                connected_at_ms: 1_701_245_041_000,
                authorization: Some(Box::new(Authorization {
                    authorizer: Some(authorizer),
                    ..Authorization::default()
                })),
            },
            stage_variables: [("table".to_owned(), "orders".to_owned())].into(),
            occurrence: Occurrence::Message {
                message_id: OpaqueId::from_bytes([2; 11]),
                body: Bytes::from_static(MESSAGE.as_bytes()),
                binary: false,
            },
        }
    }

    /// Transforms one message.
    pub(crate) fn transform(&self) -> BackendBody {
        let event = Event {
            connection: &self.connection,
            route_key: "order",
            occurrence: &self.occurrence,
            request_id: OpaqueId::from_bytes([3; 11]),
            at_ms: 1_701_245_041_796,
            stage_variables: &self.stage_variables,
            trace: None,
        };
        self.transformation.request(&event).expect("it renders")
    }
}
