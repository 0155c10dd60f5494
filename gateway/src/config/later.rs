//! Keys and values that the documentation of Tidegate or of API Gateway names, and that this
//! version does not serve: an operator who writes one made no spelling mistake.

/// Keys that a later version takes, wherever they stand.
const KEYS: [&str; 20] = [
    "api_key_required",
    "api_key_selection_expression",
    "api_keys",
    "authorizer",
    "authorizers",
    "aws",
    "content_handling_strategy",
    "function",
    "functions",
    "integration_responses",
    "model_selection_expression",
    "models",
    "node_lease_s",
    "passthrough_behavior",
    "request_models",
    "request_templates",
    "route_responses",
    "template_selection_expression",
    "usage_plans",
    "vpc_links",
];

/// Values that a later version takes: the key, the value, and what it stands for.
const VALUES: [(&str, &str, &str); 5] = [
    ("protocol", "http", "http apis are"),
    ("protocol", "rest", "rest apis are"),
    ("compression", "permessage-deflate", "permessage-deflate is"),
    ("kind", "redis", "redis is"),
    ("type", "aws", "calls to AWS services are"),
];

/// Whether `key` is for a later version.
pub(super) fn is_later_key(key: &str) -> bool {
    KEYS.contains(&key)
}

/// What `value` of `key` stands for ("redis is"), where it is for a later version.
pub(super) fn later_value(key: &str, value: &str) -> Option<&'static str> {
    VALUES.iter().find(|(k, v, _)| *k == key && *v == value).map(|(_, _, what)| *what)
}
