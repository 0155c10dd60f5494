//! How expressions are taken apart, and which of them are refused for which purpose.

use proptest::prelude::*;

use super::*;

/// The parts as short text: `'literal'`, `.name`, `[0]`, `query`, `header:NAME`.
fn shape(text: &str) -> String {
    let parsed = SelectionExpression::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let piece = |part: &Part| match part {
        Part::Literal(text) => format!("'{text}'"),
        Part::Variable(Variable::Body(BodyPath::Steps(steps))) => format!("body{steps:?}")
            .replace("Name(\"", "(")
            .replace("Index(", "(")
            .replace("\")", ")"),
        Part::Variable(Variable::Body(BodyPath::Query(path))) => format!("query({path})"),
        Part::Variable(Variable::Header(name)) => format!("header:{name}"),
        Part::Variable(Variable::QueryString(name)) => format!("query:{name}"),
        Part::Variable(other) => format!("{other:?}"),
    };
    parsed.parts().iter().map(piece).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_bare_variable_and_one_in_braces_are_the_same() {
    assert_eq!(shape("$request.body.action"), "body[(action)]");
    assert_eq!(shape("${request.body.action}"), "body[(action)]");
    assert_eq!(shape("$request.body"), "body[]");
}

#[test]
fn variables_and_text_may_be_mixed() {
    assert_eq!(
        shape("${request.body.service}/${request.body.action}"),
        "body[(service)] '/' body[(action)]"
    );
    assert_eq!(shape("a $request.body.b c"), "'a ' body[(b)] ' c'");
    assert_eq!(shape("$request.body.a$request.body.b"), "body[(a)] body[(b)]");
    assert_eq!(shape("${request.body.a}.b"), "body[(a)] '.b'");
}

#[test]
fn an_escaped_dollar_sign_is_text() {
    assert_eq!(shape(r"\$default"), "'$default'");
    assert_eq!(shape(r"a\b\\$c"), r"'a\b\$c'");
    assert_eq!(shape(r"\${x}"), "'${x}'");
}

/// Section 2.1, Decision on where a bare variable ends.
#[test]
fn a_bare_variable_runs_over_hyphens_and_stops_at_a_slash() {
    assert_eq!(shape("$request.body.detail-type/x"), "body[(detail-type)] '/x'");
    assert_eq!(shape("$request.body.items[0].kind"), "body[(items), (0), (kind)]");
    assert_eq!(shape("$request.body['detail-type']"), "body[(detail-type)]");
    assert_eq!(shape(r#"$request.body["a"][-1]"#), "body[(a), (-1)]");
    assert_eq!(shape("$request.body.a}"), "body[(a)] '}'");
}

#[test]
fn a_brace_in_a_quoted_name_does_not_end_the_variable() {
    assert_eq!(shape("${request.body['a}b']}c"), "body[(a}b)] 'c'");
    assert_eq!(shape("${request.body['it\\'s']}"), "body[(it's)]");
    assert_eq!(shape("${request.body[ \"\\u0061\" ]}"), "body[(a)]");
}

#[test]
fn wildcards_slices_filters_and_descents_are_queries() {
    assert_eq!(shape("$request.body.items[*].kind"), "query($.items[*].kind)");
    assert!(shape("$request.body..kind").starts_with("query($.."));
    assert!(shape("$request.body.items[0:2]").starts_with("query($.items[0:2"));
    assert!(shape("${request.body.items[?(@.a == 'b')].c}").starts_with("query("));
}

#[test]
fn a_query_may_hold_names_with_hyphens_too() {
    assert_eq!(shape("$request.body.items[*].a-b"), "query($.items[*]['a-b'])");
    assert_eq!(shape("$request.body..a-b.c"), "query($..['a-b'].c)");
}

#[test]
fn what_starts_no_variable_is_refused() {
    for (text, variable) in [
        ("$default", "default"),
        ("$", ""),
        ("a$ b", ""),
        ("${}", ""),
        ("$request.bodyguard", "request.bodyguard"),
        ("$request.header.", "request.header."),
        ("$request.header.a[0]", "request.header.a[0]"),
        ("$request.path", "request.path"),
        ("$Request.body.a", "Request.body.a"),
        ("$integration.response.body.a", "integration.response.body.a"),
    ] {
        assert_eq!(
            SelectionExpression::parse(text).unwrap_err(),
            InvalidExpression::UnknownVariable { variable: variable.to_owned() },
            "{text}"
        );
    }
}

#[test]
fn an_unclosed_brace_is_refused_with_its_place() {
    let error = SelectionExpression::parse("größe ${request.body.a").unwrap_err();
    assert_eq!(error, InvalidExpression::Unclosed { at: 7 });
    assert_eq!(SelectionExpression::parse("").unwrap_err(), InvalidExpression::Empty);
}

#[test]
fn a_path_that_does_not_parse_is_refused() {
    for text in [
        "$request.body.",
        "$request.body.action.",
        "$request.body[",
        "$request.body.a[b]",
        "$request.body.a[-0]",
        "$request.body.a[01]",
        "$request.body.a[99999999999999999999]",
        "$request.body.a...b",
        "$request.body.length()",
        "${request.body.a b}",
        "$request.body[?((((((((((@.a))))))))))]",
    ] {
        let error = SelectionExpression::parse(text).unwrap_err();
        assert!(matches!(error, InvalidExpression::Path { .. }), "{text}: {error}");
    }
}

#[test]
fn a_route_selection_expression_reads_the_request_only() {
    let check = |text: &str| SelectionExpression::parse(text).unwrap().check_route_selection();
    for good in ["$request.body.a", "$request.header.x-api-key", "$request.querystring.q", "x"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "request.basepath",
        "integration.response.statuscode",
        "integration.response.header.a",
        "integration.response.multivalueheader.a",
        "integration.response.body.errorMessage",
        "context.authorizer.usageIdentifierKey",
    ] {
        let refused = InvalidExpression::NotInRouteSelection { variable: bad.to_owned() };
        assert_eq!(check(&format!("${bad}")), Err(refused.clone()), "{bad}");
        assert_eq!(check(&format!("x-${{{bad}}}")), Err(refused), "{bad}");
    }
}

#[test]
fn a_request_template_is_selected_by_the_message_only() {
    let check = |text: &str| SelectionExpression::parse(text).unwrap().check_template_selection();
    for good in ["$request.body.a", "${request.body.a}-x", "default", r"\$default"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "request.header.a",
        "request.querystring.a",
        "request.basepath",
        "integration.response.statuscode",
        "integration.response.header.a",
        "integration.response.multivalueheader.a",
        "integration.response.body.errorMessage",
        "context.authorizer.usageIdentifierKey",
    ] {
        let refused = InvalidExpression::NotInTemplateSelection { variable: bad.to_owned() };
        assert_eq!(check(&format!("$request.body.a${{{bad}}}")), Err(refused), "{bad}");
    }
}

#[test]
fn a_response_template_is_selected_by_the_message_and_by_the_answer() {
    let check =
        |text: &str| SelectionExpression::parse(text).unwrap().check_response_template_selection();
    for good in [
        "$request.body.a",
        "$integration.response.statuscode",
        "$integration.response.header.Content-Type",
        "$integration.response.multivalueheader.a",
        "$integration.response.body.errorMessage",
        "200",
    ] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "request.header.a",
        "request.querystring.a",
        "request.basepath",
        "context.authorizer.usageIdentifierKey",
    ] {
        let refused =
            InvalidExpression::NotInResponseTemplateSelection { variable: bad.to_owned() };
        assert_eq!(check(&format!("${{{bad}}}")), Err(refused), "{bad}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>(), path in "[.$a\\[\\]()'\"?*@{}:, 0-]{0,24}") {
        let _ = SelectionExpression::parse(&text);
        let _ = SelectionExpression::parse(&format!("${{request.body{path}}}"));
        let _ = SelectionExpression::parse(&format!("$request.body{path}"));
        let _ = BodyPath::parse(&path);
    }

    #[test]
    fn text_without_dollar_signs_is_one_literal(text in "[^$\\\\]{1,20}") {
        let parsed = SelectionExpression::parse(&text).unwrap();
        prop_assert!(matches!(parsed.parts(), [Part::Literal(literal)] if *literal == text));
        prop_assert_eq!(parsed.to_string(), text);
    }

    #[test]
    fn any_name_can_be_written_in_quotes(name in any::<String>()) {
        let quoted = serde_json::to_string(&name).unwrap();
        let parsed = BodyPath::parse(&format!("[{quoted}]")).unwrap();
        let expected = [PathStep::Name(name)];
        prop_assert!(matches!(parsed, BodyPath::Steps(steps) if steps == expected));
    }
}
