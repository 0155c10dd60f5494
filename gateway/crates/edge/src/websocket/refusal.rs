//! Why the gateway itself refuses an upgrade, and the answer that says so (websocket-api, 3.2).

use tidegate_authorizers::{Denial, DenialStatus};
use tidegate_flow::{
    error_frame::{ErrorMessage, error_frame},
    opaque_id::OpaqueId,
    usage_plan,
};
use tidegate_telemetry::ConnectOutcome;

use super::ending::Told;
use crate::http::response::Response;

/// A refusal of the gateway's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    error_type: &'static str,
    /// What the client reads and the access log says.
    pub(crate) told: Told,
    pub(crate) outcome: ConnectOutcome,
    extra: &'static str,
}

impl Refusal {
    pub(crate) fn new(
        status: u16,
        error_type: &'static str,
        message: ErrorMessage,
        outcome: ConnectOutcome,
    ) -> Self {
        Self { status, error_type, told: message.into(), outcome, extra: "" }
    }

    pub(crate) fn forbidden() -> Self {
        let outcome = ConnectOutcome::Forbidden;
        Self::new(403, "ForbiddenException", ErrorMessage::Forbidden, outcome)
    }

    pub(crate) fn bad_request() -> Self {
        let outcome = ConnectOutcome::BadRequest;
        Self::new(400, "BadRequestException", ErrorMessage::BadRequest, outcome)
    }

    pub(crate) fn throttled() -> Self {
        let outcome = ConnectOutcome::Throttled;
        let message = ErrorMessage::TooManyRequests;
        Self::new(429, "TooManyRequestsException", message, outcome)
    }

    pub(crate) fn upgrade_required() -> Self {
        let outcome = ConnectOutcome::BadRequest;
        let message = ErrorMessage::UpgradeRequired;
        Self {
            extra: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            ..Self::new(426, "UpgradeRequiredException", message, outcome)
        }
    }

    pub(crate) fn response(&self, connection_id: OpaqueId, request_id: OpaqueId) -> Response {
        Response {
            error_type: Some(self.error_type),
            extra: self.extra,
            request_id: Some(request_id),
            ..Response::json(self.status, error_frame(self.told.message, connection_id, request_id))
        }
    }
}

impl From<usage_plan::Refused> for Refusal {
    fn from(refused: usage_plan::Refused) -> Self {
        let outcome = match refused.status() {
            429 => ConnectOutcome::Throttled,
            _ => ConnectOutcome::Forbidden,
        };
        Self::new(refused.status(), refused.error_type(), refused.message(), outcome)
    }
}

impl From<&Denial> for Refusal {
    fn from(denial: &Denial) -> Self {
        let (outcome, response_type) = match denial.status {
            DenialStatus::Unauthorized => (ConnectOutcome::Unauthorized, "UNAUTHORIZED"),
            DenialStatus::Forbidden => (ConnectOutcome::Forbidden, "ACCESS_DENIED"),
            DenialStatus::Failed => (ConnectOutcome::AuthorizerError, "AUTHORIZER_FAILURE"),
        };
        Self {
            status: denial.status.code().as_u16(),
            error_type: denial.error_type,
            told: Told { message: denial.message, response_type },
            outcome,
            extra: "",
        }
    }
}
