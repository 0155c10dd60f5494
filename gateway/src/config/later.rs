//! Keys and values that the documentation of Tidegate or of API Gateway names, and that this
//! version does not serve: an operator who writes one made no spelling mistake.

/// Keys that a later version takes, wherever they stand.
const KEYS: [&str; 2] = ["route_responses", "vpc_links"];

/// Values that a later version takes: the key, the value, and what it stands for.
const VALUES: [(&str, &str, &str); 3] = [
    ("protocol", "http", "http apis are"),
    ("protocol", "rest", "rest apis are"),
    ("compression", "permessage-deflate", "permessage-deflate is"),
];

/// Whether `key` is for a later version.
pub(super) fn is_later_key(key: &str) -> bool {
    KEYS.contains(&key)
}

/// What `value` of `key` stands for ("redis is"), where it is for a later version.
pub(super) fn later_value(key: &str, value: &str) -> Option<&'static str> {
    VALUES.iter().find(|(k, v, _)| *k == key && *v == value).map(|(_, _, what)| *what)
}
