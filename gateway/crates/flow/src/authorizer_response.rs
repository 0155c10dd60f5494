//! What a REQUEST authorizer answers (websocket-api, 9.3).
//!
//! In:  the answer's bytes, or those of a function's error.
//! Out: an [`AuthorizerAnswer`], or why it is none; whether an error means 401.
//!
//! Holds always: an answer that is not understood is none, so nobody is admitted by it; no error
//! repeats any of the answer's values.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use tidegate_model::{PolicyDocument, Secret, policy::InvalidPolicy};

use crate::context::AuthorizerFacts;

/// Largest answer, bytes (API Gateway quotas page, "Authorizer result size").
pub const MAX_ANSWER_BYTES: usize = 8 * 1024;

/// What an authorizer said.
#[derive(Debug, Clone, PartialEq)]
pub struct AuthorizerAnswer {
    /// `principalId`.
    pub principal_id: String,
    /// `policyDocument`.
    pub policy: PolicyDocument,
    /// `context`, each value as text: numbers as they were written. None is named `principalId` or
    /// `integrationLatency`, which are the gateway's to say; none comes twice.
    pub context: Vec<(String, String)>,
    /// `usageIdentifierKey`: an API key's value.
    pub usage_identifier_key: Option<Secret>,
}

/// Why an answer is none. The authorizer is at fault, and the client gets 500.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAnswer {
    /// Too long.
    #[error("an authorizer's answer has at most 8192 bytes, this one has {0}")]
    Length(usize),
    /// Not JSON, no object, or a key with a value of another type than it has.
    #[error(
        "the answer is no authorizer's (at line {line}, column {column}): {{\"principalId\": \"user\", \"policyDocument\": {{\"Version\": \"2012-10-17\", \"Statement\": []}}}} would be one"
    )]
    Form {
        /// From 1; 0 when there was nothing at all.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// No `principalId`.
    #[error("the answer has no `principalId`, a string")]
    NoPrincipal,
    /// No `policyDocument`.
    #[error("the answer has no `policyDocument`, an object")]
    NoPolicy,
    /// A `policyDocument` that is no policy.
    #[error("`policyDocument`: {0}")]
    Policy(InvalidPolicy),
    /// An object, a list or `null`.
    #[error("`context` has a value that is no string, number or boolean")]
    Context,
}

/// Reads an authorizer's answer. Unknown keys are passed over; `null` counts as absent, but not in
/// `context`.
///
/// # Errors
/// Why it is none.
pub fn parse(answer: &[u8]) -> Result<AuthorizerAnswer, MalformedAnswer> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(MalformedAnswer::Length(answer.len()));
    }
    // serde would take a list of the fields' values for the object as well.
    if answer.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        return Err(MalformedAnswer::Form { line: 0, column: 0 });
    }
    let raw: Raw<'_> = serde_json::from_slice(answer)
        .map_err(|error| MalformedAnswer::Form { line: error.line(), column: error.column() })?;
    let principal_id = raw.principal_id.and_then(scalar).ok_or(MalformedAnswer::NoPrincipal)?;
    let policy = raw.policy_document.ok_or(MalformedAnswer::NoPolicy)?;
    let policy = PolicyDocument::from_json(&policy).map_err(MalformedAnswer::Policy)?;
    let mut context: Vec<(String, String)> = Vec::new();
    for (name, value) in raw.context.map_or_else(Vec::new, |Members(members)| members) {
        let value = scalar(value).ok_or(MalformedAnswer::Context)?;
        if name == "principalId" || name == "integrationLatency" {
            continue;
        }
        // Of one name the last counts, as to most readers of JSON.
        match context.iter_mut().find(|(known, _)| *known == name) {
            Some((_, earlier)) => *earlier = value,
            None => context.push((name, value)),
        }
    }
    let usage_identifier_key = raw.usage_identifier_key.map(Secret::new);
    Ok(AuthorizerAnswer { principal_id, policy, context, usage_identifier_key })
}

