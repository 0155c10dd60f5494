//! What `$context` is made of: the facts of a connection and of one event on it.
//!
//! The proxy event, the mapped parameters, the `Tidegate-*` headers and the access log all read
//! these, so that they cannot disagree.

use std::{borrow::Cow, collections::BTreeMap, net::IpAddr};

use bytes::Bytes;
use tidegate_model::Secret;
use time::{OffsetDateTime, UtcDateTime};

use crate::{opaque_id::OpaqueId, trace_context::TraceContext};

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
    /// What is known of who connected; `None` where nobody asked.
    pub authorization: Option<Box<Authorization>>,
}

/// Who connected, as authorizers and API keys say. Fixed when the connection is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorization {
    /// What an authorizer said: `requestContext.authorizer`.
    pub authorizer: Option<AuthorizerFacts>,
    /// `identity.apiKey` and `identity.apiKeyId`.
    pub api_key: Option<ApiKeyFacts>,
    /// Whose access key signed the upgrade request.
    pub iam: Option<IamFacts>,
    /// When the connection is to be closed because its token has expired, milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// `requestContext.authorizer` (websocket-api, 9.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorizerFacts {
    /// `principalId`.
    pub principal_id: String,
    /// `integrationLatency`, milliseconds; of an authorizer that called a function.
    pub integration_latency_ms: Option<u64>,
    /// What it said besides, in its order. Every value is a string; no name is `principalId` or
    /// `integrationLatency`, none comes twice.
    pub context: Vec<(String, String)>,
}

/// An API key that a usage plan admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyFacts {
    /// `identity.apiKey`.
    pub value: Secret,
    /// `identity.apiKeyId`: its name.
    pub id: String,
}

/// Whose signature it was (websocket-api, 4.2 and 9.6).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IamFacts {
    /// `identity.accessKey`.
    pub access_key: String,
    /// `identity.accountId`.
    pub account_id: String,
    /// `identity.user` and `identity.caller`: the user's name, or the access key where it has
    /// none.
    pub user: String,
    /// `identity.userArn`.
    pub user_arn: String,
}

impl Authorization {
    /// Who it is: an authorizer's principal, or the user whose access key signed.
    pub fn principal_id(&self) -> Option<&str> {
        let authorizer = self.authorizer.as_ref().map(|said| said.principal_id.as_str());
        authorizer.or(self.iam.as_ref().map(|signed| signed.user.as_str()))
    }

    /// The value of a whole name such as `identity.apiKeyId`.
    fn identity(&self, name: &str) -> Option<&str> {
        let (api_key, iam) = (self.api_key.as_ref(), self.iam.as_ref());
        match name {
            "identity.apiKey" => api_key.map(|key| key.value.reveal()),
            "identity.apiKeyId" => api_key.map(|key| key.id.as_str()),
            "identity.accessKey" => iam.map(|signed| signed.access_key.as_str()),
            "identity.accountId" => iam.map(|signed| signed.account_id.as_str()),
            "identity.caller" | "identity.user" => iam.map(|signed| signed.user.as_str()),
            "identity.userArn" => iam.map(|signed| signed.user_arn.as_str()),
            _ => None,
        }
    }
}

impl AuthorizerFacts {
    /// `principalId`, `integrationLatency`, or something that it said besides.
    fn property(&self, name: &str) -> Option<Cow<'_, str>> {
        Some(match name {
            "principalId" => Cow::Borrowed(&*self.principal_id),
            "integrationLatency" => Cow::Owned(self.integration_latency_ms?.to_string()),
            _ => {
                let (_, value) = self.context.iter().find(|(known, _)| known == name)?;
                Cow::Borrowed(&**value)
            }
        })
    }
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
    /// The span of the call that this event goes out with; `None` where traces are off.
    pub trace: Option<TraceContext>,
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
            "identity.apiKey" | "identity.apiKeyId" | "identity.accessKey"
            | "identity.accountId" | "identity.caller" | "identity.user" | "identity.userArn" => {
                Cow::Borrowed(connection.authorization.as_deref()?.identity(name)?)
            }
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
            _ => {
                let property = name.strip_prefix("authorizer.")?;
                connection.authorization.as_deref()?.authorizer.as_ref()?.property(property)?
            }
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
pub(crate) mod tests {
    use super::*;

    pub(crate) fn authorization() -> Authorization {
        let owned = str::to_owned;
        Authorization {
            authorizer: Some(AuthorizerFacts {
                principal_id: owned("u1"),
                integration_latency_ms: Some(123),
                context: [("k", "v"), ("n", "1"), ("b", "true"), ("status", "gold")]
                    .map(|(name, value)| (owned(name), owned(value)))
                    .into(),
            }),
            api_key: Some(ApiKeyFacts {
                value: Secret::new(owned("a-key-of-twenty-characters")),
                id: owned("partner"),
            }),
            iam: Some(IamFacts {
                access_key: owned("AKIDEXAMPLE"),
                account_id: owned("123456789012"),
                user: owned("ann"),
                user_arn: owned("arn:aws:iam::123456789012:user/ann"),
            }),
            expires_at_ms: None,
        }
    }

    fn variable(authorization: Option<Authorization>, name: &str) -> Option<String> {
        let connection = ConnectionFacts {
            id: OpaqueId::from_bytes([1; 11]),
            api_id: "chat".into(),
            stage: "prod".into(),
            domain_name: "chat.example.com".into(),
            source_ip: [192, 0, 2, 1].into(),
            user_agent: None,
            connected_at_ms: 0,
            authorization: authorization.map(Box::new),
        };
        let event = Event {
            connection: &connection,
            route_key: "$disconnect",
            occurrence: &Occurrence::Disconnect { code: 1000, reason: "".into() },
            request_id: OpaqueId::from_bytes([2; 11]),
            at_ms: 0,
            stage_variables: &BTreeMap::new(),
            trace: None,
        };
        event.variable(name).map(Cow::into_owned)
    }

    /// websocket-api, section 7.
    #[test]
    fn variables_say_who_connected() {
        for (name, value) in [
            ("authorizer.principalId", "u1"),
            ("authorizer.integrationLatency", "123"),
            ("authorizer.k", "v"),
            ("authorizer.n", "1"),
            ("authorizer.status", "gold"),
            ("identity.apiKey", "a-key-of-twenty-characters"),
            ("identity.apiKeyId", "partner"),
            ("identity.accessKey", "AKIDEXAMPLE"),
            ("identity.accountId", "123456789012"),
            ("identity.caller", "ann"),
            ("identity.user", "ann"),
            ("identity.userArn", "arn:aws:iam::123456789012:user/ann"),
        ] {
            assert_eq!(variable(Some(authorization()), name).as_deref(), Some(value), "{name}");
            assert_eq!(variable(Some(Authorization::default()), name), None, "{name}");
            assert_eq!(variable(None, name), None, "{name}");
        }
        for name in [
            "authorizer",
            "authorizer.",
            "authorizer.K",
            "identity.k",
            "identity.cognitoIdentityId",
        ] {
            assert_eq!(variable(Some(authorization()), name), None, "{name}");
        }
    }

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
