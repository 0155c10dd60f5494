//! The name of a group.
//!
//! In:  text from a path, decoded, or from an integration's answer.
//! Out: [`GroupName`], a value that is of valid shape wherever it is met.

use std::{fmt, str::FromStr, sync::Arc};

use crate::refused_text::beginning_of;

/// Names a group of connections within one stage of one api.
///
/// Shape: 1 to 128 characters of `A-Z a-z 0-9 - _ . ~ :`. Case matters. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Arc<str>);

impl GroupName {
    /// The longest name, in characters, which are bytes.
    pub const MAX_LENGTH: usize = 128;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = InvalidGroupName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.~:".contains(&b);
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidGroupName { text: beginning_of(text) })
        }
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// The text is not of the shape of a group's name.
///
/// Its message is fit for the answer to whoever sent it: it shows at most the text's first 64
/// characters, without control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no group name: 1 to 128 characters of A-Za-z0-9-_.~:")]
pub struct InvalidGroupName {
    text: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_allowed_character_and_length_is_a_name() {
        let all = "ABCXYZabcxyz0189-_.~:";
        assert_eq!(all.parse::<GroupName>().unwrap().as_str(), all);
        for length in [1, 127, 128] {
            let text = "r".repeat(length);
            assert_eq!(text.parse::<GroupName>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_text_of_another_shape_is_refused_by_name() {
        for text in ["", " ", "a b", "a/b", "a%20b", "ä", "a\0", "a,b", "*", "a@b", "a+b"] {
            let told = text.parse::<GroupName>().unwrap_err().to_string();
            let what = "is no group name: 1 to 128 characters of A-Za-z0-9-_.~:";
            assert!(told.ends_with(what), "{told}");
        }
        let told = "r".repeat(129).parse::<GroupName>().unwrap_err().to_string();
        assert!(told.contains("rrr...") && told.len() < 140, "{told}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_exactly_if_it_is_of_the_shape(
            text in prop_oneof![any::<String>(), "[A-Za-z0-9._~:/ -]{0,140}"],
        ) {
            let shaped = !text.is_empty()
                && text.len() <= 128
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.~:".contains(c));
            let parsed = text.parse::<GroupName>();
            prop_assert_eq!(parsed.is_ok(), shaped);
            prop_assert!(parsed.map_or(true, |name| name.as_str() == text));
        }
    }
}
