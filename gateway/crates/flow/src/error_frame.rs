//! The text that a client reads when its message could not be served (websocket-api, 4.5).

use crate::opaque_id::OpaqueId;

/// What the text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorMessage {
    /// No route takes the message.
    Forbidden,
    /// The integration failed or answered nonsense.
    InternalServerError,
    /// The integration took too long.
    EndpointRequestTimedOut,
    /// A throttle.
    TooManyRequests,
    /// A usage plan's quota.
    LimitExceeded,
    /// The route's model does not take the message.
    BadRequestBody,
    /// No template is for the message, and it may not pass without one.
    UnsupportedMediaType,
    /// `$connect`: nothing, or nothing valid, says who the client is.
    Unauthorized,
    /// `$connect`: no API key, or none that opens the stage.
    InvalidApiKey,
    /// `$connect`: the authorizer failed or answered nonsense.
    AuthorizerFailure,
    /// `$connect`: a declared parameter is missing, or the request is no WebSocket upgrade.
    BadRequest,
    /// `$connect`: not a WebSocket request.
    UpgradeRequired,
    /// `$connect`: the URL is too long.
    UriTooLong,
    /// `$connect`: the node drains.
    ServiceUnavailable,
}

impl ErrorMessage {
    /// The text of `message`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forbidden | Self::InvalidApiKey => "Forbidden",
            Self::InternalServerError | Self::AuthorizerFailure => "Internal server error",
            Self::EndpointRequestTimedOut => "Endpoint request timed out",
            Self::TooManyRequests => "Too Many Requests",
            Self::LimitExceeded => "Limit Exceeded",
            Self::BadRequestBody => "Bad request body",
            Self::UnsupportedMediaType => "Unsupported Media Type",
            Self::Unauthorized => "Unauthorized",
            Self::BadRequest => "Bad Request",
            Self::UpgradeRequired => "Upgrade Required",
            Self::UriTooLong => "URI Too Long",
            Self::ServiceUnavailable => "Service Unavailable",
        }
    }
}

impl ErrorMessage {
    /// The gateway response type that API Gateway's REST apis name such a refusal by, as access
    /// logs show it (`$context.error.responseType`).
    pub fn response_type(self) -> &'static str {
        match self {
            Self::Forbidden => "ACCESS_DENIED",
            Self::InternalServerError => "INTEGRATION_FAILURE",
            Self::EndpointRequestTimedOut => "INTEGRATION_TIMEOUT",
            Self::TooManyRequests => "THROTTLED",
            Self::LimitExceeded => "QUOTA_EXCEEDED",
            Self::BadRequestBody => "BAD_REQUEST_BODY",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::InvalidApiKey => "INVALID_API_KEY",
            Self::AuthorizerFailure => "AUTHORIZER_FAILURE",
            Self::BadRequest => "BAD_REQUEST_PARAMETERS",
            Self::UpgradeRequired | Self::UriTooLong => "DEFAULT_4XX",
            Self::ServiceUnavailable => "DEFAULT_5XX",
        }
    }
}

/// The whole text; byte for byte Amazon's, uneven spaces included.
pub fn error_frame(message: &str, connection_id: OpaqueId, request_id: OpaqueId) -> String {
    // Ids and the messages above hold nothing that JSON escapes.
    format!(
        "{{\"message\": \"{message}\", \"connectionId\":\"{connection_id}\", \"requestId\":\"{request_id}\"}}"
    )
}

/// The same for a message that the route's model does not take, which names the message too
/// (websocket-api, 4.5).
pub fn bad_request_body_frame(
    connection_id: OpaqueId,
    request_id: OpaqueId,
    message_id: OpaqueId,
) -> String {
    let message = ErrorMessage::BadRequestBody.as_str();
    format!(
        "{{\"message\": \"{message}\", \"connectionId\":\"{connection_id}\", \"requestId\":\"{request_id}\", \"messageId\":\"{message_id}\"}}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_frame_has_amazons_spaces() {
        let id = |text: &[u8; 16]| OpaqueId::from_text(*text);
        let text = error_frame(
            ErrorMessage::InternalServerError.as_str(),
            id(b"Qyi07eCbtjMCJKw="),
            id(b"Qyi3UG41tjMFlUg="),
        );
        assert_eq!(
            text,
            r#"{"message": "Internal server error", "connectionId":"Qyi07eCbtjMCJKw=", "requestId":"Qyi3UG41tjMFlUg="}"#
        );
    }
}
