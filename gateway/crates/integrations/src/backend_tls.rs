//! TLS towards backends: whom we trust.
//!
//! In:  the machine's certificate authorities, or a given set.
//! Out: a TLS stream to a backend whose certificate is valid for the uri's host.

use std::{io, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What all cores' pools share for `https` backends: the trusted authorities and the sessions to
/// resume. Cheap to clone. The machine's authorities are read when the first call needs them.
#[derive(Debug, Clone, Default)]
pub struct BackendTls(Arc<OnceCell<TlsConnectorConfig>>);

type TlsConnectorConfig = Arc<ClientConfig>;

impl BackendTls {
    /// Trusts what the machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded).
    pub fn native() -> Self {
        Self::default()
    }

    /// Trusts these authorities only.
    pub fn with_roots(roots: RootCertStore) -> Self {
        Self(Arc::new(OnceCell::new_with(Some(client_config(roots)))))
    }

    /// Handshakes over `stream`, as a client of `host` (a name, or an address without brackets).
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.0.get_or_try_init(native_config).await?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(config)).connect(name, stream).await
    }
}

/// Reads files, hence not on a core that serves connections.
async fn native_config() -> io::Result<TlsConnectorConfig> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs);
    let loaded = loaded.await.map_err(io::Error::other)?;
    for error in &loaded.errors {
        tracing::warn!(error = %error, "certificate authority not read");
    }
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(loaded.certs);
    if added == 0 {
        return Err(io::Error::other(
            "no certificate authority is known: install the system's, or name a file in SSL_CERT_FILE",
        ));
    }
    tracing::debug!(added, ignored, "certificate authorities read");
    Ok(client_config(roots))
}

fn client_config(roots: RootCertStore) -> TlsConnectorConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring's provider has suites for TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
