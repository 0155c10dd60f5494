//! What a non-proxy integration changes on the way to the backend and back (websocket-api, 2.5 to
//! 2.7, 5, 6.1 and 6.3).
//!
//! In:  the configured [`Transformation`](tidegate_model::Transformation), once; then an event,
//!      and the backend's answer.
//! Out: what the backend gets, and what the client gets; or [`Rejected`], which says what the
//!      client is told.
//!
//! ```text
//! event ──select──► request template ──► content handling ──► backend, or for a mock its status
//!     \──none: as it is, or rejected──/                                │
//! reply ◄── content handling ◄── response template ◄──select── integration response
//! ```
//!
//! Holds always: without a template, what is sent passes byte for byte; every render ends, within
//! the [`Limits`]; no error repeats a payload.

mod content;
mod overrides;
mod rejected;
mod responses;
mod sources;
mod templates;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::HeaderMap;
use tidegate_model::{ContentHandling, PassthroughBehavior, SelectionExpression};
use tidegate_vtl::{Bindings, Json, Number};
pub use tidegate_vtl::{Fault, Limits};

use self::{
    content::{Payload, handle},
    responses::Responses,
    sources::{Context, Params, message, payload_text},
    templates::{APPLICATION_JSON, Templates},
};
pub use self::{
    overrides::{Written, override_parameters},
    rejected::{CompileError, Direction, Rejected},
};
use crate::{context::Event, request_parameters::MappedParameters, route_selection};

/// A compiled transformation. Cheap to share between threads behind an `Arc`.
#[derive(Debug)]
pub struct Transformation {
    template_selection_expression: Option<SelectionExpression>,
    request_templates: Templates,
    passthrough_behavior: PassthroughBehavior,
    content_handling_strategy: Option<ContentHandling>,
    responses: Responses,
    limits: Limits,
}

/// What the backend gets.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendBody {
    /// The request's body; empty where there is neither a message nor a template.
    pub bytes: Bytes,
    /// Whether it is binary: what came as a binary message, or what base64 became. Else it is
    /// text, and JSON unless the request says otherwise.
    pub binary: bool,
    /// What the template overrides in the request; to be given to [`override_parameters`].
    pub overrides: MappedParameters,
    /// What the response template may read again; to be handed to
    /// [`response`](Transformation::response).
    pub written: Written,
}

/// What the backend answered.
#[derive(Debug, Clone, Copy)]
pub struct BackendAnswer<'a> {
    /// Its status; of a function 200, also where it reports an error (websocket-api, 2.7).
    pub status: u16,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, decoded from what it was compressed with.
    pub body: &'a Bytes,
    /// Whether the body is known to be binary. One that is no UTF-8 is binary anyway.
    pub binary: bool,
    /// What chooses among the integration responses.
    pub selector: Selector<'a>,
    /// [`BackendBody::written`] of the same event.
    pub written: &'a Written,
}

/// What chooses among the integration responses (websocket-api, 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selector<'a> {
    /// The answer's status: HTTP backends, mocks, and services of AWS.
    Status,
    /// A function's error message; `None` if it succeeded, which only `$default` stands for.
    ErrorMessage(Option<&'a str>),
}

/// What the client gets, as far as its route gives it anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// 100 to 599, or whatever else the backend answered; on `$connect`, 200 to 299 accepts.
    pub status: u16,
    /// What is mapped or overridden, and nothing else. Only `Sec-WebSocket-Protocol` can be seen.
    pub headers: HeaderMap,
    /// The message.
    pub body: Bytes,
    /// Whether it is binary. Where it is not, it is UTF-8.
    pub binary: bool,
}

/// A template's output, or what passes without one, and what was written on the way.
struct Transformed {
    payload: Payload,
    written: Written,
}

