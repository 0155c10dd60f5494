//! Integrations: what they talk to, and what they change on the way.

use tidegate_model::{
    AwsTarget, ContentHandling, Function, Integration, IntegrationKind, PassthroughBehavior,
    ResponseKey, Transformation,
};

use super::*;

/// The small example's integration, its keys being `text`.
fn integration(text: &str) -> Result<Loaded, Problems> {
    small("type = \"http_proxy\"\nuri = \"http://127.0.0.1:3000/messages\"", text)
}

fn good(text: &str) -> Integration {
    let Loaded { configuration, warnings } = loaded(integration(text));
    // Local functions call the management api with credentials of their own.
    let of_the_management_api = usize::from(configuration.functions.is_empty());
    assert_eq!(warnings.len(), of_the_management_api, "{warnings:?}");
    configuration.apis[0].integrations[0].clone()
}

/// The key below the integration, and the message.
fn bad(text: &str) -> (String, String) {
    let (key, message) = problem(integration(text));
    let key = key.strip_prefix("apis.chat.integrations.backend").unwrap_or_else(|| panic!("{key}"));
    (key.trim_start_matches('.').to_owned(), message)
}

fn transformation(text: &str) -> Transformation {
    match good(text).kind {
        IntegrationKind::Http(_, one) | IntegrationKind::Aws(_, one) => *one,
        IntegrationKind::Mock(one) => *one,
        other => panic!("{other:?}"),
    }
}

const QUEUE: &str = "type = \"aws\"\nuri = \"arn:aws:apigateway:us-east-1:sqs:path/0/q\"";
const HTTP: &str = "type = \"http\"\nuri = \"http://a/\"";

#[test]
fn an_integration_has_what_its_type_needs_and_nothing_else() {
    for (text, key) in [
        ("type = \"mock\"\nstatus = 200\nuri = \"http://a/\"", "uri"),
        ("type = \"mock\"\nstatus = 200\nmethod = \"POST\"", "method"),
        ("type = \"mock\"\nstatus = 200\nfunction = \"f\"", "function"),
        ("type = \"mock\"\nstatus = 200\ncredentials = \"c\"", "credentials"),
        ("type = \"http\"\nuri = \"http://a/\"\nstatus = 200", "status"),
        ("type = \"http\"\nuri = \"http://a/\"\nmethod = \"post\"", "method"),
        ("type = \"http\"\nuri = \"http://a/\"\nmethod = \"A B\"", "method"),
        ("type = \"aws_proxy\"\nuri = \"http://a/\"\nmethod = \"GET\"", "method"),
        ("type = \"aws_proxy\"\nuri = \"http://a/\"\nstatus = 200", "status"),
        ("type = \"aws_proxy\"", "uri"),
        ("type = \"aws\"", "uri"),
        ("type = \"aws\"\nuri = \"http://a/\"", "uri"),
        ("type = \"http\"\nuri = \"ftp://a/\"", "uri"),
        ("type = \"http\"\nuri = \"arn:aws:lambda:us-east-1:123456789012:function:f\"", "uri"),
        ("type = \"aws_proxy\"\nuri = \"arn:aws:apigateway:us-east-1:sqs:path/0/q\"", "uri"),
        ("type = \"aws_proxy\"\nuri = \"arn:aws\"", "uri"),
        ("type = \"mock\"\nstatus = 99", "status"),
        ("type = \"mock\"\nstatus = 200\ntimeout_ms = 49", "timeout_ms"),
        (
            "type = \"mock\"\nstatus = 200\nrequest_parameters = { \"header.x\" = \"'a'\" }",
            "request_parameters.\"header.x\"",
        ),
    ] {
        assert_eq!(bad(text).0, key, "{text}");
    }
    let (_, message) = bad("type = \"http\"\nuri = \"http://a/\"\nfunction = \"f\"");
    assert_eq!(message, "is for types \"aws_proxy\" and \"aws\" only");
}

