//! What `$context` is made of: the facts of a connection and of one event on it.
//!
//! The proxy event, the mapped parameters, the `Tidegate-*` headers and the access log all read
//! these, so that they cannot disagree.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use bytes::Bytes;
use time::{OffsetDateTime, UtcDateTime};

use crate::opaque_id::OpaqueId;

/// What is fixed when a connection is accepted and repeated on each of its events.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// `connectionId`.
    pub id: OpaqueId,
    /// `apiId`.
    pub api_id: std::sync::Arc<str>,
    /// `stage`.
    pub stage: std::sync::Arc<str>,
    /// `domainName`: the host that the client used, a port included.
    pub domain_name: Box<str>,
    /// `identity.sourceIp`.
    pub source_ip: IpAddr,
    /// `identity.userAgent`, if the client sent one.
    pub user_agent: Option<Box<str>>,
    /// `connectedAt`, milliseconds since 1970.
    pub connected_at_ms: u64,
}

/// The client's upgrade request as far as events and mappings may see it: no `Connection`,
/// no `Upgrade`, no `Content-Length`, no `Tidegate-*`; with `X-Forwarded-*` and `X-Amzn-Trace-Id`.
#[derive(Debug, Clone, Default)]
pub struct UpgradeRequest {
    /// Name in the client's casing, and value; order and duplicates kept.
    pub headers: Vec<(String, String)>,
    /// Name and value, percent-decoded; order and duplicates kept.
    pub query: Vec<(String, String)>,
    /// The query as received, without the `?`; empty when there is none.
    pub raw_query: String,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Occurrence {
    /// The upgrade was asked for.
    Connect(UpgradeRequest),
    /// A message arrived.
    Message {
        /// `messageId`.
        message_id: OpaqueId,
        /// The message, unchanged. UTF-8 unless `binary`.
        body: Bytes,
        /// Whether it came as a binary message.
        binary: bool,
    },
    /// The connection ended.
    Disconnect {
        /// `disconnectStatusCode` (RFC 6455, 7.4).
        code: u16,
        /// `disconnectReason`.
        reason: Cow<'static, str>,
    },
}

/// One run of one route: all that an integration, a mapping or a log line may look at.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Whose.
    pub connection: &'a ConnectionFacts,
    /// `routeKey`.
    pub route_key: &'a str,
    /// What happened.
    pub occurrence: &'a Occurrence,
    /// `requestId` and `extendedRequestId`.
    pub request_id: OpaqueId,
    /// `requestTimeEpoch`, milliseconds since 1970.
    pub at_ms: u64,
    /// `stageVariables`.
    pub stage_variables: &'a BTreeMap<String, String>,
}

impl Occurrence {
    /// `eventType`.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Connect(_) => "CONNECT",
            Self::Message { .. } => "MESSAGE",
            Self::Disconnect { .. } => "DISCONNECT",
        }
    }
}

impl Event<'_> {
    /// The value of `$context.{name}`; `None` for what is not set or not known.
    pub fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        let connection = self.connection;
        Some(match name {
            "connectionId" => Cow::Borrowed(connection.id.as_str()),
            "apiId" => Cow::Borrowed(&*connection.api_id),
            "stage" => Cow::Borrowed(&*connection.stage),
            "domainName" => Cow::Borrowed(&*connection.domain_name),
            "connectedAt" => Cow::Owned(connection.connected_at_ms.to_string()),
            "identity.sourceIp" => Cow::Owned(connection.source_ip.to_string()),
            "identity.userAgent" => Cow::Borrowed(connection.user_agent.as_deref()?),
            "routeKey" => Cow::Borrowed(self.route_key),
            "eventType" => Cow::Borrowed(self.occurrence.event_type()),
            "messageDirection" => Cow::Borrowed("IN"),
            "requestId" | "extendedRequestId" => Cow::Owned(self.request_id.as_str().to_owned()),
            "requestTime" => Cow::Owned(request_time(self.at_ms)),
            "requestTimeEpoch" => Cow::Owned(self.at_ms.to_string()),
            "messageId" => match self.occurrence {
                Occurrence::Message { message_id, .. } => Cow::Borrowed(message_id.as_str()),
                _ => return None,
            },
            "disconnectStatusCode" => match self.occurrence {
                Occurrence::Disconnect { code, .. } => Cow::Owned(code.to_string()),
                _ => return None,
            },
            "disconnectReason" => match self.occurrence {
                Occurrence::Disconnect { reason, .. } => Cow::Borrowed(&**reason),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// `requestTime`: common log format in UTC, `29/Nov/2023:08:04:01 +0000` (websocket-api, 4.1).
pub fn request_time(at_ms: u64) -> String {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let at = utc(at_ms);
    // Each event has one of these; `format!` would take three times as long.
    let mut text = *b"00/Mmm/0000:00:00:00 +0000";
    let mut put = |from: usize, number: u32| {
        text[from] = b'0' + (number / 10 % 10) as u8;
        text[from + 1] = b'0' + (number % 10) as u8;
    };
    let year = at.year().unsigned_abs();
    put(0, at.day().into());
    put(7, year / 100);
    put(9, year % 100);
    put(12, at.hour().into());
    put(15, at.minute().into());
    put(18, at.second().into());
    let month = 3 * (usize::from(u8::from(at.month())) - 1);
    text[3..6].copy_from_slice(&MONTHS[month..month + 3]);
    String::from_utf8_lossy(&text).into_owned()
}

/// ISO 8601 with milliseconds and `Z`, `2022-01-25T18:50:04.673Z` (websocket-api, section 10).
pub fn iso_8601(at_ms: u64) -> String {
    let at = utc(at_ms);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

fn utc(at_ms: u64) -> UtcDateTime {
    let nanos = i128::from(at_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH).to_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// websocket-api, item 65.
    #[test]
    fn request_time_has_the_common_log_format() {
        assert_eq!(request_time(1_701_245_041_796), "29/Nov/2023:08:04:01 +0000");
        assert_eq!(request_time(0), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(request_time(1_709_251_199_999), "29/Feb/2024:23:59:59 +0000");
        assert_eq!(request_time(4_102_444_799_000), "31/Dec/2099:23:59:59 +0000");
    }

    #[test]
    fn management_times_have_milliseconds_and_a_z() {
        assert_eq!(iso_8601(1_643_136_604_673), "2022-01-25T18:50:04.673Z");
    }
}
