//! Why a transformation does not compile, or does not take a message or an answer.
//!
//! Holds always: no text here repeats what a client or a backend sent.

use http::StatusCode;
use tidegate_vtl::{CompileError as TemplateError, Fault, RenderError};

use crate::error_frame::ErrorMessage;

/// Why a transformation does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct CompileError {
    /// The key inside the integration, as it is written in TOML, such as
    /// `request_templates."application/json"`.
    pub key: String,
    /// What is wrong there; of a template with its line and column.
    pub reason: String,
}

impl CompileError {
    pub(super) fn template(key: &str, error: &TemplateError) -> Self {
        Self { key: key.to_owned(), reason: error.to_string() }
    }
}

/// Which way a payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    ToBackend,
    /// From the backend to the client.
    ToClient,
}

/// Why a message, or a backend's answer, was not transformed. Its text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// No request template is for the message, and it may not pass without one.
    #[error("no request template is selected, and passthrough_behavior lets nothing pass then")]
    UnsupportedMediaType,
    /// A template failed.
    #[error("{key}, line {line}, column {column}: {reason}")]
    Template {
        /// The template's key inside the integration.
        key: String,
        /// Line of the template, from 1.
        line: u32,
        /// Column, from 1, in characters.
        column: u32,
        /// What happened, without any value.
        reason: String,
        /// Whether the payload, which the template reads as JSON, is none.
        body_is_not_json: bool,
        /// Which payload it was.
        direction: Direction,
    },
    /// What is to become binary is no base64.
    #[error("{key}: what is to become binary is no base64")]
    NotBase64 {
        /// The key inside the integration.
        key: String,
        /// Which payload it was.
        direction: Direction,
        /// Whether it is a template's output, not what was sent.
        from_template: bool,
    },
    /// No integration response is for the answer.
    #[error(
        "integration_responses: none is for an answer of status {status}{}, and there is no $default",
        if *.of_function { " with this error message" } else { "" }
    )]
    NoIntegrationResponse {
        /// The answer's.
        status: u16,
        /// Whether a function's error message was looked at, not the status.
        of_function: bool,
    },
    /// A mock's request template gave no status.
    #[error(
        "request_templates: a mock's template gives JSON with statusCode, an integer from 100 to 599"
    )]
    NoMockStatus,
}

impl Rejected {
    pub(super) fn template(key: &str, error: &RenderError, direction: Direction) -> Self {
        Self::Template {
            key: key.to_owned(),
            line: error.line,
            column: error.column,
            reason: error.kind.without_values().into_owned(),
            body_is_not_json: error.fault() == Fault::Client,
            direction,
        }
    }

    /// What a refused upgrade is answered with. The only place that decides it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Template { .. } if self.is_of_clients_body() => StatusCode::BAD_REQUEST,
            Self::Template { .. }
            | Self::NotBase64 { .. }
            | Self::NoIntegrationResponse { .. }
            | Self::NoMockStatus => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What the client is told (websocket-api, 4.5).
    pub fn error_message(&self) -> ErrorMessage {
        match self {
            Self::UnsupportedMediaType => ErrorMessage::UnsupportedMediaType,
            Self::Template { .. } if self.is_of_clients_body() => ErrorMessage::BadRequest,
            Self::Template { .. }
            | Self::NotBase64 { .. }
            | Self::NoIntegrationResponse { .. }
            | Self::NoMockStatus => ErrorMessage::InternalServerError,
        }
    }

    /// The label `kind` of a metric.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::Template { body_is_not_json: true, .. } => "body_not_json",
            Self::Template { direction: Direction::ToBackend, .. } => "request_template",
            Self::Template { direction: Direction::ToClient, .. } => "response_template",
            Self::NotBase64 { .. } => "not_base64",
            Self::NoIntegrationResponse { .. } => "no_integration_response",
            Self::NoMockStatus => "no_mock_status",
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnsupportedMediaType
            | Self::NotBase64 { direction: Direction::ToBackend, from_template: false, .. } => {
                Fault::Client
            }
            Self::Template { .. } if self.is_of_clients_body() => Fault::Client,
            Self::Template { .. }
            | Self::NotBase64 { .. }
            | Self::NoIntegrationResponse { .. }
            | Self::NoMockStatus => Fault::ApiOwner,
        }
    }

    /// Whether a template asked for JSON and the client sent none.
    fn is_of_clients_body(&self) -> bool {
        matches!(
            self,
            Self::Template { body_is_not_json: true, direction: Direction::ToBackend, .. }
        )
    }
}
