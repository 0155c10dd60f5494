//! What a render asks of what it reads, and what it leaves of it.

use std::cell::RefCell;

use tidegate_vtl::{
    Bindings, ContextAfter, Found, Json, Limits, RenderErrorKind, Rendered, RepeatedOverride,
    Source, Template,
};

/// Keeps what it is asked for.
struct Watched {
    json: Json,
    asked: RefCell<Vec<String>>,
}

impl Source for Watched {
    fn find(&self, path: &[&str]) -> Found<'_> {
        self.asked.borrow_mut().push(path.join("/"));
        self.json.find(path)
    }

    fn all(&self) -> Json {
        self.asked.borrow_mut().push("all".to_owned());
        self.json.clone()
    }
}

const CONTEXT: &str = r#"{
    "id": "c1", "at": 12, "identity": {"ip": "1.2.3.4"}, "none": null,
    "requestOverride": {"header": {}, "path": {}, "querystring": {}},
    "responseOverride": {"header": {}}
}"#;

fn render(text: &str, context: &dyn Source, limits: &Limits) -> Result<Rendered, RenderErrorKind> {
    let bindings = Bindings { context, ..Bindings::default() };
    let template = Template::compile(text).unwrap_or_else(|err| panic!("{text}: {err}"));
    template.render(&bindings, limits).map_err(|err| err.kind)
}

/// The output, and what `$context` was asked for.
fn asked(text: &str) -> (String, Vec<String>) {
    let json = Json::parse(CONTEXT).expect("it is JSON");
    let context = Watched { json, asked: RefCell::default() };
    let output = render(text, &context, &Limits::default()).expect(text).output;
    (output, context.asked.into_inner())
}

#[test]
fn a_template_that_reads_single_values_never_asks_for_all() {
    let (output, asked) = asked(
        "x $context.id $context['id'].length() ${context.identity.ip} [$context.nope.nope] \
         [$context.none] [$context.id.nope] #set($n = $context.at + 1)$n",
    );
    assert_eq!(output, "x c1 2 1.2.3.4 [] [] [] 13");
    assert!(!asked.contains(&"all".to_owned()), "{asked:?}");
}

#[test]
fn all_is_asked_for_once_where_more_than_a_value_is_needed() {
    for text in [
        "$context",
        "$context.identity",
        "$context.keySet()",
        "$context.identity.get('ip')",
        "#set($k = 'id')$context[$k]",
        "#foreach($v in $context)$v#end",
        "#set($context.a = 1)",
        "#if($context == 1)#end",
    ] {
        let twice = asked(&format!("{text}{text}")).1;
        assert_eq!(twice.iter().filter(|asked| *asked == "all").count(), 1, "{text}: {twice:?}");
    }
    assert_eq!(asked("no reference").1, Vec::<String>::new());
}

#[test]
fn what_was_written_is_what_is_read() {
    assert_eq!(asked("$context.id#set($context.id = 'c2') $context.id").0, "c1 c2");
    assert_eq!(asked("#foreach($context in [1, 2])$context#end $context.id").0, "12 c1");
    assert_eq!(asked("#set($context = 5)$context [$context.id]").0, "5 []");
}

#[test]
fn the_context_afterwards_is_told() {
    let json = Json::parse(CONTEXT).unwrap();
    let after = |text| render(text, &json, &Limits::default()).unwrap().context;
    assert_eq!(after("$context.id"), ContextAfter::Unchanged);
    assert_eq!(after("$context"), ContextAfter::Object(json.clone()));
    assert_eq!(after("#set($context = 5)"), ContextAfter::Lost);
    let ContextAfter::Object(left) = after("#set($context.requestOverride.path.a = [1])") else {
        panic!("it was written to");
    };
    assert_eq!(
        left.find(&["requestOverride", "path", "a"]),
        Found::Value(Json::parse("[1]").unwrap())
    );
}

#[test]
fn an_override_is_set_once() {
    let json = Json::parse(CONTEXT).unwrap();
    let replaces = Limits { repeated_overrides: RepeatedOverride::Replaces, ..Limits::default() };
    for (place, twice) in [
        ("requestOverride.header", true),
        ("requestOverride.path", true),
        ("requestOverride.querystring", true),
        ("responseOverride.header", true),
        ("identity", false),
    ] {
        for text in [
            format!("#set($context.{place}.a = 1)#set($context.{place}['a'] = 2)"),
            format!(
                "#set($m = $context.{place})#set($i = $m.put('a', 1))#set($i = $m.put('a', 2))"
            ),
            format!("#set($context.{place}.a = 1)$context.{place}.putAll({{'a': 2}})"),
        ] {
            let got = render(&text, &json, &Limits::default()).map(|rendered| rendered.output);
            if twice {
                assert_eq!(got, Err(RenderErrorKind::OverrideTwice), "{text}");
            } else {
                assert_eq!(got.as_deref(), Ok(""), "{text}");
            }
            assert!(render(&text, &json, &replaces).is_ok(), "{text}");
        }
    }
    let status = "#set($context.responseOverride.status = 200)";
    assert!(render(status, &json, &Limits::default()).is_ok());
    let twice = render(&status.repeat(2), &json, &Limits::default());
    assert_eq!(twice, Err(RenderErrorKind::OverrideTwice));
    let whole = "#set($context.responseOverride.header = {'a': 1})".repeat(2);
    assert!(render(&whole, &json, &Limits::default()).is_ok(), "a map in place of the map");
}

#[test]
fn no_payload_is_no_text_and_an_empty_object() {
    let render = |body| {
        let bindings = Bindings { body, ..Bindings::default() };
        let template = Template::compile("[$input.body]$input.json('$')").unwrap();
        template.render(&bindings, &Limits::default()).unwrap().output
    };
    assert_eq!(render(None), "[]{}");
    assert_eq!(render(Some("")), "[{}]{}");
}