#[test]
fn a_mock_has_a_status_or_templates_and_not_both() {
    assert!(matches!(
        good("type = \"mock\"\nstatus = 201").kind,
        IntegrationKind::Echo { status: 201 }
    ));
    let (key, message) = bad("type = \"mock\"");
    assert_eq!(key, "");
    assert!(message.starts_with("a mock needs `status = 200`"), "{message}");
    let templates = "request_templates = { \"application/json\" = '{\"statusCode\": 200}' }";
    let (key, message) = bad(&format!("type = \"mock\"\nstatus = 200\n{templates}"));
    assert_eq!(key, "status");
    assert!(message.ends_with("expected either it or request_templates"), "{message}");
    let answers = "integration_responses = { \"$default\" = {} }";
    let one = transformation(&format!("type = \"mock\"\n{templates}\n{answers}"));
    assert_eq!(one.request_templates["application/json"], "{\"statusCode\": 200}");
    // A two-way route with nothing to answer.
    let warnings = loaded(integration(&format!("type = \"mock\"\n{templates}"))).warnings;
    assert!(
        warnings.iter().any(|one| one.contains("routes.\"$default\".reply: the mock \"backend\"")),
        "{warnings:?}"
    );
}

#[test]
fn a_function_is_a_web_server_a_lambda_function_or_a_local_one() {
    let function = |text: &str| match good(text).kind {
        IntegrationKind::AwsProxy(function)
        | IntegrationKind::Aws(AwsTarget::Function(function), _) => function,
        other => panic!("{other:?}"),
    };
    for uri in ["http://a/f", "https://a/f", "unix:/run/f.sock:/f"] {
        let text = format!("type = \"aws_proxy\"\nuri = \"{uri}\"");
        assert!(matches!(function(&text), Function::Web(_)), "{uri}");
    }
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:f:live";
    let path =
        format!("arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations");
    for uri in [arn, &path] {
        for kind in ["aws_proxy", "aws"] {
            let text = format!("type = \"{kind}\"\nuri = \"{uri}\"");
            assert!(matches!(function(&text), Function::Lambda(_)), "{uri}");
        }
    }
    let local = "type = \"KIND\"\nfunction = \"chat\"\n[functions.chat]\ncommand = [\"node\"]";
    for kind in ["aws_proxy", "aws"] {
        let named = function(&local.replace("KIND", kind));
        assert!(matches!(named, Function::Local(name) if name == "chat"));
    }
}

#[test]
fn a_local_function_is_named_rightly_and_alone() {
    let functions = "[functions.chat]\ncommand = [\"node\"]";
    let (key, message) =
        problem(integration(&format!("type = \"aws_proxy\"\nfunction = \"chatt\"\n{functions}")));
    assert_eq!(key, "apis.chat.integrations.backend.function");
    assert_eq!(message, "there is no function \"chatt\", did you mean `chat`?");
    let (_, message) = bad("type = \"aws_proxy\"\nfunction = \"chat\"");
    assert_eq!(message, "there is no function \"chat\", the file has none");
    let (key, message) = bad(&format!(
        "type = \"aws_proxy\"\nuri = \"http://a/\"\nfunction = \"chat\"\n{functions}"
    ));
    assert_eq!(key, "function");
    assert!(message.starts_with("is given beside `uri`"), "{message}");
    // The misspelt key is the only problem.
    assert_eq!(bad("type = \"aws_proxy\"\nfuncton = \"chat\"").0, "functon");
}

#[test]
fn a_uri_in_aws_is_good_in_every_stage_and_of_one_kind() {
    let alias = |variables: &str| {
        let text = SMALL
            .replace("[apis.chat.stages.prod]", &format!("[apis.chat.stages.prod]\n{variables}"))
            .replace("type = \"http_proxy\"", "type = \"aws\"")
            .replace(
                "http://127.0.0.1:3000/messages",
                "arn:aws:apigateway:us-east-1:${stageVariables.place}",
            );
        parse(&text, Path::new("."), "f")
    };
    loaded(alias("variables = { place = \"sqs:path/1/q\" }"));
    let (key, message) = problem(alias(""));
    assert_eq!(key, "apis.chat.integrations.backend.uri");
    assert!(message.starts_with("in stage prod: ") && message.contains("`place`"), "{message}");
    let lambda = "lambda:path/2015-03-31/functions/arn:aws:lambda:us-east-1:123456789012:function:f/invocations";
    let (_, message) = problem(alias(&format!(
        "variables = {{ place = \"sqs:path/1/q\" }}\n[apis.chat.stages.beta]\nvariables = {{ place = \"{lambda}\" }}"
    )));
    assert_eq!(message, "is a function in some stages and a service in others");
}

