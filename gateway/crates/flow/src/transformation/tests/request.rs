//! Request templates: which one, what it reads, what it overrides.

use tidegate_model::{ContentHandling, PassthroughBehavior};

use super::*;

/// websocket-api, item 91.
#[test]
fn without_an_expression_the_template_of_application_json_is_for_all_three_events() {
    let template = "$context.eventType $context.routeKey";
    let configured = with_templates(&[("application/json", template), ("$default", "no")]);
    for (occurrence, expected) in [
        (connect(), "CONNECT $connect"),
        (message("{}"), "MESSAGE join"),
        (disconnect(), "DISCONNECT $disconnect"),
    ] {
        assert_eq!(request(&configured, &occurrence).unwrap(), expected);
    }
}

/// websocket-api, item 90; 2.5.
#[test]
fn an_expression_that_is_a_literal_is_the_key_and_else_the_default_is_used() {
    let chosen = |text: &str, pairs: &[(&str, &str)]| {
        let mut configured = with_templates(pairs);
        configured.template_selection_expression = expression(text);
        request(&configured, &message("hi")).unwrap()
    };
    assert_eq!(chosen("200", &[("200", "A"), ("$default", "B")]), "A");
    assert_eq!(chosen("default", &[("$default", "B")]), "B");
    assert_eq!(chosen("default", &[("default", "A"), ("$default", "B")]), "A");
    assert_eq!(chosen(r"\$default", &[("default", "A"), ("$default", "B")]), "B");
    assert_eq!(chosen("x", &[("application/json", "A")]), "hi", "no match passes");
}

