//! The integration responses: which is for an answer, and what it makes of it (websocket-api, 2.6,
//! 2.7).
//!
//! Holds always: patterns are tried in their order, against all of the selector; what no pattern
//! matches is `$default`'s, and without `$default` nobody's.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header::AsHeaderName};
use tidegate_model::{
    BodyPath, ContentHandling, IntegrationResponse, ResponseKey, ResponseParameterSource,
    SelectionExpression, Variable,
};
use tidegate_vtl::{Bindings, Limits};

use super::{
    BackendAnswer, Reply, Selector,
    content::{Payload, handle},
    overrides::{Written, header_value},
    rejected::{CompileError, Direction, Rejected},
    selection_text,
    sources::{Context, Params, payload_text},
    templates::{NamedTemplate, Templates, toml_key},
};
use crate::{context::Event, json::Document, route_selection};

/// The integration responses, in the order in which they are tried.
#[derive(Debug)]
pub(super) struct Responses(Vec<Response>);

#[derive(Debug)]
struct Response {
    key: ResponseKey,
    template_selection_expression: Option<SelectionExpression>,
    templates: Templates,
    parameters: Vec<(HeaderName, Parameter)>,
    content_handling_strategy: Option<ContentHandling>,
    /// The key of `content_handling_strategy` inside the integration.
    content_key: String,
}

/// Where a header's value comes from.
#[derive(Debug)]
enum Parameter {
    Header(HeaderName),
    Body(BodyPath),
    Static(String),
}

impl Responses {
    pub(super) fn compile(configured: &[IntegrationResponse]) -> Result<Self, CompileError> {
        configured.iter().map(Response::compile).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn reply(
        &self,
        event: &Event<'_>,
        answer: &BackendAnswer<'_>,
        limits: &Limits,
    ) -> Result<Reply, Rejected> {
        let Some(response) = self.choose(answer)? else {
            return Ok(reply(answer, answer.payload(), HeaderMap::new(), answer.written));
        };
        let mut headers = HeaderMap::new();
        for (name, parameter) in &response.parameters {
            if let Some(value) = parameter.value(answer) {
                headers.insert(name, value);
            }
        }
        let (payload, written) = match response.template(event, answer) {
            None => (answer.payload(), Cow::Borrowed(answer.written)),
            Some(template) => {
                let bindings = Bindings {
                    body: Some(&payload_text(answer.body, answer.binary)),
                    context: &Context {
                        event,
                        status: Some(answer.status),
                        written: answer.written,
                    },
                    stage_variables: event.stage_variables,
                    params: &Params(event.occurrence),
                    ..Bindings::default()
                };
                let rendered = template.render(&bindings, limits, Direction::ToClient)?;
                let written = Written::after(&rendered.context, answer.written);
                (Payload::text(rendered.output), Cow::Owned(written))
            }
        };
        let payload = handle(payload, response.content_handling_strategy).ok_or_else(|| {
            Rejected::NotBase64 {
                key: response.content_key.clone(),
                direction: Direction::ToClient,
                from_template: matches!(written, Cow::Owned(_)),
            }
        })?;
        Ok(reply(answer, payload, headers, &written))
    }

    /// The response that is for the answer; `None` if there are none at all.
    fn choose(&self, answer: &BackendAnswer<'_>) -> Result<Option<&Response>, Rejected> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let selector = match answer.selector {
            Selector::Status => Some(Cow::Owned(answer.status.to_string())),
            Selector::ErrorMessage(message) => message.map(Cow::Borrowed),
        };
        let is_for = |response: &&Response| match (&response.key, &selector) {
            (ResponseKey::Pattern(pattern), Some(selector)) => pattern.matches(selector),
            (ResponseKey::Pattern(_), None) | (ResponseKey::Default, _) => false,
        };
        let is_default = |response: &&Response| matches!(response.key, ResponseKey::Default);
        let chosen = self.0.iter().find(is_for).or_else(|| self.0.iter().find(is_default));
        chosen.map(Some).ok_or(Rejected::NoIntegrationResponse {
            status: answer.status,
            of_function: answer.selector != Selector::Status,
        })
    }
}

