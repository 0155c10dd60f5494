//! Where in a TOML document something stands: `apis.chat.routes."$connect".integration`.

use std::fmt;

/// The way from the document's root to one key or array item.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    Item(usize),
}

impl KeyPath {
    /// The document itself.
    pub(super) fn root() -> Self {
        Self::default()
    }

    /// A key of the table at this path.
    pub(super) fn key(&self, name: &str) -> Self {
        self.then(Step::Key(name.to_owned()))
    }

    /// An item of the array at this path, counted from 0.
    pub(super) fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    /// Whether this is `above`, or below it.
    pub(super) fn is_within(&self, above: &Self) -> bool {
        self.0.starts_with(&above.0)
    }

    /// The table or array that this is in; `None` for the document.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(index) => write!(out, "[{index}]")?,
                Step::Key(name) => {
                    if at > 0 {
                        out.write_str(".")?;
                    }
                    write_key(name, out)?;
                }
            }
        }
        Ok(())
    }
}

/// A key as TOML writes it: bare where that is allowed, else quoted.
fn write_key(name: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        out.write_str(name)
    } else {
        // A control character from the file must not reach the operator's terminal as one.
        write!(out, "{name:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_toml_writes_it() {
        let path = KeyPath::root().key("apis").key("chat").key("routes").key("$connect");
        assert_eq!(path.to_string(), r#"apis.chat.routes."$connect""#);
        assert_eq!(
            KeyPath::root().key("a").item(2).key("b\u{1b}").to_string(),
            r#"a[2]."b\u{1b}""#
        );
        assert_eq!(KeyPath::root().to_string(), "");
    }

    #[test]
    fn a_path_is_within_itself_and_what_is_above_it() {
        let chat = KeyPath::root().key("apis").key("chat");
        assert!(chat.is_within(&chat) && chat.key("routes").is_within(&chat));
        assert!(!chat.is_within(&chat.key("routes")));
        assert!(!KeyPath::root().key("apis").key("chatter").is_within(&chat));
    }
}
