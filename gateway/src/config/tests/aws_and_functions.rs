//! `[aws]` and `[functions]`.

use tidegate_model::{Endpoint, LocalFunction};

use super::*;

fn function(more: &str) -> Result<Loaded, Problems> {
    with(&format!("[functions.chat]\ncommand = [\"node\", \"app.js\"]\n{more}"))
}

fn good(more: &str) -> LocalFunction {
    loaded(function(more)).configuration.functions[0].clone()
}

#[test]
fn aws_has_a_region_and_an_account_of_its_own_accord() {
    let aws = loaded(with("")).configuration.aws;
    assert_eq!((aws.region.as_str(), aws.account_id.as_str()), ("us-east-1", "000000000000"));
    assert!(aws.credentials.is_empty() && aws.endpoints.is_empty());
    let aws = loaded(with("[aws]\nregion = \"eu-west-1\"\naccount_id = \"123456789012\""));
    assert_eq!(aws.configuration.aws.region, "eu-west-1");
    for (text, key) in [
        ("region = \"\"", "region"),
        ("region = \"eu west\"", "region"),
        ("account_id = \"1234\"", "account_id"),
        ("account_id = 123456789012", "account_id"),
        ("reguon = \"eu-west-1\"", "reguon"),
    ] {
        assert_eq!(problem(with(&format!("[aws]\n{text}"))).0, format!("aws.{key}"));
    }
}

#[test]
fn aws_credentials_are_whole() {
    let of = |text: &str| with(&format!("[aws.credentials.default]\n{text}"));
    let whole = "access_key_id = \"AKID\"\nsecret_access_key = \"s\"\nsession_token = \"t\"";
    let configuration = loaded(of(whole)).configuration;
    let one = &configuration.aws.credentials["default"];
    assert_eq!(one.access_key_id, "AKID");
    assert_eq!(one.session_token.as_ref().map(|token| token.reveal()), Some("t"));
    assert_eq!(
        problem(of("access_key_id = \"AKID\"")).0,
        "aws.credentials.default.secret_access_key"
    );
    let (key, _) = problem(of("access_key_id = \"A D\"\nsecret_access_key = \"s\""));
    assert_eq!(key, "aws.credentials.default.access_key_id");
    let (key, _) = problem(of(&whole.replace("\"t\"", "{ env = \"NOT_SET\" }")));
    assert_eq!(key, "aws.credentials.default.session_token");
}

#[test]
fn an_endpoint_is_http_with_or_without_a_path() {
    let endpoint = |uri: &str| with(&format!("[aws.endpoints]\nlambda = \"{uri}\""));
    let uri = |uri| loaded(endpoint(uri)).configuration.aws.endpoints["lambda"].clone();
    assert_eq!(uri("http://127.0.0.1:9001").path, "/");
    assert_eq!(uri("https://aws.example.com/local").path, "/local");
    assert!(matches!(uri("https://a").endpoint, Endpoint::Https(..)));
    for bad in [
        "ftp://a/",
        "127.0.0.1:9001",
        "unix:/run/a.sock",
        "http://a/?x=1",
        "http://${stageVariables.host}/",
    ] {
        assert_eq!(problem(endpoint(bad)).0, "aws.endpoints.lambda", "{bad}");
    }
    assert_eq!(problem(with("[aws.endpoints]\n\"\" = \"http://a\"")).0, "aws.endpoints.\"\"");
}

#[test]
fn a_function_has_the_contracts_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("{SMALL}[functions.chat]\ncommand = [\"node\", \"app.js\"]");
    let configuration = loaded(parse(&text, folder.path(), "f")).configuration;
    let function = &configuration.functions[0];
    assert_eq!((function.name.as_str(), function.command.len()), ("chat", 2));
    assert_eq!(function.directory, folder.path(), "the folder of gateway.toml");
    assert_eq!(function.timeout, Duration::from_secs(3));
    assert_eq!(function.memory_mb, 128);
    assert_eq!((function.min_workers, function.max_workers), (0, 10));
    assert_eq!(function.idle_worker, Duration::from_mins(5));
    assert!(!function.watch && function.environment.is_empty());
}