impl Response {
    fn compile(configured: &IntegrationResponse) -> Result<Self, CompileError> {
        let key = match &configured.key {
            ResponseKey::Default => "$default",
            ResponseKey::Pattern(pattern) => pattern.as_str(),
        };
        let key = format!("integration_responses.{}", toml_key(key));
        let parameters = configured.response_parameters.iter().map(|parameter| {
            let source = match &parameter.source {
                ResponseParameterSource::Header(name) => Parameter::Header(name.clone()),
                ResponseParameterSource::Static(text) => Parameter::Static(text.clone()),
                ResponseParameterSource::Body(path) => {
                    let parsed = BodyPath::parse(path.strip_prefix('$').unwrap_or(path));
                    Parameter::Body(parsed.map_err(|_| CompileError {
                        key: format!("{key}.response_parameters"),
                        reason: format!("`{path}` is no JSON path"),
                    })?)
                }
            };
            Ok((parameter.header.clone(), source))
        });
        Ok(Self {
            key: configured.key.clone(),
            template_selection_expression: configured.template_selection_expression.clone(),
            templates: Templates::compile(
                &format!("{key}.response_templates"),
                &configured.response_templates,
            )?,
            parameters: parameters.collect::<Result<_, _>>()?,
            content_handling_strategy: configured.content_handling_strategy,
            content_key: format!("{key}.content_handling_strategy"),
        })
    }

    /// The template for the answer: keyed by the expression's value, or without one by the status.
    fn template(&self, event: &Event<'_>, answer: &BackendAnswer<'_>) -> Option<&NamedTemplate> {
        if self.templates.is_empty() {
            return None;
        }
        let Some(expression) = &self.template_selection_expression else {
            return self.templates.select(&answer.status.to_string());
        };
        let key = route_selection::value(expression, selection_text(event), |variable| {
            match variable {
                Variable::ResponseStatus => Cow::Owned(answer.status.to_string()),
                Variable::ResponseHeader(name) => {
                    last(answer.headers, name.as_str()).unwrap_or_default().into()
                }
                Variable::ResponseMultiValueHeader(name) => {
                    let values = answer.headers.get_all(name.as_str()).iter();
                    let texts: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
                    texts.join(",").into()
                }
                // Amazon takes the error message here and selects nothing by it; the others have
                // no value.
                _ => Cow::Borrowed(""),
            }
        });
        self.templates.select(&key)
    }
}

impl Parameter {
    /// Its value; `None` if there is none, or it is none that a header can have.
    fn value(&self, answer: &BackendAnswer<'_>) -> Option<HeaderValue> {
        match self {
            Self::Header(name) => answer.headers.get_all(name).iter().next_back().cloned(),
            Self::Static(text) => HeaderValue::from_str(&header_value(text)).ok(),
            Self::Body(path) => {
                let text = std::str::from_utf8(answer.body).ok()?;
                let found = Document::strict(text)?.text_at(path)?.into_owned();
                HeaderValue::from_str(&header_value(&found)).ok()
            }
        }
    }
}

impl BackendAnswer<'_> {
    /// Its body as it is.
    fn payload(&self) -> Payload {
        let binary = self.binary || std::str::from_utf8(self.body).is_err();
        Payload { bytes: self.body.clone(), binary }
    }
}

fn reply(
    answer: &BackendAnswer<'_>,
    payload: Payload,
    mut headers: HeaderMap,
    written: &Written,
) -> Reply {
    written.put_headers(&mut headers);
    Reply {
        status: written.status().unwrap_or(answer.status),
        headers,
        body: payload.bytes,
        binary: payload.binary,
    }
}

/// The last value of a header that is text.
fn last(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value| value.to_str().ok()).next_back().map(str::to_owned)
}
