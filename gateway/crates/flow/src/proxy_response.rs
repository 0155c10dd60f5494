//! The proxy response: what a function answers.
//!
//! In:  the answer's bytes.
//! Out: a [`ProxyResponse`], or why it is none (websocket-api, 4.4).
//!
//! Holds always: no input panics, and no error repeats any of the input.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

/// Writers of base64 disagree about the padding, so both forms are read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A function's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyResponse {
    /// `statusCode`, 100 to 599.
    pub status: u16,
    /// `headers` and `multiValueHeaders`; a pair that stands in both stands here once.
    pub headers: HeaderMap,
    /// `body`, decoded when it was base64; empty when there was none.
    pub body: Bytes,
    /// `isBase64Encoded`.
    pub binary: bool,
}

/// Why an answer is no proxy response. The function is at fault; none of its answer is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedProxyResponse {
    /// Not JSON, no object, or a key with a value of another type than it has.
    #[error(
        "the answer is no proxy response (at line {line}, column {column}): {{\"statusCode\": 200, \"headers\": {{\"name\": \"value\"}}, \"body\": \"text\"}} would be one"
    )]
    Form {
        /// From 1; 0 when there was nothing at all.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// No `statusCode`.
    #[error("the answer has no `statusCode`, an integer from 100 to 599")]
    NoStatus,
    /// `statusCode` is out of range or no whole number.
    #[error("`statusCode` is no integer from 100 to 599")]
    Status,
    /// A header's name or value cannot stand in HTTP.
    #[error("`headers` or `multiValueHeaders` holds a name or value that HTTP does not allow")]
    Header,
    /// `isBase64Encoded` is true and `body` is not base64.
    #[error("`body` is not the base64 that `isBase64Encoded` promises")]
    Base64,
}

impl MalformedProxyResponse {
    /// The form ends at `offset` of `body`.
    fn form_at(body: &[u8], offset: usize) -> Self {
        let before = &body[..offset];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Self::Form { line, column: offset - line_start + 1 }
    }
}

/// Reads a function's answer. `null` counts as absent, unknown keys are passed over.
pub fn parse(body: &[u8]) -> Result<ProxyResponse, MalformedProxyResponse> {
    // serde would take a list of the fields' values for the object as well.
    if body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(MalformedProxyResponse::Form { line: 0, column: 0 });
    }
    // serde would not look into the strings that it passes over.
    let text = std::str::from_utf8(body)
        .map_err(|error| MalformedProxyResponse::form_at(body, error.valid_up_to()))?;
    let raw: Raw<'_> = serde_json::from_str(text).map_err(|error| {
        MalformedProxyResponse::Form { line: error.line(), column: error.column() }
    })?;

    let status = match raw.status_code {
        None => return Err(MalformedProxyResponse::NoStatus),
        Some(Scalar(text)) => status(&text).ok_or(MalformedProxyResponse::Status)?,
    };
    let headers = headers(raw.headers, raw.multi_value_headers)?;
    let binary = raw.is_base64_encoded.unwrap_or(false);
    let text = raw.body.as_deref().unwrap_or("");
    let body = if binary {
        BASE64.decode(text).map_err(|_| MalformedProxyResponse::Base64)?.into()
    } else {
        Bytes::copy_from_slice(text.as_bytes())
    };
    Ok(ProxyResponse { status, headers, body, binary })
}

/// `200` and `"200"`, as API Gateway takes both; and `200.0`, which some languages write.
fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|status| digits && (100..=599).contains(status))
}

