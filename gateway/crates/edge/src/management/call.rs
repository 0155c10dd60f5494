//! What a call of the management API wants: its path, its query, its body.
//!
//! In:  a request whose caller is known.
//! Out: [`Work`], in which everything is a valid value; or the answer that says what is wrong.

use std::{str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use connection_store::{
    Audience, CallName, CloseRequest, ConnectionId, ConnectionList, Cursor, GroupName, Message,
    MessageKind, PageLimit, Scope,
};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use tidegate_model::Binary;
use tidegate_telemetry::ManagementOperation;

use super::{forbidden, gone};
use crate::{
    core_state::Core,
    http::{head::Head, query, response::Response},
    snapshot::{Snapshot, StageEntry},
};

/// A key by which a repeated call is known is no longer than this.
const MAX_KEY_BYTES: usize = CallName::MAX_LENGTH - 1;

/// A call's path and method, as they are.
pub(super) struct Wanted {
    /// Decoded, the stage or the mapping's key first; empty where the path names neither.
    segments: Vec<String>,
    method: Method,
    operation: ManagementOperation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Put,
    Delete,
    Other,
}

/// One call, ready to be carried out.
pub(super) struct Work {
    pub(super) scope: Arc<Scope>,
    pub(super) action: Action,
    /// Names a call that may come again.
    pub(super) call: Option<CallName>,
}

/// What to do.
pub(super) enum Action {
    Post(ConnectionId, Message),
    Describe(ConnectionId),
    Close(ConnectionId, CloseRequest),
    /// To an audience that answers with counts.
    Send(Audience, Message, Vec<ConnectionId>),
    /// To a list, which answers who is gone.
    Batch(ConnectionList, Message),
    CloseAll(Audience, CloseRequest),
    Join(GroupName, ConnectionId),
    Leave(GroupName, ConnectionId),
    Count(GroupName),
    Members(GroupName, PageLimit, Option<Cursor>),
    List(PageLimit, Option<Cursor>),
}

impl Action {
    /// Whether it sends a binary message.
    fn is_binary(&self) -> bool {
        match self {
            Self::Post(_, message) | Self::Send(_, message, _) | Self::Batch(_, message) => {
                message.kind == MessageKind::Binary
            }
            _ => false,
        }
    }

    /// The one connection that it is about.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Self::Post(id, _)
            | Self::Describe(id)
            | Self::Close(id, _)
            | Self::Join(_, id)
            | Self::Leave(_, id) => Some(*id),
            _ => None,
        }
    }
}

/// The segments of a path; runs of `/` count as one, as in what the SDKs sign.
pub(super) fn segments(raw_path: &str) -> impl Iterator<Item = &str> {
    raw_path.split('/').filter(|segment| !segment.is_empty())
}

pub(super) fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// The answer to a message over the limit.
pub(super) fn too_large(limit: usize) -> Response {
    let message = format!("a message has at most {limit} bytes");
    Response::error(413, "PayloadTooLargeException", &message)
}

/// The stage that a call is for.
pub(super) fn stage(
    core: &Core,
    head: &Head<'_, '_>,
    wanted: &Wanted,
) -> Result<Arc<StageEntry>, Response> {
    let snapshot = core.node.snapshot();
    if wanted.operation() == ManagementOperation::Unknown {
        return Err(forbidden());
    }
    let host = head.header("host").unwrap_or("");
    let place = snapshot.place(host, wanted.named()).ok_or_else(forbidden)?;
    let index = place.stage.ok_or_else(|| if place.was_removed { gone() } else { forbidden() })?;
    snapshot.stage(index).cloned().ok_or_else(forbidden)
}

impl Wanted {
    pub(super) fn of(snapshot: &Snapshot, head: &Head<'_, '_>) -> Self {
        let method = match head.method {
            "GET" => Method::Get,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            _ => Method::Other,
        };
        // Split first, decoded afterwards: a %2F in an id is no separator.
        let mut segments: Vec<String> = segments(head.raw_path()).map(decoded).collect();
        let host = head.header("host").unwrap_or("");
        let place = snapshot.place(host, segments.first().map(String::as_str));
        if place.is_some_and(|place| !place.is_named) {
            segments.insert(0, String::new());
        }
        let operation = operation(&segments, method);
        Self { segments, method, operation }
    }

    /// The path's own first segment.
    fn named(&self) -> Option<&str> {
        let first = self.segments.first().filter(|first| !first.is_empty());
        first.or(self.segments.get(1)).map(String::as_str)
    }

    /// What follows the stage.
    fn names(&self) -> Vec<&str> {
        self.segments.iter().skip(1).map(String::as_str).collect()
    }

    /// What follows the stage, decoded, as policies name it.
    pub(super) fn path(&self) -> String {
        self.segments.get(1..).unwrap_or_default().join("/")
    }

    /// Which operation it is: for metrics, and to tell what there is from what there is not.
    pub(super) fn operation(&self) -> ManagementOperation {
        self.operation
    }

