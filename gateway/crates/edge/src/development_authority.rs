//! A certificate authority of the gateway's own, for development.
//!
//! Unmodified handlers build `https://{domainName}/{stage}` in code. So that this reaches a
//! gateway without certificates, it answers TLS with one that this authority signed, and the
//! handlers' processes are told to trust the authority.
//!
//! In:  a folder to keep the authority in, the names that the gateway answers to, the clock.
//! Out: the authority's certificate, alone and with the system's, as files for SDKs; a TLS
//!      configuration for the listener.
//!
//! ```text
//! folder/authority.pem   key and certificate: what the authority is
//! folder/ca.pem          the certificate, for what adds to the system's set (NODE_EXTRA_CA_CERTS)
//! folder/bundle.pem      the system's and it, for what replaces the set (AWS_CA_BUNDLE)
//! folder/lock            held while these are read and written
//! ```
//!
//! Holds always: nobody but the user who runs the gateway can read the key; gateways that share a
//! folder share the authority, even if they start at once; a file is whole or not there.

mod certificates;
mod state_folder;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ServerConfig, pki_types::CertificateDer};
use tempfile::TempDir;
use tidegate_model::Configuration;
use time::OffsetDateTime;
use tracing::warn;

pub use state_folder::state_folders;

use crate::tls;
use certificates::Authority;
use state_folder::Folder;

/// Where the authority is in the gateway's state folder.
const SUBFOLDER: &str = "development-authority";

const AUTHORITY: &str = "authority.pem";
const CA: &str = "ca.pem";
const BUNDLE: &str = "bundle.pem";

/// Names that every certificate has. Not `*.localhost`: no client takes a wildcard right under a
/// top-level name, so what is to be reached there is named in full, see [`development_names`].
const ALWAYS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A certificate authority that the gateway made and keeps.
///
/// Valid for ten years, replaced when less than one is left; one whose key others could read is
/// replaced too.
pub struct DevelopmentAuthority {
    folder: PathBuf,
    authority: Authority,
    /// The folder, where it ends with this.
    _temporary: Option<TempDir>,
}

/// Why there is no development authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The folder cannot be used.
    #[error("development authority: {path}")]
    File {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not as the gateway wrote it.
    #[error(
        "development authority: {path}: {reason}; without the file, the next start makes a new authority"
    )]
    Damaged {
        /// The file with the key.
        path: PathBuf,
        /// What is wrong with it; nothing of the key.
        reason: String,
    },
    /// A certificate for these names cannot be made.
    #[error("development authority: no certificate for {names}: {reason}")]
    Certificate {
        /// What it was for.
        names: String,
        /// What is wrong.
        reason: String,
    },
}

impl DevelopmentAuthority {
    /// The authority in the gateway's state folder (`$XDG_STATE_HOME/tidegate`, else
    /// `~/.local/state/tidegate`), made if need be. If neither can be written, one for this
    /// process alone, in a folder that goes with it; the log says so.
    ///
    /// Reads and writes files: not on a core that serves connections.
    ///
    /// # Errors
    /// What [`Self::load_or_create`] says of the temporary folder.
    pub fn open() -> Result<Self, AuthorityError> {
        Self::open_in(&state_folders(|name| std::env::var_os(name)))
    }

    /// The same, with the first of `folders` that serves.
    fn open_in(folders: &[PathBuf]) -> Result<Self, AuthorityError> {
        for folder in folders {
            match Self::load_or_create(&folder.join(SUBFOLDER)) {
                Ok(found) => return Ok(found),
                Err(err) => {
                    let cause = std::error::Error::source(&err).map(ToString::to_string);
                    let folder = folder.display();
                    warn!(%folder, error = %err, cause, "no development authority is kept there");
                }
            }
        }
        let temporary = tempfile::Builder::new()
            .prefix("tidegate-")
            .tempdir()
            .map_err(|source| AuthorityError::File { path: std::env::temp_dir(), source })?;
        let folder = temporary.path().display();
        warn!(%folder, "the development authority is gone when the gateway ends");
        let made = Self::load_or_create(temporary.path())?;
        Ok(Self { _temporary: Some(temporary), ..made })
    }

