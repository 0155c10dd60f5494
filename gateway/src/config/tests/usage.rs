//! `[api_keys]` and `[usage_plans]`.

use tidegate_model::{ApiKeySource, Quota, QuotaPeriod};

use super::*;

const KEY_VALUE: &str = "0123456789-0123456789";

/// A key `a`, and a plan that has it, with `more` in the plan.
fn plan(more: &str) -> Result<Loaded, Problems> {
    and(&format!("[api_keys.a]\nvalue = \"{KEY_VALUE}\"\n[usage_plans.gold]\n{more}"))
}

const WHOLE: &str = "stages = [\"chat/prod\"]\napi_keys = [\"a\"]";

#[test]
fn a_plan_has_stages_keys_and_figures() {
    let text = format!(
        "{WHOLE}\nthrottle = {{ rate = 10, burst = 5 }}\nquota = {{ limit = 100, period = \"week\" }}"
    );
    let configuration = loaded(plan(&text)).configuration;
    let key = &configuration.api_keys[0];
    assert_eq!((key.name.as_str(), key.value.reveal(), key.enabled), ("a", KEY_VALUE, true));
    let gold = &configuration.usage_plans[0];
    assert_eq!(gold.stages, [("chat".to_owned(), "prod".to_owned())]);
    assert_eq!(gold.api_keys, ["a"]);
    assert_eq!(gold.throttle, Some(Throttle { rate: 10.0, burst: 5 }));
    assert_eq!(gold.quota, Some(Quota { limit: 100, period: QuotaPeriod::Week }));
    let plain = loaded(plan(WHOLE)).configuration.usage_plans[0].clone();
    assert!(plain.throttle.is_none() && plain.quota.is_none());
}

#[test]
fn a_plan_names_what_there_is_and_each_once() {
    for (text, key, message) in [
        (
            "stages = [\"chta/prod\"]\napi_keys = [\"a\"]",
            "stages[0]",
            "there is no api \"chta\", did you mean `chat`?",
        ),
        (
            "stages = [\"chat/prd\"]\napi_keys = [\"a\"]",
            "stages[0]",
            "there is no stage \"prd\", did you mean `prod`?",
        ),
        (
            "stages = [\"chat\"]\napi_keys = [\"a\"]",
            "stages[0]",
            "\"chat\" is no stage: an api id and a stage name, as chat/prod",
        ),
        (
            "stages = [\"chat/prod\"]\napi_keys = [\"b\"]",
            "api_keys[0]",
            "there is no api key \"b\", known here: a",
        ),
        (
            "stages = [\"chat/prod\", \"chat/prod\"]\napi_keys = [\"a\"]",
            "stages[1]",
            "\"chat/prod\" is given twice",
        ),
        (
            "stages = [\"chat/prod\"]\napi_keys = [\"a\", \"a\"]",
            "api_keys[1]",
            "\"a\" is given twice",
        ),
        ("stages = [\"chat/prod\"]", "api_keys", "is missing, expected an array"),
    ] {
        let expected = (format!("usage_plans.gold.{key}"), message.to_owned());
        assert_eq!(problem(plan(text)), expected, "{text}");
    }
}

#[test]
fn a_plans_figures_are_whole() {
    for (text, key) in [
        ("quota = { limit = 1 }", "quota.period"),
        ("quota = { period = \"day\" }", "quota.limit"),
        ("quota = { limit = 1, period = \"year\" }", "quota.period"),
        ("quota = { limit = -1, period = \"day\" }", "quota.limit"),
        ("throttle = { rate = 1 }", "throttle.burst"),
    ] {
        let (found, _) = problem(plan(&format!("{WHOLE}\n{text}")));
        assert_eq!(found, format!("usage_plans.gold.{key}"), "{text}");
    }
}

#[test]
fn a_key_is_in_one_plan_of_a_stage() {
    let (key, message) = problem(plan(&format!("{WHOLE}\n[usage_plans.silver]\n{WHOLE}")));
    assert_eq!(key, "usage_plans.silver.api_keys[0]");
    assert_eq!(message, "\"a\" is in usage_plans.gold for \"chat/prod\" already");
    let other = WHOLE.replace("prod", "beta");
    loaded(plan(&format!("{WHOLE}\n[apis.chat.stages.beta]\n[usage_plans.silver]\n{other}")));
}

