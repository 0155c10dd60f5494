//! One HTTP backend of one stage, ready to be called.
//!
//! In:  an integration's uri and settings, once; then an event, and the body that is made of it.
//! Out: the backend's whole response.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use tidegate_flow::{context::Event, request_parameters::MappedParameters};
use tidegate_model::{Endpoint, Integration, InvalidUri, UriTemplate};

use crate::{
    BackendPools, IntegrationError, Surroundings,
    backend_request::{Body, Form, RequestTemplate, Settings},
};

/// Where it is, and all of the request that no event changes.
#[derive(Debug)]
pub(crate) struct HttpBackend {
    endpoint: Endpoint,
    request: RequestTemplate,
    max_answer_bytes: usize,
}

impl HttpBackend {
    /// Resolves `uri` for the stage that is compiled.
    pub(crate) fn compile(
        around: &Surroundings<'_>,
        form: Form,
        uri: &UriTemplate,
        method: &Method,
        integration: &Integration,
    ) -> Result<Self, InvalidUri> {
        let settings = Settings {
            form,
            method: method.clone(),
            parameters: &integration.request_parameters,
            context_headers: integration.context_headers,
        };
        let written = uri.as_str();
        let uri = uri.expand(around.variables)?;
        let request = RequestTemplate::new(around.api_id, &uri, written, settings)?;
        Ok(Self { endpoint: uri.endpoint, request, max_answer_bytes: around.max_answer_bytes })
    }

    /// Where it is, and the method that it is called by.
    pub(crate) fn target(&self) -> (&Endpoint, &Method) {
        (&self.endpoint, self.request.method())
    }

    /// Makes the request at once, so that a future that waits holds none of what it is made of;
    /// then sends it and reads the whole response within `timeout`.
    ///
    /// # Errors
    /// The request cannot be made of this event.
    pub(crate) fn exchange<'s>(
        &'s self,
        pools: &'s BackendPools,
        event: &Event<'_>,
        body: Option<Body>,
        overrides: MappedParameters,
        timeout: Duration,
    ) -> Result<
        impl Future<Output = Result<Response<Bytes>, IntegrationError>> + use<'s>,
        IntegrationError,
    > {
        let request = self.request.fill(event, body, overrides)?;
        // Boxed, so that a task that may call a backend is not as big as one that does.
        let exchange = Box::pin(pools.exchange(&self.endpoint, request, self.max_answer_bytes));
        Ok(async move {
            let answered = tokio::time::timeout(timeout, exchange).await;
            answered.map_err(|_| IntegrationError::TimedOut(timeout))?
        })
    }
}