impl Transformation {
    /// Compiles what is configured. Renders may use what [`Limits::default`] says: an output of
    /// 10 MiB, among others.
    ///
    /// # Errors
    /// The first template, or path of a response parameter, that does not compile.
    pub fn compile(configured: &tidegate_model::Transformation) -> Result<Self, CompileError> {
        Ok(Self {
            template_selection_expression: configured.template_selection_expression.clone(),
            request_templates: Templates::compile(
                "request_templates",
                &configured.request_templates,
            )?,
            passthrough_behavior: configured.passthrough_behavior,
            content_handling_strategy: configured.content_handling_strategy,
            responses: Responses::compile(&configured.integration_responses)?,
            limits: Limits::default(),
        })
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What the backend gets for `event`.
    ///
    /// # Errors
    /// No template is for it and it may not pass; a template fails; or it is to become binary and
    /// is no base64.
    pub fn request(&self, event: &Event<'_>) -> Result<BackendBody, Rejected> {
        let (transformed, _) = self.transform_request(event)?;
        let Transformed { payload, written } = transformed;
        let written = written.for_backend();
        Ok(BackendBody {
            bytes: payload.bytes,
            binary: payload.binary,
            overrides: written.parameters(),
            written,
        })
    }

    /// What the client gets for the backend's `answer` to `event`.
    ///
    /// Without any integration response, and without a template in the one that is chosen, the
    /// backend's body passes as it is.
    ///
    /// # Errors
    /// No integration response is for it; its template fails; or it is to become binary and is no
    /// base64.
    pub fn response(
        &self,
        event: &Event<'_>,
        answer: &BackendAnswer<'_>,
    ) -> Result<Reply, Rejected> {
        self.responses.reply(event, answer, &self.limits)
    }

    /// Whether an integration response can be chosen at all. Without one, a function's failure is a
    /// failure and no answer.
    pub fn has_responses(&self) -> bool {
        !self.responses.is_empty()
    }

    /// What the client gets where there is no backend: the request template gives the status, and
    /// the answer with it is empty (websocket-api, 6.1).
    ///
    /// # Errors
    /// As [`request`](Self::request) and [`response`](Self::response) say; and there is no request
    /// template for `event`, or it gives no status.
    pub fn mock(&self, event: &Event<'_>) -> Result<Reply, Rejected> {
        let (Transformed { payload, written }, is_rendered) = self.transform_request(event)?;
        if !is_rendered {
            // A client is not to choose the status.
            return Err(Rejected::NoMockStatus);
        }
        let answer = BackendAnswer {
            status: Self::mock_status(&payload.bytes)?,
            headers: &HeaderMap::new(),
            body: &Bytes::new(),
            binary: false,
            selector: Selector::Status,
            written: &written,
        };
        self.response(event, &answer)
    }

    /// The status in the output of a mock's request template: JSON, leniently read, with an
    /// integer `statusCode` from 100 to 599. Text is none, even of digits.
    ///
    /// # Errors
    /// [`Rejected::NoMockStatus`]
    pub fn mock_status(rendered: &[u8]) -> Result<u16, Rejected> {
        let status = || {
            let json = Json::parse_with_commas_at_ends(std::str::from_utf8(rendered).ok()?).ok()?;
            let Json::Number(Number::Int(status)) = json.get("statusCode")? else { return None };
            u16::try_from(*status).ok().filter(|status| (100..=599).contains(status))
        };
        status().ok_or(Rejected::NoMockStatus)
    }

    /// What becomes of the event, and whether a template made it.
    fn transform_request(&self, event: &Event<'_>) -> Result<(Transformed, bool), Rejected> {
        let message = message(event.occurrence);
        let text = message.map(|(bytes, binary)| payload_text(bytes, binary));
        let key = self.template_selection_expression.as_ref().map(|expression| {
            route_selection::value(expression, selection_text(event), |_| "".into())
        });
        let key = key.as_deref().unwrap_or(APPLICATION_JSON);
        let Some(template) = self.request_templates.select(key) else {
            let passes = match self.passthrough_behavior {
                PassthroughBehavior::WhenNoMatch => true,
                PassthroughBehavior::WhenNoTemplates => self.request_templates.is_empty(),
                PassthroughBehavior::Never => false,
            };
            if !passes {
                return Err(Rejected::UnsupportedMediaType);
            }
            let (bytes, binary) =
                message.map(|(b, binary)| (b.clone(), binary)).unwrap_or_default();
            let payload = self.handle_request(Payload { bytes, binary }, false)?;
            return Ok((Transformed { payload, written: Written::default() }, false));
        };
        let before = Written::default();
        let bindings = Bindings {
            body: text.as_deref(),
            context: &Context { event, status: None, written: &before },
            stage_variables: event.stage_variables,
            params: &Params(event.occurrence),
            ..Bindings::default()
        };
        let rendered = template.render(&bindings, &self.limits, Direction::ToBackend)?;
        let written = Written::after(&rendered.context, &before);
        let payload = self.handle_request(Payload::text(rendered.output), true)?;
        Ok((Transformed { payload, written }, true))
    }

    fn handle_request(&self, payload: Payload, from_template: bool) -> Result<Payload, Rejected> {
        handle(payload, self.content_handling_strategy).ok_or_else(|| Rejected::NotBase64 {
            key: "content_handling_strategy".to_owned(),
            direction: Direction::ToBackend,
            from_template,
        })
    }
}

/// The message as selection expressions read it: a binary one, and none, is no JSON.
fn selection_text<'a>(event: &Event<'a>) -> &'a str {
    match message(event.occurrence) {
        Some((bytes, false)) => std::str::from_utf8(bytes).unwrap_or_default(),
        Some((_, true)) | None => "",
    }
}
