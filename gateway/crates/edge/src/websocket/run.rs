//! One run of one route: the call of its integration, and what is written of it.
//!
//! In:  an occurrence on a connection, and the route for it.
//! Out: the integration's answer; the run's span and its line in the access log.
//!
//! Holds always: a run has one id, which is the event's, the log line's and the error frame's.

use std::time::{Duration, Instant};

use tidegate_flow::{
    access_log::{self, Outcome},
    context::{ConnectionFacts, Event, Occurrence},
    opaque_id::OpaqueId,
};
use tidegate_integrations::{Answer, CompiledIntegration, IntegrationError};
use tracing::{Span, debug_span, warn};

use super::{
    connection::now_ms,
    ending::{AuthorizerLog, Ending, Told, milliseconds},
};
use crate::{
    core_state::Core,
    snapshot::{RouteEntry, StageEntry},
    traces::{self, OpenSpan},
};

/// One run of one route, from its start to its line in the access log and the end of its span.
pub(crate) struct Run {
    pub(crate) request_id: OpaqueId,
    at_ms: u64,
    pub(crate) occurrence: Occurrence,
    pub(crate) trace: OpenSpan,
}

/// What an integration answered, and how long it took.
pub(crate) struct Invoked {
    pub(crate) result: Result<Answer, IntegrationError>,
    took: Duration,
}

impl Invoked {
    /// What the client is told of a failure.
    pub(crate) fn told(&self) -> Option<Told> {
        self.result.as_ref().err().map(|err| err.error_message().into())
    }
}

impl Run {
    pub(crate) fn new(occurrence: Occurrence) -> Self {
        Self {
            request_id: OpaqueId::random(),
            at_ms: now_ms(),
            occurrence,
            trace: OpenSpan::default(),
        }
    }

    /// In this span, which ends with the run.
    pub(crate) fn traced(self, trace: OpenSpan) -> Self {
        Self { trace, ..self }
    }

    /// The event as integrations, mappings and log lines see it.
    pub(crate) fn event<'e>(
        &'e self,
        facts: &'e ConnectionFacts,
        stage: &'e StageEntry,
        route_key: &'e str,
    ) -> Event<'e> {
        Event {
            connection: facts,
            route_key,
            occurrence: &self.occurrence,
            request_id: self.request_id,
            at_ms: self.at_ms,
            stage_variables: &stage.variables,
            trace: None,
        }
    }

    /// Calls a route's integration, when it has a place for the call; `None` where the route has
    /// none. Whoever waits for the answer waits no longer for the place than for the integration.
    pub(crate) async fn invoke(
        &self,
        core: &Core,
        facts: &ConnectionFacts,
        stage: &StageEntry,
        route: &RouteEntry,
    ) -> Option<Invoked> {
        let integration = route.integration.as_ref()?;
        let span = traces::integration(&self.trace, route, integration);
        let _place = match &route.gate {
            None => None,
            Some(gate) => match gate.enter_soon().await {
                Ok(place) => Some(place),
                Err(waited) => {
                    let err = IntegrationError::TimedOut(waited);
                    report(facts, route, &err);
                    let result = Err(err);
                    traces::integration_ended(span, &result);
                    return Some(Invoked { result, took: waited });
                }
            },
        };
        Some(self.call(core, facts, stage, (route, integration, span)).await)
    }

    /// Calls a route's integration, for which the caller has a place; `None` where the route has
    /// none.
    pub(crate) async fn invoke_at_once(
        &self,
        core: &Core,
        facts: &ConnectionFacts,
        stage: &StageEntry,
        route: &RouteEntry,
    ) -> Option<Invoked> {
        let integration = route.integration.as_ref()?;
        let span = traces::integration(&self.trace, route, integration);
        Some(self.call(core, facts, stage, (route, integration, span)).await)
    }

    async fn call(
        &self,
        core: &Core,
        facts: &ConnectionFacts,
        stage: &StageEntry,
        (route, integration, span): (&RouteEntry, &CompiledIntegration, OpenSpan),
    ) -> Invoked {
        let event = Event { trace: span.context(), ..self.event(facts, stage, &route.key) };
        let started = Instant::now();
        let result = integration.call(&core.pools, &event).await;
        let took = started.elapsed();
        traces::integration_ended(span, &result);
        route.metrics.integration_took(took);
        if let Err(err) = &result {
            report(facts, route, err);
        }
        Invoked { result, took }
    }

    /// Ends it: its span, and the access log's line where the stage has one.
    pub(crate) fn end(
        &mut self,
        facts: &ConnectionFacts,
        stage: &StageEntry,
        route_key: &str,
        ending: &Ending<'_>,
    ) {
        traces::run_ended(&mut self.trace, &self.occurrence, self.request_id.as_str(), ending);
        let Some((log, format)) = &stage.access_log else { return };
        let Ending { status, invoked, error, validation_error, authorizer } = *ending;
        let (integration_status, integration_error) = match invoked.map(|i| &i.result) {
            Some(Ok(answer)) => (Some(answer.status), None),
            Some(Err(err)) => (None, Some(err.to_string())),
            None => (None, None),
        };
        let outcome = Outcome {
            status: Some(status),
            integration_status,
            integration_service_status: integration_status,
            integration_latency_ms: invoked.map(|invoked| milliseconds(invoked.took)),
            integration_error: integration_error.as_deref(),
            error_message: error.map(|told| told.message),
            error_response_type: error.map(|told| told.response_type),
            validation_error,
            authorizer: authorizer.map(AuthorizerLog::authorizer).unwrap_or_default(),
            authenticate: authorizer.map(AuthorizerLog::authenticate).unwrap_or_default(),
            authorize: authorizer.map(AuthorizerLog::authorize).unwrap_or_default(),
            ..Outcome::default()
        };
        let mut line = String::new();
        access_log::render(format, &self.event(facts, stage, route_key), &outcome, &mut line);
        log.write(line);
    }
}

/// Counts and logs a failed call; a backend that is down does not flood the log.
fn report(facts: &ConnectionFacts, route: &RouteEntry, err: &IntegrationError) {
    route.metrics.integration_failed(err.kind());
    if let Some(unlogged) = route.may_warn(now_ms()) {
        let cause = std::error::Error::source(err).map(ToString::to_string);
        warn!(
            connection_id = %facts.id,
            api_id = &*facts.api_id,
            stage = &*facts.stage,
            route_key = &*route.key,
            error = %err,
            cause,
            blame = ?err.blame(),
            unlogged,
            "integration failed"
        );
    }
}

/// The span of one run of one route; nothing but a comparison unless somebody listens to `debug`.
pub(crate) fn run_span(facts: &ConnectionFacts, route_key: &str) -> Span {
    debug_span!(
        "run",
        connection_id = %facts.id,
        api_id = &*facts.api_id,
        stage = &*facts.stage,
        route_key
    )
}
