//! One access log line's template (websocket-api, section 13.1).
//!
//! In:  `format` of an `access_log`, as the operator wrote it.
//! Out: its pieces, each name one that an access log knows.
//!
//! A variable is `$context.NAME`, and its name the longest run of letters, digits, `_` and `.` that
//! does not end in a dot: `{"id":"$context.requestId"}` and `Done: $context.requestId.` say what they
//! seem to say. There is no way to write a literal `$`.

use std::str::FromStr;

/// Why a format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAccessLogFormat {
    /// Not `$context.NAME`.
    #[error("`{0}` is no variable of an access log: write $context.NAME")]
    Variable(String),
    /// A name that no access log knows.
    #[error("`$context.{0}` is unknown to access logs")]
    UnknownName(String),
    /// Neither of the two is there.
    #[error("the format must contain $context.requestId or $context.extendedRequestId")]
    NoRequestId,
    /// Longer than 3,072 bytes.
    #[error("a format has at most 3072 bytes, this one has {0}")]
    Length(usize),
    /// A line break would make two lines of one event.
    #[error("the format must be one line, without control characters")]
    ControlCharacter,
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogFormat {
    pieces: Vec<Piece>,
}

/// A piece of a format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands for itself.
    Literal(String),
    /// `$context.NAME`, the name without `context.`; an unset one renders as `-`.
    Context(String),
}

/// Longest format, bytes (API Gateway quotas page).
const MAX_BYTES: usize = 3072;

/// The table of section 13.1, sorted, without `authorizer.<property>`; and three of an event's facts
/// that Amazon's table leaves out and an operator asks for: which way, how it ended.
const NAMES: [&str; 51] = [
    "apiId",
    "authenticate.error",
    "authenticate.latency",
    "authenticate.status",
    "authorize.error",
    "authorize.latency",
    "authorize.status",
    "awsEndpointRequestId",
    "connectedAt",
    "connectionId",
    "disconnectReason",
    "disconnectStatusCode",
    "domainName",
    "error.message",
    "error.messageString",
    "error.responseType",
    "error.validationErrorString",
    "eventType",
    "extendedRequestId",
    "identity.accountId",
    "identity.apiKey",
    "identity.apiKeyId",
    "identity.caller",
    "identity.cognitoAuthenticationProvider",
    "identity.cognitoAuthenticationType",
    "identity.cognitoIdentityId",
    "identity.cognitoIdentityPoolId",
    "identity.principalOrgId",
    "identity.sourceIp",
    "identity.user",
    "identity.userAgent",
    "identity.userArn",
    "integration.error",
    "integration.integrationStatus",
    "integration.latency",
    "integration.requestId",
    "integration.status",
    "integrationErrorMessage",
    "integrationLatency",
    "integrationStatus",
    "messageDirection",
    "messageId",
    "requestId",
    "requestTime",
    "requestTimeEpoch",
    "routeKey",
    "stage",
    "status",
    "waf.error",
    "waf.latency",
    "waf.status",
];

