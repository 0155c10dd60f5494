//! One integration of one stage, ready to be called.
//!
//! In:  an integration of the configuration and the stage's variables; then one event per call.
//! Out: what the backend answered, in one form for all kinds of backends.
//!
//! ```text
//! proxy       event ──────────────────────► backend ──────────────────────────► answer
//! non-proxy   event ─► request template ─► backend ─► integration response ─► answer
//! mock        event ─► request template ─► status  ─► integration response ─► answer
//! ```

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use tidegate_flow::{
    context::{Event, Occurrence},
    proxy_response,
    request_parameters::MappedParameters,
    transformation::{self, Transformation},
};
use tidegate_model::{
    AwsTarget, Endpoint, Function, Integration, IntegrationKind, InvalidAwsUri, InvalidUri,
    Transformation as TransformationSettings,
};

use crate::{
    Answer, AwsCallSettings, BackendPools, CompiledFunction, IntegrationError, ServiceCall,
    Surroundings,
    backend_request::{Body, Form, proxy_payload},
    error,
    http_backend::HttpBackend,
    transformed::{Backend, Transformed},
};

/// Why an integration does not fit its stage.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIntegration {
    /// A backend's uri.
    #[error("uri: {0}")]
    Uri(#[from] InvalidUri),
    /// An ARN.
    #[error("uri: {0}")]
    AwsUri(#[from] InvalidAwsUri),
    /// A template, an expression or a pattern.
    #[error(transparent)]
    Transformation(#[from] transformation::CompileError),
}

/// An integration with its uri resolved and all that is constant made once.
#[derive(Debug)]
pub struct CompiledIntegration {
    timeout: Duration,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Echo { status: u16 },
    HttpProxy(Box<HttpBackend>),
    FunctionProxy(Box<CompiledFunction>),
    Mock(Box<Transformation>),
    Transformed(Box<Transformed>),
}

impl CompiledIntegration {
    /// Resolves `integration` for the stage of `around`.
    ///
    /// # Errors
    /// The uri needs a variable that the stage does not define, or is none once they are replaced;
    /// a template does not compile.
    pub fn compile(
        around: &Surroundings<'_>,
        integration: &Integration,
    ) -> Result<Self, InvalidIntegration> {
        let timeout = integration.timeout;
        let http = |form, uri, method: &Method| {
            HttpBackend::compile(around, form, uri, method, integration)
        };
        let function =
            |function: &Function| CompiledFunction::compile(around, function, integration, timeout);
        let transformed = |settings: &TransformationSettings, backend| {
            let transformation = Transformation::compile(settings)?;
            let transformed = Box::new(Transformed { transformation, backend });
            Ok::<_, InvalidIntegration>(Target::Transformed(transformed))
        };
        let target = match &integration.kind {
            IntegrationKind::Echo { status } => Target::Echo { status: *status },
            IntegrationKind::HttpProxy(to) => {
                Target::HttpProxy(Box::new(http(Form::HttpProxy, &to.uri, &to.method)?))
            }
            IntegrationKind::AwsProxy(called) => Target::FunctionProxy(Box::new(function(called)?)),
            IntegrationKind::Http(to, settings) => {
                transformed(settings, Backend::Http(http(Form::Http, &to.uri, &to.method)?))?
            }
            IntegrationKind::Aws(AwsTarget::Function(called), settings) => {
                transformed(settings, Backend::Function(function(called)?))?
            }
            IntegrationKind::Aws(AwsTarget::Service { uri, method }, settings) => {
                let call_settings = AwsCallSettings {
                    api_id: around.api_id,
                    credentials: integration.credentials.as_deref(),
                    timeout,
                    max_answer_bytes: around.max_answer_bytes,
                };
                let call =
                    ServiceCall::compile(around.aws, uri, method, around.variables, call_settings)?;
                let parameters = integration.request_parameters.clone();
                transformed(settings, Backend::Service { call, parameters })?
            }
            IntegrationKind::Mock(settings) => {
                Target::Mock(Box::new(Transformation::compile(settings)?))
            }
        };
        Ok(Self { timeout, target })
    }

    /// Whether [`Self::call`] has nothing to wait for and nothing to work on: it echoes.
    pub fn is_immediate(&self) -> bool {
        matches!(self.target, Target::Echo { .. })
    }

    /// Whether there is no backend behind it: templates answer.
    pub fn is_mock(&self) -> bool {
        matches!(self.target, Target::Mock(_))
    }

    /// Where a call goes and by which method, where that is HTTP and not AWS.
    pub fn http_target(&self) -> Option<(&Endpoint, &Method)> {
        let backend = match &self.target {
            Target::HttpProxy(backend) => backend,
            Target::FunctionProxy(function) => function.web()?,
            Target::Transformed(transformed) => match &transformed.backend {
                Backend::Http(backend) => backend,
                Backend::Function(function) => function.web()?,
                Backend::Service { .. } => return None,
            },
            Target::Echo { .. } | Target::Mock(_) => return None,
        };
        Some(backend.target())
    }

    /// Whether the answer is the backend's own, rather than what templates make of it.
    pub fn is_proxy(&self) -> bool {
        matches!(self.target, Target::HttpProxy(_) | Target::FunctionProxy(_))
    }

    /// What calls may fail with, as [`IntegrationError::kind`] names it.
    pub fn failures(&self) -> Vec<&'static str> {
        match &self.target {
            Target::Echo { .. } => Vec::new(),
            // There is no backend, but a connect waits for its turn.
            Target::Mock(_) => [&["timed_out"], error::OF_TEMPLATES, error::OF_MOCKS].concat(),
            Target::HttpProxy(_) => error::OF_BACKENDS.to_vec(),
            Target::FunctionProxy(function) => {
                [&of_function(function), error::OF_PROXY_RESPONSES].concat()
            }
            Target::Transformed(transformed) => {
                let of_backend = match &transformed.backend {
                    Backend::Http(_) => error::OF_BACKENDS.to_vec(),
                    Backend::Function(function) => of_function(function),
                    Backend::Service { .. } => [error::OF_BACKENDS, error::OF_AWS].concat(),
                };
                [&of_backend, error::OF_TEMPLATES].concat()
            }
        }
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
        // What each kind is called with is made by a function that is over before the wait: a task
        // that waits holds none of it. What only some routes need is boxed.
        match &self.target {
            Target::Echo { status } => Ok(echo(*status, event)),
            Target::Mock(transformation) => Ok(Answer::from_reply(transformation.mock(event)?)),
            Target::HttpProxy(backend) => {
                let exchange = pass_on(backend, pools, event, self.timeout)?;
                Ok(Answer::from_response(exchange.await?))
            }
            Target::FunctionProxy(function) => proxied(&invoke(function, pools, event).await?),
            Target::Transformed(transformed) => {
                Box::pin(transformed.call(pools, event, self.timeout)).await
            }
        }
    }
}

/// What calls of a function may fail with before its answer is looked at.
fn of_function(function: &CompiledFunction) -> Vec<&'static str> {
    let of_place = match function.web() {
        Some(_) => Vec::new(),
        None => [error::OF_INVOCATIONS, error::OF_AWS].concat(),
    };
    [error::OF_BACKENDS, error::OF_FUNCTIONS, &of_place].concat()
}

