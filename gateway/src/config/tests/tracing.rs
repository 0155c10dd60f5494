//! `[tracing]`.

use super::*;

#[test]
fn traces_are_off_until_an_endpoint_is_given() {
    assert!(loaded(with("")).configuration.traces.is_none());
    let Loaded { configuration, warnings } = loaded(with("[tracing]\nsample_ratio = 0.5"));
    assert!(configuration.traces.is_none());
    let warning = "gateway.toml:1: tracing: not used: without otlp_endpoint there are no traces";
    assert_eq!(warnings.last().map(String::as_str), Some(warning));
}

#[test]
fn an_endpoint_gets_the_path_of_the_protocol_and_the_rest_has_defaults() {
    for (endpoint, path) in [
        ("http://127.0.0.1:4318", "/v1/traces"),
        ("http://127.0.0.1:4318/", "/v1/traces"),
        ("https://collector.example.com/otlp/", "/otlp/v1/traces"),
    ] {
        let file = with(&format!("[tracing]\notlp_endpoint = \"{endpoint}\""));
        let traces = loaded(file).configuration.traces.expect("traces");
        assert_eq!(traces.endpoint.path, path, "{endpoint}");
        assert_eq!((traces.sample_ratio, traces.trust_client_context), (1.0, false));
        assert_eq!(traces.service_name, "tidegate");
    }
}

#[test]
fn what_traces_cannot_be_made_of_is_named_where_it_stands() {
    let wrong = |more: &str| {
        problem(with(&format!("[tracing]\notlp_endpoint = \"http://127.0.0.1:4318\"\n{more}")))
    };
    for (more, key, message) in [
        ("sample_ratio = 1.5", "tracing.sample_ratio", "1.5 is no ratio, expected 0 to 1"),
        ("sample_ratio = -0.1", "tracing.sample_ratio", "-0.1 is no ratio, expected 0 to 1"),
        (
            "service_name = \" \"",
            "tracing.service_name",
            "expected a name without control characters",
        ),
        (
            "headers = { \"a b\" = \"x\" }",
            "tracing.headers.\"a b\"",
            "is no name of an HTTP header",
        ),
        ("headers = { Host = \"x\" }", "tracing.headers.Host", "the post itself sets this header"),
        (
            "headers = { token = \"a\\nb\" }",
            "tracing.headers.token",
            "holds what may not stand in a header, such as a line break",
        ),
        ("headers = { token = \"\" }", "tracing.headers.token", "the secret is empty"),
    ] {
        assert_eq!(wrong(more), (key.to_owned(), message.to_owned()), "{more}");
    }
    for (endpoint, message) in [
        ("unix:/run/x.sock", "a unix socket cannot be used here, expected http:// or https://"),
        ("http://127.0.0.1:4318/v1/traces", "/v1/traces is appended by itself, leave it out"),
        (
            "http://127.0.0.1:4318/?token=hunter2",
            "a collector's address has no query; a token goes into headers",
        ),
    ] {
        let found = problem(with(&format!("[tracing]\notlp_endpoint = \"{endpoint}\"")));
        assert_eq!(found, ("tracing.otlp_endpoint".to_owned(), message.to_owned()));
    }
}

#[test]
fn headers_of_the_collector_are_secrets() {
    let file =
        "[tracing]\notlp_endpoint = \"http://127.0.0.1:4318\"\nheaders = { token = \"hunter2\" }";
    let Loaded { configuration, warnings } = loaded(with(file));
    let shown = format!("{configuration:?} {warnings:?} {}", summary(&configuration));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("http://127.0.0.1:4318/v1/traces, ratio 1, as tidegate"), "{shown}");
    let traces = configuration.traces.expect("traces");
    assert_eq!(traces.headers[0].1.reveal(), "hunter2");
}