impl AuthorizerAnswer {
    /// What events say of it, once its policy has allowed the connect. `latency_ms` is how long the
    /// function took.
    pub fn into_facts(self, latency_ms: u64) -> AuthorizerFacts {
        AuthorizerFacts {
            principal_id: self.principal_id,
            integration_latency_ms: Some(latency_ms),
            context: self.context,
        }
    }
}

/// Whether a function's error means that the client is unknown, 401, rather than that the function
/// failed, 500: its `errorMessage` is exactly `Unauthorized` (websocket-api, 9.5).
pub fn is_unauthorized(error: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct FunctionError {
        error_message: String,
    }
    serde_json::from_slice::<FunctionError>(error)
        .is_ok_and(|error| error.error_message == "Unauthorized")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    principal_id: Option<&'a RawValue>,
    policy_document: Option<serde_json::Value>,
    #[serde(borrow)]
    context: Option<Members<'a>>,
    usage_identifier_key: Option<String>,
}

/// An object's members in their order, repeated names too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// The text of a string, a number or a boolean.
fn scalar(value: &RawValue) -> Option<String> {
    let text = value.get();
    match text.as_bytes().first()? {
        b'"' => serde_json::from_str(text).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Action":"execute-api:Invoke","Effect":"Allow","Resource":"*"}]}"#;

    fn with(members: &str) -> Result<AuthorizerAnswer, MalformedAnswer> {
        parse(format!(r#"{{"principalId":"u1","policyDocument":{POLICY}{members}}}"#).as_bytes())
    }

    fn context(text: &str) -> Result<Vec<(String, String)>, MalformedAnswer> {
        with(&format!(r#","context":{text}"#)).map(|answer| answer.context)
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_contracts_example_is_read() {
        let answer =
            with(r#","context":{"k":"v","n":1,"b":true},"usageIdentifierKey":"the-api-key""#)
                .unwrap();
        assert_eq!(answer.principal_id, "u1");
        assert_eq!(answer.policy.statements.len(), 1);
        assert_eq!(answer.context, pairs(&[("k", "v"), ("n", "1"), ("b", "true")]));
        assert_eq!(answer.usage_identifier_key.as_ref().unwrap().reveal(), "the-api-key");
        assert!(!format!("{answer:?}").contains("the-api-key"));
        let facts = answer.into_facts(123);
        assert_eq!(facts.principal_id, "u1");
        assert_eq!(facts.integration_latency_ms, Some(123));
        assert_eq!(facts.context.len(), 3);
    }

    #[test]
    fn only_the_principal_and_the_policy_must_be_there() {
        let answer = with(r#","context":null,"usageIdentifierKey":null,"other":{"a":[]}"#).unwrap();
        assert_eq!(answer.context, []);
        assert_eq!(answer.usage_identifier_key, None);
        let number = format!(r#"{{"principalId":42,"policyDocument":{POLICY}}}"#);
        assert_eq!(parse(number.as_bytes()).unwrap().principal_id, "42");
    }

    /// websocket-api, item 102.
    #[test]
    fn values_of_the_context_become_text_as_they_were_written() {
        assert_eq!(
            context(r#"{"i":1,"f":1.50,"e":1E2,"t":true,"f2":false,"s":"é\n\"","":""}"#).unwrap(),
            pairs(&[
                ("i", "1"),
                ("f", "1.50"),
                ("e", "1E2"),
                ("t", "true"),
                ("f2", "false"),
                ("s", "é\n\""),
                ("", ""),
            ])
        );
    }

    /// websocket-api, 9.3.
    #[test]
    fn an_object_a_list_or_null_in_the_context_makes_an_answer_malformed() {
        for value in ["{}", "[]", "null", r#"{"a":1}"#, r#"["a"]"#] {
            assert_eq!(context(&format!(r#"{{"k":{value}}}"#)), Err(MalformedAnswer::Context));
        }
        for whole in ["[]", "1", r#""k""#, "true"] {
            assert!(matches!(context(whole), Err(MalformedAnswer::Form { .. })), "{whole}");
        }
    }

    #[test]
    fn the_context_cannot_say_what_the_gateway_says() {
        let text = r#"{"principalId":"root","a":"1","integrationLatency":0,"a":"2","b":"3"}"#;
        assert_eq!(context(text).unwrap(), pairs(&[("a", "2"), ("b", "3")]));
    }

    /// websocket-api, 9.5 and item 101.
    #[test]
    fn what_is_no_answer_is_malformed() {
        use MalformedAnswer::{Form, NoPolicy, NoPrincipal, Policy};
        let document = InvalidPolicy::Form;
        for (text, expected) in [
            (r#"{"statusCode":401}"#.to_owned(), NoPrincipal),
            (format!(r#"{{"policyDocument":{POLICY}}}"#), NoPrincipal),
            (format!(r#"{{"principalId":null,"policyDocument":{POLICY}}}"#), NoPrincipal),
            (format!(r#"{{"principalId":{{}},"policyDocument":{POLICY}}}"#), NoPrincipal),
            (r#"{"principalId":"u"}"#.to_owned(), NoPolicy),
            (r#"{"principalId":"u","policyDocument":null}"#.to_owned(), NoPolicy),
            (r#"{"principalId":"u","policyDocument":{}}"#.to_owned(), Policy(document.clone())),
            (r#"{"principalId":"u","policyDocument":"{}"}"#.to_owned(), Policy(document)),
            (String::new(), Form { line: 0, column: 0 }),
            ("null".to_owned(), Form { line: 0, column: 0 }),
            (r#"["u",{}]"#.to_owned(), Form { line: 0, column: 0 }),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(expected), "{text}");
        }
        for text in ["{", "{}x", "{\"principalId\":\"\\ud800\"", "{\"usageIdentifierKey\":1}"] {
            assert!(matches!(parse(text.as_bytes()), Err(Form { line: 1, .. })), "{text}");
        }
    }

    /// websocket-api, section 14.
    #[test]
    fn an_answer_has_at_most_8192_bytes() {
        let empty =
            with("").map(|_| format!(r#"{{"principalId":"u1","policyDocument":{POLICY}}}"#));
        let answer = |bytes: usize| format!("{:<bytes$}", empty.clone().unwrap());
        assert!(parse(answer(8192).as_bytes()).is_ok());
        assert_eq!(parse(answer(8193).as_bytes()), Err(MalformedAnswer::Length(8193)));
    }

    /// websocket-api, item 99.
    #[test]
    fn an_error_is_unauthorized_by_exactly_that_message() {
        for (error, is) in [
            (r#"{"errorMessage":"Unauthorized"}"#, true),
            (r#"{"errorType":"Error","errorMessage":"Unauthorized","stackTrace":[]}"#, true),
            (r#"{"errorMessage":"unauthorized"}"#, false),
            (r#"{"errorMessage":"Unauthorized: no token"}"#, false),
            (r#"{"errorMessage":null}"#, false),
            (r#"{"message":"Unauthorized"}"#, false),
            (r#""Unauthorized""#, false),
            ("", false),
        ] {
            assert_eq!(is_unauthorized(error.as_bytes()), is, "{error}");
        }
    }

    fn any_answer() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
            Just(serde_json::from_str(POLICY).unwrap()),
        ];
        let name = prop::sample::select(vec![
            "principalId",
            "policyDocument",
            "context",
            "usageIdentifierKey",
            "integrationLatency",
        ]);
        let member = leaf.prop_recursive(3, 16, 4, move |inner| {
            prop::collection::vec((".{0,3}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        });
        prop::collection::vec((name, member), 0..5).prop_map(|members| {
            let named = |(name, value): (&str, Value)| (name.to_owned(), value);
            Value::Object(members.into_iter().map(named).collect())
        })
    }

    proptest! {
        #[test]
        fn nothing_that_a_function_answers_can_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..80), answer in any_answer(),
        ) {
            let _ = (parse(&bytes), is_unauthorized(&bytes));
            let Ok(read) = parse(answer.to_string().as_bytes()) else { return Ok(()) };
            prop_assert!(read.context.iter().all(|(name, _)| name != "principalId"));
            prop_assert!(!json!(read.principal_id).is_null());
        }
    }
}
