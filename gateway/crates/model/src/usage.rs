//! API keys and usage plans (websocket-api, 11.3).

use crate::{Secret, Throttle};

/// One API key (`[api_keys.<name>]`).
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// The table's name: what `identity.apiKeyId` says.
    pub name: String,
    /// What clients send: 20 to 128 characters.
    pub value: Secret,
    /// A disabled key opens nothing.
    pub enabled: bool,
}

/// One usage plan (`[usage_plans.<name>]`).
#[derive(Debug, Clone)]
pub struct UsagePlan {
    /// The table's name.
    pub name: String,
    /// Api id and stage name of each stage that it opens.
    pub stages: Vec<(String, String)>,
    /// Names of keys. A key is in at most one plan of a stage.
    pub api_keys: Vec<String>,
    /// Connects a second of each key.
    pub throttle: Option<Throttle>,
    /// Connects in a period of each key.
    pub quota: Option<Quota>,
}

/// A usage plan's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Connects in a period.
    pub limit: u32,
    /// When it is filled up again.
    pub period: QuotaPeriod,
}

/// Periods begin at midnight UTC; weeks on Sunday, months on their first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "their names are their definitions")]
pub enum QuotaPeriod {
    Day,
    Week,
    Month,
}

/// Where a client's API key is found (`api_key_selection_expression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApiKeySource {
    /// `$request.header.x-api-key`.
    #[default]
    Header,
    /// `$context.authorizer.usageIdentifierKey`.
    Authorizer,
}
