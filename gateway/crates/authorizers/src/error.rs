//! How a refusal looks: to the client, to the log, to the metrics.

use std::borrow::Cow;

use http::StatusCode;
use tidegate_integrations::Owner;

/// What a refused upgrade is answered with (websocket-api, 3.2 and 9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenialStatus {
    /// 401: the client did not say who it is.
    Unauthorized,
    /// 403: it did, and may not.
    Forbidden,
    /// 500: the authorizer could not be asked, or its answer makes no sense.
    Failed,
}

/// Why somebody may not connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Decides the HTTP status.
    pub status: DenialStatus,
    /// `x-amzn-ErrorType`.
    pub error_type: &'static str,
    /// `message` of the answer's body. Says nothing of what was sent nor of what was expected.
    pub message: &'static str,
    /// A word for metrics, from a fixed set.
    pub kind: &'static str,
    /// Whose fault it was.
    pub blame: Owner,
    /// For the log: the cause, without token, key or claim.
    pub log: Cow<'static, str>,
}

impl DenialStatus {
    /// The status itself.
    pub fn code(self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Denial {
    /// A denial with the error type and the message that go with `status`.
    pub fn new(
        status: DenialStatus,
        kind: &'static str,
        blame: Owner,
        log: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (error_type, message) = match status {
            DenialStatus::Unauthorized => ("UnauthorizedException", "Unauthorized"),
            DenialStatus::Forbidden => ("ForbiddenException", "Forbidden"),
            DenialStatus::Failed => ("InternalServerErrorException", "Internal server error"),
        };
        Self { status, error_type, message, kind, blame, log: log.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// websocket-api, 3.2.
    #[test]
    fn each_status_has_its_error_type() {
        let told = |status| {
            let denial = Denial::new(status, "kind", Owner::Client, "cause");
            (denial.status.code().as_u16(), denial.error_type, denial.message)
        };
        assert_eq!(
            told(DenialStatus::Unauthorized),
            (401, "UnauthorizedException", "Unauthorized")
        );
        assert_eq!(told(DenialStatus::Forbidden), (403, "ForbiddenException", "Forbidden"));
        assert_eq!(
            told(DenialStatus::Failed),
            (500, "InternalServerErrorException", "Internal server error")
        );
    }
}
