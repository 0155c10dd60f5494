//! What a policy lets happen, by example and by property.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Decision::*, *};

const CONNECT: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod/$connect";
const STAGE: &str = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3d4e5/prod";

/// A connect to `prod` from 203.0.113.7, at 2026-11-22T11:59:53Z.
fn request() -> AccessRequest<'static> {
    AccessRequest {
        action: "execute-api:Invoke",
        resource: CONNECT,
        alias: None,
        source_ip: [203, 0, 113, 7].into(),
        secure_transport: true,
        user_agent: Some("Mozilla/5.0"),
        referer: None,
        principal: None,
        now_s: 1_795_348_793,
    }
}

fn policy(statements: &[Value]) -> PolicyDocument {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    PolicyDocument::from_json(&document).unwrap_or_else(|err| panic!("{document}: {err}"))
}

fn statement(effect: &str, action: &str, resource: &str) -> Value {
    json!({"Effect": effect, "Action": action, "Resource": resource})
}

fn decide(statements: &[Value]) -> Decision {
    evaluate(&policy(statements), &request())
}

/// What one statement with these elements beside its effect says.
fn allows_with(elements: Value) -> bool {
    let mut statement = statement("Allow", "*", "*");
    for (name, value) in elements.as_object().unwrap() {
        let opposite = name.strip_prefix("Not").unwrap_or(name);
        statement.as_object_mut().unwrap().remove(opposite);
        statement[name] = value.clone();
    }
    decide(&[statement]).is_allowed()
}

fn allows_if(condition: Value) -> bool {
    allows_with(json!({"Condition": condition}))
}

#[test]
fn without_a_statement_that_applies_nothing_is_allowed() {
    assert_eq!(decide(&[]), NoMatch);
    assert_eq!(decide(&[statement("Allow", "execute-api:ManageConnections", "*")]), NoMatch);
    assert_eq!(decide(&[statement("Deny", "s3:*", "*")]), NoMatch);
    assert!(!NoMatch.is_allowed() && !Deny.is_allowed() && Allow.is_allowed());
}

/// websocket-api, item 100: one slash too many.
#[test]
fn a_resource_of_two_more_parts_than_connect_has_does_not_match_it() {
    for (resource, decision) in [
        (CONNECT.to_owned(), Allow),
        (format!("{STAGE}/*"), Allow),
        (format!("{STAGE}/*/*"), NoMatch),
        (format!("{STAGE}/$default"), NoMatch),
        (format!("{STAGE}/$CONNECT"), NoMatch),
        (format!("{STAGE}/$connec?"), Allow),
        (format!("{STAGE}/$connect?"), NoMatch),
        ("*".to_owned(), Allow),
        ("arn:aws:execute-api:*".to_owned(), Allow),
        ("arn:aws:execute-api:*:*:*/prod/*".to_owned(), Allow),
        ("arn:aws:execute-api:eu-west-1:*/$connect".to_owned(), Allow),
        ("arn:aws:execute-api:*:*:other/*".to_owned(), NoMatch),
        (STAGE.to_owned(), NoMatch),
        (String::new(), NoMatch),
    ] {
        let decided = decide(&[statement("Allow", "execute-api:Invoke", &resource)]);
        assert_eq!(decided, decision, "{resource}");
    }
}

#[test]
fn actions_match_in_any_case_and_resources_do_not() {
    for action in ["EXECUTE-API:invoke", "execute-api:*", "execute-api:Inv?ke", "*", "*:Invoke"] {
        assert_eq!(decide(&[statement("Allow", action, CONNECT)]), Allow, "{action}");
    }
    for action in ["execute-api", "execute-api:Invoke2", "lambda:Invoke", "execute-api:manage*"] {
        assert_eq!(decide(&[statement("Allow", action, CONNECT)]), NoMatch, "{action}");
    }
    let upper = CONNECT.to_ascii_uppercase();
    assert_eq!(decide(&[statement("Allow", "*", &upper)]), NoMatch);
}

#[test]
fn the_opposites_apply_to_what_is_not_listed() {
    assert!(allows_with(json!({"NotAction": ["s3:*", "lambda:*"]})));
    assert!(!allows_with(json!({"NotAction": ["s3:*", "execute-api:*"]})));
    assert!(allows_with(json!({"NotResource": [format!("{STAGE}/$default")]})));
    assert!(!allows_with(json!({"NotResource": ["x", format!("{STAGE}/*")]})));
}

