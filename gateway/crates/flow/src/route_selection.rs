//! Which route a client's message takes (websocket-api, sections 2.3 and 2.4).
//!
//! In:  an api's route selection expression, a message's text, and a way to look a route key up.
//! Out: the route, or none, which the client is told as `Forbidden`.
//!
//! ```text
//! message --candidate--> value --lookup--> its route
//!     \--no JSON------\     \--no such route, empty, $connect, $disconnect--\
//!                      `----------------------------------------------------`--> $default, if any
//! ```
//!
//! Holds always: no message selects `$connect` or `$disconnect`; what the expression gives is
//! never evaluated again.

use std::{borrow::Cow, convert::Infallible};

use tidegate_model::{BodyPath, Part, RouteKey, SelectionExpression, Variable};

use crate::json::{self, Document};

/// What an expression makes of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate<'a> {
    /// The message is not JSON, not even relaxed.
    NotJson,
    /// Perhaps a route key; perhaps empty.
    Value(Cow<'a, str>),
}

/// The route that `message` takes: the one whose key is exactly the candidate, else `$default`'s.
///
/// `lookup` gives the route of a key and is never asked for `$connect` or `$disconnect`. `None`
/// is answered with the error frame `Forbidden`; nothing runs and the connection stays open.
pub fn select<R>(
    expression: &SelectionExpression,
    message: &str,
    lookup: impl Fn(&str) -> Option<R>,
) -> Option<R> {
    let selected = match candidate(expression, message) {
        Candidate::NotJson => None,
        Candidate::Value(key) if [RouteKey::CONNECT, RouteKey::DISCONNECT].contains(&&*key) => None,
        Candidate::Value(key) => lookup(&key),
    };
    selected.or_else(|| lookup(RouteKey::DEFAULT))
}

/// Evaluates `expression` on `message`.
///
/// A body variable whose path leads nowhere, and every variable of another kind, is empty text.
pub fn candidate<'a>(expression: &'a SelectionExpression, message: &'a str) -> Candidate<'a> {
    let mut body = Body::new(message);
    let value = evaluate(expression, |variable| match variable {
        Variable::Body(path) => body.text_at(path),
        // A message has no headers, no query and no answer yet.
        _ => Ok(Cow::Borrowed("")),
    });
    match value {
        Ok(value) if body.is_json() => Candidate::Value(value),
        Ok(_) | Err(NotJson) => Candidate::NotJson,
    }
}

/// The value of `expression`, whatever kind it is, on a message that need not be JSON:
/// `value_of` knows the variables of the kind, and may look into the message for them.
pub(crate) fn value<'a>(
    expression: &'a SelectionExpression,
    message: &'a str,
    mut value_of: impl FnMut(&'a Variable) -> Cow<'a, str>,
) -> Cow<'a, str> {
    let mut body = Body::new(message);
    let value = evaluate(expression, |variable| -> Result<_, Infallible> {
        Ok(match variable {
            Variable::Body(path) => body.text_at(path).unwrap_or_default(),
            other => value_of(other),
        })
    });
    match value {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

/// Puts the pieces of `expression` together.
fn evaluate<'a, E>(
    expression: &'a SelectionExpression,
    mut value_of: impl FnMut(&'a Variable) -> Result<Cow<'a, str>, E>,
) -> Result<Cow<'a, str>, E> {
    let mut value = Cow::Borrowed("");
    for part in expression.parts() {
        let piece = match part {
            Part::Literal(text) => Cow::Borrowed(text.as_str()),
            Part::Variable(variable) => value_of(variable)?,
        };
        if value.is_empty() {
            value = piece;
        } else {
            value.to_mut().push_str(&piece);
        }
    }
    Ok(value)
}

struct NotJson;

/// The message, and what evaluating one part has taught for the next.
struct Body<'m> {
    message: &'m str,
    known: Known<'m>,
}

enum Known<'m> {
    Nothing,
    /// It is JSON.
    Json,
    /// It is JSON, perhaps relaxed.
    Parsed(Document<'m>),
}

impl<'m> Body<'m> {
    fn new(message: &'m str) -> Self {
        Self { message, known: Known::Nothing }
    }

