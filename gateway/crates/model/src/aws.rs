//! What stands in ARNs, and how AWS services are reached.

use std::collections::BTreeMap;

use crate::{BackendUri, Secret};

/// `[aws]`.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// Stands in ARNs, and is called where a uri names no region.
    pub region: String,
    /// Stands in ARNs: 12 digits.
    pub account_id: String,
    /// By name. Without `default`, the environment and the profile files are asked.
    pub credentials: BTreeMap<String, AwsCredentials>,
    /// By service, such as `lambda` or `sqs`. Absent: Amazon's of the region.
    pub endpoints: BTreeMap<String, BackendUri>,
}

impl Default for AwsSettings {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account_id: "000000000000".to_owned(),
            credentials: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }
}

/// What calls to AWS services are signed with.
#[derive(Debug, Clone)]
pub struct AwsCredentials {
    /// Names the key.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: Secret,
    /// Goes along where the credentials are temporary.
    pub session_token: Option<Secret>,
}
