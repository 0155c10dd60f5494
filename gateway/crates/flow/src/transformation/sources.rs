//! What the templates of an integration read of an event: `$context`, `$input.params`, the body.
//!
//! In:  one [`Event`], what the templates wrote so far, and the answer's status once there is one.
//! Out: each value when a template asks for it.
//!
//! Holds always: the values are those of the proxy event and of mapped parameters; what an
//! authorizer said is text; what is not known is nothing, never a word for it.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use tidegate_vtl::{Found, Json, Number, OrderedMap, Source};

use super::overrides::Written;
use crate::{
    context::{Event, Occurrence, UpgradeRequest},
    event::RequestContext,
};

/// `$context` (websocket-api, section 7).
pub(super) struct Context<'a> {
    pub(super) event: &'a Event<'a>,
    /// `status`: the answer's, once there is one.
    pub(super) status: Option<u16>,
    /// `requestOverride` and `responseOverride`.
    pub(super) written: &'a Written,
}

impl Context<'_> {
    fn number(&self, name: &str) -> Option<u64> {
        match name {
            "connectedAt" => Some(self.event.connection.connected_at_ms),
            "requestTimeEpoch" => Some(self.event.at_ms),
            "status" => self.status.map(u64::from),
            "disconnectStatusCode" => match self.event.occurrence {
                Occurrence::Disconnect { code, .. } => Some((*code).into()),
                _ => None,
            },
            _ => None,
        }
    }

    fn has_authorizer(&self) -> bool {
        let authorization = self.event.connection.authorization.as_deref();
        authorization.is_some_and(|authorization| authorization.authorizer.is_some())
    }

    fn text(&self, name: &str) -> Found<'_> {
        self.event.variable(name).map_or(Found::Nothing, Found::Text)
    }
}

impl Source for Context<'_> {
    fn find(&self, path: &[&str]) -> Found<'_> {
        match path {
            ["requestOverride" | "responseOverride", ..] => self.written.find(path),
            ["identity"] => Found::Object,
            ["authorizer"] if self.has_authorizer() => Found::Object,
            [group @ ("identity" | "authorizer"), name] => self.text(&format!("{group}.{name}")),
            // A dot in a name in brackets is no step.
            [name] if !name.contains('.') => match self.number(name) {
                Some(number) => Found::Value(Json::Number(integer(number))),
                None => self.text(name),
            },
            _ => Found::Nothing,
        }
    }

    fn all(&self) -> Json {
        // Its keys are texts and its values texts and integers, so it is a value.
        let context = serde_json::to_value(RequestContext::of(self.event)).unwrap_or_default();
        let Json::Object(mut all) = Json::from(&context) else { return Json::default() };
        if let Some(Json::Object(said)) = all.get_mut("authorizer") {
            *said = said.iter().map(|(name, value)| (name.clone(), as_text(value))).collect();
        }
        if let Some(status) = self.status {
            all.insert("status".into(), Json::Number(integer(status.into())));
        }
        self.written.put_into(&mut all);
        Json::Object(all)
    }
}

fn integer(number: u64) -> Number {
    Number::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn as_text(value: &Json) -> Json {
    match value {
        Json::String(_) => value.clone(),
        other => Json::String(other.to_string().into()),
    }
}

/// `$input.params`: the upgrade request's query and headers, as the client named them; of a name
/// that comes twice the last value. Nothing on messages and disconnects.
pub(super) struct Params<'a>(pub(super) &'a Occurrence);

impl Params<'_> {
    fn upgrade(&self) -> Option<&UpgradeRequest> {
        match self.0 {
            Occurrence::Connect(upgrade) => Some(upgrade),
            Occurrence::Message { .. } | Occurrence::Disconnect { .. } => None,
        }
    }
}

impl Source for Params<'_> {
    fn find(&self, path: &[&str]) -> Found<'_> {
        let (Some(upgrade), [place, name]) = (self.upgrade(), path) else { return Found::Nothing };
        let fields = match *place {
            "querystring" => &upgrade.query,
            "header" => &upgrade.headers,
            _ => return Found::Nothing,
        };
        let last = fields.iter().rfind(|(held, _)| held == name);
        last.map_or(Found::Nothing, |(_, value)| Found::Text(Cow::Borrowed(value)))
    }

    fn all(&self) -> Json {
        let object = |fields: &[(String, String)]| -> Json {
            let text = |value: &String| Json::String(value.as_str().into());
            let members = fields.iter().map(|(name, value)| (name.as_str(), text(value)));
            Json::Object(members.collect())
        };
        let (query, headers) = self.upgrade().map_or((&[][..], &[][..]), |upgrade| {
            (upgrade.query.as_slice(), upgrade.headers.as_slice())
        });
        let all: OrderedMap<Json> = [
            ("path", Json::default()),
            ("querystring", object(query)),
            ("header", object(headers)),
        ]
        .into_iter()
        .collect();
        Json::Object(all)
    }
}

/// A message; `None` where there is none.
pub(super) fn message(occurrence: &Occurrence) -> Option<(&Bytes, bool)> {
    match occurrence {
        Occurrence::Message { body, binary, .. } => Some((body, *binary)),
        Occurrence::Connect(_) | Occurrence::Disconnect { .. } => None,
    }
}

/// A payload as `$input.body` shows it: text, or the base64 of what is none.
pub(super) fn payload_text(bytes: &Bytes, binary: bool) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !binary => Cow::Borrowed(text),
        _ => Cow::Owned(STANDARD.encode(bytes)),
    }
}
