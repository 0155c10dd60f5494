//! `gateway.toml` as the operator wrote it: `[api_keys]` and `[usage_plans]`.
//!
//! The same rules hold as in [`super::file`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_model::QuotaPeriod;

use super::{api_file::ThrottleSection, secret_text::SecretText};

/// One API key. It opens the stages of the usage plans that name it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["value"]))]
pub(super) struct ApiKeySection {
    /// What clients send: 20 to 128 visible ASCII characters, another one for each key.
    pub(super) value: Option<SecretText>,
    /// A disabled key opens nothing.
    pub(super) enabled: bool,
}

impl Default for ApiKeySection {
    fn default() -> Self {
        Self { value: None, enabled: true }
    }
}

/// Which stages some API keys open, and how often.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["stages", "api_keys"]))]
pub(super) struct UsagePlanSection {
    /// Api id and stage name of each stage, such as `chat/prod`.
    pub(super) stages: Vec<String>,
    /// Names of `[api_keys]`. A key is in at most one plan of a stage.
    pub(super) api_keys: Vec<String>,
    /// Connects a second of each key. Absent: unthrottled.
    pub(super) throttle: Option<ThrottleSection>,
    /// Connects in a period of each key. Absent: as many as come.
    pub(super) quota: Option<QuotaSection>,
}

/// How many connects a key has in a period; over it, a connect is answered 429.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["limit", "period"]))]
pub(super) struct QuotaSection {
    /// Connects in a period.
    pub(super) limit: Option<u32>,
    /// When the quota is filled up again.
    pub(super) period: Option<QuotaPeriodWord>,
}

/// When a quota is filled up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum QuotaPeriodWord {
    /// at midnight UTC
    Day,
    /// on Sunday, at midnight UTC
    Week,
    /// on the month's first day, at midnight UTC
    Month,
}

impl From<QuotaPeriodWord> for QuotaPeriod {
    fn from(word: QuotaPeriodWord) -> Self {
        match word {
            QuotaPeriodWord::Day => Self::Day,
            QuotaPeriodWord::Week => Self::Week,
            QuotaPeriodWord::Month => Self::Month,
        }
    }
}