#[test]
fn an_expression_reads_the_message_and_nothing_where_there_is_none() {
    let mut configured = with_templates(&[("join", "J"), ("join-", "E"), ("$default", "D")]);
    configured.template_selection_expression = expression("$request.body.action");
    let chosen = |configured: &Configured, occurrence| request(configured, &occurrence).unwrap();
    assert_eq!(chosen(&configured, message(r#"{"action":"join"}"#)), "J");
    assert_eq!(chosen(&configured, message("{action:'join'}")), "J");
    assert_eq!(chosen(&configured, message(r#"{"action":"leave"}"#)), "D");
    assert_eq!(chosen(&configured, message("no json")), "D");
    assert_eq!(chosen(&configured, binary(br#"{"action":"join"}"#)), "D");
    assert_eq!(chosen(&configured, connect()), "D");
    configured.template_selection_expression = expression("join-$request.body.action");
    assert_eq!(chosen(&configured, disconnect()), "E");
}

/// websocket-api, item 94; 2.5.
#[test]
fn without_a_template_passthrough_behavior_decides() {
    use PassthroughBehavior::{Never, WhenNoMatch, WhenNoTemplates};
    for (behavior, has_others, passes) in [
        (WhenNoMatch, false, true),
        (WhenNoMatch, true, true),
        (WhenNoTemplates, false, true),
        (WhenNoTemplates, true, false),
        (Never, false, false),
        (Never, true, false),
    ] {
        let others: &[_] = if has_others { &[("text/plain", "x")] } else { &[] };
        let configured = Configured { passthrough_behavior: behavior, ..with_templates(others) };
        for occurrence in [message(" {\"a\":1}\n"), connect(), disconnect()] {
            let got = request(&configured, &occurrence);
            if passes {
                let sent =
                    if let Occurrence::Message { .. } = occurrence { " {\"a\":1}\n" } else { "" };
                assert_eq!(got.as_deref(), Ok(sent), "{behavior:?}");
            } else {
                let refused = got.unwrap_err();
                assert_eq!(refused, Rejected::UnsupportedMediaType);
                assert_eq!(refused.status(), 415);
                assert_eq!(refused.error_message().as_str(), "Unsupported Media Type");
                assert_eq!(refused.fault(), Fault::Client);
            }
        }
    }
}

/// websocket-api, item 89, as far as the body goes.
#[test]
fn a_templates_output_is_the_whole_body() {
    let template = r##"{"id":"$context.connectionId","raw":$input.json('$.data')}"##;
    assert_eq!(
        rendered(template, &message(r#"{"action":"x","data":{"b":1.0,"a":[1]}}"#)),
        r#"{"id":"TXzPWdnOjoECGjA=","raw":{"b":1.0,"a":[1]}}"#
    );
}

/// websocket-api, section 7: what `$input` is where there is no payload, and an empty one.
#[test]
fn the_body_is_empty_text_and_an_empty_object_without_a_payload() {
    let template = "[$input.body]$input.json('$')$input.path('$')";
    for occurrence in [connect(), disconnect()] {
        assert_eq!(rendered(template, &occurrence), "[]{}{}");
    }
    assert_eq!(rendered(template, &message("")), "[{}]{}{}", "mapping-templates, item 43");
    assert_eq!(rendered("$input.body", &binary(&[0, 255])), "AP8=");
}

#[test]
fn params_are_those_of_the_upgrade_and_empty_later() {
    let template = "$input.params('t') $input.params('X-Room') $input.params('n') \
                    [$input.params('x-room')] $input.params().path";
    assert_eq!(rendered(template, &connect()), "q r2 2 [] {}");
    let whole = "$input.params()";
    assert_eq!(
        rendered(whole, &connect()),
        "{path={}, querystring={t=q, n=2}, header={Host=a.example, X-Room=r2, t=h}}"
    );
    for occurrence in [message("{}"), disconnect()] {
        assert_eq!(rendered(whole, &occurrence), "{path={}, querystring={}, header={}}");
        assert_eq!(rendered("[$input.params('t')]", &occurrence), "[]");
    }
}

/// websocket-api, section 7.
#[test]
fn the_context_has_what_the_contract_names() {
    let on_message = |name: &str| rendered(&format!("$context.{name}"), &message("{}"));
    for (name, expected) in [
        ("connectionId", "TXzPWdnOjoECGjA="),
        ("connectedAt", "1701245041000"),
        ("domainName", "chat.example.com"),
        ("eventType", "MESSAGE"),
        ("messageId", "PJqCFfHyKRcCHlw="),
        ("routeKey", "join"),
        ("requestId", "TXzPWFkkjoEF92g="),
        ("extendedRequestId", "TXzPWFkkjoEF92g="),
        ("apiId", "a1b2c3"),
        ("requestTime", "29/Nov/2023:08:04:01 +0000"),
        ("requestTimeEpoch", "1701245041796"),
        ("stage", "prod"),
        ("identity.sourceIp", "203.0.113.7"),
        ("identity.userAgent", "curl/8"),
        ("status", ""),
        ("disconnectStatusCode", ""),
        ("authorizer.principalId", ""),
        ("identity.apiKey", ""),
        ("identity.cognitoIdentityId", ""),
        ("error.messageString", ""),
        ("error.validationErrorString", ""),
        ("authorizer", ""),
        ("nope.nope", ""),
        ("stage.nope", ""),
        ("routeKey.length()", "4"),
        ("connectedAt.longValue()", "1701245041000"),
    ] {
        assert_eq!(on_message(name), expected, "{name}");
    }
    let template = "$context.disconnectStatusCode $context.disconnectReason [$context.messageId]";
    assert_eq!(rendered(template, &disconnect()), "1001 Going away []");
    assert_eq!(rendered("$context['identity']['sourceIp']", &connect()), "203.0.113.7");
    assert_eq!(rendered("[$context['identity.sourceIp']]", &connect()), "[]");
}

#[test]
fn what_an_authorizer_a_key_and_a_signature_say_is_text() {
    let rendered = |template: &str| {
        let configured = with_templates(&[("application/json", template)]);
        let body = on_authorized(&message("{}"), Some(authorization()), |event| {
            compiled(&configured).request(event).unwrap()
        });
        String::from_utf8(body.bytes.to_vec()).unwrap()
    };
    assert_eq!(
        rendered("$context.authorizer"),
        "{principalId=user-42, integrationLatency=7, tenant=north, n=1}"
    );
    assert_eq!(rendered("$context.authorizer.n.length()"), "1");
    assert_eq!(rendered("#foreach($e in $context.authorizer)$e.length();#end"), "7;1;5;1;");
    assert_eq!(
        rendered("$context.authorizer.principalId $context.authorizer.tenant"),
        "user-42 north"
    );
    assert_eq!(rendered("[$context.authorizer.claims][$context.authorizer.claims.sub]"), "[][]");
    for (name, expected) in [
        ("apiKey", "the-key"),
        ("apiKeyId", "partner"),
        ("accountId", "123456789012"),
        ("user", "ann"),
        ("caller", "ann"),
        ("userArn", "arn:aws:iam::123456789012:user/ann"),
    ] {
        assert_eq!(rendered(&format!("$context.identity.{name}")), expected, "{name}");
    }
}

/// websocket-api, section 7: Java's text, the route key first.
#[test]
fn the_whole_context_prints_as_a_map() {
    let text = rendered("$context", &message("{}"));
    assert!(text.starts_with("{routeKey=join, messageId=PJqCFfHyKRcCHlw=, "), "{text}");
    assert!(text.contains(", identity={userAgent=curl/8, sourceIp=203.0.113.7}, "), "{text}");
    assert!(!text.contains("null"), "{text}");
}

/// One value at a time and all at once are two ways to the same.
#[test]
fn a_value_looked_up_is_the_value_in_the_whole() {
    let template = "#foreach($k in $all.keySet())#set($v = $all.get($k))\
                    #if($v != $context[$k])DIFFERS $k#end#end";
    let configured =
        with_templates(&[("application/json", &format!("#set($all = $context){template}"))]);
    for occurrence in [connect(), message("{}"), disconnect()] {
        let text = on_authorized(&occurrence, Some(authorization()), |event| {
            compiled(&configured).request(event).unwrap().bytes
        });
        assert_eq!(text, "");
        for name in ["connectedAt", "routeKey", "identity.sourceIp", "authorizer.n"] {
            let twice = format!("$context.{name}#set($all = $context) $context.{name}");
            let text = rendered(&twice, &occurrence);
            let (before, after) = text.split_once(' ').unwrap();
            assert_eq!(before, after, "{name}");
        }
    }
}

#[test]
fn stage_variables_are_read_in_each_form() {
    let template = "$stageVariables.env ${stageVariables.env}x $stageVariables['a_b'] \
                    ${stageVariables['a_b']} [$stageVariables.nope] $stageVariables";
    assert_eq!(rendered(template, &connect()), "dev devx y y [] {a_b=y, env=dev}");
}

/// mapping-templates, items 58 and 61.
#[test]
fn overrides_are_for_the_backends_request_and_beat_mapped_parameters() {
    let template = "#set($context.requestOverride.header['X-A'] = ['a', 'b', 1])\
                    #set($context.requestOverride.querystring.q = $input.path('$.q'))\
                    #set($ignore = $context.requestOverride.path.put('room', 7))\
                    #set($context.requestOverride.header['not a name'] = 'kept')\
                    #set($context.requestOverride.header.evil = $input.path('$.e'))";
    let configured = with_templates(&[("application/json", template)]);
    let body = on(&message(r#"{"q":"1 2","e":"a\r\nb: c"}"#), |event| {
        compiled(&configured).request(event).unwrap()
    });
    let header =
        |name: &'static str, value: &str| (http::HeaderName::from_static(name), value.to_owned());
    assert_eq!(body.overrides.headers, [header("x-a", "a,b,1"), header("evil", "a  b: c")]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(body.overrides.query, [pair("q", "1 2")]);
    assert_eq!(body.overrides.path, [pair("room", "7")]);
    let mut mapped = MappedParameters {
        headers: vec![header("x-a", "mapped"), header("x-b", "mapped")],
        query: vec![pair("q", "mapped"), pair("r", "mapped")],
        path: vec![pair("room", "mapped")],
    };
    override_parameters(&mut mapped, body.overrides);
    assert_eq!(
        mapped.headers,
        [header("x-b", "mapped"), header("x-a", "a,b,1"), header("evil", "a  b: c")]
    );
    assert_eq!(mapped.query, [pair("r", "mapped"), pair("q", "1 2")]);
    assert_eq!(mapped.path, [pair("room", "7")]);
}

/// mapping-templates, section 11.
#[test]
fn the_same_override_twice_is_refused_unless_the_limits_admit_it() {
    for twice in [
        "#set($context.requestOverride.header.a = 1)#set($context.requestOverride.header.a = 2)",
        "#set($h = $context.requestOverride.header)$h.put('a', 1)$h.put('a', 2)",
        "#set($context.responseOverride.status = 200)#set($context.responseOverride.status = 201)",
    ] {
        let configured = with_templates(&[("application/json", twice)]);
        let refused = request(&configured, &message("{}")).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.kind()), (500, "request_template"));
        let limits = Limits {
            repeated_overrides: tidegate_vtl::RepeatedOverride::Replaces,
            ..Limits::default()
        };
        on(&message("{}"), |event| {
            let transformation = compiled(&configured).with_limits(limits);
            assert!(transformation.request(event).is_ok(), "{twice}");
        });
    }
}

/// websocket-api, 6.3.
#[test]
fn content_handling_makes_bytes_of_base64_text() {
    let with = |strategy, templates: &[(&str, &str)]| Configured {
        content_handling_strategy: strategy,
        ..with_templates(templates)
    };
    let run = |configured: &Configured, occurrence: &Occurrence| {
        on(occurrence, |event| compiled(configured).request(event)).map(|b| (b.bytes, b.binary))
    };
    let to_binary = Some(ContentHandling::ConvertToBinary);
    let to_text = Some(ContentHandling::ConvertToText);
    assert_eq!(run(&with(to_binary, &[]), &message("AP8=")).unwrap(), (vec![0, 255].into(), true));
    assert_eq!(run(&with(to_binary, &[]), &connect()).unwrap(), (Bytes::new(), true));
    let templates = [("application/json", "$input.path('$.d')\n")];
    let got = run(&with(to_binary, &templates), &message(r#"{"d":"AP8="}"#));
    assert_eq!(got.unwrap(), (vec![0, 255].into(), true));
    assert_eq!(run(&with(to_text, &[]), &message("AP8=")).unwrap(), ("AP8=".into(), false));
    assert_eq!(run(&with(to_text, &[]), &binary(&[0, 255])).unwrap(), ("AP8=".into(), false));
    assert_eq!(run(&with(None, &[]), &binary(&[0, 255])).unwrap(), (vec![0, 255].into(), true));

    let refused = run(&with(to_binary, &[]), &message("secret!")).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.fault()), (500, Fault::Client));
    assert_eq!(refused.error_message().as_str(), "Internal server error");
    assert!(!refused.to_string().contains("secret"), "{refused}");
    let refused = run(&with(to_binary, &templates), &message(r#"{"d":"!"}"#)).unwrap_err();
    assert_eq!(refused.fault(), Fault::ApiOwner);
}

/// mapping-templates, section 13.
#[test]
fn a_template_that_fails_is_told_with_its_key_and_place_and_no_payload() {
    let configured = with_templates(&[("application/json", "x\n $input.path('$.l').get(9)")]);
    let refused = request(&configured, &message(r#"{"l":["secret"]}"#)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "request_templates.\"application/json\", line 2, column 2: \
         a method was called with what it cannot take"
    );
    assert_eq!((refused.status().as_u16(), refused.fault()), (500, Fault::ApiOwner));
    assert_eq!(refused.error_message().as_str(), "Internal server error");

    let configured = with_templates(&[("$default", "$input.json('$.a')")]);
    let refused = request(&configured, &message("{secret")).unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.kind()), (400, "body_not_json"));
    assert_eq!((refused.error_message().as_str(), refused.fault()), ("Bad Request", Fault::Client));
    assert!(!refused.to_string().contains("secret"), "{refused}");

    let path = with_templates(&[("$default", "$input.json($input.body)")]);
    let refused = request(&path, &message("$.secret[")).unwrap_err();
    assert!(!refused.to_string().contains("secret"), "{refused}");
}

#[test]
fn a_template_that_does_not_compile_is_told_with_its_key_and_place() {
    let refused = |configured: Configured| Transformation::compile(&configured).unwrap_err();
    let error = refused(with_templates(&[("application/json", "a\n${b")]));
    assert_eq!(error.key, r#"request_templates."application/json""#);
    assert!(error.reason.starts_with("line 2, column 1: "), "{error}");
    let error = refused(Configured {
        integration_responses: vec![with_response(r"/4\d\d/", &[("default", "#if(")])],
        ..Configured::default()
    });
    assert_eq!(error.key, r#"integration_responses."/4\\d\\d/".response_templates.default"#);
}
