//! Names, domains and addresses: their form, and that each leads to one thing only.

use super::*;

#[test]
fn names_of_apis_stages_and_routes_are_checked_where_they_stand() {
    let text = SMALL.replace("chat", "Chat").replace("prod", "\"a b\"");
    let text = text.replace("\"$default\"", "\"$other\"");
    let keys: Vec<_> = parse(&text, Path::new("."), "f")
        .expect_err("problems")
        .iter()
        .map(|problem| (problem.line.unwrap(), problem.key.clone()))
        .collect();
    assert_eq!(
        keys,
        [
            (1, "apis.Chat".to_owned()),
            (4, "apis.Chat.stages.\"a b\"".to_owned()),
            (16, "apis.Chat.routes.\"$other\"".to_owned()),
        ]
    );
}

#[test]
fn a_route_demands_headers_and_query_parameters_only() {
    let demand = |source: &str| {
        let line = format!("\nrequest_parameters = {{ \"{source}\" = {{ required = true }} }}\n");
        let connect = "routes.\"$connect\"]";
        parse(&SMALL.replace(connect, &format!("{connect}{line}")), Path::new("."), "f")
    };
    let configuration = loaded(demand("route.request.header.X-Token")).configuration;
    let routes = &configuration.apis[0].routes;
    let connect = routes.iter().find(|route| route.key.as_str() == "$connect").unwrap();
    assert!(connect.request_parameters[0].required);
    for bad in ["route.request.body.token", "context.stage", "token"] {
        let (key, _) = problem(demand(bad));
        assert!(key.starts_with("apis.chat.routes.\"$connect\".request_parameters."), "{key}");
    }
}

#[test]
fn an_access_key_is_given_once_and_counted_as_the_file_has_it() {
    // Item 0 is dropped for its type; the others keep their places in the messages.
    let text = format!(
        "[management]\ncredentials = [\n7,\n{{ access_key_id = \"A\", secret_access_key = \"x\" }},\n\
         {{ access_key_id = \"A\", secret_access_key = \"y\" }},\n]\n{SMALL}"
    );
    assert_eq!(
        lines(parse(&text, Path::new("."), "f")),
        [
            "f:3: management.credentials[0]: expected a table, found an integer",
            "f:5: management.credentials[2].access_key_id: \"A\" is given twice, first on line 4",
        ]
    );
}

#[test]
fn two_listeners_do_not_share_an_address() {
    let (key, _) = problem(with("[admin]\naddress = \"127.0.0.1:8080\""));
    assert_eq!(key, "admin.address");
    loaded(with("[admin]\naddress = \"127.0.0.1:0\"\n[listen]\naddress = \"127.0.0.1:0\""));
}

#[test]
fn a_domain_leads_to_one_api() {
    let api = |id: &str| {
        SMALL
            .replace("chat", id)
            .replace("action\"\n", "action\"\ndomains = [\"a.example.com\", \"A.example.com\"]\n")
    };
    let text = format!("{}{}", api("one"), api("two"));
    let keys: Vec<_> = lines(parse(&text, Path::new("."), "f"));
    assert_eq!(
        keys,
        [
            "f:3: apis.one.domains[1]: `a.example.com` is given twice",
            "f:22: apis.two.domains[0]: `a.example.com` leads to apis.one already",
            "f:22: apis.two.domains[1]: `a.example.com` is given twice",
        ]
    );
}

#[test]
fn a_path_of_a_custom_domain_leads_to_one_stage() {
    let api = |id: &str, mappings: &str| {
        SMALL
            .replace("chat", id)
            .replace("action\"\n", &format!("action\"\napi_mappings = [{mappings}]\n"))
    };
    let mapping = |rest: &str| format!("{{ domain = \"d.example.com\", {rest} }}");
    let good = api(
        "one",
        &[mapping("key = \"v1\", stage = \"prod\""), mapping("stage = \"prod\"")].join(", "),
    );
    let one = &loaded(parse(&good, Path::new("."), "f")).configuration.apis[0];
    let keys: Vec<_> =
        one.mappings.iter().map(|m| m.key.as_ref().map(|key| key.as_str())).collect();
    assert_eq!(keys, [Some("v1"), None]);
    for (mappings, said) in [
        (mapping("key = \"a/b\", stage = \"prod\""), "`a/b` is no mapping key"),
        (mapping("stage = \"prd\""), "there is no stage \"prd\", did you mean `prod`?"),
        (
            [mapping("stage = \"prod\""), mapping("stage = \"prod\"")].join(", "),
            "the rest of `d.example.com` leads to apis.one already",
        ),
        ("{ domain = \"no host\", stage = \"prod\" }".to_owned(), "`no host` is no domain"),
    ] {
        let lines: Vec<_> = lines(parse(&api("one", &mappings), Path::new("."), "f"));
        assert!(lines.len() == 1 && lines[0].contains(said), "{said}: {lines:?}");
    }
    let text = format!(
        "{}{}",
        api("one", &mapping("key = \"v1\", stage = \"prod\"")),
        api("two", &mapping("key = \"v1\", stage = \"prod\""))
            .replace("action\"\n", "action\"\ndomains = [\"d.example.com\"]\n"),
    );
    let lines: Vec<_> = lines(parse(&text, Path::new("."), "f"));
    assert!(
        lines.iter().any(|line| line.contains("`v1` of `d.example.com` leads to apis.one already")),
        "{lines:?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("is one of the domains of apis.two already")),
        "{lines:?}"
    );
}
