//! A function, wherever it runs: one payload in, one result out.
//!
//! In:  where the function is, once; then an event for what the call says beside its payload.
//! Out: what the function returned, or how it failed.
//!
//! Holds always: a call ends within its time limit; how a function failed looks the same whether
//! Lambda, a local worker or a web server ran it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use tidegate_flow::{
    context::Event,
    request_parameters::{self, MappedParameters},
    transformation::override_parameters,
};
use tidegate_model::{Function, Integration, RequestParameter};

use crate::{
    Aws, AwsCallSettings, BackendPools, FunctionFailure, IntegrationError, InvalidIntegration,
    LambdaCall, LocalFunctions,
    backend_request::{Body, Form, TRACE_ID, trace_id},
    http_backend::HttpBackend,
};

/// What integrations of one stage are compiled with.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The api's id.
    pub api_id: &'a str,
    /// The stage's variables.
    pub variables: &'a BTreeMap<String, String>,
    /// Bounds an answer's body, bytes; a larger one fails the call.
    pub max_answer_bytes: usize,
    /// How AWS is called.
    pub aws: &'a Arc<Aws>,
    /// The node's own functions.
    pub functions: &'a Arc<LocalFunctions>,
}

/// A function that is ready to be called.
#[derive(Debug)]
pub struct CompiledFunction {
    timeout: Duration,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Web(Box<HttpBackend>),
    Lambda { call: Box<LambdaCall>, parameters: Vec<RequestParameter> },
    Local { functions: Arc<LocalFunctions>, name: String },
}

impl CompiledFunction {
    /// Resolves `function` for a stage. `integration` is the one that names it; `timeout` bounds a
    /// whole call.
    ///
    /// # Errors
    /// The uri needs a variable that the stage does not define, or is none once they are replaced.
    pub fn compile(
        around: &Surroundings<'_>,
        function: &Function,
        integration: &Integration,
        timeout: Duration,
    ) -> Result<Self, InvalidIntegration> {
        let place = match function {
            Function::Web(uri) => Place::Web(Box::new(HttpBackend::compile(
                around,
                Form::Function,
                uri,
                &Method::POST,
                integration,
            )?)),
            Function::Lambda(uri) => {
                let settings = AwsCallSettings {
                    api_id: around.api_id,
                    credentials: integration.credentials.as_deref(),
                    timeout,
                    max_answer_bytes: around.max_answer_bytes,
                };
                let call = LambdaCall::compile(around.aws, uri, around.variables, settings)?;
                Place::Lambda {
                    call: Box::new(call),
                    parameters: integration.request_parameters.clone(),
                }
            }
            Function::Local(name) => {
                Place::Local { functions: around.functions.clone(), name: name.clone() }
            }
        };
        Ok(Self { timeout, place })
    }

    /// The web server that it is, if it is one.
    pub(crate) fn web(&self) -> Option<&HttpBackend> {
        match &self.place {
            Place::Web(backend) => Some(backend),
            Place::Lambda { .. } | Place::Local { .. } => None,
        }
    }

    /// Calls the function with `payload`, JSON, and waits for what it returns.
    ///
    /// # Errors
    /// [`IntegrationError::FunctionFailed`] when the function itself failed; else each way in which
    /// there can be no usable answer.
    pub async fn invoke(
        &self,
        pools: &BackendPools,
        event: &Event<'_>,
        payload: Bytes,
        overrides: MappedParameters,
    ) -> Result<Bytes, IntegrationError> {
        match &self.place {
            Place::Web(backend) => {
                let body = Some(Body::json(payload));
                let response =
                    backend.exchange(pools, event, body, overrides, self.timeout)?.await?;
                returned(response)
            }
            Place::Lambda { call, parameters } => {
                let mut mapped = request_parameters::map(parameters, event);
                override_parameters(&mut mapped, overrides);
                // Lambda takes it over into the function's own trace, where it has one.
                if event.trace.is_some()
                    && !mapped.headers.iter().any(|(name, _)| *name == TRACE_ID)
                {
                    mapped.headers.push((TRACE_ID, trace_id(event).into_owned()));
                }
                call.invoke(pools, payload, &mapped.headers).await
            }
            Place::Local { functions, name } => {
                let trace_id = trace_id(event).into_owned();
                functions.invoke(name, payload, Some(trace_id), self.timeout).await
            }
        }
    }
}

/// tidegate, section 4: anything but a 200 is the function's failure. Its server may say more about
/// it, as Lambda does: `{"errorMessage": …, "errorType": …}`.
fn returned(response: Response<Bytes>) -> Result<Bytes, IntegrationError> {
    let (head, body) = response.into_parts();
    if head.status == StatusCode::OK {
        return Ok(body);
    }
    let failure = FunctionFailure::from_payload(body);
    Err(match &failure.error_message {
        Some(_) => IntegrationError::FunctionFailed(failure),
        None => IntegrationError::FunctionError(head.status),
    })
}