/// websocket-api, 9.4.
#[test]
fn a_condition_on_the_source_address_holds_or_not() {
    assert!(allows_if(json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}})));
    assert!(allows_if(json!({"IpAddress": {"AWS:sourceIP": ["10.0.0.0/8", "203.0.113.7"]}})));
    assert!(!allows_if(json!({"IpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::/0"]}})));
    assert!(allows_if(json!({"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "::/0"]}})));
    assert!(!allows_if(json!({"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"]}})));
    let mut mapped = request();
    mapped.source_ip = "::ffff:203.0.113.7".parse().unwrap();
    let block = json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}});
    let policy =
        policy(&[json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": block})]);
    assert_eq!(evaluate(&policy, &mapped), Allow);
}

#[test]
fn each_kind_of_condition_asks_its_question() {
    for (holds, condition) in [
        (true, json!({"StringEquals": {"aws:UserAgent": ["x", "Mozilla/5.0"]}})),
        (false, json!({"StringEquals": {"aws:UserAgent": "mozilla/5.0"}})),
        (false, json!({"StringEquals": {"aws:UserAgent": "Mozilla/*"}})),
        (true, json!({"StringEqualsIgnoreCase": {"aws:UserAgent": "mozilla/5.0"}})),
        (false, json!({"StringNotEqualsIgnoreCase": {"aws:UserAgent": "mozilla/5.0"}})),
        (true, json!({"StringLike": {"aws:UserAgent": "Mozilla/*"}})),
        (false, json!({"StringNotLike": {"aws:UserAgent": ["x", "Mozilla/*"]}})),
        (true, json!({"StringNotEquals": {"aws:UserAgent": ["x", "y"]}})),
        (true, json!({"Bool": {"aws:SecureTransport": "true"}})),
        (false, json!({"Bool": {"aws:SecureTransport": false}})),
        (false, json!({"Bool": {"aws:UserAgent": "true"}})),
        (true, json!({"DateGreaterThan": {"aws:CurrentTime": "2026-11-22T11:59:52Z"}})),
        (false, json!({"DateGreaterThan": {"aws:CurrentTime": "2026-11-22T11:59:53Z"}})),
        (true, json!({"DateGreaterThanEquals": {"aws:CurrentTime": "2026-11-22T11:59:53Z"}})),
        (true, json!({"DateLessThan": {"aws:EpochTime": 1_795_348_794}})),
        (true, json!({"DateEquals": {"aws:EpochTime": "2026-11-22T11:59:53Z"}})),
        (false, json!({"DateNotEquals": {"aws:EpochTime": "2026-11-22T11:59:53Z"}})),
        (false, json!({"DateLessThan": {"aws:UserAgent": "2026-11-22"}})),
        (true, json!({"NumericLessThanEquals": {"aws:EpochTime": 1_795_348_793}})),
        (false, json!({"NumericLessThan": {"aws:EpochTime": [1, 2]}})),
        (true, json!({"NumericGreaterThan": {"aws:EpochTime": [1, 9e15]}})),
        (true, json!({"NumericNotEquals": {"aws:EpochTime": [1, 2]}})),
        (false, json!({"NumericEquals": {"aws:UserAgent": 5}})),
        (true, json!({"Null": {"aws:Referer": "true"}})),
        (false, json!({"Null": {"aws:Referer": "false"}})),
        (true, json!({"Null": {"aws:UserAgent": false}})),
        // All conditions must hold, those of one operator and of several.
        (false, json!({"StringLike": {"aws:UserAgent": "Mozilla/*", "aws:Referer": "*"}})),
        (false, json!({"Null": {"aws:Referer": true}, "Bool": {"aws:SecureTransport": "false"}})),
        (true, json!({"StringLike": {}})),
    ] {
        assert_eq!(allows_if(condition.clone()), holds, "{condition}");
    }
}

/// IAM user guide, "Condition operators": the negated ones hold without the key.
#[test]
fn a_fact_that_is_not_known_fits_nothing() {
    for (holds, operator) in [
        (false, "StringEquals"),
        (false, "StringLike"),
        (true, "StringNotEquals"),
        (true, "StringEqualsIfExists"),
        (true, "ForAllValues:StringLike"),
        (false, "ForAnyValue:StringLike"),
        (false, "ForAnyValue:StringNotLike"),
    ] {
        for key in ["aws:Referer", "aws:SourceVpc", "aws:username", "execute-api:anything"] {
            assert_eq!(allows_if(json!({operator: {key: "*"}})), holds, "{operator} {key}");
        }
    }
    assert!(allows_if(json!({"ForAnyValue:StringLike": {"aws:UserAgent": "Moz*"}})));
    assert!(!allows_if(json!({"StringLikeIfExists": {"aws:UserAgent": "Opera*"}})));
    assert!(!allows_if(json!({"ForAllValues:StringLike": {"aws:UserAgent": "Opera*"}})));
}

fn principal() -> IamFacts {
    IamFacts {
        access_key: "AKIDEXAMPLE".to_owned(),
        account_id: "123456789012".to_owned(),
        user: "ann*".to_owned(),
        user_arn: "arn:aws:iam::123456789012:user/ann*".to_owned(),
    }
}

#[test]
fn conditions_see_whose_signature_it_was() {
    let principal = principal();
    let request = AccessRequest { principal: Some(&principal), ..request() };
    for (holds, condition) in [
        (true, json!({"StringEquals": {"aws:username": "ann*"}})),
        (true, json!({"StringEquals": {"aws:PrincipalAccount": "123456789012"}})),
        (true, json!({"StringEquals": {"aws:PrincipalType": "User"}})),
        (true, json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}})),
        (false, json!({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam*:user/*"}})),
        (true, json!({"ArnLike": {"aws:PrincipalArn": "*"}})),
        (false, json!({"ArnLike": {"aws:PrincipalArn": "arn:*"}})),
        (true, json!({"ArnEquals": {"aws:PrincipalArn": "arn:*:iam::123456789012:user/ann?"}})),
        (false, json!({"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/*"}})),
        (true, json!({"ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"}})),
    ] {
        let statement =
            json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition});
        assert_eq!(evaluate(&policy(&[statement]), &request).is_allowed(), holds, "{condition}");
    }
}

/// A name with a star in it must not open what belongs to others.
#[test]
fn what_a_variable_stands_for_is_text_and_no_pattern() {
    let principal = principal();
    let at = |resource| AccessRequest { principal: Some(&principal), resource, ..request() };
    let own = policy(&[statement("Allow", "*", "rooms/${aws:username}/*")]);
    assert_eq!(evaluate(&own, &at("rooms/ann*/1")), Allow);
    assert_eq!(evaluate(&own, &at("rooms/annabel/1")), NoMatch);
    let literal = policy(&[statement("Allow", "*", "rooms/${*}")]);
    assert_eq!(evaluate(&literal, &at("rooms/*")), Allow);
    assert_eq!(evaluate(&literal, &at("rooms/a")), NoMatch);
    let condition = json!({"StringEquals": {"aws:username": "${aws:username}"}});
    let same = json!({"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition});
    assert_eq!(evaluate(&policy(&[same]), &at("r")), Allow);
}

#[test]
fn a_variable_without_a_value_makes_no_allow_wider() {
    let unknown = "rooms/${aws:username}";
    assert!(!allows_with(json!({"Resource": [unknown]})));
    assert!(allows_with(json!({"Resource": [unknown, CONNECT]})));
    assert!(!allows_with(json!({"NotResource": [unknown]})));
    assert!(!allows_if(json!({"StringNotEquals": {"aws:UserAgent": "${aws:username}"}})));
    let deny = |name: &str| {
        let mut denied = json!({"Effect": "Deny", "Action": "*"});
        denied[name] = json!(unknown);
        decide(&[denied, statement("Allow", "*", "*")])
    };
    assert_eq!(deny("Resource"), Allow);
    assert_eq!(deny("NotResource"), Deny);
    assert!(!allows_with(json!({"Resource": "rooms/${aws:username, 'guest'}"})));
    let guest = AccessRequest { resource: "rooms/guest", ..request() };
    let policy = policy(&[statement("Allow", "*", "rooms/${aws:username, 'guest'}")]);
    assert_eq!(evaluate(&policy, &guest), Allow);
}

#[test]
fn an_alias_is_as_good_as_the_name_itself() {
    let request = AccessRequest { resource: "posts/1", alias: Some("posts"), ..request() };
    let decide = |statement| evaluate(&policy(&[statement]), &request);
    for resource in ["posts/1", "posts", "posts/*"] {
        assert_eq!(decide(statement("Allow", "*", resource)), Allow);
        assert_eq!(decide(statement("Deny", "*", resource)), Deny);
        let but = json!({"Effect": "Allow", "Action": "*", "NotResource": resource});
        assert_eq!(decide(but), NoMatch);
    }
    assert_eq!(decide(statement("Allow", "*", "posts/2")), NoMatch);
}

/// An exponential matcher would not come back from these.
#[test]
fn a_pattern_of_many_runs_is_matched_in_no_time() {
    let text = "a".repeat(2_000);
    for pattern in [format!("{}b", "*a".repeat(2_000)), format!("{}b", "a*?".repeat(1_000))] {
        let policy = policy(&[statement("Allow", "*", &pattern)]);
        assert_eq!(evaluate(&policy, &AccessRequest { resource: &text, ..request() }), NoMatch);
    }
}

/// The plain definition, which takes exponential time.
fn matches_slowly(pattern: &[char], text: &[char]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=text.len()).any(|taken| matches_slowly(rest, &text[taken..])),
        (['?', rest @ ..], [_, behind @ ..]) => matches_slowly(rest, behind),
        ([wanted, rest @ ..], [character, behind @ ..]) => {
            wanted == character && matches_slowly(rest, behind)
        }
        _ => false,
    }
}

/// Statements of which some apply to `request()` and some do not.
fn any_statement() -> impl Strategy<Value = Value> {
    let effect = prop::sample::select(vec!["Allow", "Deny"]);
    let action = prop::sample::select(vec!["*", "execute-api:*", "EXECUTE-API:INVOKE", "s3:*"]);
    let resource = prop::sample::select(vec!["*", CONNECT, STAGE, "arn:*", "*/*/*/$connect"]);
    let condition = prop::sample::select(vec![
        json!({}),
        json!({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}),
        json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        json!({"StringEquals": {"aws:username": "ann"}}),
        json!({"StringNotEquals": {"aws:username": "ann"}}),
    ]);
    (effect, action, resource, condition).prop_map(|(effect, action, resource, condition)| {
        let mut statement = statement(effect, action, resource);
        statement["Condition"] = condition;
        statement
    })
}

proptest! {
    #[test]
    fn an_explicit_deny_wins_whatever_the_order(
        statements in prop::collection::vec(any_statement(), 0..8).prop_shuffle(),
    ) {
        let alone: Vec<_> =
            statements.iter().map(|statement| decide(std::slice::from_ref(statement))).collect();
        let expected = if alone.contains(&Deny) {
            Deny
        } else if alone.contains(&Allow) {
            Allow
        } else {
            NoMatch
        };
        prop_assert_eq!(decide(&statements), expected);
        let backwards: Vec<_> = statements.into_iter().rev().collect();
        prop_assert_eq!(decide(&backwards), expected);
    }

    #[test]
    fn an_allow_more_never_removes_a_deny(
        mut statements in prop::collection::vec(any_statement(), 0..6),
        mut added in any_statement(),
        at in any::<prop::sample::Index>(),
    ) {
        added["Effect"] = json!("Allow");
        let before = decide(&statements);
        statements.insert(at.index(statements.len() + 1), added);
        let after = decide(&statements);
        prop_assert_eq!(before == Deny, after == Deny);
        prop_assert!(before != Allow || after == Allow);
    }

    #[test]
    fn text_without_wildcards_matches_itself_only(
        text in "[^*?$]{0,12}", other in prop_oneof!["[^*?$]{0,12}", ".*"],
    ) {
        let policy = policy(&[statement("Allow", "*", &text)]);
        let allowed = |resource| {
            evaluate(&policy, &AccessRequest { resource, ..request() }).is_allowed()
        };
        prop_assert!(allowed(&text));
        prop_assert_eq!(allowed(&other), text == other);
        let (longer, twice) = (format!("{text}x"), format!("x{text}"));
        prop_assert!(!allowed(&longer) && !allowed(&twice));
    }

    #[test]
    fn patterns_match_as_their_definition_says(pattern in "[ab*?é]{0,9}", text in "[abé]{0,9}") {
        let policy = policy(&[statement("Allow", "*", &pattern)]);
        let decided = evaluate(&policy, &AccessRequest { resource: &text, ..request() });
        let characters = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = matches_slowly(&characters(&pattern), &characters(&text));
        prop_assert_eq!(decided.is_allowed(), expected);
    }

    #[test]
    fn a_stages_resource_with_two_stars_behind_it_is_no_connect(
        stage in "[a-zA-Z0-9_-]{1,16}", api in "[a-z0-9]{1,10}",
    ) {
        let resource = format!("arn:aws:execute-api:eu-west-1:123456789012:{api}/{stage}/$connect");
        let decide = |tail: &str| {
            let pattern = resource.replace("$connect", tail);
            let policy = policy(&[statement("Allow", "execute-api:Invoke", &pattern)]);
            evaluate(&policy, &AccessRequest { resource: &resource, ..request() })
        };
        prop_assert_eq!(decide("*/*"), NoMatch);
        prop_assert_eq!(decide("*"), Allow);
    }
}