    /// The methods that this path takes.
    fn allowed(&self) -> &'static str {
        match self.names().as_slice() {
            ["@connections"] => "Allow: POST, GET\r\n",
            ["@users", _] => "Allow: POST, DELETE\r\n",
            ["@broadcast"] => "Allow: POST\r\n",
            ["@groups", _, "connections"] => "Allow: GET\r\n",
            ["@groups", _, "connections", _] => "Allow: PUT, DELETE\r\n",
            _ => "Allow: POST, GET, DELETE\r\n",
        }
    }

    /// Reads the rest of a call for `stage`.
    pub(super) fn read(
        &self,
        core: &Core,
        head: &Head<'_, '_>,
        stage: &StageEntry,
        body: &[u8],
    ) -> Result<Work, Response> {
        use ManagementOperation as Is;
        let request = Request { head, body, binary: stage.binary, limit: limit(core) };
        let (group, id) = (|| self.parsed::<GroupName>(2), || self.parsed::<ConnectionId>(2));
        let operation = self.operation();
        let action = match operation {
            Is::Post => Action::Post(id()?, request.message()?),
            Is::Get => Action::Describe(id()?),
            Is::Delete => Action::Close(id()?, request.close()?),
            Is::Batch => {
                let (list, message) = request.batch()?;
                Action::Batch(list, message)
            }
            Is::List => Action::List(request.page_limit()?, request.cursor()?),
            Is::GroupSend => request.send(Audience::Group(group()?))?,
            Is::GroupCount => Action::Count(group()?),
            Is::GroupClose => Action::CloseAll(Audience::Group(group()?), request.close()?),
            Is::GroupList => Action::Members(group()?, request.page_limit()?, request.cursor()?),
            Is::GroupJoin => Action::Join(group()?, self.parsed(4)?),
            Is::GroupLeave => Action::Leave(group()?, self.parsed(4)?),
            Is::UserSend => request.send(Audience::User(self.segments[2].as_str().into()))?,
            Is::UserClose => {
                let user = Audience::User(self.segments[2].as_str().into());
                Action::CloseAll(user, request.close()?)
            }
            Is::Broadcast => request.send(Audience::Stage)?,
            Is::Other | Is::Unknown => {
                let extra = self.allowed();
                let methods = extra.trim_start_matches("Allow: ").trim_end();
                let message = format!("this path takes {methods}");
                return Err(Response {
                    extra,
                    ..Response::error(405, "MethodNotAllowedException", &message)
                });
            }
        };
        let call = request.name(self, &action)?;
        Ok(Work { scope: stage.scope.clone(), action, call })
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, position: usize) -> Result<T, Response> {
        let text = self.segments.get(position).map_or("", String::as_str);
        text.parse().map_err(|err| Response::bad_request(&format!("{err}")))
    }
}

/// Which operation a path and a method are. Found once for each call: posts are on the hot path.
fn operation(segments: &[String], method: Method) -> ManagementOperation {
    use ManagementOperation as Is;
    let names: Vec<&str> = segments.iter().skip(1).map(String::as_str).collect();
    match (names.as_slice(), method) {
        (["@connections", _], Method::Post) => Is::Post,
        (["@connections", _], Method::Get) => Is::Get,
        (["@connections", _], Method::Delete) => Is::Delete,
        (["@connections"], Method::Post) => Is::Batch,
        (["@connections"], Method::Get) => Is::List,
        (["@groups", _], Method::Post) => Is::GroupSend,
        (["@groups", _], Method::Get) => Is::GroupCount,
        (["@groups", _], Method::Delete) => Is::GroupClose,
        (["@groups", _, "connections"], Method::Get) => Is::GroupList,
        (["@groups", _, "connections", _], Method::Put) => Is::GroupJoin,
        (["@groups", _, "connections", _], Method::Delete) => Is::GroupLeave,
        (["@users", _], Method::Post) => Is::UserSend,
        (["@users", _], Method::Delete) => Is::UserClose,
        (["@broadcast"], Method::Post) => Is::Broadcast,
        (
            ["@connections" | "@groups" | "@users", _]
            | ["@connections" | "@broadcast"]
            | ["@groups", _, "connections"]
            | ["@groups", _, "connections", _],
            _,
        ) => Is::Other,
        _ => Is::Unknown,
    }
}

fn limit(core: &Core) -> usize {
    core.node.snapshot().limits.max_message_bytes
}

/// Query and body of a call.
struct Request<'a> {
    head: &'a Head<'a, 'a>,
    body: &'a [u8],
    binary: Binary,
    limit: usize,
}

/// `POST /{stage}/@connections`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BatchBody {
    connection_ids: Vec<String>,
    data: String,
}