#[test]
fn a_functions_folder_is_absolute_wherever_the_gateway_is_started() {
    assert!(good("directory = \".\"").directory.is_absolute());
    let (key, message) = problem(function("directory = \"Cargo.toml\""));
    assert_eq!(key, "functions.chat.directory");
    assert!(message.ends_with("is no folder that is there"), "{message}");
    assert_eq!(problem(function("directory = \"\"")).1, "the path is empty");
}

#[test]
fn a_functions_environment_takes_texts_and_secrets() {
    let folder = example_folder();
    let text = format!(
        "{SMALL}[functions.chat]\ncommand = [\"node\"]\n\
         environment = {{ A = \"1\", B = {{ file = \"next-secret\" }}, EMPTY = \"\" }}"
    );
    let configuration = loaded(parse_full(&text, folder.path())).configuration;
    let environment = &configuration.functions[0].environment;
    assert_eq!(environment["A"].reveal(), "1");
    assert_eq!(environment["B"].reveal(), "from-file");
    assert_eq!(environment["EMPTY"].reveal(), "");
    for (text, key) in [
        ("\"A=B\" = \"1\"", "\"A=B\""),
        ("\"\" = \"1\"", "\"\""),
        ("A = 1", "A"),
        ("A = { env = \"NOT_SET\" }", "A"),
        ("A = \"\\u0000\"", "A"),
        ("AWS_LAMBDA_RUNTIME_API = \"127.0.0.1:1\"", "AWS_LAMBDA_RUNTIME_API"),
    ] {
        let (found, _) = problem(function(&format!("environment = {{ {text} }}")));
        assert_eq!(found, format!("functions.chat.environment.{key}"), "{text}");
    }
}

#[test]
fn a_functions_figures_and_names_are_in_range() {
    for (text, key) in [
        ("timeout_ms = 0", "timeout_ms"),
        ("timeout_ms = 900001", "timeout_ms"),
        ("memory_mb = 0", "memory_mb"),
        ("max_workers = 0", "max_workers"),
        ("min_workers = 11", "min_workers"),
        ("min_workers = 3\nmax_workers = 2", "min_workers"),
        ("idle_worker_s = -1", "idle_worker_s"),
        ("watch = 1", "watch"),
    ] {
        assert_eq!(problem(function(text)).0, format!("functions.chat.{key}"), "{text}");
    }
    assert_eq!(good("min_workers = 2\nmax_workers = 2\nwatch = true").min_workers, 2);
    for name in ["\"\"", "\"a b\"", "\"a.b\"", &"a".repeat(65)] {
        let key = problem(with(&format!("[functions.{name}]\ncommand = [\"node\"]"))).0;
        assert_eq!(key, format!("functions.{name}"));
    }
}

#[test]
fn a_functions_command_names_a_program() {
    assert_eq!(
        problem(with("[functions.chat]")),
        ("functions.chat.command".to_owned(), "is missing, expected an array".to_owned())
    );
    for command in ["[]", "[\"\"]"] {
        let (key, message) = problem(with(&format!("[functions.chat]\ncommand = {command}")));
        assert_eq!(key, "functions.chat.command");
        assert!(message.starts_with("names no program"), "{message}");
    }
    assert_eq!(
        problem(with("[functions.chat]\ncommand = [\"a\\u0000\"]")).0,
        "functions.chat.command"
    );
}

#[test]
fn what_no_integration_uses_is_a_warning() {
    let text = "[functions.chat]\ncommand = [\"node\"]\n\
                [aws.credentials.default]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"\n\
                [aws.credentials.other]\naccess_key_id = \"A\"\nsecret_access_key = \"s\"";
    let warnings = loaded(with(text)).warnings;
    let unused: Vec<_> = warnings.iter().filter(|one| one.contains("no integration")).collect();
    assert_eq!(
        unused,
        [
            "gateway.toml:1: functions.chat: no integration uses it",
            "gateway.toml:6: aws.credentials.other: no integration uses them",
        ]
    );
}