fn headers(
    single: Option<BTreeMap<Cow<'_, str>, Option<Scalar<'_>>>>,
    multi: Option<BTreeMap<Cow<'_, str>, Option<Vec<Scalar<'_>>>>>,
) -> Result<HeaderMap, MalformedProxyResponse> {
    let mut headers = HeaderMap::new();
    for (name, values) in multi.unwrap_or_default() {
        for value in values.unwrap_or_default() {
            append(&mut headers, &name, &value.0)?;
        }
    }
    for (name, value) in single.unwrap_or_default() {
        let Some(Scalar(value)) = value else { continue };
        // API Gateway merges the two maps; a pair that is in both counts once.
        let twice = headers.get_all(&*name).iter().any(|v| v.as_bytes() == value.as_bytes());
        if !twice {
            append(&mut headers, &name, &value)?;
        }
    }
    Ok(headers)
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), MalformedProxyResponse> {
    let name =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| MalformedProxyResponse::Header)?;
    let value =
        HeaderValue::from_bytes(value.as_bytes()).map_err(|_| MalformedProxyResponse::Header)?;
    headers.try_append(name, value).map_err(|_| MalformedProxyResponse::Header)?;
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    status_code: Option<Scalar<'a>>,
    #[serde(borrow)]
    headers: Option<BTreeMap<Cow<'a, str>, Option<Scalar<'a>>>>,
    #[serde(borrow)]
    multi_value_headers: Option<BTreeMap<Cow<'a, str>, Option<Vec<Scalar<'a>>>>>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    is_base64_encoded: Option<bool>,
}

