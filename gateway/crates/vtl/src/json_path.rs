//! JSONPath as `$input.json` and `$input.path` take it.
//!
//! In:  `$`, `.k`, `['k']`, `[n]`, `[*]`, `.*`, `..k`, `[a,b]`, `[a:b]`, `[?(@.x==1)]`, and
//!      `.length()` at the end.
//! Out: the values found, in the order of the body.
//!
//! Holds always: each value looked at is paid for, so a path over a large body ends.

use std::cmp::Ordering;

use crate::{evaluator::Interrupt, json::Json, json_path::filter::Filter, numbers::Number};

mod filter;

/// How deep filters and parentheses in them may nest.
const MAX_NESTING: usize = 20;

/// A parsed path.
#[derive(Debug)]
pub(crate) struct JsonPath {
    segments: Vec<Segment>,
    asks_length: bool,
}

#[derive(Debug)]
struct Segment {
    /// `..`: also everything below.
    descends: bool,
    selectors: Vec<Selector>,
}

#[derive(Debug)]
enum Selector {
    Name(String),
    Index(i64),
    All,
    Slice(Option<i64>, Option<i64>),
    Filter(Filter),
}

/// Pays for values looked at.
type Spend<'s> = &'s mut dyn FnMut(usize) -> Result<(), Interrupt>;

impl JsonPath {
    /// Parses a path; one without `$` starts at the body's top, too.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let owned;
        let text = if text.starts_with('$') {
            text
        } else {
            owned = format!("$.{text}");
            &owned
        };
        let mut reader = Reader { text, at: 1, depth: 0 };
        let path = reader.path()?;
        if reader.at < text.len() { Err(reader.wrong()) } else { Ok(path) }
    }

    /// Whether it can find at most one value.
    pub(crate) fn is_definite(&self) -> bool {
        self.segments.iter().all(|segment| {
            !segment.descends
                && matches!(segment.selectors.as_slice(), [Selector::Name(_) | Selector::Index(_)])
        })
    }

    /// The values it finds.
    pub(crate) fn find<'j>(
        &self,
        root: &'j Json,
        spend: Spend<'_>,
    ) -> Result<Vec<&'j Json>, Interrupt> {
        self.find_from(root, root, spend)
    }

    fn find_from<'j>(
        &self,
        root: &'j Json,
        from: &'j Json,
        spend: Spend<'_>,
    ) -> Result<Vec<&'j Json>, Interrupt> {
        let mut found = vec![from];
        for segment in &self.segments {
            let mut next = Vec::new();
            for json in found {
                if segment.descends {
                    segment.descend(root, json, &mut next, spend)?;
                } else {
                    segment.select(root, json, &mut next, spend)?;
                }
            }
            found = next;
        }
        Ok(found)
    }

    /// What a definite path answers for the value it found.
    pub(crate) fn finish(&self, json: &Json) -> Option<Json> {
        if !self.asks_length {
            return Some(json.clone());
        }
        let length = match json {
            Json::Array(items) => items.len(),
            Json::Object(members) => members.len(),
            Json::String(text) => text.encode_utf16().count(),
            Json::Null | Json::Bool(_) | Json::Number(_) => return None,
        };
        i64::try_from(length).ok().map(|length| Json::Number(Number::Int(length)))
    }
}

