//! An integration without a backend (websocket-api, 6.1).

use tidegate_model::PassthroughBehavior;

use super::*;

fn mock(configured: &Configured, occurrence: &Occurrence) -> Result<Reply, Rejected> {
    on(occurrence, |event| compiled(configured).mock(event))
}

/// websocket-api, item 85 and the set of 6.1.
#[test]
fn a_mock_replies_with_its_response_template() {
    let mut configured = with_templates(&[("200", r#"{"statusCode": 200}"#)]);
    configured.template_selection_expression = expression("200");
    let mut response = with_response(
        "$default",
        &[("200", r#"{"statusCode" : 200, "connectionId" : "$context.connectionId"}"#)],
    );
    response.template_selection_expression = expression("200");
    configured.integration_responses = vec![response];
    for occurrence in [connect(), message("ping"), disconnect()] {
        let reply = mock(&configured, &occurrence).unwrap();
        assert_eq!(reply.status, 200);
        assert_eq!(text_of(&reply), r#"{"statusCode" : 200, "connectionId" : "TXzPWdnOjoECGjA="}"#);
    }
}

#[test]
fn the_status_that_the_request_template_gives_picks_the_response() {
    let template = r#"{"statusCode": #if($input.path('$.bad') == true)500#{else}200#end}"#;
    let mut configured = with_templates(&[("application/json", template)]);
    configured.integration_responses =
        vec![with_response("/200/", &[("200", "fine")]), with_response("/500/", &[])];
    let reply = mock(&configured, &message("{}")).unwrap();
    assert_eq!((reply.status, text_of(&reply)), (200, "fine"));
    let reply = mock(&configured, &message(r#"{"bad":true}"#)).unwrap();
    assert_eq!((reply.status, text_of(&reply)), (500, ""), "without a template it is empty");
    configured.integration_responses.clear();
    assert_eq!(mock(&configured, &message("{}")).unwrap().body, "");
}

/// mapping-templates, section 13.
#[test]
fn a_status_is_an_integer_in_leniently_read_json() {
    for (text, status) in [
        (r#"{"statusCode":200}"#, Some(200)),
        ("\n{statusCode: 418,}\n", Some(418)),
        (r#"{"statusCode":599,"more":[1]}"#, Some(599)),
        (r#"{"statusCode":"200"}"#, None),
        (r#"{"statusCode":200.0}"#, None),
        (r#"{"statusCode":99}"#, None),
        (r#"{"statusCode":600}"#, None),
        (r#"{"statusCode":65736}"#, None),
        (r#"{"statusCode":null}"#, None),
        ("{}", None),
        ("200", None),
        ("", None),
    ] {
        assert_eq!(Transformation::mock_status(text.as_bytes()).ok(), status, "{text}");
    }
    assert_eq!(Transformation::mock_status(b"\xff"), Err(Rejected::NoMockStatus));
}

#[test]
fn without_a_request_template_a_mock_fails_and_a_client_cannot_choose_the_status() {
    let refused =
        |configured: &Configured| mock(configured, &message(r#"{"statusCode":200}"#)).unwrap_err();
    let refusal = refused(&Configured::default());
    assert_eq!(refusal, Rejected::NoMockStatus);
    assert_eq!((refusal.status().as_u16(), refusal.fault()), (500, Fault::ApiOwner));
    assert_eq!(refusal.error_message().as_str(), "Internal server error");
    let never =
        Configured { passthrough_behavior: PassthroughBehavior::Never, ..Configured::default() };
    assert_eq!(refused(&never), Rejected::UnsupportedMediaType);
}

/// mapping-templates, item 60.
#[test]
fn a_response_override_in_a_mocks_request_template_is_applied() {
    let template = "#set($context.responseOverride.status = 418)\
                    #set($context.responseOverride.header.A = 'b'){\"statusCode\": 200}";
    let mut configured = with_templates(&[("application/json", template)]);
    for responses in
        [vec![], vec![with_response("/200/", &[])], vec![with_response("/200/", &[("200", "x")])]]
    {
        configured.integration_responses = responses;
        let reply = mock(&configured, &message("{}")).unwrap();
        assert_eq!((reply.status, reply.headers), (418, headers(&[("a", "b")])));
    }
}
