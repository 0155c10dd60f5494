//! What holds for any template, message and answer.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// Pieces that templates are made of.
fn any_template() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$context",
        "$context.identity",
        "$context.authorizer.n",
        "#set($context.requestOverride.header.a = $x)",
        "#set($context.requestOverride = 1)",
        "#set($context.responseOverride.header[\"$x\"] = $input.body)",
        "#set($context.responseOverride.status = 204)",
        "$context.requestOverride.path.put('k', $context)",
        "#set($x = \"$x$x$input.body\")",
        "#set($x = $input.path('$'))",
        "$input.json('$..a')",
        "$input.params()",
        "$stageVariables",
        "#foreach($i in [1..900])",
        "#foreach($i in $context)",
        "#if($x)",
        "#end",
        "$x",
        " text\n",
        "$util.base64Encode($input.body)",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn any_occurrence() -> impl Strategy<Value = Occurrence> {
    prop_oneof![
        Just(connect()),
        Just(disconnect()),
        any::<String>().prop_map(message),
        crate::json::tests::any_json().prop_map(message),
        any::<Vec<u8>>().prop_map(|body| Occurrence::Message {
            message_id: id("PJqCFfHyKRcCHlw="),
            body: body.into(),
            binary: true,
        }),
    ]
}

fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let field = ("[a-c]{1,2}", prop::collection::vec(any::<u8>(), 0..6));
    prop::collection::vec(field, 0..6).prop_map(|fields| {
        fields
            .into_iter()
            .filter_map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                Some((name, HeaderValue::from_bytes(&value).ok()?))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn without_templates_a_message_and_an_answer_pass_byte_for_byte(
        body in any::<Vec<u8>>(),
        binary in any::<bool>(),
        status in any::<u16>(),
        headers in any_headers(),
    ) {
        let occurrence = Occurrence::Message {
            message_id: id("PJqCFfHyKRcCHlw="), body: body.clone().into(), binary,
        };
        let transformation = compiled(&Configured::default());
        on(&occurrence, |event| {
            let request = transformation.request(event).unwrap();
            prop_assert_eq!(&request.bytes, &body);
            prop_assert_eq!(request.binary, binary);
            prop_assert_eq!(&request.overrides, &MappedParameters::default());
            let answer = BackendAnswer {
                status,
                headers: &headers,
                body: &request.bytes,
                binary,
                selector: Selector::Status,
                written: &request.written,
            };
            let reply = transformation.response(event, &answer).unwrap();
            prop_assert_eq!(&reply.body, &body);
            prop_assert!(reply.binary || std::str::from_utf8(&reply.body).is_ok());
            prop_assert_eq!((reply.status, reply.headers.len()), (status, 0));
            Ok(())
        })?;
    }

    #[test]
    fn every_render_ends_within_its_bounds(
        template in any_template(),
        occurrence in any_occurrence(),
    ) {
        let configured = Configured {
            request_templates: texts(&[("application/json", &template)]),
            integration_responses: vec![with_response("$default", &[("$default", &template)])],
            ..Configured::default()
        };
        let Ok(transformation) = Transformation::compile(&configured) else { return Ok(()) };
        let limits = Limits { max_steps: 20_000, max_output_bytes: 4_000, ..Limits::default() };
        let transformation = transformation.with_limits(limits);
        on_authorized(&occurrence, Some(authorization()), |event| {
            let request = transformation.request(event);
            prop_assert_eq!(&request, &transformation.request(event), "the same each time");
            let Ok(request) = request else { return Ok(()) };
            prop_assert!(request.bytes.len() <= 4_000);
            for (_, value) in &request.overrides.headers {
                prop_assert!(HeaderValue::from_bytes(value.as_bytes()).is_ok(), "{:?}", value);
            }
            let answer = BackendAnswer {
                status: 200,
                headers: &HeaderMap::new(),
                body: &request.bytes,
                binary: false,
                selector: Selector::Status,
                written: &request.written,
            };
            if let Ok(reply) = transformation.response(event, &answer) {
                prop_assert!(reply.body.len() <= 4_000);
            }
            Ok(())
        })?;
    }

    #[test]
    fn response_selection_takes_any_answer(
        status in any::<u16>(),
        headers in any_headers(),
        body in any::<Vec<u8>>(),
        error in prop::option::of(any::<String>()),
        of_function in any::<bool>(),
        has_default in any::<bool>(),
        by in prop::sample::select(vec![
            "$integration.response.header.a",
            "${integration.response.multivalueheader.b}${integration.response.statuscode}",
            "$integration.response.body.errorMessage",
            "${request.body.a}x",
        ]),
    ) {
        let mut responses = vec![with_response(r"/2\d\d|a.*/", &[("200", "x"), ("$default", "$input.body")])];
        responses[0].template_selection_expression = expression(by);
        if has_default {
            responses.push(with_response("$default", &[]));
        }
        let configured = Configured { integration_responses: responses, ..Configured::default() };
        let answer = BackendAnswer {
            status,
            headers: &headers,
            body: &Bytes::from(body),
            binary: false,
            selector: if of_function { Selector::ErrorMessage(error.as_deref()) } else { Selector::Status },
            written: &Written::default(),
        };
        let reply = on(&message("{}"), |event| compiled(&configured).response(event, &answer));
        match reply {
            Ok(reply) => prop_assert_eq!(reply.status, status),
            Err(refused) => {
                prop_assert!(!has_default);
                prop_assert_eq!(refused.kind(), "no_integration_response");
            }
        }
    }
}