/// A JSON string; borrowed unless it holds an escape. (`Option<Cow<str>>` would always copy.)
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// A JSON string, number or boolean, as text.
struct Scalar<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a string, a number or a boolean")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(text.to_owned())))
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Borrowed(if value { "true" } else { "false" })))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Scalar(Cow::Owned(number.to_string())))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                if !number.is_finite() {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                Ok(Scalar(Cow::Owned(number.to_string())))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ok(text: &str) -> ProxyResponse {
        parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_whole_response_is_read() {
        let response =
            ok(r#" {"statusCode": 200, "headers": {"X-A": "1", "N": 7, "B": true, "Z": null},
            "multiValueHeaders": {"Set-Cookie": ["a", "b"], "None": null}, "body": "text é\n",
            "isBase64Encoded": false, "cookies": ["unknown keys are passed over"]} "#);
        assert_eq!(response.status, 200);
        assert_eq!(response.headers["x-a"], "1");
        assert_eq!(response.headers["n"], "7");
        assert_eq!(response.headers["b"], "true");
        assert!(!response.headers.contains_key("z"));
        assert_eq!(response.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(response.body, "text é\n".as_bytes());
        assert!(!response.binary);
    }

    /// Item 75 starts here: no `body` is an empty one.
    #[test]
    fn absent_and_null_are_the_same() {
        let bare = ok(r#"{"statusCode": 201}"#);
        assert!(bare.body.is_empty() && bare.headers.is_empty());
        let null = r#"{"statusCode": 201, "headers": null, "multiValueHeaders": null, "body": null, "isBase64Encoded": null}"#;
        assert_eq!(ok(null), bare);
    }

    #[test]
    fn a_status_is_an_integer_or_the_same_as_text() {
        for (text, status) in [("100", 100), ("599", 599), ("200.0", 200), ("\"404\"", 404)] {
            assert_eq!(ok(&format!(r#"{{"statusCode": {text}}}"#)).status, status);
        }
        for text in ["99", "600", "-200", "200.5", "\"\"", "\"+20\"", "\"ok\"", "true"] {
            let text = format!(r#"{{"statusCode": {text}}}"#);
            assert_eq!(parse(text.as_bytes()), Err(MalformedProxyResponse::Status), "{text}");
        }
    }

    /// websocket-api, 4.4: a bare string, no `statusCode`.
    #[test]
    fn what_is_no_object_of_the_form_is_malformed() {
        use MalformedProxyResponse::NoStatus;
        for text in [r#"{"body": "x"}"#, "{}", r#"{"statusCode": null}"#, r#"{"StatusCode": 200}"#]
        {
            assert_eq!(parse(text.as_bytes()), Err(NoStatus), "{text}");
        }
        for text in [
            "",
            "null",
            "\"Hello\"",
            "200",
            "[200, {}, {}, \"x\", false]",
            "{\"statusCode\": 200",
            "{\"statusCode\": 200} x",
            r#"{"statusCode": {}}"#,
            r#"{"statusCode": [200]}"#,
            r#"{"statusCode": 200, "body": {"a": 1}}"#,
            r#"{"statusCode": 200, "body": 1}"#,
            r#"{"statusCode": 200, "headers": []}"#,
            r#"{"statusCode": 200, "headers": {"a": ["1"]}}"#,
            r#"{"statusCode": 200, "multiValueHeaders": {"a": "1"}}"#,
            r#"{"statusCode": 200, "isBase64Encoded": "yes"}"#,
        ] {
            let form = matches!(parse(text.as_bytes()), Err(MalformedProxyResponse::Form { .. }));
            assert!(form, "{text}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_malformed_also_in_keys_that_are_passed_over() {
        use MalformedProxyResponse::Form;
        let body = b"{\"statusCode\": 200, \"body\": \"\xff\"}";
        assert_eq!(parse(body), Err(Form { line: 1, column: 30 }));
        let unknown = b"{\"statusCode\": 200,\n\"x\": {\"\xff\": 1}}";
        assert_eq!(parse(unknown), Err(Form { line: 2, column: 8 }));
    }

    /// A function's answer must not write headers of its own making into anything of ours.
    #[test]
    fn a_header_that_http_does_not_allow_is_malformed() {
        for pair in [r#""a": "x\r\nb: c""#, r#""a b": "x""#, r#""": "x""#, r#""a\n": "x""#] {
            let text = format!(r#"{{"statusCode": 200, "headers": {{{pair}}}}}"#);
            assert_eq!(parse(text.as_bytes()), Err(MalformedProxyResponse::Header), "{pair}");
        }
    }

    #[test]
    fn a_pair_in_both_header_maps_counts_once() {
        let response = ok(
            r#"{"statusCode": 200, "headers": {"a": "1", "B": "3"}, "multiValueHeaders": {"A": ["1", "2"]}}"#,
        );
        let values: Vec<_> = response.headers.get_all("a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(response.headers["b"], "3");
    }

    #[test]
    fn a_base64_body_is_decoded_with_and_without_padding() {
        for text in ["AP/+/w==", "AP/+/w"] {
            let text =
                format!(r#"{{"statusCode": 200, "body": "{text}", "isBase64Encoded": true}}"#);
            let response = ok(&text);
            assert_eq!(&response.body[..], [0, 255, 254, 255]);
            assert!(response.binary);
        }
        let bad = br#"{"statusCode": 200, "body": "hello!", "isBase64Encoded": true}"#;
        assert_eq!(parse(bad), Err(MalformedProxyResponse::Base64));
    }

    /// reliability, 18: an answer is payload, and errors are logged.
    #[test]
    fn an_error_repeats_nothing_of_the_answer() {
        for text in [
            r#"{"statusCode": "hunter2"}"#,
            r#"{"statusCode": 200, "body": {"hunter2": 1}}"#,
            r#"{"statusCode": 200, "headers": {"hunter2\n": "hunter2"}}"#,
            r#"{"statusCode": 200, "isBase64Encoded": "hunter2"}"#,
            r#"{"statusCode": 200, "isBase64Encoded": true, "body": "hunter2!"}"#,
            r#""hunter2""#,
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_object_panics_and_what_is_read_is_in_range(
            status in any::<i32>(), name in ".{0,4}", value in ".{0,8}", body in ".*", base64: bool,
        ) {
            let text = serde_json::json!({
                "statusCode": status, "headers": {name: value}, "body": body,
                "isBase64Encoded": base64,
            });
            if let Ok(response) = parse(text.to_string().as_bytes()) {
                prop_assert!((100..=599).contains(&response.status));
            }
        }

        #[test]
        fn a_text_body_comes_back_byte_for_byte(body in ".*") {
            let text = serde_json::json!({"statusCode": 200, "body": body}).to_string();
            prop_assert_eq!(&parse(text.as_bytes()).unwrap().body[..], body.as_bytes());
        }
    }
}
