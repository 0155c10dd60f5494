//! The REQUEST authorizer: a function answers an IAM policy (websocket-api, 9.1 to 9.5).
//!
//! In:  a connect, and the function.
//! Out: whom the policy lets in, or why nobody.
//!
//! Holds always: the function is not asked about a client that brings no identity; only a policy
//! that allows lets anybody in; no value of the function's answer is in a log text.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_flow::{
    authorizer_event::authorizer_event,
    authorizer_response::{self, MAX_ANSWER_BYTES, MalformedAnswer, is_unauthorized},
    iam_access::StageArn,
    policy::{Decision, evaluate},
    request_parameters::{MappedParameters, missing_identity},
};
use tidegate_integrations::{
    BackendPools, CompiledFunction, IntegrationError, InvalidIntegration, Owner, Surroundings,
};
use tidegate_model::{
    AwsTarget, Function, Integration, IntegrationKind, ParameterSource,
    RequestAuthorizer as Settings, RouteKey,
};

use crate::{Attempt, Denial, DenialStatus, Granted};

/// One REQUEST authorizer of one stage, ready to decide.
#[derive(Debug)]
pub struct RequestAuthorizer {
    function: CompiledFunction,
    identity_source: Vec<ParameterSource>,
    method_arn: String,
}

/// Why the function let nobody in.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the client brings no {0}")]
    NoIdentity(String),
    #[error("the function says Unauthorized")]
    Unauthorized,
    #[error("the function's policy denies it")]
    Denied,
    #[error("the function's policy allows nothing that is $connect of this stage")]
    NotAllowed,
    #[error("the authorizer's function: {0}")]
    Failed(#[source] IntegrationError),
    #[error("the authorizer's function: {0}")]
    Malformed(#[from] MalformedAnswer),
}

impl RequestAuthorizer {
    /// The authorizer for the stage that `around` and `arn` name. `integration` is the one that
    /// `settings` names; `None` where it is no function.
    ///
    /// # Errors
    /// The function's uri does not expand.
    pub fn compile(
        around: &Surroundings<'_>,
        arn: &StageArn<'_>,
        settings: &Settings,
        integration: &Integration,
    ) -> Result<Option<Self>, InvalidIntegration> {
        let Some(function) = function_of(integration) else { return Ok(None) };
        // One byte more than an answer may have, so that it is this crate that says so.
        let around = Surroundings { max_answer_bytes: MAX_ANSWER_BYTES + 1, ..*around };
        let timeout = settings.timeout.min(integration.timeout);
        Ok(Some(Self {
            function: CompiledFunction::compile(&around, function, integration, timeout)?,
            identity_source: settings.identity_source.clone(),
            method_arn: arn.route(RouteKey::CONNECT),
        }))
    }

    /// Asks the function.
    ///
    /// # Errors
    /// 401 without an identity or when the function says so, 403 when its policy does not allow the
    /// connect, 500 when it gave no usable answer (websocket-api, 9.5).
    pub async fn authorize(
        &self,
        pools: &BackendPools,
        attempt: &Attempt<'_>,
    ) -> Result<Granted, Denial> {
        self.ask(pools, attempt).await.map_err(|refused| refused.denial())
    }

    async fn ask(&self, pools: &BackendPools, attempt: &Attempt<'_>) -> Result<Granted, Refused> {
        let event = attempt.event;
        if let Some(missing) = missing_identity(&self.identity_source, event) {
            return Err(Refused::NoIdentity(described(missing)));
        }
        let mut payload = Vec::with_capacity(4096);
        authorizer_event(event, attempt.hop_headers, &self.method_arn, &mut payload);
        let began = Instant::now();
        let answer = self
            .function
            .invoke(pools, event, Bytes::from(payload), MappedParameters::default())
            .await
            .map_err(|err| match err {
                IntegrationError::FunctionFailed(failure) if is_unauthorized(&failure.payload) => {
                    Refused::Unauthorized
                }
                IntegrationError::AnswerTooLarge(bytes) => {
                    Refused::Malformed(MalformedAnswer::Length(bytes))
                }
                err => Refused::Failed(err),
            })?;
        let latency = began.elapsed();
        let mut said = authorizer_response::parse(&answer)?;
        let asked = attempt.circumstances.connect(&self.method_arn, None);
        match evaluate(&said.policy, &asked) {
            Decision::Allow => {}
            Decision::Deny => return Err(Refused::Denied),
            Decision::NoMatch => return Err(Refused::NotAllowed),
        }
        let usage_identifier_key = said.usage_identifier_key.take();
        Ok(Granted {
            authorizer: Some(said.into_facts(milliseconds(latency))),
            usage_identifier_key,
            ..Granted::default()
        })
    }
}

impl Refused {
    fn denial(&self) -> Denial {
        let (status, kind, blame) = match self {
            Self::NoIdentity(_) => (DenialStatus::Unauthorized, "no_identity", Owner::Client),
            Self::Unauthorized => (DenialStatus::Unauthorized, "unauthorized", Owner::Client),
            Self::Denied => (DenialStatus::Forbidden, "denied", Owner::Client),
            Self::NotAllowed => (DenialStatus::Forbidden, "not_allowed", Owner::Client),
            Self::Failed(err) => (DenialStatus::Failed, "function_failed", err.blame()),
            Self::Malformed(_) => (DenialStatus::Failed, "malformed_answer", Owner::ApiOwner),
        };
        Denial::new(status, kind, blame, self.to_string())
    }
}

/// The function behind an integration, if there is one.
fn function_of(integration: &Integration) -> Option<&Function> {
    match &integration.kind {
        IntegrationKind::AwsProxy(function)
        | IntegrationKind::Aws(AwsTarget::Function(function), _) => Some(function),
        _ => None,
    }
}

/// An identity source, as an operator would look for it; never its value.
fn described(source: &ParameterSource) -> String {
    match source {
        ParameterSource::Header(name) | ParameterSource::MultiValueHeader(name) => {
            format!("header {name}")
        }
        ParameterSource::QueryString(name) | ParameterSource::MultiValueQueryString(name) => {
            format!("query parameter {name}")
        }
        ParameterSource::StageVariable(name) => format!("stageVariables.{name}"),
        ParameterSource::Context(name) => format!("context.{name}"),
        ParameterSource::Body(_) | ParameterSource::Static(_) => "identity".to_owned(),
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
