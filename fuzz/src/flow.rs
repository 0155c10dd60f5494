//! Targets for `tidegate-model` and `tidegate-flow`.

use std::collections::BTreeMap;

use tidegate_flow::{
    json::{self, Document},
    route_selection::{self, Candidate},
};
use tidegate_model::{BodyPath, SelectionExpression, UriTemplate};

/// The first line is a selection expression, the rest a message: no panic, and the client never
/// selects `$connect` or `$disconnect`.
pub fn selection_expression(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (expression, message) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(expression) = SelectionExpression::parse(expression) else { return };
    let again = SelectionExpression::parse(expression.as_str()).expect("it parsed before");
    assert_eq!(expression.parts().len(), again.parts().len());
    let _ = expression.check_route_selection();
    let candidate = route_selection::candidate(&expression, message);
    if json::is_strict_json(message) {
        assert_ne!(candidate, Candidate::NotJson);
    }
    route_selection::select(&expression, message, |key| -> Option<()> {
        assert!(key != "$connect" && key != "$disconnect");
        assert!(key == "$default" || matches!(&candidate, Candidate::Value(value) if value == key));
        None
    });
}

/// A message: what `serde_json` takes, the relaxed parser takes too, and a value found in one pass
/// is the one that the parsed document has.
pub fn relaxed_json(input: &[u8]) {
    let Ok(message) = std::str::from_utf8(input) else { return };
    let document = Document::relaxed(message);
    let is_strict = json::is_strict_json(message);
    assert!(!is_strict || document.is_some());
    for path in ["", ".action", ".a.b", "[0].a", "[-1]"] {
        let path = BodyPath::parse(path).expect("it is well formed");
        let BodyPath::Steps(steps) = &path else { panic!("it is definite") };
        let built = document.as_ref().map(|document| document.text_at(&path));
        if let Ok(found) = json::text_at(message, steps) {
            assert!(is_strict);
            assert_eq!(Some(found), built);
        }
    }
    if let (Some(document), Ok(query)) = (document, BodyPath::parse("..a")) {
        document.text_at(&query);
    }
}

/// The first line is a uri, the rest what its stage variables `a` and `b` stand for, a line each:
/// whatever expands is fit for a request line and a `Host` header.
pub fn uri_template(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.split('\n');
    let Ok(template) = UriTemplate::parse(lines.next().unwrap_or_default()) else { return };
    let named = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let variables: BTreeMap<_, _> = ["a", "b"].into_iter().zip(lines).map(named).collect();
    let Ok(uri) = template.expand(&variables) else { return };
    assert!(uri.path.starts_with('/') && !uri.path.contains(['?', '#']));
    let sent = [uri.authority.as_str(), &uri.path, uri.query.as_deref().unwrap_or_default()];
    assert!(sent.iter().all(|text| text.bytes().all(|b| b.is_ascii_graphic())));
    assert!(!uri.authority.contains(['@', '/', '?', '#']));
    uri.has_path_parameters();
}