#[test]
fn credentials_are_named_and_only_for_calls_that_are_signed() {
    let credentials = "[aws.credentials.queues]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"";
    let named = good(&format!("{QUEUE}\ncredentials = \"queues\"\n{credentials}"));
    assert_eq!(named.credentials.as_deref(), Some("queues"));
    assert_eq!(good(QUEUE).credentials, None);
    let (key, message) = bad(&format!("{QUEUE}\ncredentials = \"queue\"\n{credentials}"));
    assert_eq!(key, "credentials");
    assert_eq!(message, "there is no set of AWS credentials \"queue\", did you mean `queues`?");
    let text = "type = \"aws_proxy\"\nuri = \"http://a/\"\ncredentials = \"queues\"";
    let warnings = loaded(integration(&format!("{text}\n{credentials}"))).warnings;
    assert!(
        warnings.iter().any(|one| one.ends_with("only calls to AWS are signed")),
        "{warnings:?}"
    );
}

#[test]
fn services_take_any_method_and_functions_post() {
    match good(&format!("{QUEUE}\nmethod = \"GET\"")).kind {
        IntegrationKind::Aws(AwsTarget::Service { method, .. }, _) => {
            assert_eq!(method, http::Method::GET);
        }
        other => panic!("{other:?}"),
    }
    let lambda = "type = \"aws\"\nuri = \"arn:aws:lambda:us-east-1:123456789012:function:f\"";
    let (key, message) = bad(&format!("{lambda}\nmethod = \"GET\""));
    assert_eq!(
        (key.as_str(), message.as_str()),
        ("method", "a function is always called with POST")
    );
}

#[test]
fn a_transformation_is_read_with_its_defaults_and_in_api_gateways_spelling() {
    let plain = transformation(HTTP);
    assert!(plain.template_selection_expression.is_none() && plain.request_templates.is_empty());
    assert_eq!(plain.passthrough_behavior, PassthroughBehavior::WhenNoMatch);
    assert_eq!(plain.content_handling_strategy, None);
    for (word, expected) in [
        ("never", PassthroughBehavior::Never),
        ("NEVER", PassthroughBehavior::Never),
        ("when_no_templates", PassthroughBehavior::WhenNoTemplates),
        ("WHEN_NO_MATCH", PassthroughBehavior::WhenNoMatch),
    ] {
        let one = transformation(&format!("{HTTP}\npassthrough_behavior = \"{word}\""));
        assert_eq!(one.passthrough_behavior, expected, "{word}");
    }
    for word in ["convert_to_text", "CONVERT_TO_TEXT"] {
        let one = transformation(&format!("{HTTP}\ncontent_handling_strategy = \"{word}\""));
        assert_eq!(one.content_handling_strategy, Some(ContentHandling::ConvertToText));
    }
    let (key, message) = bad(&format!("{HTTP}\npassthrough_behavior = \"always\""));
    assert_eq!(key, "passthrough_behavior");
    assert_eq!(
        message,
        "expected \"when_no_match\", \"when_no_templates\" or \"never\", found \"always\""
    );
    assert_eq!(bad(&format!("{HTTP}\npassthrough_behavior = \"Never\"")).0, "passthrough_behavior");
}

#[test]
fn responses_are_tried_by_key_and_default_last() {
    let one = transformation(&format!(
        "{HTTP}\n[apis.chat.integrations.backend.integration_responses]\n\
         \"$default\" = {{}}\n'/5\\d\\d/' = {{ content_handling_strategy = \"convert_to_binary\" }}\n\
         '/2\\d\\d/' = {{ response_parameters = {{ \"method.response.header.x\" = \"'a'\" }} }}"
    ));
    let keys: Vec<_> = one
        .integration_responses
        .iter()
        .map(|response| match &response.key {
            ResponseKey::Default => "$default",
            ResponseKey::Pattern(pattern) => pattern.as_str(),
        })
        .collect();
    assert_eq!(keys, [r"/2\d\d/", r"/5\d\d/", "$default"]);
    assert_eq!(one.integration_responses[0].response_parameters.len(), 1);
    assert!(one.integration_responses[1].content_handling_strategy.is_some());
}

