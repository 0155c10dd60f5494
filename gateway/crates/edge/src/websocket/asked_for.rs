//! What an integration asks for besides its answer (tidegate, section 5): response headers that put
//! a connection into groups, take it out, or greet it.
//!
//! In:  the headers of an integration's answer.
//! Out: the connection's groups changed; the greeting.
//!
//! Holds always: a header that is not understood changes nothing and is logged, for it is the
//! backend's mistake; none of these headers reaches the client. Groups change on this node at once;
//! that the others know of it is waited for once, however many they are.

use std::str::Utf8Error;

use bytes::Bytes;
use connection_store::{DeliveryError, GroupName, MessageKind, Reply, Unavailable};
use http::{HeaderMap, HeaderName};
use tracing::warn;

use super::{
    connection::{Connection, now_ms},
    frame::encode_message,
    publishing::published,
};
use crate::{core_state::Core, snapshot::RouteEntry};

const JOIN: HeaderName = HeaderName::from_static("tidegate-join");
const LEAVE: HeaderName = HeaderName::from_static("tidegate-leave");
const REPLY: HeaderName = HeaderName::from_static("tidegate-reply");

/// Carries out `Tidegate-Join` and `Tidegate-Leave`, in this order: a group that both name is left.
/// Then waits until other nodes know of it.
pub(crate) async fn change_groups(
    core: &Core,
    connection: &Connection,
    route: &RouteEntry,
    headers: &HeaderMap,
) {
    if change_groups_here(core, connection, route, headers)
        && let Err(Unavailable) = published(core).await
    {
        tell_unknown(connection, route);
    }
}

/// The same, on this node only. Whether it has joined a group, so that others have to know.
pub(super) fn change_groups_here(
    core: &Core,
    connection: &Connection,
    route: &RouteEntry,
    headers: &HeaderMap,
) -> bool {
    if !headers.contains_key(JOIN) && !headers.contains_key(LEAVE) {
        return false;
    }
    let (store, mut has_joined) = (core.node.store(), false);
    for group in groups(headers, &JOIN, connection, route) {
        // What there is to wait for is the other nodes.
        match store.join(&connection.scope, &group, connection.id) {
            // It has ended meanwhile, and its groups with it.
            Reply::Ready(Some(Err(DeliveryError::Gone))) => {}
            Reply::Ready(_) | Reply::Later(_) => has_joined = true,
        }
    }
    for group in groups(headers, &LEAVE, connection, route) {
        // The others ask in vain until they know; that harms nobody.
        drop(store.leave(&connection.scope, &group, connection.id));
    }
    has_joined
}

/// Says that a connection has joined groups which other nodes' sends may miss for the time being.
pub(super) fn tell_unknown(connection: &Connection, route: &RouteEntry) {
    if let Some(unlogged) = route.may_warn(now_ms()) {
        let facts = &connection.facts;
        warn!(
            connection_id = %facts.id,
            api_id = &*facts.api_id,
            stage = &*facts.stage,
            route_key = &*route.key,
            unlogged,
            "groups were joined on this node, and the other nodes do not know of it yet"
        );
    }
}

/// The groups that a header names, in all its lines.
fn groups(
    headers: &HeaderMap,
    header: &HeaderName,
    connection: &Connection,
    route: &RouteEntry,
) -> Vec<GroupName> {
    let mut found = Vec::new();
    for line in headers.get_all(header) {
        // What is no text makes a bad name of one, and leaves the others alone.
        let line = String::from_utf8_lossy(line.as_bytes());
        for name in line.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.parse() {
                Ok(group) => found.push(group),
                Err(err) => complain(connection, route, header.as_str(), &format!("{err}")),
            }
        }
    }
    found
}

/// The first message that the client gets after the 101, as a frame (`Tidegate-Reply`); counted as
/// sent.
pub(crate) fn greeting(
    connection: &Connection,
    route: &RouteEntry,
    headers: &HeaderMap,
) -> Option<Bytes> {
    match greeting_text(headers)? {
        Ok(text) => {
            route.metrics.message_out(text.len());
            Some(encode_message(MessageKind::Text, &text))
        }
        Err(err) => {
            complain(connection, route, REPLY.as_str(), &err.to_string());
            None
        }
    }
}

/// A text frame must be UTF-8, or it would break the client.
fn greeting_text(headers: &HeaderMap) -> Option<Result<Bytes, Utf8Error>> {
    let text = headers.get(REPLY)?.as_bytes();
    Some(std::str::from_utf8(text).map(|text| Bytes::copy_from_slice(text.as_bytes())))
}

fn complain(connection: &Connection, route: &RouteEntry, header: &str, error: &str) {
    if let Some(unlogged) = route.may_warn(now_ms()) {
        let facts = &connection.facts;
        warn!(
            connection_id = %facts.id,
            api_id = &*facts.api_id,
            stage = &*facts.stage,
            route_key = &*route.key,
            header,
            error,
            unlogged,
            "an integration's header was not understood"
        );
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_greeting_is_the_headers_text_where_it_is_utf_8() {
        let text = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).expect("a header value");
            greeting_text(&HeaderMap::from_iter([(REPLY, value)]))
        };
        assert_eq!(text(b"hello"), Some(Ok(Bytes::from_static(b"hello"))));
        assert_eq!(text("grüße".as_bytes()), Some(Ok("grüße".into())));
        assert!(text(b"\xff").is_some_and(|text| text.is_err()), "no UTF-8, no text frame");
        assert_eq!(greeting_text(&HeaderMap::new()), None);
    }
}