    /// The authority in `folder`; made, with the folder, where there is none.
    ///
    /// Reads and writes files: not on a core that serves connections.
    ///
    /// # Errors
    /// The folder cannot be used, or the authority in it is damaged.
    pub fn load_or_create(folder: &Path) -> Result<Self, AuthorityError> {
        Self::load_or_create_at(folder, OffsetDateTime::now_utc())
    }

    fn load_or_create_at(path: &Path, now: OffsetDateTime) -> Result<Self, AuthorityError> {
        let folder = Folder::locked(path)?;
        let kept = match folder.read_secret(AUTHORITY)? {
            None => None,
            Some(secret) => {
                let damaged =
                    |reason| AuthorityError::Damaged { path: path.join(AUTHORITY), reason };
                let found = Authority::from_pem(&secret.text).map_err(damaged)?;
                if secret.others_could_read {
                    warn!(
                        folder = %path.display(),
                        "others could read the development authority's key; a new one takes its place"
                    );
                }
                (!secret.others_could_read && found.is_fresh(now)).then_some(found)
            }
        };
        let authority = match kept {
            Some(found) => found,
            None => {
                let made = Authority::create(now).map_err(|err| AuthorityError::Certificate {
                    names: "the authority".to_owned(),
                    reason: err.to_string(),
                })?;
                folder.write(AUTHORITY, &made.to_pem())?;
                made
            }
        };
        folder.write(CA, &certificates::certificate_pem(authority.certificate()))?;
        folder.write(BUNDLE, &bundle(authority.certificate()))?;
        Ok(Self { folder: path.to_owned(), authority, _temporary: None })
    }

    /// A PEM file with the authority's certificate alone.
    pub fn ca_certificate_path(&self) -> PathBuf {
        self.folder.join(CA)
    }

    /// A PEM file with the certificates that the system trusts, and the authority's.
    pub fn bundle_path(&self) -> PathBuf {
        self.folder.join(BUNDLE)
    }

    /// What a listener that answers to `names` answers TLS with: TLS 1.2 and 1.3, HTTP/1.1 only.
    ///
    /// `names` are host names, `*.` before some of them, and IP addresses; `localhost`,
    /// `127.0.0.1` and `::1` go without saying. The certificate is made anew, its key stays in
    /// memory, and it is valid for 397 days: make one at each start and reload.
    ///
    /// # Errors
    /// One of the names cannot be in a certificate.
    pub fn server_config(&self, names: &[String]) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut all: Vec<String> = ALWAYS.map(str::to_owned).into();
        for name in names {
            let name = name.to_ascii_lowercase();
            if !all.contains(&name) {
                all.push(name);
            }
        }
        let failed = |err: &dyn fmt::Display| AuthorityError::Certificate {
            names: all.join(", "),
            reason: err.to_string(),
        };
        let (chain, key) =
            self.authority.issue(&all, OffsetDateTime::now_utc()).map_err(|err| failed(&err))?;
        tls::server_config(chain, key).map_err(|err| failed(&err))
    }
}

/// Where it is; nothing of the key.
impl fmt::Debug for DevelopmentAuthority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DevelopmentAuthority")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

/// The names by which handlers reach a gateway of this configuration: the address it listens on,
/// `*.execute-api.{region}.amazonaws.com`, and each api's `{api id}.localhost` and domains.
pub fn development_names(configuration: &Configuration) -> Vec<String> {
    let mut names = vec![format!("*.execute-api.{}.amazonaws.com", configuration.aws.region)];
    let ip = configuration.listen.address.ip();
    if !ip.is_unspecified() {
        names.push(ip.to_canonical().to_string());
    }
    for api in &configuration.apis {
        names.push(format!("{}.localhost", api.id));
        names.extend(api.domains.iter().map(ToString::to_string));
    }
    names
}

/// The system's certificates and ours, as PEM.
fn bundle(ours: &CertificateDer<'_>) -> String {
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        warn!(error = %error, "certificate authority not read");
    }
    if system.certs.is_empty() {
        warn!(
            "the system trusts no certificate authority; local functions will trust the gateway only"
        );
    }
    // Where the system's set is one of our bundles, ours is in it already.
    let others = system.certs.iter().filter(|certificate| *certificate != ours);
    others.chain([ours]).map(certificates::certificate_pem).collect()
}

#[cfg(test)]
mod tests;
