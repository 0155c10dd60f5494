use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;
use tidegate_model::{BodyValidation, SelectionExpression};

use super::*;

fn set(models: &[(&str, Value)]) -> Result<ModelSet, Vec<InvalidModel>> {
    let schemas =
        models.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    ModelSet::compile(&schemas)
}

/// The one thing that is wrong with the models.
fn problem(models: &[(&str, Value)]) -> String {
    let problems = set(models).expect_err("something is wrong with them");
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].to_string()
}

fn validator(expression: &str, request: &[(&str, &str)], models: &ModelSet) -> BodyValidator {
    BodyValidator::compile(&validation(expression, request), models).unwrap()
}

fn validation(expression: &str, request: &[(&str, &str)]) -> BodyValidation {
    let pair = |(key, model): &(&str, &str)| ((*key).to_owned(), (*model).to_owned());
    BodyValidation {
        model_selection_expression: SelectionExpression::parse(expression).unwrap(),
        request_models: request.iter().map(pair).collect(),
    }
}

/// A route with one model, `M`.
fn route(models: &[(&str, Value)]) -> BodyValidator {
    validator("default", &[("default", "M")], &set(models).unwrap())
}

/// What is wrong with `message` by the schema; empty if nothing is.
fn wrong(schema: Value, message: &str) -> String {
    match route(&[("M", schema)]).validate(message) {
        Ok(()) => String::new(),
        Err(refused) => refused.detail,
    }
}

fn join() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": "Join",
        "type": "object",
        "required": ["action", "room"],
        "properties": { "action": { "enum": ["join"] }, "room": { "type": "string" } },
        "additionalProperties": false
    })
}

