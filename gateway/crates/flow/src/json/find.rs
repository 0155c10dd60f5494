//! The value at one definite path, found in one pass over the message with nothing built: what
//! routes almost every message.
//!
//! In:  a message and the steps.
//! Out: the value's text, borrowed from the message where it has no escapes in it.
//!
//! The whole message is checked to be JSON on the way. Where `serde_json` is stricter about what
//! it looks into than about what it skips (a lone surrogate in a name, a number beyond a double's
//! range, depth), this gives up and [`Document`] decides.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tidegate_model::PathStep;

use super::{Document, text};

/// The way is not known to be right: [`Document`] has to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undecided;

/// The text of what `steps` lead to in `message`; `None` if they lead nowhere or to `null`.
///
/// # Errors
/// [`Undecided`] if `message` is no strict JSON, or is but has an oddity on the way.
pub fn text_at<'m>(
    message: &'m str,
    steps: &[PathStep],
) -> Result<Option<Cow<'m, str>>, Undecided> {
    let mut deserializer = serde_json::Deserializer::from_str(message);
    let found = Walk(steps).deserialize(&mut deserializer).map_err(|_| Undecided)?;
    deserializer.end().map_err(|_| Undecided)?;
    found.map_or(Ok(None), |value| text_of(value.get()))
}

/// The text of one JSON value, which is known to be one.
fn text_of(value: &str) -> Result<Option<Cow<'_, str>>, Undecided> {
    match value.as_bytes() {
        [b'"', inner @ .., b'"'] if memchr::memchr(b'\\', inner).is_none() => {
            Ok(Some(Cow::Borrowed(&value[1..value.len() - 1])))
        }
        [b'"' | b'[' | b'{', ..] => {
            let document = Document::relaxed(value).ok_or(Undecided)?;
            Ok(text::of(&document, 0))
        }
        [b'n', ..] => Ok(None),
        _ => Ok(Some(Cow::Borrowed(value))),
    }
}

/// Goes down the steps that are left; gives the value at their end.
struct Walk<'s>(&'s [PathStep]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => <&RawValue>::deserialize(value).map(Some),
            Some((step, rest)) => value.deserialize_any(Step { step, rest }),
        }
    }
}

/// Takes one step into the value it is shown.
struct Step<'s> {
    step: &'s PathStep,
    rest: &'s [PathStep],
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let PathStep::Name(name) = self.step else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(None);
        };
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(IsName(name))? {
            if is_wanted {
                // Of members of one name the last counts, even if it leads nowhere.
                found = map.next_value_seed(Walk(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        if let PathStep::Index(index) = self.step {
            // One that counts from the end cannot be found on the way there.
            let index = u64::try_from(*index).map_err(serde::de::Error::custom)?;
            let mut at = 0;
            while at < index && seq.next_element::<IgnoredAny>()?.is_some() {
                at += 1;
            }
            if at == index {
                found = seq.next_element_seed(Walk(self.rest))?.flatten();
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a member's name is the wanted one.
struct IsName<'s>(&'s str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