#[test]
fn what_is_wrong_in_a_response_is_reported_where_it_stands() {
    for (text, key) in [
        ("\"200\" = {}", "200"),
        ("'/(/' = {}", "\"/(/\""),
        (
            "\"$default\" = { response_parameters = { x = \"'a'\" } }",
            "\"$default\".response_parameters.x",
        ),
        (
            "\"$default\" = { response_templates = { a = \"#if\" } }",
            "\"$default\".response_templates.a",
        ),
        (
            "\"$default\" = { template_selection_expression = \"$request.basepath\" }",
            "\"$default\".template_selection_expression",
        ),
        ("\"$default\" = { status = 1 }", "\"$default\".status"),
    ] {
        let table = "[apis.chat.integrations.backend.integration_responses]";
        let (found, _) = bad(&format!("{HTTP}\n{table}\n{text}"));
        assert_eq!(found, format!("integration_responses.{key}"), "{text}");
    }
}

#[test]
fn a_template_that_does_not_compile_names_its_line_and_column() {
    let (key, message) =
        bad(&format!("{HTTP}\nrequest_templates = {{ \"application/json\" = \"a\\n#if\" }}"));
    assert_eq!(key, "request_templates.\"application/json\"");
    assert!(message.starts_with("line 2, column "), "{message}");
}

#[test]
fn a_template_in_a_file_is_taken_as_it_is_and_named_when_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.vtl");
    let text = SMALL.replace(
        "type = \"http_proxy\"",
        "type = \"http\"\nrequest_templates = { \"application/json\" = { file = \"a.vtl\" } }",
    );
    fs::write(&path, "$input.body\n").unwrap();
    let configuration = loaded(parse(&text, folder.path(), "f")).configuration;
    let IntegrationKind::Http(_, one) = &configuration.apis[0].integrations[0].kind else {
        panic!("an http integration");
    };
    assert_eq!(one.request_templates["application/json"], "$input.body\n");
    fs::write(&path, "\n\n#end").unwrap();
    let (_, message) = problem(parse(&text, folder.path(), "f"));
    assert!(message.starts_with("a.vtl: line 3, column "), "{message}");
    fs::write(&path, "x".repeat(tidegate_vtl::MAX_TEMPLATE_BYTES + 1)).unwrap();
    let (_, message) = problem(parse(&text, folder.path(), "f"));
    assert!(message.ends_with("has more than 307200 bytes"), "{message}");
}

#[test]
fn an_expression_reads_what_there_is_where_it_stands() {
    let select = |text: &str| format!("{HTTP}\ntemplate_selection_expression = '{text}'");
    for text in ["$request.body.kind", "200", "\\$default", "${request.body.a}/${request.body.b}"] {
        assert!(transformation(&select(text)).template_selection_expression.is_some(), "{text}");
    }
    let (key, message) = bad(&select("$integration.response.statuscode"));
    assert_eq!(key, "template_selection_expression");
    assert!(message.starts_with("`integration.response.statuscode` has no value"), "{message}");
    let answer = |text: &str| {
        format!(
            "{HTTP}\nintegration_responses = {{ \"$default\" = {{ template_selection_expression = '{text}' }} }}"
        )
    };
    for text in ["$integration.response.statuscode", "$integration.response.header.Content-Type"] {
        transformation(&answer(text));
    }
    // websocket-api, 2.7: taken, and it selects nothing.
    let Loaded { configuration, warnings } =
        loaded(integration(&answer("$integration.response.body.errorMessage")));
    assert!(warnings.iter().any(|one| one.contains("the template `$default` is taken")));
    let IntegrationKind::Http(_, one) = &configuration.apis[0].integrations[0].kind else {
        panic!("an http integration");
    };
    let expression = one.integration_responses[0].template_selection_expression.as_ref();
    assert!(expression.is_some());
}

#[test]
fn a_proxy_ignores_templates_and_says_so() {
    for kind in ["http_proxy", "aws_proxy"] {
        let text = format!(
            "type = \"{kind}\"\nuri = \"http://a/\"\npassthrough_behavior = \"never\"\n\
             request_templates = {{ \"application/json\" = \"#if\" }}"
        );
        let warnings = loaded(integration(&text)).warnings;
        let ignored: Vec<_> = warnings.iter().filter(|one| one.contains("ignores it")).collect();
        assert_eq!(ignored.len(), 2, "{warnings:?}");
        assert!(ignored[0].contains(&format!("type \"{kind}\" ignores it")), "{ignored:?}");
    }
}
