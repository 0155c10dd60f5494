//! Integration responses: which one, which template, what the client gets.

use http::HeaderMap;
use tidegate_model::{ContentHandling, ResponseParameter};

use super::*;

const NONE: &[(&str, &str)] = &[];

fn chosen(responses: Vec<IntegrationResponse>, answered: Answered<'_>) -> String {
    text_of(&respond(responses, answered).unwrap()).to_owned()
}

/// websocket-api, item 86.
#[test]
fn the_status_picks_the_integration_response() {
    let responses = || {
        vec![
            with_response(r"/2\d\d/", &[("$default", "good")]),
            with_response(r"/4\d\d/", &[("$default", "bad")]),
            with_response("$default", &[("$default", "else")]),
        ]
    };
    for (status, expected) in
        [(200, "good"), (204, "good"), (404, "bad"), (500, "else"), (100, "else")]
    {
        assert_eq!(chosen(responses(), (status, NONE, "b", Selector::Status)), expected);
    }
    let reply = respond(responses(), (404, NONE, "b", Selector::Status)).unwrap();
    assert_eq!((reply.status, reply.headers), (404, HeaderMap::new()));
}

/// websocket-api, 2.6: patterns are tried in their order, `$default` last wherever it stands.
#[test]
fn the_first_pattern_that_matches_all_of_the_selector_wins() {
    let responses = || {
        vec![
            with_response("$default", &[("$default", "else")]),
            with_response("/20/", &[("$default", "part")]),
            with_response("/200/", &[("$default", "first")]),
            with_response(r"/2\d\d/", &[("$default", "second")]),
        ]
    };
    assert_eq!(chosen(responses(), (200, NONE, "", Selector::Status)), "first");
    assert_eq!(chosen(responses(), (201, NONE, "", Selector::Status)), "second");
    assert_eq!(chosen(responses(), (301, NONE, "", Selector::Status)), "else");
}

/// websocket-api, 2.6.
#[test]
fn a_functions_error_message_picks_and_success_is_default() {
    let responses = || {
        vec![
            with_response("/not found.*/", &[("$default", "missing")]),
            with_response("/.*/", &[("$default", "any")]),
            with_response("$default", &[("$default", "fine")]),
        ]
    };
    let on = |message| chosen(responses(), (200, NONE, "", Selector::ErrorMessage(message)));
    assert_eq!(on(Some("not found: room")), "missing");
    assert_eq!(on(Some("Not found")), "any");
    assert_eq!(on(Some("two\nlines")), "fine", "a dot matches no newline");
    assert_eq!(on(None), "fine");
}

/// websocket-api, 2.6: a mistake of the configuration.
#[test]
fn an_answer_that_no_integration_response_is_for_is_refused() {
    for selector in
        [Selector::Status, Selector::ErrorMessage(Some("secret")), Selector::ErrorMessage(None)]
    {
        let responses = vec![with_response(r"/4\d\d/", NONE)];
        let refused = respond(responses, (200, NONE, "secret", selector)).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.fault()), (500, Fault::ApiOwner));
        assert_eq!(refused.kind(), "no_integration_response");
        assert_eq!(refused.error_message().as_str(), "Internal server error");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

/// websocket-api, item 88; 2.7.
#[test]
fn without_responses_or_templates_the_backends_body_passes_unchanged() {
    let body = " {\"a\" : 1.00}\n";
    for responses in [Vec::new(), vec![with_response("/200/", NONE)]] {
        let reply = respond(responses, (200, &[("x", "y")], body, Selector::Status)).unwrap();
        assert_eq!((text_of(&reply), reply.status, reply.binary), (body, 200, false));
        assert!(reply.headers.is_empty(), "only what is mapped");
    }
    let templates = vec![with_response("$default", &[("404", "x")])];
    assert_eq!(chosen(templates, (200, NONE, body, Selector::Status)), body);
}

/// websocket-api, item 93.
#[test]
fn without_an_expression_the_template_is_keyed_by_the_status() {
    let responses = || vec![with_response("$default", &[("200", "A"), ("$default", "B")])];
    assert_eq!(chosen(responses(), (200, NONE, "", Selector::Status)), "A");
    assert_eq!(chosen(responses(), (201, NONE, "", Selector::Status)), "B");
}

