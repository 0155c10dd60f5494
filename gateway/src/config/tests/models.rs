//! Models, and the routes that check messages with them.

use super::*;

fn model(text: &str) -> Result<Loaded, Problems> {
    and(&format!("[apis.chat.models.Join]\n{text}"))
}

/// The small example with `text` in its `$default` route and a model `Join`.
fn route(text: &str) -> Result<Loaded, Problems> {
    let header = "routes.\"$default\"]\n";
    let text = SMALL.replace(header, &format!("{header}{text}\n"));
    let model = "[apis.chat.models.Join]\nschema = { type = \"object\" }\n";
    parse(&format!("{text}{model}"), Path::new("."), "gateway.toml")
}

#[test]
fn a_schema_is_a_table_a_text_or_a_file() {
    let folder = example_folder();
    for text in [
        "schema = { type = \"string\" }",
        "schema = '{\"type\": \"string\"}'",
        "schema_file = \"room.schema.json\"",
    ] {
        let text = format!("{SMALL}[apis.chat.models.Room]\n{text}");
        let configuration = loaded(parse_full(&text, folder.path())).configuration;
        assert_eq!(
            configuration.apis[0].models["Room"],
            serde_json::json!({ "type": "string" }),
            "{text}"
        );
    }
}

#[test]
fn a_schema_that_is_none_is_reported_where_it_stands() {
    let bad = |text: &str| {
        let (key, message) = problem(model(text));
        (key.replace("apis.chat.models.Join.", ""), message)
    };
    assert_eq!(bad("").0, "schema");
    assert_eq!(bad("schema = {}\nschema_file = \"a\"").0, "schema_file");
    let (key, message) = bad("schema = '{'");
    assert_eq!(key, "schema");
    assert!(message.starts_with("is not JSON: ") && !message.contains('{'), "{message}");
    assert_eq!(bad("schema = '[]'").0, "schema");
    assert_eq!(bad("schema_file = \"absent\"").0, "schema_file");
    assert_eq!(bad("schema = { minimum = nan }").0, "schema.minimum");
    assert_eq!(bad("schema = { enum = [1979-05-27] }").0, "schema.enum[0]");
    assert_eq!(bad("schma = {}").0, "schma");
    for name in ["\"\"", "a-b", &"a".repeat(129)] {
        let key = problem(and(&format!("[apis.chat.models.{name}]\nschema = {{}}"))).0;
        assert_eq!(key, format!("apis.chat.models.{name}"));
    }
}

/// As many as there are, each at the key where its schema stands.
#[test]
fn schemas_that_draft_4_does_not_admit_or_that_refer_to_nothing_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.json"), r#"{"type": "strnig"}"#).unwrap();
    let keys = |text: &str| -> Vec<_> {
        let text = format!("{SMALL}{text}");
        let problems = parse(&text, folder.path(), "f").expect_err("problems");
        problems.iter().map(|problem| problem.key.clone()).collect()
    };
    let one = "[apis.chat.models.One]\nschema = { type = \"strnig\" }\n";
    let two = "[apis.chat.models.Two]\nschema_file = \"a.json\"\n";
    assert_eq!(
        keys(&format!("{one}{two}")),
        ["apis.chat.models.One.schema", "apis.chat.models.Two.schema_file"]
    );
    let lost = "[apis.chat.models.One]\nschema = { items = { \"$ref\" = \"Absent\" } }\n";
    assert_eq!(keys(lost), ["apis.chat.models.One.schema"]);
}

#[test]
fn a_route_checks_messages_with_models_by_name() {
    let text = "model_selection_expression = \"$request.body.action\"\nrequest_models = { join = \"Join\" }";
    let configuration = loaded(route(text)).configuration;
    let routes = &configuration.apis[0].routes;
    let default = routes.iter().find(|route| route.key.as_str() == "$default").unwrap();
    let validation = default.validation.as_ref().unwrap();
    assert_eq!(validation.model_selection_expression.as_str(), "$request.body.action");
    assert_eq!(validation.request_models["join"], "Join");
    for (bad, key) in [
        (text.replace("\"Join\"", "\"Joni\""), "request_models.join"),
        (
            text.replace("$request.body.action", "$integration.response.statuscode"),
            "model_selection_expression",
        ),
        (text.replace("$request.body.action", "${"), "model_selection_expression"),
    ] {
        assert_eq!(problem(route(&bad)).0, format!("apis.chat.routes.\"$default\".{key}"));
    }
    let (_, message) = problem(route(&text.replace("\"Join\"", "\"Joni\"")));
    assert_eq!(message, "there is no model \"Joni\", did you mean `Join`?");
}

#[test]
fn half_a_validation_is_a_warning() {
    let warned = |text: &str, what: &str| {
        let warnings = loaded(route(text)).warnings;
        assert!(warnings.iter().any(|one| one.contains(what)), "{warnings:?}");
    };
    warned("request_models = { a = \"Join\" }", "looked at only beside model_selection_expression");
    warned("model_selection_expression = \"a\"", "so every message is refused");
    let header = "routes.\"$disconnect\"]\n";
    let text = SMALL.replace(header, &format!("{header}model_selection_expression = \"a\"\n"));
    let warnings = loaded(parse(&text, Path::new("."), "f")).warnings;
    assert!(warnings.iter().any(|one| one.contains("nothing is checked on $disconnect")));
}

#[test]
fn a_model_that_only_another_one_uses_is_used() {
    let models = "[apis.chat.models.Room]\nschema = { type = \"string\" }\n\
                  [apis.chat.models.Spare]\nschema = { type = \"string\" }\n\
                  [apis.chat.models.Join]\nschema = { properties = { room = { \"$ref\" = \"Room\" } } }\n";
    let header = "routes.\"$default\"]\n";
    let text = SMALL.replace(
        header,
        &format!(
            "{header}model_selection_expression = \"a\"\nrequest_models = {{ a = \"Join\" }}\n"
        ),
    );
    let warnings = loaded(parse(&format!("{text}{models}"), Path::new("."), "f")).warnings;
    let unused: Vec<_> = warnings.iter().filter(|one| one.contains("models.")).collect();
    assert_eq!(unused.len(), 1, "{unused:?}");
    assert!(unused[0].contains("apis.chat.models.Spare: no route uses it"), "{unused:?}");
}
