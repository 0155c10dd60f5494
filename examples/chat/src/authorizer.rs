//! Who connects: the gateway asks before `$connect`, and remembers the answer for as long as the
//! connection lasts. Each request that it makes carries it, `$disconnect` too, so that nobody
//! else needs to remember which connection is whose.
//!
//! In:  a REQUEST authorizer's event, with `?key=`: a secret of the browser's tab.
//! Out: a policy that lets the person in, named by a digest of the key. The same key is the same
//!      person, after a reconnect and after a restart of this backend; the key nobody else learns.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::groups::digest;

/// Most bytes in a key.
const MAX_KEY_BYTES: usize = 64;
/// Hexadecimal digits of a person's id.
const ID_DIGITS: usize = 16;

/// What an authorizer is told, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    method_arn: String,
    query_string_parameters: Query,
}

#[derive(Deserialize)]
struct Query {
    key: String,
}

/// The answer to an authorizer's event; `None` when it is none.
pub(crate) fn answer(event: &[u8]) -> Option<Value> {
    let Event { method_arn, query_string_parameters: Query { key } } =
        serde_json::from_slice(event).ok()?;
    let effect = if (1..=MAX_KEY_BYTES).contains(&key.len()) { "Allow" } else { "Deny" };
    Some(json!({
        "principalId": person(&key),
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                { "Action": "execute-api:Invoke", "Effect": effect, "Resource": method_arn }
            ],
        },
    }))
}

/// The id that others see.
fn person(key: &str) -> String {
    let mut id = digest(&format!("person {key}"));
    id.truncate(ID_DIGITS);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(key: &str) -> Option<Value> {
        let event =
            json!({ "methodArn": "arn:aws:x", "queryStringParameters": { "key": key }, "a": 1 });
        answer(event.to_string().as_bytes())
    }

    #[test]
    fn a_key_is_a_person_and_no_part_of_it_is_told() {
        let ann = asked("ann's key").unwrap();
        assert_eq!(ann, asked("ann's key").unwrap());
        assert_ne!(ann["principalId"], asked("ben's key").unwrap()["principalId"]);
        assert_eq!(ann["policyDocument"]["Statement"][0]["Effect"], "Allow");
        assert_eq!(ann["policyDocument"]["Statement"][0]["Resource"], "arn:aws:x");
        assert!(!ann.to_string().contains("key"), "{ann}");
    }

    #[test]
    fn a_key_out_of_bounds_is_denied_and_what_is_no_event_is_not_answered() {
        for key in [String::new(), "k".repeat(65)] {
            let denied = asked(&key).unwrap();
            assert_eq!(denied["policyDocument"]["Statement"][0]["Effect"], "Deny", "{key:?}");
        }
        assert_eq!(answer(b"{}"), None);
        assert_eq!(answer(br#"{"methodArn": "a", "queryStringParameters": {}}"#), None);
    }
}
