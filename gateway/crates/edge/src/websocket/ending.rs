//! How a run of a route ended, for the client, the access log and the trace.
//!
//! In:  what was answered, refused or decided.
//! Out: the status; what the client was told; whose fault it was; the authorizer's fields.

use std::{borrow::Cow, time::Duration};

use tidegate_authorizers::{Denial, Granted};
use tidegate_flow::{
    access_log::{AuthorizerOutcome, StepOutcome},
    error_frame::ErrorMessage,
};
use tidegate_integrations::Owner;

use super::run::Invoked;

/// What a client was told that was not served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) message: &'static str,
    /// By gateway response types.
    pub(crate) response_type: &'static str,
}

impl From<ErrorMessage> for Told {
    fn from(message: ErrorMessage) -> Self {
        Self { message: message.as_str(), response_type: message.response_type() }
    }
}

/// How a run ended, for its line in the access log.
#[derive(Clone, Copy)]
pub(crate) struct Ending<'a> {
    pub(crate) status: u16,
    pub(crate) invoked: Option<&'a Invoked>,
    pub(crate) error: Option<Told>,
    pub(crate) validation_error: Option<&'a str>,
    pub(crate) authorizer: Option<&'a AuthorizerLog>,
}

impl Default for Ending<'_> {
    fn default() -> Self {
        Self { status: 200, invoked: None, error: None, validation_error: None, authorizer: None }
    }
}

impl Ending<'_> {
    /// What kind of failure it was and whose fault, where the client was not served.
    pub(crate) fn failure(&self) -> Option<(Cow<'static, str>, Owner)> {
        let answered = self.invoked.map(|invoked| &invoked.result);
        match (self.status, answered, self.error) {
            (_, Some(Err(err)), _) => Some((err.kind().into(), err.blame())),
            (..400, _, None) => None,
            (status, answered, told) => {
                let of_backend = answered.is_some() || self.authorizer.is_some();
                let blame = match status {
                    ..500 => Owner::Client,
                    _ if of_backend => Owner::ApiOwner,
                    _ => Owner::Gateway,
                };
                let kind =
                    told.map_or_else(|| status.to_string().into(), |t| t.response_type.into());
                Some((kind, blame))
            }
        }
    }

    /// Nothing was called.
    pub(crate) fn refused(status: u16, told: impl Into<Told>) -> Self {
        Self { status, error: Some(told.into()), ..Self::default() }
    }
}

/// Who decides about a connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecidedBy {
    Function,
    Token,
    Signature,
}

/// How deciding about a connect went, for the access log.
#[derive(Debug)]
pub(crate) struct AuthorizerLog {
    by: DecidedBy,
    latency_ms: u64,
    integration_latency_ms: Option<u64>,
    status: u16,
    error: Option<String>,
    /// It was known who it is; what was decided is what they may.
    is_known: bool,
}

impl AuthorizerLog {
    /// What a signature or a token says of somebody it is about, and a policy or the rules do not
    /// let in.
    const NOT_ALLOWED: [&str; 4] = ["denied", "not_allowed", "scope", "claim"];

    pub(crate) fn new<T>(by: DecidedBy, took: Duration, decided: &Result<T, Denial>) -> Self {
        let denial = decided.as_ref().err();
        Self {
            by,
            latency_ms: milliseconds(took),
            integration_latency_ms: None,
            status: denial.map_or(200, |denial| denial.status.code().as_u16()),
            error: denial.map(|denial| denial.log.clone().into_owned()),
            is_known: denial.is_none_or(|denial| Self::NOT_ALLOWED.contains(&denial.kind)),
        }
    }

    /// How an authorizer that was asked decided.
    pub(crate) fn asked(by: DecidedBy, took: Duration, decided: &Result<Granted, Denial>) -> Self {
        let latency = |granted: &Granted| granted.authorizer.as_ref()?.integration_latency_ms;
        Self {
            integration_latency_ms: decided.as_ref().ok().and_then(latency),
            ..Self::new(by, took, decided)
        }
    }

    pub(super) fn authorizer(&self) -> AuthorizerOutcome<'_> {
        if self.by == DecidedBy::Signature {
            return AuthorizerOutcome::default();
        }
        let is_function = self.by == DecidedBy::Function;
        AuthorizerOutcome {
            error: self.error.as_deref(),
            integration_latency_ms: self.integration_latency_ms,
            integration_status: (is_function && self.status == 200).then_some(200),
            latency_ms: Some(self.latency_ms),
            request_id: None,
            status: Some(self.status),
        }
    }

    /// A function says who it is and what they may at once, which counts as the latter.
    pub(super) fn authenticate(&self) -> StepOutcome<'_> {
        match (self.by, self.is_known) {
            (DecidedBy::Function, _) => StepOutcome::default(),
            (_, true) => {
                StepOutcome { error: None, latency_ms: Some(self.latency_ms), status: Some(200) }
            }
            (_, false) => self.step(),
        }
    }

    pub(super) fn authorize(&self) -> StepOutcome<'_> {
        match (self.by, self.is_known) {
            (DecidedBy::Function, _) => self.step(),
            // Its time is the other step's.
            (_, true) => StepOutcome { latency_ms: None, ..self.step() },
            (_, false) => StepOutcome::default(),
        }
    }

    fn step(&self) -> StepOutcome<'_> {
        StepOutcome {
            error: self.error.as_deref(),
            latency_ms: Some(self.latency_ms),
            status: Some(self.status),
        }
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
