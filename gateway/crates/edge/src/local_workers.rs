//! The workers of local functions, and what they are given so that unmodified handlers reach this
//! gateway.
//!
//! In:  `[functions]` and `[aws]`, where the gateway listens.
//! Out: an access key that only those workers know, their surroundings, and what the public port
//!      answers their TLS with.

use std::{collections::BTreeMap, io, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tidegate_integrations::{FunctionLimits, LocalFunctions, WorkerSurroundings};
use tidegate_model::{
    AccessKey, AwsCredentials, AwsSettings, BackendUri, Configuration, Endpoint, Secret,
};

use crate::development_authority::{AuthorityError, DevelopmentAuthority, development_names};

/// Why there are no workers.
#[derive(Debug, thiserror::Error)]
pub enum WorkersError {
    /// The development authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The system gives no thread.
    #[error("start the thread of the local functions")]
    Thread(#[source] io::Error),
}

/// What workers are started with.
pub(crate) struct LocalWorkers {
    key: AccessKey,
    /// Of the public port.
    port: u16,
    /// Made when the first function is configured: others need none.
    authority: Mutex<Option<Arc<DevelopmentAuthority>>>,
}

impl LocalWorkers {
    /// `port` is the public one, as it was bound.
    pub(crate) fn new(port: u16) -> Self {
        Self { key: worker_key(), port, authority: Mutex::default() }
    }

    /// What they sign with.
    pub(crate) fn key(&self) -> &AccessKey {
        &self.key
    }

    /// The functions of a configuration, which takes the place of one with `previous`. They are not
    /// told of it yet: see [`LocalFunctions::reload`].
    pub(crate) fn functions(
        &self,
        configuration: &Configuration,
        previous: Option<Arc<LocalFunctions>>,
    ) -> Result<Arc<LocalFunctions>, WorkersError> {
        match previous {
            Some(running) if !running.counts().is_empty() => Ok(running),
            _ => {
                let authority = self.authority(configuration)?;
                let tls = authority.as_deref().map(|authority| (authority, self.port));
                let surroundings = surroundings(&configuration.aws, &self.key, tls);
                LocalFunctions::start(&[], surroundings, FunctionLimits::default())
                    .map_err(WorkersError::Thread)
            }
        }
    }

    /// What the public port answers TLS with where `[listen]` has none: workers build `https://` in
    /// code. `None` without functions, or with TLS of the operator's.
    pub(crate) fn tls(
        &self,
        configuration: &Configuration,
    ) -> Result<Option<Arc<ServerConfig>>, AuthorityError> {
        let names = development_names(configuration);
        self.authority(configuration)?.map(|authority| authority.server_config(&names)).transpose()
    }

    fn authority(
        &self,
        configuration: &Configuration,
    ) -> Result<Option<Arc<DevelopmentAuthority>>, AuthorityError> {
        if configuration.functions.is_empty() || configuration.listen.tls.is_some() {
            return Ok(None);
        }
        let mut authority = self.authority.lock();
        if authority.is_none() {
            *authority = Some(Arc::new(DevelopmentAuthority::open()?));
        }
        Ok(authority.clone())
    }
}

/// An access key of this process's: it may post to every connection, and ends with the process.
fn worker_key() -> AccessKey {
    let token = |bytes: &[u8]| Secret::new(URL_SAFE_NO_PAD.encode(bytes));
    let id: [u32; 3] = rand::random();
    AccessKey {
        // As long as Amazon's are, for those who look.
        access_key_id: format!("TIDE{:08X}{:08X}", id[0], id[1]),
        secret_access_key: token(&rand::random::<[u8; 30]>()),
        session_token: Some(token(&rand::random::<[u8; 30]>())),
        user: Some("tidegate-local-function".to_owned()),
        policy: None,
    }
}

/// The surroundings of all workers. `tls` is the authority, and the port that speaks TLS with its
/// certificates.
fn surroundings(
    aws: &AwsSettings,
    key: &AccessKey,
    tls: Option<(&DevelopmentAuthority, u16)>,
) -> WorkerSurroundings {
    WorkerSurroundings {
        region: aws.region.clone(),
        account_id: aws.account_id.clone(),
        credentials: AwsCredentials {
            access_key_id: key.access_key_id.clone(),
            secret_access_key: key.secret_access_key.clone(),
            session_token: key.session_token.clone(),
        },
        ca_bundle: tls.map(|(authority, _)| authority.bundle_path()),
        gateway_port: tls.map(|(_, port)| port),
        variables: endpoint_variables(&aws.endpoints),
    }
}

/// Handlers find the services where the gateway does.
fn endpoint_variables(endpoints: &BTreeMap<String, BackendUri>) -> BTreeMap<String, String> {
    let variable = |(service, uri): (&String, &BackendUri)| {
        let name = service.to_ascii_uppercase().replace(['-', '.', ' '], "_");
        let scheme = match &uri.endpoint {
            Endpoint::Http(..) => "http",
            Endpoint::Https(..) => "https",
            Endpoint::Unix(_) => return None,
        };
        let path = uri.path.trim_end_matches('/');
        let value = format!("{scheme}://{}{path}", uri.authority);
        Some((format!("AWS_ENDPOINT_URL_{name}"), value))
    };
    endpoints.iter().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use tidegate_model::UriTemplate;

    use super::*;

    #[test]
    fn each_key_is_new_and_has_a_session_token() {
        let (one, two) = (worker_key(), worker_key());
        assert_eq!(one.access_key_id.len(), 20);
        assert_ne!(one.access_key_id, two.access_key_id);
        assert_ne!(one.secret_access_key, two.secret_access_key);
        assert!(one.session_token.is_some() && one.session_token != two.session_token);
    }

    #[test]
    fn workers_find_services_where_the_gateway_does() {
        let uri = |text: &str| UriTemplate::parse(text).unwrap().expand(&BTreeMap::new()).unwrap();
        let endpoints = BTreeMap::from([
            ("dynamodb".to_owned(), uri("http://127.0.0.1:5000")),
            ("event-bridge".to_owned(), uri("https://aws.example/base/")),
        ]);
        let variables = endpoint_variables(&endpoints);
        let value = |name: &str| variables.get(name).map(String::as_str);
        assert_eq!(value("AWS_ENDPOINT_URL_DYNAMODB"), Some("http://127.0.0.1:5000"));
        assert_eq!(value("AWS_ENDPOINT_URL_EVENT_BRIDGE"), Some("https://aws.example/base"));
    }
}
