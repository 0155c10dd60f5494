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
//! And no API key stands in a log: `identity.apiKey` is `****` where there is one, and
//! `identity.apiKeyId` tells whose it was.
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
    /// `error.validationErrorString`: what a model has against the message; none of the message.
    pub validation_error: Option<&'a str>,
    /// `integration.requestId`, `awsEndpointRequestId`: what the service calls the request.
    pub integration_request_id: Option<&'a str>,
    /// `authorizer.*`, of a connect that asked a function.
    pub authorizer: AuthorizerOutcome<'a>,
    /// `authenticate.*`: whose signature or token it is.
    pub authenticate: StepOutcome<'a>,
    /// `authorize.*`: whether whoever it is may connect.
    pub authorize: StepOutcome<'a>,
}

/// How asking a REQUEST authorizer went. What it said (`principalId` and its context) is the
/// event's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuthorizerOutcome<'a> {
    /// `error`: why there is no answer of use.
    pub error: Option<&'a str>,
    /// `integrationLatency`: how long the function took.
    pub integration_latency_ms: Option<u64>,
    /// `integrationStatus`: what the service that runs the function returned.
    pub integration_status: Option<u16>,
    /// `latency`: how long it all took.
    pub latency_ms: Option<u64>,
    /// `requestId`: what the service calls the request.
    pub request_id: Option<&'a str>,
    /// `status`: what came of it, 200, 401, 403 or 500.
    pub status: Option<u16>,
}

/// How one step on a connect's way went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepOutcome<'a> {
    /// `error`.
    pub error: Option<&'a str>,
    /// `latency`.
    pub latency_ms: Option<u64>,
    /// `status`: 200, or the refusal's.
    pub status: Option<u16>,
}

/// Names of an outcome that an authorizer's context might have too. In a log they are the
/// outcome's, on each kind of line.
const AUTHORIZERS_OWN: [&str; 5] = [
    "authorizer.error",
    "authorizer.integrationStatus",
    "authorizer.latency",
    "authorizer.requestId",
    "authorizer.status",
];

impl Outcome<'_> {
    /// The value of `$context.{name}` if it is one of an outcome's and set.
    fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        let status = |status: Option<u16>| Some(Cow::Owned(status?.to_string()));
        let latency = |latency_ms: Option<u64>| Some(Cow::Owned(latency_ms?.to_string()));
        let (authorizer, authenticate, authorize) =
            (&self.authorizer, &self.authenticate, &self.authorize);
        match name {
            "status" => status(self.status),
            "integration.status" => status(self.integration_status),
            "integration.integrationStatus" | "integrationStatus" => {
                status(self.integration_service_status)
            }
            "integration.latency" | "integrationLatency" => latency(self.integration_latency_ms),
            "integration.error" | "integrationErrorMessage" => {
                self.integration_error.map(Cow::Borrowed)
            }
            "integration.requestId" | "awsEndpointRequestId" => {
                self.integration_request_id.map(Cow::Borrowed)
            }
            "error.message" | "error.messageString" => self.error_message.map(Cow::Borrowed),
            "error.responseType" => self.error_response_type.map(Cow::Borrowed),
            "error.validationErrorString" => self.validation_error.map(Cow::Borrowed),
            "authorizer.error" => authorizer.error.map(Cow::Borrowed),
            "authorizer.integrationLatency" => latency(authorizer.integration_latency_ms),
            "authorizer.integrationStatus" => status(authorizer.integration_status),
            "authorizer.latency" => latency(authorizer.latency_ms),
            "authorizer.requestId" => authorizer.request_id.map(Cow::Borrowed),
            "authorizer.status" => status(authorizer.status),
            "authenticate.error" => authenticate.error.map(Cow::Borrowed),
            "authenticate.latency" => latency(authenticate.latency_ms),
            "authenticate.status" => status(authenticate.status),
            "authorize.error" => authorize.error.map(Cow::Borrowed),
            "authorize.latency" => latency(authorize.latency_ms),
            "authorize.status" => status(authorize.status),
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
        let of_event = || match name.as_str() {
            "identity.apiKey" => event.variable(name).map(|_| Cow::Borrowed("****")),
            name if AUTHORIZERS_OWN.contains(&name) => None,
            name => event.variable(name),
        };
        let value = outcome.variable(name).or_else(of_event);
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
        context::{ConnectionFacts, Occurrence, tests::authorization},
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
            authorization: None,
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
            trace: None,
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
            validation_error: Some("no `text`"),
            integration_request_id: Some("lambda-1"),
            authorizer: AuthorizerOutcome {
                error: Some("no policy"),
                integration_latency_ms: Some(12),
                integration_status: Some(201),
                latency_ms: Some(13),
                request_id: Some("lambda-2"),
                status: Some(501),
            },
            authenticate: StepOutcome {
                error: Some("expired"),
                latency_ms: Some(1),
                status: Some(401),
            },
            authorize: StepOutcome {
                error: Some("denied"),
                latency_ms: Some(2),
                status: Some(403),
            },
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
            ("error.validationErrorString", "no `text`"),
            ("integration.requestId", "lambda-1"),
            ("awsEndpointRequestId", "lambda-1"),
            ("authorizer.error", "no policy"),
            ("authorizer.integrationLatency", "12"),
            ("authorizer.integrationStatus", "201"),
            ("authorizer.latency", "13"),
            ("authorizer.requestId", "lambda-2"),
            ("authorizer.status", "501"),
            ("authenticate.error", "expired"),
            ("authenticate.latency", "1"),
            ("authenticate.status", "401"),
            ("authorize.error", "denied"),
            ("authorize.latency", "2"),
            ("authorize.status", "403"),
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

    /// reliability, line 18: no key stands in a log. The context of that authorizer has a `status`,
    /// which is not the authorizer's own.
    #[test]
    fn a_line_says_who_connected_and_not_with_which_key() {
        let mut connection = connection(None);
        connection.authorization = Some(Box::new(authorization()));
        let format = "$context.requestId $context.authorizer.principalId $context.authorizer.k \
                      $context.authorizer.integrationLatency $context.authorizer.status \
                      $context.identity.apiKey $context.identity.apiKeyId $context.identity.user \
                      $context.identity.userArn $context.identity.accountId";
        assert_eq!(
            line(format, &connection, &message(), &Outcome::default()),
            "RequestRequestR= u1 v 123 - **** partner ann arn:aws:iam::123456789012:user/ann \
             123456789012"
        );
        connection.authorization = None;
        assert_eq!(
            line(format, &connection, &message(), &Outcome::default()),
            "RequestRequestR= - - - - - - - - -"
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
            trace: None,
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
