//! One stage's way to one AWS service: credentials, signature, connection, time limit.
//!
//! In:  a request with everything but who sends it.
//! Out: the service's whole response.
//!
//! Holds always: finding credentials counts against the time limit as well.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::Full;

use super::{Aws, place::Place, signing::sign};
use crate::{BackendPools, IntegrationError};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// How calls of one integration, or of one authorizer, are made.
#[derive(Debug, Clone, Copy)]
pub struct AwsCallSettings<'a> {
    /// Told to the service in `User-Agent`.
    pub api_id: &'a str,
    /// Names the credentials. `None`: those that AWS's own tools would use.
    pub credentials: Option<&'a str>,
    /// The whole call, from finding credentials to the answer's last byte.
    pub timeout: Duration,
    /// A larger answer fails the call.
    pub max_answer_bytes: usize,
}

#[derive(Debug)]
pub(super) struct Channel {
    aws: Arc<Aws>,
    place: Place,
    credentials: Option<String>,
    timeout: Duration,
    max_answer_bytes: usize,
    /// What every call says of itself: `Accept`, `User-Agent`.
    headers: HeaderMap,
}

impl Channel {
    pub(super) fn new(aws: Arc<Aws>, place: Place, settings: AwsCallSettings<'_>) -> Self {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::ACCEPT, JSON);
        let agent = format!("AmazonAPIGateway_{}", settings.api_id);
        if let Ok(agent) = HeaderValue::from_str(&agent) {
            headers.insert(header::USER_AGENT, agent);
        }
        Self {
            aws,
            place,
            credentials: settings.credentials.map(str::to_owned),
            timeout: settings.timeout,
            max_answer_bytes: settings.max_answer_bytes,
            headers,
        }
    }

    /// What stands before the path of every call; without a `/` at its end.
    pub(super) fn base_path(&self) -> &str {
        &self.place.base_path
    }

    /// A request whose `own` headers are over those of every call, and those `mapped` over both.
    pub(super) fn request<'m>(
        &self,
        method: Method,
        target: Uri,
        own: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        mapped: impl IntoIterator<Item = &'m (HeaderName, String)>,
        body: Bytes,
    ) -> Request<Bytes> {
        let mut headers = self.headers.clone();
        headers.extend(own);
        for (name, value) in mapped {
            // What a value is mapped from may hold anything; the template that made it is no
            // reason to break the request's frame.
            if let (false, Ok(value)) = (is_framing(name), HeaderValue::from_str(value)) {
                headers.insert(name.clone(), value);
            }
        }
        // RFC 9110, 8.6: a method that expects a body says so when there is none.
        if !body.is_empty() || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        request
    }

    /// Signs and sends `request`.
    pub(super) async fn exchange(
        &self,
        pools: &BackendPools,
        mut request: Request<Bytes>,
    ) -> Result<Response<Bytes>, IntegrationError> {
        let exchange = async move {
            let credentials = self.aws.credentials.find(self.credentials.as_deref()).await?;
            sign(&mut request, &self.place, &credentials, SystemTime::now())?;
            let request = request.map(Full::new);
            pools.exchange(&self.place.endpoint, request, self.max_answer_bytes).await
        };
        // Boxed, so that a task that may call a service is not as big as one that does.
        tokio::time::timeout(self.timeout, Box::pin(exchange))
            .await
            .map_err(|_| IntegrationError::TimedOut(self.timeout))?
    }
}

/// Whether a header frames the request or belongs to one hop.
fn is_framing(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