    /// What is at `path`; empty if nothing is.
    fn text_at(&mut self, path: &BodyPath) -> Result<Cow<'m, str>, NotJson> {
        if let (Known::Nothing | Known::Json, BodyPath::Steps(steps)) = (&self.known, path)
            && let Ok(text) = json::text_at(self.message, steps)
        {
            self.known = Known::Json;
            return Ok(text.unwrap_or_default());
        }
        // Relaxed JSON is strict JSON and more, and means the same where it is both.
        let document = match std::mem::replace(&mut self.known, Known::Nothing) {
            Known::Parsed(document) => document,
            Known::Nothing | Known::Json => Document::relaxed(self.message).ok_or(NotJson)?,
        };
        let text = document.text_at(path).unwrap_or_default();
        self.known = Known::Parsed(document);
        Ok(text)
    }

    fn is_json(&self) -> bool {
        match self.known {
            Known::Json | Known::Parsed(_) => true,
            Known::Nothing => {
                json::is_strict_json(self.message) || Document::relaxed(self.message).is_some()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The payload of section 2.3's table.
    const JOIN: &str = r#"{"service":"chat","action":"join","data":{"room":"r1"}}"#;

    fn expression(text: &str) -> SelectionExpression {
        SelectionExpression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn value(text: &str, message: &str) -> Option<String> {
        match candidate(&expression(text), message) {
            Candidate::NotJson => None,
            Candidate::Value(value) => Some(value.into_owned()),
        }
    }

    /// The key of the route among `keys` that `message` takes.
    fn selected<'k>(text: &str, message: &str, keys: &[&'k str]) -> Option<&'k str> {
        select(&expression(text), message, |key| keys.iter().copied().find(|k| *k == key))
    }

    /// websocket-api, 2.3.
    #[test]
    fn the_contracts_table_of_values_holds() {
        for (text, expected) in [
            ("$request.body.action", "join"),
            ("${request.body.action}", "join"),
            ("${request.body.service}/${request.body.action}", "chat/join"),
            ("${request.body.action}-${request.body.nope}", "join-"),
            ("action", "action"),
            (r"\$default", "$default"),
        ] {
            assert_eq!(value(text, JOIN).as_deref(), Some(expected), "{text}");
        }
    }

    /// websocket-api, item 18.
    #[test]
    fn a_bare_variable_and_one_in_braces_select_the_same_route() {
        for text in ["$request.body.action", "${request.body.action}"] {
            assert_eq!(selected(text, JOIN, &["join", "$default"]), Some("join"), "{text}");
        }
    }

    /// websocket-api, item 19.
    #[test]
    fn two_variables_and_a_slash_match_a_key_with_a_slash() {
        let text = "${request.body.service}/${request.body.action}";
        assert_eq!(selected(text, JOIN, &["chat/join", "$default"]), Some("chat/join"));
        let bare = "$request.body.service/$request.body.action";
        assert_eq!(selected(bare, JOIN, &["chat/join", "$default"]), Some("chat/join"));
    }

    /// websocket-api, item 20.
    #[test]
    fn a_missing_second_variable_is_nothing_after_the_hyphen() {
        let text = "${request.body.action}-${request.body.nope}";
        assert_eq!(selected(text, JOIN, &["join", "join-", "$default"]), Some("join-"));
    }

    /// websocket-api, item 21.
    #[test]
    fn a_nested_path_routes() {
        let message = r#"{"service":{"do":"chat"},"do":"other"}"#;
        assert_eq!(selected("$request.body.service.do", message, &["chat", "other"]), Some("chat"));
    }

    /// websocket-api, item 22.
    #[test]
    fn a_path_with_an_index_routes() {
        let message = r#"{"items":[{"kind":"a"},{"kind":"b"}]}"#;
        let keys = ["a", "b", "$default"];
        assert_eq!(selected("$request.body.items[0].kind", message, &keys), Some("a"));
        assert_eq!(selected("$request.body.items[1].kind", message, &keys), Some("b"));
        assert_eq!(selected("$request.body.items[-1].kind", message, &keys), Some("b"));
        assert_eq!(selected("$request.body.items[2].kind", message, &keys), Some("$default"));
        assert_eq!(selected("$request.body.items[-3].kind", message, &keys), Some("$default"));
        assert_eq!(value("$request.body[0]", "[7]").as_deref(), Some("7"));
    }

    /// websocket-api, item 23.
    #[test]
    fn an_escaped_default_sends_everything_to_default() {
        for message in [JOIN, "hi", "", "[]", r#"{"action":"$connect"}"#] {
            let route = selected(r"\$default", message, &["join", "$default"]);
            assert_eq!(route, Some("$default"), "{message}");
        }
    }

    /// websocket-api, item 24; with a literal too (2.4, step 1).
    #[test]
    fn text_that_is_not_json_goes_to_default() {
        for message in ["hi", "", " ", "{", "{\"action\":\"join\"", "{\"action\":\"join\"} x", "'"]
        {
            for text in ["$request.body.action", "join", "$request.body", "$request.body..action"] {
                let route = selected(text, message, &["join", "", "$default"]);
                assert_eq!(route, Some("$default"), "{text} on {message}");
                assert_eq!(candidate(&expression(text), message), Candidate::NotJson);
            }
        }
        assert_eq!(selected("join", "{}", &["join", "$default"]), Some("join"));
    }

    /// websocket-api, item 25; 2.4 on scalars and `null`.
    #[test]
    fn json_without_the_key_goes_to_default() {
        let keys = ["join", "null", "$default"];
        for message in
            [r#"{"type":"join"}"#, "{}", "[]", "1", "\"join\"", "null", r#"{"action":null}"#]
        {
            assert_eq!(value("$request.body.action", message).as_deref(), Some(""), "{message}");
            let route = selected("$request.body.action", message, &keys);
            assert_eq!(route, Some("$default"), "{message}");
        }
    }

    /// websocket-api, item 26.
    #[test]
    fn a_value_without_a_route_goes_to_default() {
        assert_eq!(
            selected("$request.body.action", JOIN, &["leave", "$default"]),
            Some("$default")
        );
    }

    /// websocket-api, item 27, as far as selection goes.
    #[test]
    fn without_default_what_matches_nothing_takes_no_route() {
        for message in [JOIN, "hi", "{}", r#"{"action":"$default"}"#] {
            assert_eq!(selected("$request.body.action", message, &["leave"]), None, "{message}");
        }
    }

    /// websocket-api, item 28.
    #[test]
    fn an_api_without_default_serves_its_own_routes() {
        assert_eq!(selected("$request.body.action", JOIN, &["join"]), Some("join"));
    }

    /// websocket-api, item 29; 2.4 on objects.
    #[test]
    fn a_list_and_an_object_have_javas_text() {
        let text = |json: &str| value("$request.body.v", &format!(r#"{{"v":{json}}}"#)).unwrap();
        assert_eq!(text(r#"["a","b"]"#), "[a, b]");
        assert_eq!(text(r#"{"k":"v","a":2,"n":null}"#), "{k=v, a=2, n=null}");
        assert_eq!(text(r#"[[],{},[1.50,true,{"x":["y"]}]]"#), "[[], {}, [1.50, true, {x=[y]}]]");
        assert_eq!(text(r#"{"a":1,"b":2,"a":3}"#), "{a=3, b=2}");
        let message = r#"{"v":["a","b"]}"#;
        assert_eq!(selected("$request.body.v", message, &["[a, b]", "$default"]), Some("[a, b]"));
    }

    /// websocket-api, item 30.
    #[test]
    fn a_number_matches_its_json_text() {
        let route = selected("$request.body.action", r#"{"action": 1 }"#, &["1", "$default"]);
        assert_eq!(route, Some("1"));
        for number in ["-0", "1.50", "1e2", "123456789012345678901234567890", "1E400"] {
            let message = format!(r#"{{"v":{number},"w":true}}"#);
            assert_eq!(value("$request.body.v", &message).as_deref(), Some(number));
        }
        assert_eq!(value("$request.body.w", r#"{"w":false}"#).as_deref(), Some("false"));
    }

    /// websocket-api, item 31.
    #[test]
    fn case_matters() {
        let keys = ["Join", "$default"];
        assert_eq!(selected("$request.body.action", JOIN, &keys), Some("$default"));
        assert_eq!(selected("$request.body.Action", JOIN, &["join"]), None);
    }

    /// websocket-api, item 32.
    #[test]
    fn a_client_never_runs_connect_or_disconnect() {
        let keys = ["$connect", "$disconnect", "$default"];
        for key in ["$connect", "$disconnect"] {
            let message = format!(r#"{{"action":"{key}"}}"#);
            assert_eq!(selected("$request.body.action", &message, &keys), Some("$default"));
            assert_eq!(selected("$request.body.action", &message, &keys[..2]), None);
            assert_eq!(selected(&format!("\\{key}"), "{}", &keys), Some("$default"));
        }
        let escaped = r#"{"action":"\u0024connect"}"#;
        assert_eq!(selected("$request.body.action", escaped, &keys), Some("$default"));
    }

    /// websocket-api, 2.4.
    #[test]
    fn a_client_may_name_default() {
        let message = r#"{"action":"$default"}"#;
        assert_eq!(selected("$request.body.action", message, &["$default"]), Some("$default"));
    }

    /// websocket-api, 2.4, the two captures.
    #[test]
    fn relaxed_json_selects_a_route() {
        for message in [
            r#"{"action":"join", body:"hello"}"#,
            "{action: \"join\"}",
            "{action: 'join'}",
            "{ 'action' : 'join' }",
        ] {
            assert_eq!(
                value("$request.body.action", message).as_deref(),
                Some("join"),
                "{message}"
            );
            assert_eq!(value("x", message).as_deref(), Some("x"), "{message}");
        }
        for message in ["{action: join}", "{action:'join',}", "join", "{action 'join'}"] {
            assert_eq!(value("$request.body.action", message), None, "{message}");
        }
    }

    /// websocket-api, 2.2, Decision.
    #[test]
    fn header_and_query_variables_are_empty() {
        let text = "${request.header.x}a${request.querystring.y}b$request.body.action";
        assert_eq!(value(text, JOIN).as_deref(), Some("abjoin"));
    }

    #[test]
    fn a_query_gives_the_list_of_what_it_found() {
        let message = r#"{"items":[{"kind":"a"},{"kind":"b"},{}]}"#;
        assert_eq!(value("$request.body.items[*].kind", message).as_deref(), Some("[a, b]"));
        assert_eq!(value("$request.body..nope", message).as_deref(), Some(""));
        let text = "${request.body.items[?(@.kind=='b')].kind}/$request.body.items[0].kind";
        assert_eq!(value(text, message).as_deref(), Some("[b]/a"));
    }

    #[test]
    fn of_two_members_of_one_name_the_last_counts() {
        let text = "$request.body.a.b";
        assert_eq!(value(text, r#"{"a":{"b":1},"a":{"b":2}}"#).as_deref(), Some("2"));
        assert_eq!(value(text, r#"{"a":{"b":1},"a":{}}"#).as_deref(), Some(""));
        assert_eq!(value(text, r#"{"a":{"b":1},a:'x'}"#).as_deref(), Some(""));
    }

    #[test]
    fn a_value_is_never_evaluated_again() {
        let message = r#"{"action":"${request.body.x}","x":"y"}"#;
        assert_eq!(value("$request.body.action", message).as_deref(), Some("${request.body.x}"));
    }

    #[test]
    fn a_message_as_deep_as_it_is_long_neither_overflows_nor_takes_long() {
        let deep = 200_000;
        let lists = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
        let objects = format!("{}1{}", "{\"a\":".repeat(deep), "}".repeat(deep));
        for message in [&lists, &objects, &objects.replace('"', "'"), &"[".repeat(deep)] {
            for text in ["$request.body", "$request.body.a", "$request.body..b", "x"] {
                candidate(&expression(text), message);
            }
        }
        let beside = format!(r#"{{"x":{lists},"action":"join"}}"#);
        assert_eq!(value("$request.body.action", &beside).as_deref(), Some("join"));
        let path = format!("$request.body{}", ".a".repeat(150));
        assert!(value(&path, &objects).unwrap().starts_with("{a={a="));
    }

    fn any_message() -> impl Strategy<Value = String> {
        prop_oneof![json::tests::any_json(), "[{}\\[\\]:,'\"a-c0-9 \\\\.$-]{0,40}", any::<String>(),]
    }

    proptest! {
        #[test]
        fn a_literal_is_its_own_value_for_any_json(
            literal in "[^$\\\\]{1,12}",
            message in json::tests::any_json(),
        ) {
            prop_assert_eq!(value(&literal, &message), Some(literal));
        }

        #[test]
        fn braces_change_nothing(
            path in "(\\.[a-c]|\\[[0-2]\\]|\\.\\.[a-c]|\\[\\*\\]){0,4}",
            message in any_message(),
        ) {
            let bare = value(&format!("$request.body{path}"), &message);
            prop_assert_eq!(bare, value(&format!("${{request.body{path}}}"), &message));
        }

        #[test]
        fn evaluation_never_panics(text in any::<String>(), message in any_message()) {
            if let Ok(expression) = SelectionExpression::parse(&text) {
                candidate(&expression, &message);
            }
        }

        #[test]
        fn connect_and_disconnect_are_never_looked_up(
            expression_text in prop_oneof![
                Just("$request.body.a"), Just(r"\$connect"), Just(r"\$disconnect"),
                Just("${request.body.a}${request.body.b}"), Just("$request.body"),
            ],
            a in prop_oneof![Just("$connect"), Just("$disconnect"), Just("$"), Just("$dis")],
            b in prop_oneof![Just("connect"), Just(""), Just("disconnect")],
        ) {
            let message = format!(r#"{{"a":"{a}","b":"{b}"}}"#);
            select(&expression(expression_text), &message, |key| -> Option<()> {
                assert!(key != "$connect" && key != "$disconnect", "looked up {key}");
                None
            });
        }

        /// Whether it is found in one pass or in a parsed document, a value is the same.
        #[test]
        fn a_second_variable_sees_what_the_first_saw(
            path in json::tests::any_path(),
            message in any_message(),
        ) {
            let once = value(&format!("${{request.body{path}}}"), &message);
            let parsed = value(&format!("${{request.body..zz}}${{request.body{path}}}"), &message);
            prop_assert_eq!(once, parsed);
        }
    }
}
