//! Renders each line of `golden/*.jsonl` and compares.
//!
//! A line is a JSON object: `id`; `src`, where the expectation comes from (O recorded from the
//! service, D documented, I derived from Velocity 1.7 or otherwise inferred, T our own reading of a
//! rule); `t`, the template; `vars`, `body`, `params`, `context`, `stageVariables`, what it reads;
//! and what is expected: `out`, and with it `ctx`, `$context` afterwards; or `err`, that it fails.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use tidegate_vtl::{Bindings, ContextAfter, Json, Limits, Template};

/// What `"body":"@B"` stands for.
const BODY: &str = r#"{"name":"Ann","age":30,"price":10.00,"tags":["a","b"],"addr":{"city":"Rome","zip":null},"ok":true,"items":[{"id":1},{"id":2}]}"#;

/// What `"params":"@P"` stands for.
const PARAMS: &str =
    r#"{"path":{"id":"7"},"querystring":{"id":"q","x":"1 2"},"header":{"H":"v","id":"h"}}"#;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// What is wrong with a line, if anything is.
fn problem(line: &Json) -> Option<String> {
    let text = |key| line.get(key).and_then(Json::as_str);
    let json = |key| line.get(key).cloned().unwrap_or_default();
    let params = match text("params") {
        Some("@P") => Json::parse(PARAMS).expect("it is JSON"),
        _ => json("params"),
    };
    let context = json("context");
    let bindings = Bindings {
        body: match text("body") {
            Some("@B") => Some(BODY),
            body => Some(body.unwrap_or_default()),
        },
        context: &context,
        stage_variables: &json("stageVariables"),
        params: &params,
        variables: &json("vars"),
    };
    let template = text("t").expect("a line has a template");
    let rendered = Template::compile(template)
        .map_err(|err| err.to_string())
        .and_then(|it| it.render(&bindings, &Limits::default()).map_err(|err| err.to_string()));
    match (rendered, text("out")) {
        (Ok(rendered), Some(out)) if rendered.output != out => {
            Some(format!("rendered {:?}, not {out:?}", rendered.output))
        }
        (Ok(rendered), Some(_)) => match line.get("ctx") {
            Some(expected) => match &rendered.context {
                ContextAfter::Object(left) if left == expected => None,
                ContextAfter::Unchanged if context == *expected => None,
                other => Some(format!("left the context {other:?}")),
            },
            None => None,
        },
        (Ok(rendered), None) => Some(format!("rendered {:?}, where it must fail", rendered.output)),
        (Err(err), Some(_)) => Some(format!("failed: {err}")),
        (Err(_), None) => None,
    }
}

#[test]
fn golden_lines_render_as_expected_or_are_set_aside_with_a_reason() {
    let set_aside = fs::read_to_string(folder().join("set_aside.txt")).unwrap();
    let set_aside: BTreeMap<&str, &str> = set_aside
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(' ').expect("a line reads `id reason`"))
        .collect();
    let mut problems = String::new();
    let mut seen = BTreeMap::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        for text in fs::read_to_string(&path).unwrap().lines() {
            let line = Json::parse(text).unwrap_or_else(|err| panic!("{text}: {err}"));
            let id = line.get("id").and_then(Json::as_str).expect("a line has an id").to_owned();
            match (problem(&line), set_aside.contains_key(&*id)) {
                (Some(problem), false) => writeln!(problems, "{id} {problem}").unwrap(),
                (None, true) => writeln!(problems, "{id} passes: set it aside no more").unwrap(),
                _ => {}
            }
            assert!(seen.insert(id, ()).is_none(), "an id is given twice: {text}");
        }
    }
    for id in set_aside.keys() {
        assert!(seen.contains_key(*id), "{id} is set aside and is no line");
    }
    assert!(seen.len() > 100, "only {} lines", seen.len());
    assert!(problems.is_empty(), "\n{problems}");
}
