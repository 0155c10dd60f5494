//! Keys of `gateway.toml` that the command line sets: `--set KEY=VALUE`.
//!
//! In:  the arguments, in their order; a file's tables.
//! Out: the tables with these values in the place of their own, tables made where there are none;
//!      a problem for each argument that cannot be put anywhere.
//!
//! Holds always: of an argument, no message shows what stands after its `=`: it may be a secret.

use std::{borrow::Cow, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    key_path::KeyPath,
    problem::{Problem, Problems},
    report::Report,
};

/// What `--set` says, in order: of two about the same key the last one holds.
#[derive(Default)]
pub struct Overrides(Vec<Override>);

struct Override {
    /// At least one name.
    names: Vec<String>,
    /// TOML, or what is taken as a string.
    value: String,
}

impl Overrides {
    /// Reads arguments `KEY=VALUE`: a dotted TOML key and a TOML value; a value that is none, such
    /// as `127.0.0.1:8080`, is taken as a string.
    ///
    /// # Errors
    /// Every argument that has no such key or no `=`, or whose quoted string does not end.
    pub fn read<S: AsRef<str>>(arguments: &[S]) -> Result<Self, Problems> {
        let mut good = Vec::new();
        let mut problems = Vec::new();
        for (at, argument) in arguments.iter().enumerate() {
            match Override::read(argument.as_ref(), at + 1) {
                Ok(one) => good.push(one),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Self(good)) } else { Err(Problems(problems)) }
    }

    /// Puts the values into the file's tables.
    pub(super) fn apply<'t>(&'t self, document: &mut DeTable<'t>, report: &mut Report<'_>) {
        for one in &self.0 {
            one.apply(document, report);
        }
    }
}

impl Override {
    /// `number` is the argument's place among them, from 1.
    fn read(argument: &str, number: usize) -> Result<Self, Problem> {
        let wrong = |set: String, message: String| Problem {
            file: String::new(),
            line: None,
            set: Some(set),
            key: String::new(),
            message,
        };
        let Some(equals) = end_of_key(argument) else {
            let message = "expected KEY=VALUE, such as limits.max_in_flight=32".to_owned();
            return Err(wrong(format!("number {number}"), message));
        };
        let (key, value) = (argument[..equals].trim(), &argument[equals + 1..]);
        let Some(names) = names(key) else {
            let message = "is no key: expected names with dots between them, quoted where they have \
                           more than A-Z a-z 0-9 _ -, such as apis.chat.routes.\"$connect\".integration";
            return Err(wrong(format!("{key:?}"), message.to_owned()));
        };
        if let Err(error) = DeValue::parse(value)
            && value.trim_start().starts_with(['"', '\''])
        {
            // Not bare text: a quote is missing, rather than meant.
            let message = format!("the value is no TOML string: {}", error.message());
            return Err(wrong(path(&names).to_string(), message));
        }
        Ok(Self { names, value: value.to_owned() })
    }

    fn value(&self) -> DeValue<'_> {
        match DeValue::parse(&self.value) {
            Ok(value) => value.into_inner(),
            Err(_) => DeValue::String(Cow::Borrowed(&self.value)),
        }
    }

    fn apply<'t>(&'t self, document: &mut DeTable<'t>, report: &mut Report<'_>) {
        let key = path(&self.names);
        let Some((last, tables)) = self.names.split_last() else { return };
        let mut table = document;
        let mut place = KeyPath::root();
        for name in tables {
            place = place.key(name);
            if !table.contains_key(name.as_str()) {
                table.insert(spanned(name.into()), spanned(DeValue::Table(DeTable::new())));
                report.is_set(place.clone(), &key);
            }
            let Some(value) = table.get_mut(name.as_str()) else { return };
            table = match value.get_mut() {
                DeValue::Table(inner) => inner,
                DeValue::Array(_) => {
                    let message = format!(
                        "`{place}` is an array, whose items are not set one by one: set it whole"
                    );
                    return report.set_in_vain(&key, message);
                }
                _ => {
                    let message = format!("`{place}` is no table, so nothing can be set in it");
                    return report.set_in_vain(&key, message);
                }
            };
        }
        table.insert(spanned(last.into()), spanned(self.value()));
        report.is_set(key.clone(), &key);
    }
}

