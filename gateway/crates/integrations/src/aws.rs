//! Calls to AWS: functions by Lambda's Invoke API, and other services, signed.
//!
//! In:  `[aws]` and the process's environment; an integration's uri; then one payload per call.
//! Out: what the function returned, or what the service answered.
//!
//! ```text
//! LambdaCall ──┐                 credentials (configuration, environment, profile files)
//!              ├─► Channel ─► sign ─► BackendPools ─► response
//! ServiceCall ─┘     └─ place (host, region, what is signed for)
//! ```
//!
//! Holds always: a call ends within its time limit, and is sent at most once; secrets and payloads
//! are in no error and no log.

mod channel;
mod credentials;
mod credentials_error;
mod lambda_call;
mod place;
mod profile_files;
mod service_call;
mod services;
mod signing;
mod target;

use tidegate_model::AwsSettings;

pub use channel::AwsCallSettings;
pub use credentials::AwsEnvironment;
pub use credentials_error::CredentialsError;
pub use lambda_call::LambdaCall;
pub use service_call::ServiceCall;

use credentials::CredentialsSource;

/// What all calls to AWS of one configuration share, over all cores: where the services are, and
/// who calls them.
#[derive(Debug)]
pub struct Aws {
    settings: AwsSettings,
    credentials: CredentialsSource,
}

impl Aws {
    /// `[aws]` of the configuration, and where it names no credentials, those of `environment`
    /// and of the profile files that this names. The files are read when a call needs them.
    pub fn new(settings: AwsSettings, environment: AwsEnvironment) -> Self {
        let credentials = CredentialsSource::new(&settings.credentials, environment);
        Self { settings, credentials }
    }
}
