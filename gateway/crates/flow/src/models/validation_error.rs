//! What is wrong with a message, in words: `$context.error.validationErrorString`.
//!
//! In:  what the validator found.
//! Out: a list in brackets, at most 1 KB.
//!
//! Holds always: of the message it holds names of properties and no values; it holds no quote,
//! backslash or control character, so it can stand between quotes in a template or a log line.

use std::fmt::Write as _;

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind},
};

/// What the whole text may take, bytes.
const MAX_BYTES: usize = 1024;

/// What one place in a message may take, characters: its sender chose the names.
const MAX_PLACE_CHARS: usize = 128;

const MORE: &str = ", and more]";

/// The list of what is wrong.
pub(super) fn list<'e>(errors: impl Iterator<Item = ValidationError<'e>>) -> String {
    let mut text = String::from("[");
    for sentence in errors.flat_map(|error| sentences(&error)) {
        let separator = if text.len() > 1 { ", " } else { "" };
        if text.len() + separator.len() + sentence.len() + MORE.len() > MAX_BYTES {
            text.push_str(MORE);
            return text;
        }
        text.push_str(separator);
        text.push_str(&sentence);
    }
    text.push(']');
    text
}

fn sentences(error: &ValidationError<'_>) -> Vec<String> {
    use ValidationErrorKind::{AdditionalProperties, Required};
    let pointer = error.instance_path().as_str();
    match error.kind() {
        Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![format!("{} is missing", place(&member(pointer, name)))]
        }
        AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| format!("{} is not allowed", place(&member(pointer, name))))
            .collect(),
        kind => vec![format!("{} {}", place(pointer), predicate(kind))],
    }
}

/// What is wrong with the value at a place. Limits are the schema's; none is of the message.
fn predicate(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { kind: TypeKind::Single(wanted) } => format!("must be {wanted}"),
        Kind::Type { kind: TypeKind::Multiple(wanted) } => {
            let mut text = String::from("must be ");
            for (index, wanted) in wanted.iter().enumerate() {
                let separator = if index > 0 { " or " } else { "" };
                let _ = write!(text, "{separator}{wanted}");
            }
            text
        }
        Kind::Enum { .. } => "is none of the values of enum".to_owned(),
        Kind::Minimum { limit } => format!("is less than {limit}"),
        Kind::Maximum { limit } => format!("is more than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("is not more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("is not less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("is no multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("has fewer characters than {limit}"),
        Kind::MaxLength { limit } => format!("has more characters than {limit}"),
        Kind::Pattern { .. } => "does not match the pattern".to_owned(),
        Kind::Format { format } => format!("is not of the format {}", plain(format)),
        Kind::MinItems { limit } => format!("has fewer items than {limit}"),
        Kind::MaxItems { limit } => format!("has more items than {limit}"),
        Kind::AdditionalItems { limit } => {
            format!("has more items than {limit}")
        }
        Kind::UniqueItems => "has two equal items".to_owned(),
        Kind::MinProperties { limit } => format!("has fewer properties than {limit}"),
        Kind::MaxProperties { limit } => format!("has more properties than {limit}"),
        Kind::FalseSchema => "has more than the schema allows".to_owned(),
        Kind::AnyOf { .. } => "matches no schema of anyOf".to_owned(),
        Kind::OneOfNotValid { .. } => "matches no schema of oneOf".to_owned(),
        Kind::OneOfMultipleValid { .. } => "matches more than one schema of oneOf".to_owned(),
        Kind::Not { .. } => "matches the schema of not".to_owned(),
        other => format!("does not match {}", plain(other.keyword())),
    }
}

/// The pointer to a member of what `pointer` leads to.
fn member(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A pointer, harmless and not too long.
fn place(pointer: &str) -> String {
    if pointer.is_empty() {
        return "the message".to_owned();
    }
    plain(pointer)
}

fn plain(text: &str) -> String {
    let harmless = |c: char| if c.is_control() || c == '"' || c == '\\' { '?' } else { c };
    let mut plain: String = text.chars().take(MAX_PLACE_CHARS).map(harmless).collect();
    if text.chars().nth(MAX_PLACE_CHARS).is_some() {
        plain.push('…');
    }
    plain
}