/// websocket-api, item 92; 2.7.
#[test]
fn an_expression_reads_the_answer_and_the_message_and_no_error_message() {
    let by = |text: &str, key: &str| {
        let mut response = with_response("$default", &[(key, "chosen"), ("$default", "default")]);
        response.template_selection_expression = expression(text);
        let pairs = [("content-type", "application/json"), ("x", "1"), ("x", "2")];
        let error = Selector::ErrorMessage(Some("oops"));
        chosen(vec![response], (200, &pairs, r#"{"errorMessage":"oops"}"#, error))
    };
    assert_eq!(by("$integration.response.body.errorMessage", "oops"), "default");
    assert_eq!(by("$integration.response.header.Content-Type", "application/json"), "chosen");
    assert_eq!(by("$integration.response.statuscode", "200"), "chosen");
    assert_eq!(by("$integration.response.header.x", "2"), "chosen");
    assert_eq!(by("$integration.response.multivalueheader.x", "1,2"), "chosen");
    assert_eq!(by("${request.body.kind}-${integration.response.statuscode}", "k1-200"), "chosen");
    assert_eq!(by("$integration.response.header.nope", ""), "chosen");
    assert_eq!(by("literal", "other"), "default");
}

/// mapping-templates, sections 1 and 10.
#[test]
fn a_response_template_reads_the_backends_body_and_the_clients_request() {
    let template = "$input.path('$.a') $context.status $context.routeKey $stageVariables.env";
    let responses = vec![with_response("$default", &[("$default", template)])];
    assert_eq!(chosen(responses, (404, NONE, r#"{"a":"b"}"#, Selector::Status)), "b 404 join dev");

    let responses =
        vec![with_response("$default", &[("$default", "$input.params('t') $input.body")])];
    let configured = Configured { integration_responses: responses, ..Configured::default() };
    let answer = BackendAnswer {
        status: 200,
        headers: &HeaderMap::new(),
        body: &Bytes::from_static(&[0, 255]),
        binary: false,
        selector: Selector::Status,
        written: &Written::default(),
    };
    let reply = on(&connect(), |event| compiled(&configured).response(event, &answer)).unwrap();
    assert_eq!(text_of(&reply), "q AP8=", "what is no text is base64");
}

#[test]
fn a_response_template_that_cannot_read_the_backends_body_is_no_fault_of_the_client() {
    let responses = vec![with_response("$default", &[("$default", "$input.json('$.a')")])];
    let refused = respond(responses, (200, NONE, "{secret", Selector::Status)).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.fault()), (500, Fault::ApiOwner));
    assert!(refused.to_string().starts_with(
        "integration_responses.\"$default\".response_templates.\"$default\", line 1, column 1: "
    ));
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

/// mapping-templates, item 59.
#[test]
fn a_template_may_override_status_and_headers() {
    let with = |template: &str| {
        let mut response = with_response("$default", &[("$default", template)]);
        response.response_parameters = vec![
            ResponseParameter::parse("route.response.header.Sec-WebSocket-Protocol", "'a'")
                .unwrap(),
        ];
        respond(vec![response], (200, NONE, "{}", Selector::Status)).unwrap()
    };
    let reply = with(
        "#set($context.responseOverride.status = 418)\
         #set($context.responseOverride.header['Sec-WebSocket-Protocol'] = ['b', 'c'])done",
    );
    assert_eq!((reply.status, text_of(&reply)), (418, "done"));
    assert_eq!(reply.headers, headers(&[("sec-websocket-protocol", "b,c")]));
    for ignored in ["'abc'", "'418'", "99", "600", "418.0", "true"] {
        let reply = with(&format!("#set($context.responseOverride.status = {ignored})"));
        assert_eq!(reply.status, 200, "{ignored}");
        assert_eq!(reply.headers, headers(&[("sec-websocket-protocol", "a")]));
    }
    assert_eq!(with("#set($context = 1)x").status, 200);
    assert_eq!(with("#set($context.responseOverride = 1)x").status, 200);
}

#[test]
fn response_parameters_come_from_headers_the_body_and_texts() {
    let value = |source: &str| {
        let mut response = with_response("$default", NONE);
        response.response_parameters =
            vec![ResponseParameter::parse("method.response.header.X", source).unwrap()];
        let answered = (
            200,
            &[("h", "1"), ("h", "2")][..],
            r#"{"a":{"b":"c\r\nd"},"n":null}"#,
            Selector::Status,
        );
        let reply = respond(vec![response], answered).unwrap();
        reply.headers.get("x").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(value("integration.response.header.H").as_deref(), Some("2"));
    assert_eq!(value("integration.response.body.a.b").as_deref(), Some("c  d"));
    assert_eq!(value("'text'").as_deref(), Some("text"));
    assert_eq!(value("integration.response.header.nope"), None);
    assert_eq!(value("integration.response.body.n"), None);
}

/// mapping-templates, item 62.
#[test]
fn what_a_request_template_keeps_is_there_for_the_response_template() {
    let mut configured = with_templates(&[(
        "application/json",
        "#set($context.requestOverride.path.stash = $input.path('$.kind'))\
         #set($context.responseOverride.status = 418)",
    )]);
    let template = "$context.requestOverride.path.stash [$context.responseOverride.status] \
                    #set($context.responseOverride.header.a = 'b')";
    configured.integration_responses = vec![with_response("$default", &[("$default", template)])];
    let transformation = compiled(&configured);
    on(&message(r#"{"kind":"k1"}"#), |event| {
        let request = transformation.request(event).unwrap();
        let answer = BackendAnswer {
            status: 200,
            headers: &HeaderMap::new(),
            body: &Bytes::new(),
            binary: false,
            selector: Selector::Status,
            written: &request.written,
        };
        let reply = transformation.response(event, &answer).unwrap();
        assert_eq!(text_of(&reply), "k1 [] ");
        assert_eq!((reply.status, reply.headers), (200, headers(&[("a", "b")])));
    });
}

/// websocket-api, 6.3.
#[test]
fn content_handling_works_on_the_way_back() {
    let run = |strategy, templates: &[(&str, &str)], body: &'static [u8], binary| {
        let mut response = with_response("$default", templates);
        response.content_handling_strategy = strategy;
        let configured =
            Configured { integration_responses: vec![response], ..Configured::default() };
        let answer = BackendAnswer {
            status: 200,
            headers: &HeaderMap::new(),
            body: &Bytes::from_static(body),
            binary,
            selector: Selector::Status,
            written: &Written::default(),
        };
        on(&message("{}"), |event| compiled(&configured).response(event, &answer))
            .map(|reply| (reply.body, reply.binary))
    };
    let to_binary = Some(ContentHandling::ConvertToBinary);
    let to_text = Some(ContentHandling::ConvertToText);
    assert_eq!(run(to_text, NONE, &[0, 255], false).unwrap(), ("AP8=".into(), false));
    assert_eq!(run(to_text, NONE, b"text", true).unwrap(), ("dGV4dA==".into(), false));
    assert_eq!(run(to_text, NONE, b"text", false).unwrap(), ("text".into(), false));
    assert_eq!(run(to_binary, NONE, b"AP8=", false).unwrap(), (vec![0, 255].into(), true));
    assert_eq!(run(to_binary, NONE, &[0, 255], false).unwrap(), (vec![0, 255].into(), true));
    assert_eq!(run(None, NONE, &[0, 255], false).unwrap(), (vec![0, 255].into(), true));
    let templates = [("$default", "$input.body")];
    assert_eq!(run(to_binary, &templates, &[0, 255], false).unwrap(), (vec![0, 255].into(), true));
    let refused = run(to_binary, NONE, b"secret!", false).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.fault()), (500, Fault::ApiOwner));
    assert_eq!(
        refused.to_string(),
        "integration_responses.\"$default\".content_handling_strategy: \
         what is to become binary is no base64"
    );
}