/// The message, and on `$connect` the client's headers and query, to an HTTP backend.
fn pass_on<'s>(
    backend: &'s HttpBackend,
    pools: &'s BackendPools,
    event: &Event<'_>,
    timeout: Duration,
) -> Result<
    impl Future<Output = Result<Response<Bytes>, IntegrationError>> + use<'s>,
    IntegrationError,
> {
    let body = Body::of_message(event);
    backend.exchange(pools, event, body, MappedParameters::default(), timeout)
}

/// The proxy event, to a function.
fn invoke<'s>(
    function: &'s CompiledFunction,
    pools: &'s BackendPools,
    event: &'s Event<'_>,
) -> Pin<Box<impl Future<Output = Result<Bytes, IntegrationError>> + use<'s>>> {
    let payload = proxy_payload(event);
    Box::pin(function.invoke(pools, event, payload, MappedParameters::default()))
}

/// The message itself; on connect and disconnect, nothing.
fn echo(status: u16, event: &Event<'_>) -> Answer {
    let (body, binary) = match event.occurrence {
        Occurrence::Message { body, binary, .. } => (body.clone(), *binary),
        Occurrence::Connect(_) | Occurrence::Disconnect { .. } => (Bytes::new(), false),
    };
    Answer { status, headers: HeaderMap::new(), body, binary }
}

/// websocket-api, 4.4.
fn proxied(returned: &Bytes) -> Result<Answer, IntegrationError> {
    let parsed = proxy_response::parse(returned)?;
    Ok(Answer {
        status: parsed.status,
        headers: parsed.headers,
        body: parsed.body,
        binary: parsed.binary,
    })
}