impl AccessLogFormat {
    /// Parses a format.
    pub fn parse(text: &str) -> Result<Self, InvalidAccessLogFormat> {
        use InvalidAccessLogFormat::{ControlCharacter, Length, NoRequestId, UnknownName};
        if text.len() > MAX_BYTES {
            return Err(Length(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(ControlCharacter);
        }
        let mut pieces = Vec::new();
        let (literal, mut rest) = text.split_at(text.find('$').unwrap_or(text.len()));
        push_literal(&mut pieces, literal);
        while !rest.is_empty() {
            let (name, after) = variable(rest)?;
            if !is_known(name) {
                return Err(UnknownName(name.to_owned()));
            }
            pieces.push(Piece::Context(name.to_owned()));
            let (literal, variables) = after.split_at(after.find('$').unwrap_or(after.len()));
            push_literal(&mut pieces, literal);
            rest = variables;
        }
        let is_request_id = |piece: &Piece| matches!(piece, Piece::Context(name) if name == "requestId" || name == "extendedRequestId");
        if pieces.iter().any(is_request_id) { Ok(Self { pieces }) } else { Err(NoRequestId) }
    }

    /// The pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

impl FromStr for AccessLogFormat {
    type Err = InvalidAccessLogFormat;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
}

/// The name at the start of `text`, which starts with `$`, and what comes after it.
fn variable(text: &str) -> Result<(&str, &str), InvalidAccessLogFormat> {
    let run = |text: &str| {
        let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
        text.bytes().take_while(|b| of_a_name(*b)).count()
    };
    if let Some(after) = text.strip_prefix("$context.") {
        let name = after[..run(after)].trim_end_matches('.');
        if !name.is_empty() {
            return Ok((name, &after[name.len()..]));
        }
    }
    // `${context.NAME}` and `$name` are what people know from elsewhere: show them whole.
    let shown = match text.find('}') {
        Some(end) if text.starts_with("${") => end + 1,
        _ => 1 + run(&text[1..]),
    };
    Err(InvalidAccessLogFormat::Variable(text[..shown].to_owned()))
}

fn is_known(name: &str) -> bool {
    let property = |name: &str| name.strip_prefix("authorizer.").is_some_and(|p| !p.is_empty());
    NAMES.binary_search(&name).is_ok() || property(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidAccessLogFormat as Invalid, *};

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.to_owned())
    }

    fn context(name: &str) -> Piece {
        Piece::Context(name.to_owned())
    }

    fn parse(text: &str) -> Result<Vec<Piece>, Invalid> {
        text.parse().map(|format: AccessLogFormat| format.pieces().to_vec())
    }

    #[test]
    fn the_names_are_sorted_as_the_search_needs() {
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn a_format_is_text_and_variables_in_order() {
        assert_eq!(
            parse("$context.requestId [$context.requestTime] $context.identity.sourceIp!"),
            Ok(vec![
                context("requestId"),
                literal(" ["),
                context("requestTime"),
                literal("] "),
                context("identity.sourceIp"),
                literal("!"),
            ])
        );
    }

    #[test]
    fn a_json_format_works() {
        assert_eq!(
            parse(r#"{"id":"$context.requestId","status":$context.status}"#),
            Ok(vec![
                literal(r#"{"id":""#),
                context("requestId"),
                literal(r#"","status":"#),
                context("status"),
                literal("}"),
            ])
        );
    }

    #[test]
    fn a_name_does_not_end_in_a_dot() {
        assert_eq!(
            parse("$context.requestId.$context.status..."),
            Ok(vec![context("requestId"), literal("."), context("status"), literal("...")])
        );
    }

    #[test]
    fn an_authorizers_properties_are_known_by_their_group() {
        assert!(parse("$context.requestId $context.authorizer.tenant_id").is_ok());
        assert_eq!(
            parse("$context.requestId $context.authorizer"),
            Err(Invalid::UnknownName("authorizer".to_owned()))
        );
    }

    #[test]
    fn a_name_that_no_access_log_knows_is_refused() {
        for name in ["requestid", "requestId2", "httpMethod", "identity", "identity.clientCert"] {
            assert_eq!(
                parse(&format!("$context.requestId $context.{name}")),
                Err(Invalid::UnknownName(name.to_owned()))
            );
        }
    }

    #[test]
    fn a_dollar_sign_starts_a_context_variable_and_nothing_else() {
        for (text, shown) in [
            ("$context.requestId costs 5$", "$"),
            ("$context.requestId $$context.status", "$"),
            ("$context.requestId $request.body.x y", "$request.body.x"),
            ("$context.requestId $context", "$context"),
            ("$context.requestId $context. x", "$context."),
            ("$context.requestId $contextual.x", "$contextual.x"),
            ("${context.requestId} x", "${context.requestId}"),
            ("${context.requestId", "$"),
        ] {
            assert_eq!(parse(text), Err(Invalid::Variable(shown.to_owned())), "{text}");
        }
    }

    #[test]
    fn one_of_the_request_ids_must_be_there() {
        assert!(parse("$context.extendedRequestId").is_ok());
        for text in ["", "requestId", "$context.status", "$context.integration.requestId"] {
            assert_eq!(parse(text), Err(Invalid::NoRequestId), "{text}");
        }
    }

    #[test]
    fn a_format_is_one_line_of_at_most_3072_bytes() {
        let id = "$context.requestId";
        let longest = format!("{id}{}", " ".repeat(3072 - id.len()));
        assert!(parse(&longest).is_ok());
        assert_eq!(parse(&format!("{longest}x")), Err(Invalid::Length(3073)));
        assert_eq!(parse(&format!("{id}\n")), Err(Invalid::ControlCharacter));
    }

    proptest! {
        /// Nothing is lost or made up on the way.
        #[test]
        fn the_pieces_together_are_the_format(
            text in r"(\$context\.(requestId|status|authorizer\.[a-z.]{0,3}|[a-z]{0,3})|[$ .{}é])*",
        ) {
            if let Ok(pieces) = parse(&text) {
                let back: String = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Literal(text) => text.clone(),
                        Piece::Context(name) => format!("$context.{name}"),
                    })
                    .collect();
                prop_assert_eq!(back, text);
            }
        }
    }
}
