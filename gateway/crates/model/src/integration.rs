//! One integration of an api: what it talks to, and what is changed on the way.

use std::time::Duration;

use crate::{AwsUri, RequestParameter, Transformation, UriTemplate};

/// One integration (`[apis.<id>.integrations.<name>]`).
#[derive(Debug, Clone)]
pub struct Integration {
    /// The table's name.
    pub name: String,
    /// What it talks to.
    pub kind: IntegrationKind,
    /// The whole call, from taking a backend connection to the answer's last byte. 50 ms to 29 s.
    pub timeout: Duration,
    /// Headers, query and path parameters added to the backend's request.
    pub request_parameters: Vec<RequestParameter>,
    /// Whether the `Tidegate-*` headers go to HTTP backends.
    pub context_headers: bool,
    /// Name of the AWS credentials that calls to AWS are signed with (`[aws.credentials.<name>]`).
    /// `None`: `default`, or what AWS's own tools would use.
    pub credentials: Option<String>,
}

/// What an integration talks to.
#[derive(Debug, Clone)]
pub enum IntegrationKind {
    /// An HTTP backend that gets the message, and the client's `$connect` headers and query, as
    /// they are.
    HttpProxy(HttpTarget),
    /// An HTTP backend that gets what is mapped and what the templates make of the message.
    Http(HttpTarget, Box<Transformation>),
    /// A function that takes the Lambda proxy event and answers the proxy response.
    AwsProxy(Function),
    /// A function or an AWS service that takes what the templates make of the message.
    Aws(AwsTarget, Box<Transformation>),
    /// No backend: the templates answer (websocket-api, 6.1).
    Mock(Box<Transformation>),
    /// No backend and no template: this status, and on a two-way route the message itself.
    Echo {
        /// 100 to 599; on `$connect`, 200 to 299 accepts.
        status: u16,
    },
}

/// Where and how an HTTP backend is called.
#[derive(Debug, Clone)]
pub struct HttpTarget {
    /// With `${stageVariables.name}` in it, perhaps.
    pub uri: UriTemplate,
    /// Any HTTP verb.
    pub method: http::Method,
}

/// A function, wherever it runs.
#[derive(Debug, Clone)]
pub enum Function {
    /// A web server: the event is posted there as JSON.
    Web(UriTemplate),
    /// The Lambda Invoke API, signed.
    Lambda(AwsUri),
    /// A local function: its name in `[functions]`.
    Local(String),
}

/// What an `aws` integration calls.
#[derive(Debug, Clone)]
pub enum AwsTarget {
    /// A function; the template's output is its whole event (websocket-api, 6.2).
    Function(Function),
    /// Another service's action or path.
    Service {
        /// Where in AWS.
        uri: AwsUri,
        /// Any HTTP verb; services take `POST` mostly.
        method: http::Method,
    },
}
