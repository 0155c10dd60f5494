//! One line of a stage's access log for one event (websocket-api, section 13.1).
//!
//! In:  the format, the event, and how it went.
//! Out: one line, appended to a `String`, without a line break at its end: the writer adds it.
//!
//! Holds always: whatever clients and backends send, a line stays one line, and a value between the
//! quotes of a JSON format stays one JSON string. Therefore each value is escaped as inside a JSON
//! string: `"` and `\` get a backslash; line feed, carriage return and tab become `\n`, `\r`, `\t`;
//! all other control characters and the line separators U+2028 and U+2029 become `\u` and four hex
//! digits. Everything else, spaces and all other Unicode, stays as it is, so in a format of words
//! between spaces those that clients choose (`identity.userAgent`, `domainName`) belong in quotes.
//!
//! A value that is not set or empty is `-`, so that columns keep their places.

use std::{borrow::Cow, fmt::Write as _};

use tidegate_model::{AccessLogFormat, AccessLogPiece};

use crate::context::Event;

/// How one event went, as far as it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// `status`: what the client saw; for a message, what it would see as a request.
    pub status: Option<u16>,
    /// `integration.status`: what the backend's own code returned.
    pub integration_status: Option<u16>,
    /// `integration.integrationStatus`, `integrationStatus`: what the service that runs that code
    /// returned. For plain HTTP backends there is no such service, and both are the same.
    pub integration_service_status: Option<u16>,
    /// `integration.latency`, `integrationLatency`: from request sent to answer received.
    pub integration_latency_ms: Option<u64>,
    /// `integration.error`, `integrationErrorMessage`.
    pub integration_error: Option<&'a str>,
    /// `error.message`, `error.messageString`: what the gateway told the client.
    pub error_message: Option<&'a str>,
    /// `error.responseType`: `BAD_REQUEST`, `THROTTLED` and so on (gateway response types).
    pub error_response_type: Option<&'a str>,
}

impl Outcome<'_> {
    /// The value of `$context.{name}` if it is one of an outcome's and set.
    fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        let status = |status: Option<u16>| Some(Cow::Owned(status?.to_string()));
        match name {
            "status" => status(self.status),
            "integration.status" => status(self.integration_status),
            "integration.integrationStatus" | "integrationStatus" => {
                status(self.integration_service_status)
            }
            "integration.latency" | "integrationLatency" => {
                Some(Cow::Owned(self.integration_latency_ms?.to_string()))
            }
            "integration.error" | "integrationErrorMessage" => {
                self.integration_error.map(Cow::Borrowed)
            }
            "error.message" | "error.messageString" => self.error_message.map(Cow::Borrowed),
            "error.responseType" => self.error_response_type.map(Cow::Borrowed),
            _ => None,
        }
    }
}

/// Appends the line of `event` to `line`.
pub fn render(
    format: &AccessLogFormat,
    event: &Event<'_>,
    outcome: &Outcome<'_>,
    line: &mut String,
) {
    for piece in format.pieces() {
        let name = match piece {
            AccessLogPiece::Literal(text) => {
                line.push_str(text);
                continue;
            }
            AccessLogPiece::Context(name) => name,
        };
        let value = outcome.variable(name).or_else(|| event.variable(name));
        // The one value that brings its own quotes.
        let quote = if name == "error.messageString" { "\"" } else { "" };
        match value.filter(|value| !value.is_empty()) {
            Some(value) => {
                line.push_str(quote);
                push_escaped(&value, line);
                line.push_str(quote);
            }
            None => line.push('-'),
        }
    }
}

