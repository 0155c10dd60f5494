//! One integration of one stage, ready to be called.
//!
//! In:  an integration of the configuration and the stage's variables; then one event per call.
//! Out: what the backend answered, in one form for all kinds of backends.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use tidegate_flow::{
    context::{Event, Occurrence},
    proxy_response,
};
use tidegate_model::{Endpoint, Integration, IntegrationKind, InvalidUri, UriTemplate};

use crate::{
    Answer, BackendPools, IntegrationError,
    backend_request::{Form, RequestTemplate, Settings},
};

/// An integration with its uri resolved and all that is constant made once.
#[derive(Debug)]
pub struct CompiledIntegration {
    timeout: Duration,
    max_answer_bytes: usize,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Mock { status: u16 },
    Backend(Box<Backend>),
}

#[derive(Debug)]
struct Backend {
    endpoint: Endpoint,
    request: RequestTemplate,
    is_function: bool,
}

impl CompiledIntegration {
    /// Resolves `integration` for the stage of api `api_id` with these `variables`.
    ///
    /// `max_answer_bytes` bounds an answer's body; a larger one fails the call.
    ///
    /// # Errors
    /// The uri needs a variable that the stage does not define, or is none once they are replaced.
    pub fn compile(
        api_id: &str,
        integration: &Integration,
        variables: &BTreeMap<String, String>,
        max_answer_bytes: usize,
    ) -> Result<Self, InvalidUri> {
        let backend = |form: Form, uri: &UriTemplate, method: &Method| {
            let settings = Settings {
                form,
                method: method.clone(),
                parameters: &integration.request_parameters,
                context_headers: integration.context_headers,
            };
            let written = uri.as_str();
            let uri = uri.expand(variables)?;
            let request = RequestTemplate::new(api_id, &uri, written, settings)?;
            let is_function = form == Form::Function;
            Ok(Target::Backend(Box::new(Backend { endpoint: uri.endpoint, request, is_function })))
        };
        let target = match &integration.kind {
            IntegrationKind::HttpProxy(to) => backend(Form::HttpProxy, &to.uri, &to.method)?,
            IntegrationKind::Http(to) => backend(Form::Http, &to.uri, &to.method)?,
            IntegrationKind::AwsProxy { uri } => backend(Form::Function, uri, &Method::POST)?,
            IntegrationKind::Mock { status } => Target::Mock { status: *status },
        };
        Ok(Self { timeout: integration.timeout, max_answer_bytes, target })
    }

    /// Whether [`Self::call`] has nothing to wait for: a mock, whose answer is the message itself.
    pub fn is_immediate(&self) -> bool {
        matches!(self.target, Target::Mock { .. })
    }

    /// Calls the backend, over one of this core's `pools`, and waits for its whole answer.
    ///
    /// Dropping the future ends the call; the connection that it used is closed then.
    ///
    /// # Errors
    /// Each way in which there can be no usable answer, [`IntegrationError::TimedOut`] after the
    /// integration's timeout at the latest.
    pub async fn call(
        &self,
        pools: &BackendPools,
        event: &Event<'_>,
    ) -> Result<Answer, IntegrationError> {
        let backend = match &self.target {
            Target::Mock { status } => return Ok(mock(*status, event)),
            Target::Backend(backend) => backend,
        };
        let request = backend.request.fill(event)?;
        // Boxed, so that a task that may call a backend is not as big as one that does.
        let exchange = Box::pin(pools.exchange(&backend.endpoint, request, self.max_answer_bytes));
        let response = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| IntegrationError::TimedOut(self.timeout))??;
        if backend.is_function { function(&response) } else { Ok(Answer::from_response(response)) }
    }
}

/// The message itself; on connect and disconnect, nothing.
fn mock(status: u16, event: &Event<'_>) -> Answer {
    let (body, binary) = match event.occurrence {
        Occurrence::Message { body, binary, .. } => (body.clone(), *binary),
        Occurrence::Connect(_) | Occurrence::Disconnect { .. } => (Bytes::new(), false),
    };
    Answer { status, headers: HeaderMap::new(), body, binary }
}

/// tidegate, section 4: anything but a 200 with a proxy response is the function's failure.
fn function(response: &Response<Bytes>) -> Result<Answer, IntegrationError> {
    if response.status() != StatusCode::OK {
        return Err(IntegrationError::FunctionError(response.status()));
    }
    let parsed = proxy_response::parse(response.body())?;
    Ok(Answer {
        status: parsed.status,
        headers: parsed.headers,
        body: parsed.body,
        binary: parsed.binary,
    })
}
