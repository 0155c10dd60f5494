//! The listener's TLS: certificate, key, and the authority of clients' certificates.

use std::{io, path::Path, sync::Arc};

use rustls::{
    ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tidegate_model::TlsFiles;

/// Why TLS cannot be served with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM of its kind.
    #[error("listen.tls.{key}: `{path}`: {reason}")]
    File {
        /// `certificate`, `private_key` or `client_ca`.
        key: &'static str,
        /// As resolved.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The files do not fit together.
    #[error("listen.tls: {0}")]
    Unusable(String),
}

/// What a port answers TLS with, and to whom.
#[derive(Debug, Clone, Default)]
pub(crate) enum PortTls {
    /// Nobody: the port speaks plain HTTP.
    #[default]
    Plain,
    /// Everybody: the port speaks nothing else.
    Always(Arc<ServerConfig>),
    /// Loopback peers whose first byte begins a TLS handshake; it speaks plain HTTP with all
    /// others. For development, see
    /// [`DevelopmentAuthority`](crate::development_authority::DevelopmentAuthority).
    ForLoopbackToo(Arc<ServerConfig>),
}

impl PortTls {
    /// What `[listen]` asks for; where it asks for no TLS, `development` is for loopback peers.
    pub(crate) fn of(
        files: Option<&TlsFiles>,
        development: Option<Arc<ServerConfig>>,
    ) -> Result<Self, TlsError> {
        Ok(match (files, development) {
            (Some(files), _) => Self::Always(load_tls(files)?),
            (None, Some(config)) => Self::ForLoopbackToo(config),
            (None, None) => Self::Plain,
        })
    }
}

/// Reads the files. TLS 1.2 and 1.3, HTTP/1.1 only.
pub fn load_tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates("certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.private_key)
        .map_err(|err| file_error("private_key", &files.private_key, &err))?;
    let unusable = |err: &dyn std::error::Error| TlsError::Unusable(err.to_string());
    let builder = builder().map_err(|err| unusable(&err))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates("client_ca", path)? {
                roots.add(certificate).map_err(|err| unusable(&err))?;
            }
            let provider = builder.crypto_provider().clone();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|err| unusable(&err))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, key).map_err(|err| unusable(&err))?;
    Ok(http_1_1_only(config))
}

/// The same for a chain and a key in memory, for all clients.
pub(crate) fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    Ok(http_1_1_only(builder()?.with_no_client_auth().with_single_cert(chain, key)?))
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
}

fn http_1_1_only(mut config: ServerConfig) -> Arc<ServerConfig> {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|err| file_error(key, path, &err))?;
    if found.is_empty() {
        let nothing = io::Error::other("no certificate in it; PEM is expected");
        return Err(file_error(key, path, &nothing));
    }
    Ok(found)
}

fn file_error(key: &'static str, path: &Path, reason: &dyn std::error::Error) -> TlsError {
    TlsError::File { key, path: path.display().to_string(), reason: reason.to_string() }
}
