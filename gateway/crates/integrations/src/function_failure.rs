//! What a function said about its own failure, wherever it runs.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

/// A function threw, or its process ended, before it had a result.
///
/// Made of the error object that Lambda gives with `X-Amz-Function-Error`, and that a runtime
/// client posts to `/invocation/{id}/error`: `{"errorMessage": …, "errorType": …, …}`.
///
/// `Debug` shows lengths only: what a function throws may repeat the message it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct FunctionFailure {
    /// What was thrown, such as `Unauthorized`. `None`: the error object has none, or none that is
    /// a string.
    pub error_message: Option<String>,
    /// Its class, such as `ValueError` or `Sandbox.Timedout`.
    pub error_type: Option<String>,
    /// The whole error object, as it came.
    pub payload: Bytes,
}

impl FunctionFailure {
    /// Reads the error object. Anything else than one leaves message and type absent.
    pub fn from_payload(payload: Bytes) -> Self {
        /// Anything beside these two, and these two as anything but strings, is passed over.
        #[derive(Default, Deserialize)]
        struct ErrorObject {
            #[serde(default, rename = "errorMessage")]
            message: serde_json::Value,
            #[serde(default, rename = "errorType")]
            kind: serde_json::Value,
        }
        let text = |value| match value {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        };
        let object: ErrorObject = serde_json::from_slice(&payload).unwrap_or_default();
        Self { error_message: text(object.message), error_type: text(object.kind), payload }
    }

    /// Of a function that could not say anything itself: it timed out, or its process ended.
    pub fn new(error_type: &str, error_message: String) -> Self {
        let object = serde_json::json!({ "errorType": error_type, "errorMessage": error_message });
        Self {
            error_message: Some(error_message),
            error_type: Some(error_type.to_owned()),
            payload: object.to_string().into(),
        }
    }
}

/// The class, where it looks like one: a function may put anything there.
impl fmt::Display for FunctionFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_class = |text: &&str| {
            (1..=128).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-$:".contains(&b))
        };
        match self.error_type.as_deref().filter(is_class) {
            Some(class) => out.write_str(class),
            None => out.write_str("it names no class of errors"),
        }
    }
}

impl fmt::Debug for FunctionFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FunctionFailure")
            .field("error_message_bytes", &self.error_message.as_ref().map(String::len))
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &'static str) -> (Option<String>, Option<String>) {
        let failure = FunctionFailure::from_payload(Bytes::from_static(payload.as_bytes()));
        assert_eq!(failure.payload, payload);
        (failure.error_message, failure.error_type)
    }

    #[test]
    fn message_and_type_are_read_from_the_error_object() {
        let some = |text: &str| Some(text.to_owned());
        let python =
            r#"{"errorMessage":"Unauthorized","errorType":"Exception","stackTrace":["a"]}"#;
        assert_eq!(read(python), (some("Unauthorized"), some("Exception")));
        assert_eq!(read(r#"{"errorMessage":"2023 Task timed out"}"#).1, None);
    }

    #[test]
    fn what_is_no_error_object_has_no_message() {
        for payload in ["", "nonsense", "[]", "\"Unauthorized\"", r#"{"errorMessage":{"a":1}}"#] {
            assert_eq!(read(payload), (None, None), "{payload}");
        }
    }

    #[test]
    fn a_failure_that_the_gateway_words_reads_like_a_functions_own() {
        let worded = FunctionFailure::new("Sandbox.Timedout", "Task timed out".to_owned());
        assert_eq!(FunctionFailure::from_payload(worded.payload.clone()), worded);
    }

    #[test]
    fn what_was_thrown_stays_out_of_logs() {
        let failure = FunctionFailure::new("Error", "no user hunter2".to_owned());
        assert!(!format!("{failure:?} {failure}").contains("hunter2"));
        assert_eq!(failure.to_string(), "Error");
        let odd = FunctionFailure::new("no user hunter2", String::new());
        assert!(!format!("{odd:?} {odd}").contains("hunter2"));
    }
}
