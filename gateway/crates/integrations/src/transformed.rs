//! An integration whose templates stand between client and backend (websocket-api, 2.5 to 2.7, 6).
//!
//! In:  an event.
//! Out: what the integration response makes of the backend's answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use tidegate_flow::{
    context::{Event, Occurrence},
    request_parameters,
    transformation::{BackendAnswer, BackendBody, Selector, Transformation},
};
use tidegate_model::RequestParameter;

use crate::{
    Answer, BackendPools, CompiledFunction, IntegrationError, ServiceCall, answer::is_octet_stream,
    backend_request::Body, http_backend::HttpBackend,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Templates, and what stands behind them.
#[derive(Debug)]
pub(crate) struct Transformed {
    pub(crate) transformation: Transformation,
    pub(crate) backend: Backend,
}

/// What takes the request template's output.
#[derive(Debug)]
pub(crate) enum Backend {
    Http(HttpBackend),
    Function(CompiledFunction),
    Service { call: ServiceCall, parameters: Vec<RequestParameter> },
}

impl Transformed {
    pub(crate) async fn call(
        &self,
        pools: &BackendPools,
        event: &Event<'_>,
        timeout: Duration,
    ) -> Result<Answer, IntegrationError> {
        let BackendBody { bytes, binary, overrides, written } =
            self.transformation.request(event)?;
        let answer = |status, response: &Response<Bytes>, selector: Selector<'_>| {
            let answered = BackendAnswer {
                status,
                headers: response.headers(),
                body: response.body(),
                binary: is_octet_stream(response.headers()),
                selector,
                written: &written,
            };
            let mut reply = self.transformation.response(event, &answered)?;
            keep_what_is_asked_for(response.headers(), &mut reply.headers);
            Ok(Answer::from_reply(reply))
        };
        match &self.backend {
            Backend::Http(backend) => {
                let nothing_came =
                    !matches!(event.occurrence, Occurrence::Message { .. }) && bytes.is_empty();
                let body = (!nothing_came)
                    .then(|| if binary { Body::octet_stream(bytes) } else { Body::json(bytes) });
                let response = backend.exchange(pools, event, body, overrides, timeout)?.await?;
                answer(response.status().as_u16(), &response, Selector::Status)
            }
            Backend::Service { call, parameters } => {
                let mapped = request_parameters::map(parameters, event);
                let response = call.call(pools, mapped, overrides, bytes).await?;
                answer(response.status().as_u16(), &response, Selector::Status)
            }
            Backend::Function(function) => {
                match function.invoke(pools, event, bytes, overrides).await {
                    Ok(returned) => answer(200, &json(returned), Selector::ErrorMessage(None)),
                    // What a function throws is an answer, where an integration response can be
                    // chosen for it; its status is 200 all the same (websocket-api, 2.7).
                    Err(IntegrationError::FunctionFailed(failure))
                        if self.transformation.has_responses() =>
                    {
                        let message = failure.error_message.as_deref().unwrap_or_default();
                        let thrown = json(failure.payload.clone());
                        answer(200, &thrown, Selector::ErrorMessage(Some(message)))
                    }
                    Err(err) => Err(err),
                }
            }
        }
    }
}

/// `Tidegate-*` headers of a backend are for the gateway, whatever the templates make of the rest
/// (tidegate, section 5); a template's own win.
fn keep_what_is_asked_for(answered: &HeaderMap, reply: &mut HeaderMap) {
    for name in answered.keys().filter(|name| name.as_str().starts_with("tidegate-")) {
        if !reply.contains_key(name) {
            for value in answered.get_all(name) {
                reply.append(name.clone(), value.clone());
            }
        }
    }
}

fn json(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}