impl Request<'_> {
    /// The last value of a query parameter, decoded.
    fn parameter(&self, name: &str) -> Option<String> {
        self.parameters(name).last()
    }

    fn parameters(&self, name: &str) -> impl Iterator<Item = String> {
        query::pairs(self.head.raw_query()).filter(move |(key, _)| key == name).map(|(_, v)| v)
    }

    /// A parameter whose error says which it is.
    fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, Response> {
        let parse =
            |text: String| text.parse().map_err(|err| Response::bad_request(&format!("{err}")));
        self.parameter(name).map(parse).transpose()
    }

    /// `?binary=true`, where the api has binary messages.
    fn wants_binary(&self) -> Result<bool, Response> {
        let binary = self.parameter("binary").is_some_and(|value| value == "true");
        if binary && self.binary == Binary::Close {
            return Err(Response::bad_request(
                "this api takes no binary messages (binary = \"close\")",
            ));
        }
        Ok(binary)
    }

    fn message(&self) -> Result<Message, Response> {
        let binary = self.wants_binary()?;
        if !binary && std::str::from_utf8(self.body).is_err() {
            return Err(Response::bad_request("a text message must be UTF-8"));
        }
        let kind = if binary { MessageKind::Binary } else { MessageKind::Text };
        Ok(Message { kind, payload: Bytes::copy_from_slice(self.body) })
    }

    fn send(&self, audience: Audience) -> Result<Action, Response> {
        let parse = |text: String| {
            text.parse().map_err(|err| Response::bad_request(&format!("except: {err}")))
        };
        let except = self.parameters("except").map(parse).collect::<Result<_, _>>()?;
        if self.body.len() > self.limit {
            return Err(too_large(self.limit));
        }
        Ok(Action::Send(audience, self.message()?, except))
    }

    /// The data is base64 where it is to be sent as binary.
    fn batch(&self) -> Result<(ConnectionList, Message), Response> {
        let binary = self.wants_binary()?;
        let batch: BatchBody = serde_json::from_slice(self.body).map_err(|err| {
            let (line, column) = (err.line(), err.column());
            Response::bad_request(&format!(
                "the body is no batch (line {line}, column {column}): \
                 {{\"connectionIds\": [\"...\"], \"data\": \"...\"}} is one"
            ))
        })?;
        let parse = |text: &String| {
            text.parse().map_err(|err| Response::bad_request(&format!("connectionIds: {err}")))
        };
        let ids = batch.connection_ids.iter().map(parse).collect::<Result<_, _>>()?;
        let list =
            ConnectionList::new(ids).map_err(|err| Response::bad_request(&format!("{err}")))?;
        let message = if binary {
            let payload = STANDARD.decode(&batch.data).map_err(|_| {
                Response::bad_request("data must be base64 where binary=true is asked for")
            })?;
            Message { kind: MessageKind::Binary, payload: payload.into() }
        } else {
            Message { kind: MessageKind::Text, payload: batch.data.into() }
        };
        if message.payload.len() > self.limit {
            return Err(too_large(self.limit));
        }
        Ok((list, message))
    }

    /// `?code=&reason=` of a delete.
    fn close(&self) -> Result<CloseRequest, Response> {
        let code = match self.parameter("code") {
            None => 1000,
            Some(text) => match text.parse() {
                Ok(code @ (1000 | 3000..=4999)) => code,
                _ => return Err(Response::bad_request("code is 1000 or 3000 to 4999")),
            },
        };
        let reason = self.parameter("reason").unwrap_or_default();
        if reason.len() > 123 {
            return Err(Response::bad_request("reason has at most 123 bytes of UTF-8"));
        }
        Ok(CloseRequest { code, reason })
    }

    fn page_limit(&self) -> Result<PageLimit, Response> {
        Ok(self.parsed("limit")?.unwrap_or_default())
    }

    fn cursor(&self) -> Result<Option<Cursor>, Response> {
        self.parsed("cursor")
    }

    /// What names this call where it is sent again: the SDKs repeat theirs on every retry. A key of
    /// the caller's own comes first: whoever makes an SDK's call again has a new id from the SDK.
    fn name(&self, wanted: &Wanted, action: &Action) -> Result<Option<CallName>, Response> {
        if !matches!(wanted.method, Method::Post) {
            // The others do the same twice as once.
            return Ok(None);
        }
        // The same name in the other header, or for a binary message, names another call.
        let key = self.head.header("idempotency-key").map(|id| ([b'k', b'K'], id));
        let Some(([text, binary], id)) =
            key.or_else(|| self.head.header("amz-sdk-invocation-id").map(|id| ([b's', b'S'], id)))
        else {
            return Ok(None);
        };
        let kind = if action.is_binary() { binary } else { text };
        let name = CallName::new(&[&[kind], id.as_bytes()].concat());
        if id.is_empty() || name.is_none() {
            let message = format!(
                "amz-sdk-invocation-id and Idempotency-Key have 1 to {MAX_KEY_BYTES} bytes"
            );
            return Err(Response::bad_request(&message));
        }
        Ok(name)
    }
}
