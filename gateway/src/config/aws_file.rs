//! `gateway.toml` as the operator wrote it: `[aws]` and `[functions]`.
//!
//! The same rules hold as in [`super::file`].

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_model::AwsSettings;

use super::secret_text::SecretText;

/// What stands in ARNs, and how calls to AWS services are made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AwsSection {
    /// Stands in ARNs, and is called where a uri names no region.
    pub(super) region: String,
    /// Stands in ARNs: 12 digits.
    pub(super) account_id: String,
    /// What calls to AWS are signed with, by names of your own. `default` is taken where an
    /// integration names none; without it the environment and then the profile files are asked,
    /// as AWS's own tools do.
    #[schemars(extend("x-key" = "<name>"))]
    pub(super) credentials: BTreeMap<String, AwsCredentialsSection>,
    /// Where services are, by service, such as `lambda` or `sqs`: `http://host[:port]` or
    /// `https://…`, a path before the service's own allowed. Absent: Amazon's of the region.
    #[schemars(extend("x-key" = "<service>"))]
    pub(super) endpoints: BTreeMap<String, String>,
}

impl Default for AwsSection {
    fn default() -> Self {
        let AwsSettings { region, account_id, .. } = AwsSettings::default();
        Self { region, account_id, credentials: BTreeMap::new(), endpoints: BTreeMap::new() }
    }
}

/// What calls to AWS are signed with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["access_key_id", "secret_access_key"]))]
pub(super) struct AwsCredentialsSection {
    /// Names the key in each signature.
    pub(super) access_key_id: Option<String>,
    /// What signatures are made with.
    pub(super) secret_access_key: Option<SecretText>,
    /// Goes along where the credentials are temporary.
    pub(super) session_token: Option<SecretText>,
}

/// A function whose workers the gateway runs itself: any Lambda runtime client.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["command"]))]
pub(super) struct FunctionSection {
    /// The program and its arguments, such as `["python3", "-m", "awslambdaric", "app.handler"]`.
    pub(super) command: Vec<String>,
    /// Where it is started: a folder that is there.
    pub(super) directory: String,
    /// Variables of its environment, besides those that every function gets.
    #[schemars(extend("x-key" = "<NAME>"))]
    pub(super) environment: BTreeMap<String, SecretText>,
    /// How long one invocation may take, milliseconds. Lambda's own default and its most.
    #[schemars(range(min = 1, max = 900_000))]
    pub(super) timeout_ms: u32,
    /// Told to the worker, not enforced, MiB.
    pub(super) memory_mb: NonZeroU32,
    /// Workers that run always.
    pub(super) min_workers: u32,
    /// Workers that may run at once, not fewer than `min_workers`. Each takes one event at a time.
    pub(super) max_workers: NonZeroU32,
    /// A worker above `min_workers` that had nothing to do for this long is ended, seconds.
    pub(super) idle_worker_s: u32,
    /// Whether a changed file in `directory` restarts the workers.
    pub(super) watch: bool,
}

impl Default for FunctionSection {
    fn default() -> Self {
        let of = |figure| NonZeroU32::new(figure).expect("the defaults below are not 0");
        Self {
            command: Vec::new(),
            directory: ".".to_owned(),
            environment: BTreeMap::new(),
            timeout_ms: 3_000,
            memory_mb: of(128),
            min_workers: 0,
            max_workers: of(10),
            idle_worker_s: 300,
            watch: false,
        }
    }
}
