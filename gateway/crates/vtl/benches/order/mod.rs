//! What the benchmarks render: a template of 1 KB over a message of 1 KB, of the kind that people
//! write to pass an order on.

use tidegate_vtl::{Bindings, Json, Limits, Template};

const TEMPLATE: &str = include_str!("template.vtl");
const MESSAGE: &str = include_str!("message.json");

const CONTEXT: &str = r#"{
    "routeKey": "order", "messageId": "PJqCFfHyKRcCHlw=", "eventType": "MESSAGE",
    "requestTime": "29/Nov/2023:08:04:01 +0000", "requestTimeEpoch": 1701245041796,
    "stage": "prod", "connectedAt": 1701245041000, "requestId": "PJqCEFfHjoEF92g=",
    "identity": {
        "sourceIp": "203.0.113.7",
        "userAgent": "Mozilla/5.0 (X11; Linux x86_64; rv:124.0) Gecko/20100101 Firefox/124.0"
    },
    "authorizer": { "principalId": "user-42", "tenant": "north" },
    "connectionId": "PJqCEdOjoECGjA=", "apiId": "orders"
}"#;

/// The compiled template and what it reads beside the message.
pub(crate) struct Order {
    template: Template,
    context: Json,
    stage_variables: Json,
}

impl Order {
    /// Compiles the template, once.
    pub(crate) fn new() -> Self {
        let json = |text| Json::parse(text).expect("it is JSON");
        Self {
            template: Template::compile(TEMPLATE).expect("it is a template"),
            context: json(CONTEXT),
            stage_variables: json(r#"{"table":"orders"}"#),
        }
    }

    /// Renders it for one message.
    pub(crate) fn render(&self) -> String {
        let bindings = Bindings {
            body: Some(MESSAGE),
            context: &self.context,
            stage_variables: &self.stage_variables,
            ..Bindings::default()
        };
        self.template.render(&bindings, &Limits::default()).expect("it renders").output
    }
}
