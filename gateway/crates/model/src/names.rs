//! The names of apis, stages and routes.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Not of the shape of an api id.
    #[error("`{0}` is no api id: 1 to 63 of a-z, 0-9 and `-`, not starting or ending with `-`")]
    Api(String),
    /// Not of the shape of a stage name.
    #[error("`{0}` is no stage name: 1 to 128 of A-Z, a-z, 0-9, `_` and `-`")]
    Stage(String),
    /// Not of the shape of an API mapping's key.
    #[error("`{0}` is no mapping key: 1 to 300 of A-Z a-z 0-9 and $-_.+!*'()")]
    MappingKey(String),
    /// A key that starts with `$` but is none of the three that do.
    #[error(
        "route key `{0}` is not formatted properly: only $connect, $disconnect and $default start with `$`"
    )]
    ReservedRouteKey(String),
    /// A route key of no or of too many characters.
    #[error("route key `{0}` is not formatted properly: 1 to 128 characters")]
    RouteKeyLength(String),
}

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

/// Names one api; the first label of its default host, `{api id}.execute-api.…`, hence a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiId(Arc<str>);
name_type!(ApiId);

impl FromStr for ApiId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let shaped = (1..=63).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if shaped { Ok(Self(text.into())) } else { Err(InvalidName::Api(text.to_owned())) }
    }
}

/// Names one stage of an api; the first path segment of its URLs (websocket-api, 1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageName(Arc<str>);
name_type!(StageName);

impl FromStr for StageName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::Stage(text.to_owned()))
        }
    }
}

/// The first path segment that leads from a custom domain to a stage (websocket-api, 12.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappingKey(Arc<str>);
name_type!(MappingKey);

impl FromStr for MappingKey {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"$-_.+!*'()".contains(&b);
        if (1..=300).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName::MappingKey(text.to_owned()))
        }
    }
}

/// What a message is matched against: `$connect`, `$disconnect`, `$default`, or a key of the
/// api's own, which does not start with `$`. Case matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteKey(Arc<str>);
name_type!(RouteKey);

impl RouteKey {
    /// Runs before the upgrade is answered.
    pub const CONNECT: &'static str = "$connect";
    /// Runs after the socket is gone.
    pub const DISCONNECT: &'static str = "$disconnect";
    /// Takes every message that no other route takes.
    pub const DEFAULT: &'static str = "$default";
}

impl FromStr for RouteKey {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let reserved = [Self::CONNECT, Self::DISCONNECT, Self::DEFAULT];
        if text.is_empty() || text.chars().count() > 128 {
            Err(InvalidName::RouteKeyLength(text.to_owned()))
        } else if text.starts_with('$') && !reserved.contains(&text) {
            Err(InvalidName::ReservedRouteKey(text.to_owned()))
        } else {
            Ok(Self(text.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_id_is_a_dns_label() {
        for good in ["chat", "a1b2c3d4e5", "my-api"] {
            assert!(good.parse::<ApiId>().is_ok(), "{good}");
        }
        for bad in ["", "Chat", "-a", "a-", "a.b", "a_b", &"a".repeat(64)] {
            assert!(bad.parse::<ApiId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stage_name_is_one_plain_path_segment() {
        for good in ["prod", "Beta_2", "a-b"] {
            assert!(good.parse::<StageName>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "@connections", "$default", "a b"] {
            assert!(bad.parse::<StageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mapping_key_is_one_path_segment() {
        for good in ["v1", "$-_.+!*'()", &"a".repeat(300)] {
            assert!(good.parse::<MappingKey>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a b", "@connections", &"a".repeat(301)] {
            assert!(bad.parse::<MappingKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_route_key_of_ones_own_does_not_start_with_a_dollar_sign() {
        for good in ["$connect", "$disconnect", "$default", "chat/join", "1", "[a, b]"] {
            assert!(good.parse::<RouteKey>().is_ok(), "{good}");
        }
        for bad in ["", "$foo", "$", "$Connect"] {
            assert!(bad.parse::<RouteKey>().is_err(), "{bad}");
        }
    }
}
