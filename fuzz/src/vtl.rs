//! Targets for `tidegate-vtl`.

use tidegate_vtl::{Bindings, Json, Limits, Template};

/// A template, then, after a line `----`, a body: no panic, the same output each time, none longer
/// than allowed, and a place in the text for what is wrong.
pub fn vtl(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (text, body) = text.split_once("\n----\n").unwrap_or((text, "{}"));
    let lines = text.split('\n').count();
    let template = match Template::compile(text) {
        Ok(template) => template,
        Err(err) => {
            assert!((1..=lines).contains(&(err.line as usize)) && err.column > 0);
            return;
        }
    };
    let limits = Limits { max_steps: 20_000, max_output_bytes: 10_000, ..Limits::default() };
    let context = r#"{"connectionId":"c","responseOverride":{"header":{}}}"#;
    let context = Json::parse(context).expect("it is JSON");
    let bindings = Bindings { body: Some(body), context: &context, ..Bindings::default() };
    let rendered = template.render(&bindings, &limits);
    match &rendered {
        Ok(rendered) => assert!(rendered.output.len() <= limits.max_output_bytes),
        Err(err) => assert!((1..=lines).contains(&(err.line as usize)) && err.column > 0),
    }
    if !text.contains(['$', '#', '\\']) {
        assert_eq!(rendered.as_ref().expect("plain text renders").output, text);
    }
    assert_eq!(template.render(&bindings, &limits), rendered);
}