/// Where the `=` is that ends the key: the first one outside quotes. A quote that does not end
/// quotes nothing here, and is found to be wrong with the key.
fn end_of_key(argument: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in argument.char_indices() {
        match (quote, c) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some('"'), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    argument.find('=')
}

/// The names of a dotted key, at least one; `None` where it is none.
fn names(key: &str) -> Option<Vec<String>> {
    if key.contains(char::is_control) {
        return None;
    }
    // On one line and without an `=` outside quotes, this is one key and its value at most.
    let line = format!("{key} = 0");
    let document = DeTable::parse(&line).ok()?;
    let mut names = Vec::new();
    let mut table = document.get_ref();
    loop {
        let (name, value) = table.iter().next()?;
        names.push(name.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(names),
        }
    }
}

fn path(names: &[String]) -> KeyPath {
    names.iter().fold(KeyPath::root(), |path, name| path.key(name))
}

/// It stands nowhere in the file; the report is told so.
fn spanned<T>(value: T) -> Spanned<T> {
    const NOWHERE: Range<usize> = 0..0;
    Spanned::new(NOWHERE, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(argument: &str) -> (Vec<String>, String) {
        let overrides = Overrides::read(&[argument]).unwrap_or_else(|wrong| panic!("{wrong}"));
        let one = &overrides.0[0];
        let value = match one.value() {
            DeValue::String(text) => format!("string {text}"),
            DeValue::Integer(integer) => format!("integer {integer}"),
            other => other.type_str().to_owned(),
        };
        (one.names.clone(), value)
    }

    #[test]
    fn a_key_is_dotted_and_quoted_as_in_toml() {
        for (argument, names) in [
            ("limits.max_in_flight=1", vec!["limits", "max_in_flight"]),
            (" listen . address =1", vec!["listen", "address"]),
            (
                r#"apis.a.routes."$connect".reply=1"#,
                vec!["apis", "a", "routes", "$connect", "reply"],
            ),
            (
                r#"apis.a.routes."a=b.c\"=".reply=1"#,
                vec!["apis", "a", "routes", "a=b.c\"=", "reply"],
            ),
            (r"a.'b\=c'=1", vec!["a", r"b\=c"]),
        ] {
            assert_eq!(
                read(argument),
                (names.iter().map(|n| n.to_string()).collect(), "integer 1".to_owned())
            );
        }
    }

    #[test]
    fn a_value_is_toml_or_else_a_string() {
        for (value, is) in [
            ("7", "integer 7"),
            ("true", "boolean"),
            ("[\"a\", \"b\"]", "array"),
            ("{ a = 1 }", "table"),
            ("\"7\"", "string 7"),
            ("'7'", "string 7"),
            ("", "string "),
            ("127.0.0.1:8080", "string 127.0.0.1:8080"),
            ("[::]:8080", "string [::]:8080"),
            ("redis://:a=b@host/0", "string redis://:a=b@host/0"),
            ("none", "string none"),
            ("it's", "string it's"),
            // One value and no more: nothing gets in that the key does not name.
            ("1\nother = 2", "string 1\nother = 2"),
        ] {
            assert_eq!(read(&format!("k={value}")).1, is);
        }
    }

    #[test]
    fn what_is_no_override_is_told_for_each_and_never_shows_a_value() {
        let arguments = [
            "a.b=1",
            "redis://:hunter2@host",
            "=hunter2",
            "a b=hunter2",
            "a..b=hunter2",
            "items[0]=hunter2",
            "a.\"b=hunter2",
            "a\n.b=hunter2",
            "a.b=\"hunter2",
            "a.b='hunter2' 'hunter2'",
        ];
        let wrong = Overrides::read(&arguments).err().expect("problems").to_string();
        let heads: Vec<_> = wrong
            .lines()
            .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
            .collect();
        assert_eq!(
            heads,
            [
                "--set number 2: expected KEY=VALUE, such as limits.max_in_flight=32",
                "--set \"\": is no key",
                "--set \"a b\": is no key",
                "--set \"a..b\": is no key",
                "--set \"items[0]\": is no key",
                "--set \"a.\\\"b\": is no key",
                "--set \"a\\n.b\": is no key",
                "--set a.b: the value is no TOML string",
                "--set a.b: the value is no TOML string",
            ]
        );
        assert!(!wrong.contains("hunter2"), "{wrong}");
    }
}
