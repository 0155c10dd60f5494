//! Why a call gave no answer: what the client reads, what the metrics count, whose fault it was.

use std::{io, time::Duration};

use http::StatusCode;
use tidegate_flow::{
    error_frame::ErrorMessage,
    proxy_response::MalformedProxyResponse,
    transformation::{Fault, Rejected},
};

use crate::{CredentialsError, FunctionFailure};

/// Whose fault something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The WebSocket client: what it sent cannot be passed on.
    Client,
    /// Whoever runs the api: its backend, its function, its configuration.
    ApiOwner,
    /// This process or its machine.
    Gateway,
}

/// Why an integration gave no usable answer. No text repeats a payload, a query or a header.
#[derive(Debug, thiserror::Error)]
pub enum IntegrationError {
    /// No whole answer within the integration's timeout, which this names (50 ms to 29 s).
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// No connection: the name is unknown, nothing listens, or TLS failed.
    #[error("connect to {endpoint}")]
    Unreachable {
        /// `host:port`, or a unix socket's path.
        endpoint: String,
        /// What the connection attempt met.
        #[source]
        source: io::Error,
    },
    /// The backend closed the connection, or spoke no HTTP, before its answer was whole.
    #[error("no whole answer from {endpoint}")]
    Lost {
        /// `host:port`, or a unix socket's path.
        endpoint: String,
        /// What the connection met.
        #[source]
        source: hyper::Error,
    },
    /// The answer's body is larger than this many bytes.
    #[error("the answer is larger than {0} bytes")]
    AnswerTooLarge(usize),
    /// A function's web server answered something else than 200.
    #[error("the function failed: its server answered {0}, a proxy response comes with 200")]
    FunctionError(StatusCode),
    /// A function threw, timed out by its own limit, or its process ended.
    #[error("the function failed: {0}")]
    FunctionFailed(FunctionFailure),
    /// Lambda has more calls of the function than its concurrency allows.
    #[error("the function is throttled by Lambda")]
    Throttled,
    /// All workers of a local function are busy, and as many calls wait as may.
    #[error("all workers of the function are busy, and so is its queue")]
    Overloaded,
    /// Lambda refuses the call: the function is missing, may not be invoked, or does not take the
    /// payload.
    #[error("Lambda does not invoke `{function}`: {status} {error_type}")]
    NotInvokable {
        /// As the integration's uri names it.
        function: String,
        /// What Lambda answered.
        status: StatusCode,
        /// Its class of errors, such as `ResourceNotFoundException`; empty when it names none.
        error_type: String,
    },
    /// There is nothing to sign a call to AWS with.
    #[error("no credentials for AWS")]
    NoCredentials(#[from] CredentialsError),
    /// A call to AWS cannot be signed as it is.
    #[error("the call to AWS cannot be signed")]
    Unsignable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A function's answer is no proxy response.
    #[error("the function's answer is malformed")]
    MalformedProxyResponse(#[from] MalformedProxyResponse),
    /// A template, or what it is to be applied to.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// `{name}` stands in the uri's path, and what is mapped to it is absent, empty, `.` or `..`.
    #[error("nothing usable is mapped to the path parameter `{{{0}}}`")]
    PathParameter(String),
    /// The uri became too long with what is mapped into it (64 KiB).
    #[error("the mapped parameters make the uri too long")]
    UriTooLong,
}

/// Out of descriptors: this process (EMFILE), this machine (ENFILE).
const OUT_OF_DESCRIPTORS: [i32; 2] = [24, 23];

/// What a call to a backend may fail with, as [`IntegrationError::kind`] names it.
pub(crate) const OF_BACKENDS: &[&str] =
    &["timed_out", "unreachable", "lost", "answer_too_large", "path_parameter", "uri_too_long"];

/// What a call to a function may, besides.
pub(crate) const OF_FUNCTIONS: &[&str] = &["function_error"];

/// What a call to a function may whose answer is to be a proxy response.
pub(crate) const OF_PROXY_RESPONSES: &[&str] = &["malformed_proxy_response"];

/// What a call may to a function that is no web server, but Lambda's or this gateway's own.
pub(crate) const OF_INVOCATIONS: &[&str] = &["throttled", "overloaded", "not_invokable"];

/// What a call may that is signed.
pub(crate) const OF_AWS: &[&str] = &["no_credentials", "unsignable"];

/// What templates, and what they are applied to, may fail with.
pub(crate) const OF_TEMPLATES: &[&str] = &[
    "unsupported_media_type",
    "body_not_json",
    "request_template",
    "response_template",
    "not_base64",
    "no_integration_response",
];

/// What only a mock's may.
pub(crate) const OF_MOCKS: &[&str] = &["no_mock_status"];

impl IntegrationError {
    /// What a refused upgrade is answered with (websocket-api, 3.2).
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Rejected(rejected) => rejected.status(),
            Self::TimedOut(_) | Self::Unreachable { .. } | Self::Lost { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::FunctionError(_) | Self::FunctionFailed(_) | Self::MalformedProxyResponse(_) => {
                StatusCode::BAD_GATEWAY
            }
            // The table's "throttled", whoever throttles: a client that reads 429 waits before it
            // tries again, which is what helps.
            Self::Throttled | Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::AnswerTooLarge(_)
            | Self::NotInvokable { .. }
            | Self::NoCredentials(_)
            | Self::Unsignable(_)
            | Self::PathParameter(_)
            | Self::UriTooLong => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client is told (websocket-api, 4.5).
    pub fn error_message(&self) -> ErrorMessage {
        match self {
            Self::Rejected(rejected) => rejected.error_message(),
            Self::TimedOut(_) => ErrorMessage::EndpointRequestTimedOut,
            Self::Throttled | Self::Overloaded => ErrorMessage::TooManyRequests,
            _ => ErrorMessage::InternalServerError,
        }
    }

    /// The label `kind` of `tidegate_integration_errors_total`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rejected(rejected) => rejected.kind(),
            Self::TimedOut(_) => "timed_out",
            Self::Unreachable { .. } => "unreachable",
            Self::Lost { .. } => "lost",
            Self::AnswerTooLarge(_) => "answer_too_large",
            Self::FunctionError(_) | Self::FunctionFailed(_) => "function_error",
            Self::Throttled => "throttled",
            Self::Overloaded => "overloaded",
            Self::NotInvokable { .. } => "not_invokable",
            Self::NoCredentials(_) => "no_credentials",
            Self::Unsignable(_) => "unsignable",
            Self::MalformedProxyResponse(_) => "malformed_proxy_response",
            Self::PathParameter(_) => "path_parameter",
            Self::UriTooLong => "uri_too_long",
        }
    }

    /// Whose fault it was.
    pub fn blame(&self) -> Owner {
        match self {
            Self::Rejected(rejected) => match rejected.fault() {
                Fault::Client => Owner::Client,
                Fault::ApiOwner => Owner::ApiOwner,
            },
            Self::Unreachable { source, .. } if is_out_of_descriptors(source) => Owner::Gateway,
            Self::PathParameter(_) | Self::UriTooLong => Owner::Client,
            Self::TimedOut(_)
            | Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::AnswerTooLarge(_)
            | Self::FunctionError(_)
            | Self::FunctionFailed(_)
            | Self::Throttled
            | Self::Overloaded
            | Self::NotInvokable { .. }
            | Self::NoCredentials(_)
            | Self::Unsignable(_)
            | Self::MalformedProxyResponse(_) => Owner::ApiOwner,
        }
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| OUT_OF_DESCRIPTORS.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(source: io::Error) -> IntegrationError {
        IntegrationError::Unreachable { endpoint: "backend:80".to_owned(), source }
    }

    /// websocket-api, 3.2 and 4.5.
    #[test]
    fn each_failure_has_the_contracts_status_and_frame() {
        let refused = || unreachable(io::ErrorKind::ConnectionRefused.into());
        let function = IntegrationError::FunctionError(StatusCode::NOT_FOUND);
        let not_invokable = IntegrationError::NotInvokable {
            function: "chat".to_owned(),
            status: StatusCode::FORBIDDEN,
            error_type: "AccessDeniedException".to_owned(),
        };
        let cases = [
            (
                IntegrationError::TimedOut(Duration::from_secs(29)),
                504,
                "Endpoint request timed out",
            ),
            (refused(), 504, "Internal server error"),
            (function, 502, "Internal server error"),
            (MalformedProxyResponse::NoStatus.into(), 502, "Internal server error"),
            (IntegrationError::AnswerTooLarge(1), 500, "Internal server error"),
            (
                IntegrationError::FunctionFailed(FunctionFailure::new("Error", "no".to_owned())),
                502,
                "Internal server error",
            ),
            (IntegrationError::Throttled, 429, "Too Many Requests"),
            (IntegrationError::Overloaded, 429, "Too Many Requests"),
            (not_invokable, 500, "Internal server error"),
        ];
        for (error, status, frame) in cases {
            assert_eq!(
                (error.status().as_u16(), error.error_message().as_str()),
                (status, frame),
                "{error}"
            );
        }
    }

    #[test]
    fn a_backend_that_is_down_is_the_owners_fault_and_missing_descriptors_are_ours() {
        let down = unreachable(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(down.blame(), Owner::ApiOwner);
        assert_eq!(unreachable(io::Error::from_raw_os_error(24)).blame(), Owner::Gateway);
        assert_eq!(IntegrationError::UriTooLong.blame(), Owner::Client);
    }
}