fn push_escaped(value: &str, line: &mut String) {
    for character in value.chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            // Control characters of Unicode end below U+00A0, so four digits are enough.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                write!(line, "\\u{:04x}", u32::from(c)).expect("a String takes all text");
            }
            c => line.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        context::{ConnectionFacts, Occurrence},
        opaque_id::OpaqueId,
    };

    fn connection(user_agent: Option<&str>) -> ConnectionFacts {
        ConnectionFacts {
            id: OpaqueId::from_text(*b"L0SM9cOFvHcCIhw="),
            api_id: "chat".into(),
            stage: "prod".into(),
            domain_name: "chat.example.com".into(),
            source_ip: [192, 0, 2, 1].into(),
            user_agent: user_agent.map(Into::into),
            connected_at_ms: 1_701_245_000_000,
        }
    }

    fn message() -> Occurrence {
        Occurrence::Message {
            message_id: OpaqueId::from_text(*b"MessageMessageM="),
            body: Bytes::from_static(b"{}"),
            binary: false,
        }
    }

    fn line(
        format: &str,
        connection: &ConnectionFacts,
        occurrence: &Occurrence,
        outcome: &Outcome<'_>,
    ) -> String {
        let event = Event {
            connection,
            route_key: "$default",
            occurrence,
            request_id: OpaqueId::from_text(*b"RequestRequestR="),
            at_ms: 1_701_245_041_796,
            stage_variables: &BTreeMap::new(),
        };
        let mut line = String::new();
        render(&format.parse().unwrap(), &event, outcome, &mut line);
        line
    }

    /// websocket-api, item 119.
    #[test]
    fn a_line_says_what_happened_to_whom() {
        let outcome = Outcome { status: Some(200), ..Outcome::default() };
        assert_eq!(
            line(
                "$context.requestId [$context.requestTime] $context.eventType $context.connectionId \
                 $context.routeKey $context.messageId $context.identity.sourceIp $context.status",
                &connection(None),
                &message(),
                &outcome,
            ),
            "RequestRequestR= [29/Nov/2023:08:04:01 +0000] MESSAGE L0SM9cOFvHcCIhw= $default \
             MessageMessageM= 192.0.2.1 200"
        );
    }

    #[test]
    fn an_outcome_has_the_names_of_the_table() {
        let outcome = Outcome {
            status: Some(500),
            integration_status: Some(418),
            integration_service_status: Some(200),
            integration_latency_ms: Some(29_000),
            integration_error: Some("no answer within 29s"),
            error_message: Some("Internal server error"),
            error_response_type: Some("INTEGRATION_TIMEOUT"),
        };
        let of = |name: &str| {
            let format = format!("$context.requestId|$context.{name}");
            let line = line(&format, &connection(None), &message(), &outcome);
            line.split_once('|').unwrap().1.to_owned()
        };
        for (name, value) in [
            ("status", "500"),
            ("integration.status", "418"),
            ("integration.integrationStatus", "200"),
            ("integrationStatus", "200"),
            ("integration.latency", "29000"),
            ("integrationLatency", "29000"),
            ("integration.error", "no answer within 29s"),
            ("integrationErrorMessage", "no answer within 29s"),
            ("error.message", "Internal server error"),
            ("error.messageString", "\"Internal server error\""),
            ("error.responseType", "INTEGRATION_TIMEOUT"),
        ] {
            assert_eq!(of(name), value, "{name}");
        }
    }

    #[test]
    fn what_is_not_set_or_empty_is_a_dash() {
        let gone = Occurrence::Disconnect { code: 1000, reason: "".into() };
        assert_eq!(
            line(
                "$context.requestId $context.messageId $context.disconnectReason \
                 $context.disconnectStatusCode $context.status $context.error.messageString \
                 $context.authorizer.principalId $context.waf.status $context.identity.userAgent",
                &connection(None),
                &gone,
                &Outcome::default(),
            ),
            "RequestRequestR= - - 1000 - - - - -"
        );
    }

    #[test]
    fn a_line_is_appended_without_a_line_break() {
        let format: AccessLogFormat = "$context.requestId".parse().unwrap();
        let (connection, occurrence, variables) = (connection(None), message(), BTreeMap::new());
        let event = Event {
            connection: &connection,
            route_key: "$default",
            occurrence: &occurrence,
            request_id: OpaqueId::from_text(*b"RequestRequestR="),
            at_ms: 0,
            stage_variables: &variables,
        };
        let mut lines = "earlier\n".to_owned();
        render(&format, &event, &Outcome::default(), &mut lines);
        assert_eq!(lines, "earlier\nRequestRequestR=");
    }

    #[test]
    fn control_characters_quotes_and_backslashes_are_escaped() {
        let forged = "a\"b\\c\r\nRequest\t\u{0}\u{1b}[31m\u{7f}\u{85}\u{2028}é ✓";
        assert_eq!(
            line(
                "$context.requestId \"$context.identity.userAgent\"",
                &connection(Some(forged)),
                &message(),
                &Outcome::default(),
            ),
            r#"RequestRequestR= "a\"b\\c\r\nRequest\t\u0000\u001b[31m\u007f\u0085\u2028é ✓""#
        );
    }

    /// Of all characters: `any::<String>()` has no control characters.
    fn any_text() -> impl Strategy<Value = String> {
        let awkward = prop::sample::select(vec!['"', '\\', '\n', '\r', '\u{2028}', '$', '{']);
        let character = prop_oneof![any::<char>(), awkward];
        prop::collection::vec(character, 0..20).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn no_value_breaks_a_line_or_a_json_format(
            user_agent in any_text(),
            reason in any_text(),
            domain_name in any_text(),
            error in any_text(),
        ) {
            let mut connection = connection(Some(&user_agent));
            connection.domain_name = domain_name.as_str().into();
            let gone = Occurrence::Disconnect { code: 1000, reason: reason.clone().into() };
            let outcome = Outcome { integration_error: Some(&error), ..Outcome::default() };
            let line = line(
                r#"{"id":"$context.requestId","ua":"$context.identity.userAgent","why":"$context.disconnectReason","host":"$context.domainName","error":"$context.integration.error"}"#,
                &connection,
                &gone,
                &outcome,
            );
            let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
            prop_assert!(!line.contains(breaks));
            let json: serde_json::Value = serde_json::from_str(&line).unwrap();
            for (key, value) in
                [("ua", &user_agent), ("why", &reason), ("host", &domain_name), ("error", &error)]
            {
                let expected = if value.is_empty() { "-" } else { value };
                prop_assert_eq!(&json[key], expected);
            }
        }
    }
}