impl Segment {
    fn descend<'j>(
        &self,
        root: &'j Json,
        json: &'j Json,
        found: &mut Vec<&'j Json>,
        spend: Spend<'_>,
    ) -> Result<(), Interrupt> {
        // Lists' own items have no names, so `..k` looks only at objects for `k`.
        self.select(root, json, found, spend)?;
        match json {
            Json::Array(items) => {
                items.iter().try_for_each(|item| self.descend(root, item, found, spend))
            }
            Json::Object(members) => {
                members.values().try_for_each(|value| self.descend(root, value, found, spend))
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => Ok(()),
        }
    }

    fn select<'j>(
        &self,
        root: &'j Json,
        json: &'j Json,
        found: &mut Vec<&'j Json>,
        spend: Spend<'_>,
    ) -> Result<(), Interrupt> {
        for selector in &self.selectors {
            spend(1)?;
            match (selector, json) {
                (Selector::Name(name), Json::Object(members)) => found.extend(members.get(name)),
                (Selector::Index(index), Json::Array(items)) => {
                    found.extend(items.get(from_end(*index, items.len())));
                }
                (Selector::All, Json::Array(items)) => {
                    spend(items.len())?;
                    found.extend(items);
                }
                (Selector::All, Json::Object(members)) => {
                    spend(members.len())?;
                    found.extend(members.values());
                }
                (Selector::Slice(from, to), Json::Array(items)) => {
                    // Before the first item is the first item, here.
                    let bound = |at: i64| match at.saturating_add_unsigned(items.len() as u64) {
                        ..0 => 0,
                        _ => from_end(at, items.len()).min(items.len()),
                    };
                    let start = from.map_or(0, bound);
                    let end = to.map_or(items.len(), bound);
                    spend(items.len())?;
                    found.extend(items.get(start..end).unwrap_or_default());
                }
                (Selector::Filter(filter), Json::Array(items)) => {
                    for item in items {
                        if filter.holds(root, item, spend)? {
                            found.push(item);
                        }
                    }
                }
                (Selector::Filter(filter), Json::Object(_)) => {
                    let is_taken = filter.holds(root, json, spend)?;
                    found.extend(is_taken.then_some(json));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// An index that may count from the end; past every item if it is before the first.
fn from_end(index: i64, length: usize) -> usize {
    let at = if index < 0 { index.saturating_add_unsigned(length as u64) } else { index };
    usize::try_from(at).unwrap_or(usize::MAX)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn wrong(&self) -> String {
        match self.rest() {
            "" => "it ends too early".to_owned(),
            rest => format!("nothing can be made of {rest:?}"),
        }
    }

    fn takes(&mut self, text: &str) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    fn skip_space(&mut self) {
        while self.takes(" ") {}
    }

    /// Segments, after `$` or `@`.
    fn path(&mut self) -> Result<JsonPath, String> {
        let mut segments = Vec::new();
        let mut asks_length = false;
        loop {
            if self.takes(".length()") {
                asks_length = true;
                break;
            }
            let (is_dotted, descends) = (self.rest().starts_with('.'), self.takes(".."));
            let selectors = if self.rest().starts_with('[') {
                self.brackets()?
            } else if is_dotted {
                self.takes(".");
                if self.takes("*") {
                    vec![Selector::All]
                } else {
                    vec![Selector::Name(self.name()?)]
                }
            } else {
                break;
            };
            segments.push(Segment { descends, selectors });
        }
        let path = JsonPath { segments, asks_length };
        if asks_length && !path.is_definite() {
            return Err("`.length()` needs a path to one value".to_owned());
        }
        Ok(path)
    }

    fn name(&mut self) -> Result<String, String> {
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$' | ':' | '@');
        let rest = self.rest();
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if end == 0 {
            return Err(self.wrong());
        }
        let name = rest[..end].to_owned();
        self.at += end;
        Ok(name)
    }

    fn brackets(&mut self) -> Result<Vec<Selector>, String> {
        self.takes("[");
        let mut selectors = Vec::new();
        loop {
            self.skip_space();
            selectors.push(self.selector()?);
            self.skip_space();
            if self.takes("]") {
                return Ok(selectors);
            }
            if !self.takes(",") {
                return Err(self.wrong());
            }
        }
    }

    fn selector(&mut self) -> Result<Selector, String> {
        if self.takes("*") {
            return Ok(Selector::All);
        }
        if self.takes("?") {
            return self.filter().map(Selector::Filter);
        }
        if self.rest().starts_with(['\'', '"']) {
            return self.quoted().map(Selector::Name);
        }
        let first = self.integer();
        if self.takes(":") {
            return Ok(Selector::Slice(first, self.integer()));
        }
        first.map(Selector::Index).ok_or_else(|| self.wrong())
    }

    fn integer(&mut self) -> Option<i64> {
        let rest = self.rest();
        let sign = usize::from(rest.starts_with('-'));
        let digits = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
        let integer = rest[..sign + digits].parse().ok()?;
        self.at += sign + digits;
        Some(integer)
    }

    /// A string in either quotes; a backslash takes the next character as it is.
    fn quoted(&mut self) -> Result<String, String> {
        let mut chars = self.rest().char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((offset, c)) = chars.next() {
            if Some(c) == quote {
                self.at += offset + 1;
                return Ok(text);
            }
            match c {
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err("a string has no end".to_owned())
    }
}

/// As `<` and its like compare: numbers with numbers, strings with strings.
fn compare(left: &Json, right: &Json) -> Option<Ordering> {
    match (left, right) {
        (Json::Number(a), Json::Number(b)) => a.compare(b),
        (Json::String(a), Json::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"a":[{"x":1,"k":"p"},{"x":2,"k":"q"},{"y":3}],"b":{"x":9,"c d":null}}"#;

    fn found(path: &str) -> String {
        let body = Json::parse(BODY).unwrap();
        let path = JsonPath::parse(path).unwrap();
        let found = path.find(&body, &mut |_| Ok(())).unwrap();
        Json::Array(found.into_iter().filter_map(|json| path.finish(json)).collect()).to_string()
    }

    #[test]
    fn each_kind_of_selector_finds_its_values_in_the_order_of_the_body() {
        assert_eq!(found("$.b['c d']"), "[null]");
        assert_eq!(found("b.x"), "[9]");
        assert_eq!(found("$.a[1].k"), r#"["q"]"#);
        assert_eq!(found("$.a[-1]"), r#"[{"y":3}]"#);
        assert_eq!(found("$.a[9]"), "[]");
        assert_eq!(found("$.a[*].x"), "[1,2]");
        assert_eq!(found("$..x"), "[1,2,9]");
        assert_eq!(found("$.b.*"), "[9,null]");
        assert_eq!(found("$.a[0,2]"), r#"[{"x":1,"k":"p"},{"y":3}]"#);
        assert_eq!(found("$.a[0:2].x"), "[1,2]");
        assert_eq!(found("$.a[-2:].x"), "[2]");
        assert_eq!(found("$.a[-9:1].x"), "[1]");
        assert_eq!(found("$.a.length()"), "[3]");
    }

    #[test]
    fn filters_compare_and_combine() {
        assert_eq!(found("$.a[?(@.x==2)].k"), r#"["q"]"#);
        assert_eq!(found("$.a[?(@.x)].x"), "[1,2]");
        assert_eq!(found("$.a[?(!@.x)]"), r#"[{"y":3}]"#);
        assert_eq!(found("$.a[?(@.k == 'p' || @.y > 2)]"), r#"[{"x":1,"k":"p"},{"y":3}]"#);
        assert_eq!(found("$.a[?(@.x >= 1 && (@.k != \"p\"))].x"), "[2]");
        assert_eq!(found("$.a[?(@.x < $.b.x)].x"), "[1,2]");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [
            "$.",
            "$[",
            "$.a[",
            "$x",
            "$.a[?(@.x==)]",
            "$.a[?(",
            "$['a",
            "$.a b",
            "",
            "$..a.length()",
        ] {
            assert!(JsonPath::parse(path).is_err(), "{path}");
        }
        assert!(JsonPath::parse(&format!("$[?{}", "(".repeat(10_000))).is_err());
        assert!(JsonPath::parse(&"$[?(@".repeat(10_000)).is_err());
    }
}