#[test]
fn a_keys_value_is_long_enough_its_own_and_never_shown() {
    let keys = |a: &str, b: &str| {
        let text = format!("[api_keys.a]\nvalue = \"{a}\"\n[api_keys.b]\nvalue = \"{b}\"");
        problem(and(&text))
    };
    let good = "hunter2-hunter2-hunter2";
    let (key, message) = keys(good, good);
    assert_eq!(key, "api_keys.b.value");
    assert_eq!(message, "is the value of api_keys.a too, expected another one");
    for bad in
        ["hunter2", &"hunter2".repeat(20), "hunter2 hunter2 hunter2", "hunter2-hunter2-hünter2"]
    {
        let (key, message) = keys(good, bad);
        assert_eq!(key, "api_keys.b.value", "{bad}");
        assert!(message.starts_with("expected 20 to 128 visible ASCII characters"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    assert_eq!(problem(and("[api_keys.a]\nenabled = false")).0, "api_keys.a.value");
    let shown = loaded(plan(WHOLE));
    let text = format!("{:?} {}", shown.configuration, summary(&shown.configuration));
    assert!(!text.contains(KEY_VALUE), "{text}");
    for name in ["\"\"", "\"a b\""] {
        let text = format!("[api_keys.{name}]\nvalue = \"{good}\"");
        assert_eq!(problem(and(&text)).0, format!("api_keys.{name}"));
    }
}

#[test]
fn keys_and_plans_that_open_nothing_are_warnings() {
    let text = format!(
        "[api_keys.b]\nvalue = \"{KEY_VALUE}b\"\n[usage_plans.none]\nstages = []\napi_keys = []"
    );
    let warnings = loaded(plan(&format!("{WHOLE}\n{text}"))).warnings;
    let has = |text: &str| warnings.iter().any(|one| one.contains(text));
    assert!(has("api_keys.b: no usage plan has it, so it opens nothing"), "{warnings:?}");
    assert!(has("usage_plans.none.stages: there are none"), "{warnings:?}");
    assert!(has("usage_plans.none.api_keys: there are none"), "{warnings:?}");
}

#[test]
fn a_key_is_required_on_connect_only_and_where_some_key_opens_the_stage() {
    let connect = "routes.\"$connect\"]\n";
    let required = format!("{connect}api_key_required = true\n");
    let Loaded { configuration, warnings } = loaded(small(connect, &required));
    assert!(configuration.apis[0].routes[0].api_key_required);
    let hint = "no usage plan has a key for stage prod, so nobody can connect there";
    assert!(warnings.iter().any(|one| one.ends_with(hint)), "{warnings:?}");
    let default = "routes.\"$default\"]\n";
    let (key, message) = problem(small(default, &format!("{default}api_key_required = true\n")));
    assert_eq!(key, "apis.chat.routes.\"$default\".api_key_required");
    assert_eq!(message, "is for $connect only: who may connect is decided once");
}

#[test]
fn a_key_comes_in_its_header_or_from_the_authorizer() {
    let source = |text: &str| {
        small("[apis.chat]\n", &format!("[apis.chat]\napi_key_selection_expression = '{text}'\n"))
    };
    let of = |text| loaded(source(text)).configuration.apis[0].api_key_source;
    assert_eq!(loaded(with("")).configuration.apis[0].api_key_source, ApiKeySource::Header);
    assert_eq!(of("$request.header.x-api-key"), ApiKeySource::Header);
    assert_eq!(of("${request.header.x-api-key}"), ApiKeySource::Header);
    assert_eq!(of("$context.authorizer.usageIdentifierKey"), ApiKeySource::Authorizer);
    assert_eq!(of("${context.authorizer.usageIdentifierKey}"), ApiKeySource::Authorizer);
    let (key, message) = problem(source("$request.header.key"));
    assert_eq!(key, "apis.chat.api_key_selection_expression");
    assert!(message.contains("expected \"$request.header.x-api-key\""), "{message}");
    // From an authorizer that is not there.
    let text = SMALL
        .replace("[apis.chat]\n", "[apis.chat]\napi_key_selection_expression = \"$context.authorizer.usageIdentifierKey\"\n")
        .replace("routes.\"$connect\"]\n", "routes.\"$connect\"]\napi_key_required = true\n");
    let (key, _) = problem(parse(&text, Path::new("."), "f"));
    assert_eq!(key, "apis.chat.routes.\"$connect\".api_key_required");
}