/// websocket-api, section 8 and item 96.
#[test]
fn the_expression_chooses_a_model_and_default_serves_the_rest() {
    let models = set(&[("Join", join()), ("Any", json!({}))]).unwrap();
    let with_default = [("join", "Join"), ("$default", "Any")];
    let route = validator("$request.body.action", &with_default, &models);
    assert_eq!(route.validate(r#"{"action":"join","room":"r"}"#), Ok(()));
    assert!(route.validate(r#"{"action":"join"}"#).is_err());
    assert_eq!(route.validate(r#"{"action":"leave"}"#), Ok(()));
    assert_eq!(route.validate("[]"), Ok(()));
    let without = validator("$request.body.action", &[("join", "Join")], &models);
    let refused = without.validate(r#"{"action":"leave"}"#).unwrap_err();
    assert_eq!(refused.detail, "[no model is for the message]");
}

/// websocket-api, section 8: a literal selects that key.
#[test]
fn a_literal_selects_its_key_for_each_message() {
    let route = route(&[("M", json!({ "type": "object" }))]);
    assert_eq!(route.validate("{}"), Ok(()));
    assert!(route.validate("1").is_err());
}

/// websocket-api, section 8: non-JSON fails, and so does what only route selection tolerates.
#[test]
fn a_message_that_is_not_json_is_not_taken() {
    let route = route(&[("M", json!({}))]);
    for message in ["", "hi", "{", "{action:'join'}", "{'a':1}"] {
        let refused = route.validate(message).unwrap_err();
        assert_eq!(refused.detail, "[the message is not JSON]", "{message}");
    }
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert!(route.validate(&deep).is_err());
}

#[test]
fn a_route_that_names_an_unknown_model_does_not_compile() {
    let models = set(&[("Join", join())]).unwrap();
    let request = [("a", "Join"), ("b", "Leave"), ("$default", "None")];
    let unknown = BodyValidator::compile(&validation("x", &request), &models).unwrap_err();
    let texts: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "request_models: `$default`: the api has no model `None`",
            "request_models: `b`: the api has no model `Leave`"
        ]
    );
}

#[test]
fn what_is_wrong_is_said_by_place_and_without_values() {
    assert_eq!(wrong(join(), r#"{"action":"join"}"#), "[/room is missing]");
    assert_eq!(
        wrong(join(), r#"{"action":"secret","room":1,"pass":"word"}"#),
        "[/action is none of the values of enum, /room must be string, /pass is not allowed]"
    );
    assert_eq!(
        wrong(json!({ "type": ["object", "null"] }), "7"),
        "[the message must be null or object]"
    );
    let list = json!({ "items": { "minimum": 3, "multipleOf": 2 }, "maxItems": 2 });
    assert_eq!(
        wrong(list, "[1, 4, 5]"),
        "[the message has more items than 2, /0 is less than 3, /0 is no multiple of 2, /2 is no multiple of 2]"
    );
    for (schema, message, expected) in [
        (json!({ "pattern": "^a+$" }), "\"b\"", "does not match the pattern"),
        (json!({ "minLength": 3 }), "\"äö\"", "has fewer characters than 3"),
        (json!({ "format": "date-time" }), "\"secret\"", "is not of the format date-time"),
        (json!({ "maximum": 3, "exclusiveMaximum": true }), "3", "is not less than 3"),
        (json!({ "uniqueItems": true }), "[1, 1]", "has two equal items"),
        (
            json!({ "anyOf": [{ "type": "null" }, { "type": "array" }] }),
            "1",
            "matches no schema of anyOf",
        ),
        (json!({ "oneOf": [{}, {}] }), "1", "matches more than one schema of oneOf"),
        (json!({ "not": {} }), "1", "matches the schema of not"),
        (json!({ "additionalProperties": false }), r#"{"a":1}"#, "has more than the schema allows"),
        (json!({ "minProperties": 2 }), r#"{"a":1}"#, "has fewer properties than 2"),
        (json!({ "dependencies": { "a": ["b"] } }), r#"{"a":1}"#, "/b is missing"),
    ] {
        let sentence = if expected.starts_with('/') {
            format!("[{expected}]")
        } else {
            format!("[the message {expected}]")
        };
        assert_eq!(wrong(schema, message), sentence);
    }
}

#[test]
fn what_is_wrong_fits_in_a_kilobyte_and_between_quotes() {
    let closed = json!({ "properties": { "a": {} }, "additionalProperties": false });
    let members: Vec<_> =
        (0..500).map(|n| format!("\"{n}\\\"\\\\\\n{}\":1", "ä".repeat(200))).collect();
    let detail = wrong(closed, &format!("{{{}}}", members.join(",")));
    assert!(detail.len() <= 1024, "{}", detail.len());
    assert!(detail.ends_with(", and more]"), "{detail}");
    assert!(!detail.contains(['"', '\\', '\n']), "{detail}");
}

#[test]
fn models_refer_to_each_other_in_each_of_the_three_ways() {
    let item = json!({ "type": "integer", "definitions": { "small": { "maximum": 9 } } });
    let amazon = "https://apigateway.amazonaws.com/restapis";
    for reference in [
        "Item".to_owned(),
        "Item#".to_owned(),
        format!("{amazon}/abc123/models/Item"),
        format!("{amazon}/other/models/Item#/definitions/small"),
        "Item#/definitions/small".to_owned(),
        "#/definitions/a~1b%20c".to_owned(),
    ] {
        let models = [
            ("Item", item.clone()),
            (
                "M",
                json!({
                    "id": "http://example.com/elsewhere",
                    "definitions": { "a/b c": { "$ref": "Item" } },
                    "properties": { "x": { "$ref": reference } }
                }),
            ),
        ];
        let route = route(&models);
        assert_eq!(route.validate(r#"{"x":5}"#), Ok(()), "{reference}");
        let bad = if reference.contains("small") { "10" } else { "\"t\"" };
        assert!(route.validate(&format!(r#"{{"x":{bad}}}"#)).is_err(), "{reference}");
    }
}

#[test]
fn a_reference_that_leads_nowhere_does_not_compile() {
    for (reference, expected) in [
        ("Nope", "model `M`: /items: `$ref` to `Nope`: the api has no such model"),
        (
            "https://apigateway.amazonaws.com/restapis/a/models/Nope",
            "model `M`: /items: `$ref` to `https://apigateway.amazonaws.com/restapis/a/models/Nope`: \
             the api has no such model",
        ),
        (
            "#/definitions/no",
            "model `M`: /items: `$ref`: model `M` has no schema at /definitions/no",
        ),
        (
            "http://127.0.0.1:1/x.json",
            "model `M`: /items: `$ref` to `http://127.0.0.1:1/x.json`: only models of the same api \
             can be referred to, and nothing is fetched",
        ),
        (
            "file:///etc/passwd",
            "model `M`: /items: `$ref` to `file:///etc/passwd`: only models of \
          the same api can be referred to, and nothing is fetched",
        ),
        (
            "#anchor",
            "model `M`: /items: `$ref` to `#anchor`: after `#` comes a pointer such as \
          /definitions/item",
        ),
    ] {
        assert_eq!(problem(&[("M", json!({ "items": { "$ref": reference } }))]), expected);
    }
    // Not only where it is used.
    problem(&[("M", json!({ "definitions": { "a": { "not": { "$ref": "Nope" } } } }))]);
}

#[test]
fn words_that_look_like_references_but_are_data_are_left_alone() {
    let schema = json!({
        "properties": { "$ref": { "type": "string" }, "id": { "type": "integer" } },
        "enum": [{ "$ref": "Nope", "id": 1 }]
    });
    assert_eq!(wrong(schema, r#"{"$ref":"Nope","id":1}"#), "");
}

#[test]
fn a_schema_that_draft_4_does_not_admit_does_not_compile() {
    assert!(problem(&[("M", json!(1))]).starts_with("model `M`: the schema: "));
    let text = problem(&[("M", json!({ "properties": { "a": { "type": "strnig" } } }))]);
    assert!(text.starts_with("model `M`: /properties/a/type: "), "{text}");
    // Draft 3's way, which many still write.
    problem(&[("M", json!({ "properties": { "a": { "required": true } } }))]);
    let both = [("A", json!({ "type": 1 })), ("B", json!({ "minimum": "x" })), ("C", json!({}))];
    assert_eq!(set(&both).unwrap_err().len(), 2);
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "not": deep });
    }
    assert_eq!(problem(&[("M", deep)]), "model `M`: is nested deeper than 128");
}

#[test]
fn a_pattern_that_could_backtrack_does_not_compile_and_others_are_linear() {
    for pattern in ["(?=a)b", r"(a)\1", "^(?!x).*$", "(?:a{1000}){1000}", "[a-z"] {
        let inner = json!({ "properties": { "a": { "pattern": pattern } } });
        // The one at fault is named, and once, whoever refers to it.
        let text = problem(&[("Inner", inner), ("M", json!({ "items": { "$ref": "Inner" } }))]);
        assert!(text.starts_with("model `Inner`: /properties/a/pattern: "), "{text}");
    }
    let keyed = json!({ "patternProperties": { "(?=a)b": {} } });
    assert!(problem(&[("M", keyed)]).contains("no regular expression"), "a key is one too");
    let start = Instant::now();
    let message = format!("\"{}b\"", "a".repeat(100_000));
    assert!(!wrong(json!({ "pattern": "^(a+)+$" }), &message).is_empty());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_schema_may_contain_itself_and_the_message_bounds_it() {
    let tree = json!({
        "type": "object",
        "required": ["name"],
        "properties": { "children": { "items": { "$ref": "M" } } }
    });
    assert_eq!(wrong(tree.clone(), r#"{"name":1,"children":[{"name":2,"children":[]}]}"#), "");
    assert_eq!(
        wrong(tree, r#"{"name":1,"children":[{"children":[]}]}"#),
        "[the message does not match the model]"
    );
}

/// Each level of the message could double the work: the verdict does not let it, and nothing is
/// said of why.
#[test]
fn a_schema_that_branches_into_itself_is_quick_on_a_deep_message() {
    let schema = json!({ "anyOf": [
        { "required": ["x"], "properties": { "a": { "$ref": "#" } } },
        { "required": ["y"], "properties": { "a": { "$ref": "#" } } }
    ] });
    let levels = 120;
    let message = format!("{}{{}}{}", r#"{"x":1,"y":1,"a":"#.repeat(levels), "}".repeat(levels));
    let start = Instant::now();
    assert!(!wrong(schema, &message).is_empty());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn a_circle_that_never_goes_into_the_value_does_not_compile() {
    let text = problem(&[("M", json!({ "$ref": "#" }))]);
    assert!(
        text.ends_with("refers to itself in a circle that never goes into the value"),
        "{text}"
    );
    let pair = [
        ("A", json!({ "allOf": [{ "$ref": "B" }] })),
        ("B", json!({ "not": { "$ref": "A" } })),
        ("C", json!({ "items": { "$ref": "C" } })),
    ];
    assert_eq!(set(&pair).unwrap_err().len(), 2);
}

#[test]
fn references_that_double_with_each_step_do_not_compile() {
    let chain = |length: usize, twice: bool| {
        let mut definitions = Map::new();
        for step in 0..length {
            let next = json!({ "$ref": format!("#/definitions/d{}", step + 1) });
            let all = if twice { json!([next, next]) } else { json!([next]) };
            definitions.insert(format!("d{step}"), json!({ "allOf": all }));
        }
        definitions.insert(format!("d{length}"), json!({}));
        json!({ "definitions": definitions, "$ref": "#/definitions/d0" })
    };
    assert!(problem(&[("M", chain(40, true))]).contains("too much"));
    assert!(
        problem(&[("M", chain(50_000, false))]).contains("too much"),
        "and no stack is used up"
    );
    assert_eq!(wrong(chain(5, true), "1"), "");
}

/// The deepest check that is let through, on the deepest message, in a thread like a core's.
#[test]
fn the_deepest_check_fits_a_threads_stack() {
    let mut schema = json!({ "items": { "$ref": "#" } });
    for step in 0..14 {
        let keyword = ["anyOf", "allOf", "oneOf"][step % 3];
        schema = json!({ keyword: [schema] });
    }
    let route = route(&[("M", schema)]);
    let message = format!("{}1{}", "[".repeat(127), "]".repeat(127));
    std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || assert_eq!(route.validate(&message), Ok(())))
        .unwrap()
        .join()
        .expect("the stack is large enough");
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!({ "type": "string", "maxLength": 2, "pattern": "^[a-c]+$" })),
        Just(json!({ "type": ["integer", "null"], "minimum": -5, "multipleOf": 2 })),
        Just(json!({ "enum": [null, "a", 1, [], {}] })),
        Just(json!({ "$ref": "Other" })),
        Just(json!({ "$ref": "#" })),
        Just(json!({ "format": "email" })),
        Just(json!({ "required": ["a", "b"], "maxProperties": 2 })),
        Just(json!({ "uniqueItems": true, "maxItems": 3 })),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({
                "properties": { "a": a }, "additionalProperties": b, "required": ["a"]
            })),
            inner.clone().prop_map(|schema| json!({ "items": schema })),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "anyOf": all })),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "oneOf": all })),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({
                "not": a, "dependencies": { "a": b, "b": ["c"] }
            })),
            (inner.clone(), inner).prop_map(|(a, b)| json!({
                "patternProperties": { "^a": a }, "items": [b], "additionalItems": false
            })),
        ]
    })
}

proptest! {
    #[test]
    fn the_empty_schema_takes_each_json_message(message in crate::json::tests::any_json()) {
        // What the tree of values cannot hold, numbers and lone surrogates, is tested elsewhere.
        prop_assume!(serde_json::from_str::<Value>(&message).is_ok());
        prop_assert_eq!(route(&[("M", json!({}))]).validate(&message), Ok(()));
    }

    #[test]
    fn validation_never_panics_and_says_little(
        schema in any_schema(),
        message in prop_oneof![4 => crate::json::tests::any_json(), 1 => any::<String>()],
    ) {
        let other = json!({ "type": "object", "properties": { "a": { "$ref": "M" } } });
        if let Ok(models) = set(&[("M", schema), ("Other", other)])
            && let Err(refused) = validator("x", &[("x", "M")], &models).validate(&message)
        {
            prop_assert!(refused.detail.len() <= 1024);
            prop_assert!(refused.detail.starts_with('[') && refused.detail.ends_with(']'));
            prop_assert!(!refused.detail.contains(['"', '\\']));
            prop_assert!(refused.detail.len() > 2, "something is said");
        }
    }

    /// The second look, which only explains, agrees with the verdict.
    #[test]
    fn what_is_taken_has_nothing_to_explain(
        schema in any_schema(),
        message in crate::json::tests::any_json(),
    ) {
        let (Ok(models), Ok(body)) =
            (set(&[("M", schema), ("Other", json!({}))]), serde_json::from_str::<Value>(&message))
        else {
            return Ok(());
        };
        let model = models.get("M").expect("it compiled");
        prop_assume!(model.schemas_in_all.is_some());
        let explained = model.validator.iter_errors(&body).next().is_some();
        prop_assert_eq!(model.validator.is_valid(&body), !explained);
    }

    #[test]
    fn compiling_never_panics(schema in crate::json::tests::any_json()) {
        if let Ok(schema) = serde_json::from_str::<Value>(&schema) {
            let _ = set(&[("M", schema)]);
        }
    }
}
