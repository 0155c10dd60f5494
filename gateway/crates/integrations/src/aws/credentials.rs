//! With which credentials a call to AWS is signed.
//!
//! In:  the configuration's, the process's environment, the profile files; then a name, or none.
//! Out: an access key, its secret, and perhaps a session token.
//!
//! ```text
//! a name ──────► [aws.credentials.NAME] ─► profile NAME
//! none ────────► [aws.credentials.default] ─► AWS_ACCESS_KEY_ID … ─► profile AWS_PROFILE or default
//! ```
//!
//! Holds always: a key from outside is visible ASCII, so that it fits in a header; files are read
//! on a thread that is no core's, by one caller at a time, and whoever has read them before uses
//! that meanwhile.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tidegate_model::{AwsCredentials, Secret};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};

use super::{
    CredentialsError,
    profile_files::{FileKind, Profile, Profiles, read_profiles},
};

/// How often the files are looked at, whether they changed.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often they are read although they seem not to have changed: a file system may be coarse
/// about times.
const READ_EVERY: Duration = Duration::from_secs(300);

const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";

/// What a process's environment says about credentials.
#[derive(Debug, Clone)]
pub struct AwsEnvironment {
    keys: Option<Arc<AwsCredentials>>,
    /// `AWS_PROFILE`, or `default`.
    profile: String,
    /// Weakest first.
    files: Vec<(FileKind, PathBuf)>,
}

impl AwsEnvironment {
    /// This process's.
    pub fn of_process() -> Self {
        Self::new(|name| std::env::var(name).ok())
    }

    /// One in which `variable` gives the value of a name. Empty is as good as absent.
    pub fn new(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = variable("HOME").map(PathBuf::from);
        let keys = variable(ACCESS_KEY_ID).zip(variable(SECRET_ACCESS_KEY));
        let file = |name: &str, usual: &str| match (variable(name), &home) {
            (Some(path), home) => Some(match (path.strip_prefix("~/"), home) {
                (Some(inside), Some(home)) => home.join(inside),
                _ => PathBuf::from(path),
            }),
            (None, Some(home)) => Some(home.join(".aws").join(usual)),
            (None, None) => None,
        };
        let files = [
            (FileKind::Config, file("AWS_CONFIG_FILE", "config")),
            // Where both have a profile's keys, these count.
            (FileKind::Credentials, file("AWS_SHARED_CREDENTIALS_FILE", "credentials")),
        ];
        Self {
            keys: keys.map(|(access_key_id, secret)| {
                let session_token = variable("AWS_SESSION_TOKEN").map(Secret::new);
                let secret_access_key = Secret::new(secret);
                Arc::new(AwsCredentials { access_key_id, secret_access_key, session_token })
            }),
            profile: variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned()),
            files: files.into_iter().filter_map(|(kind, path)| Some((kind, path?))).collect(),
        }
    }
}

/// All that credentials can come from.
#[derive(Debug)]
pub(super) struct CredentialsSource {
    configured: BTreeMap<String, Arc<AwsCredentials>>,
    environment: AwsEnvironment,
    files: Arc<ProfileFiles>,
}

impl CredentialsSource {
    pub(super) fn new(
        configured: &BTreeMap<String, AwsCredentials>,
        environment: AwsEnvironment,
    ) -> Self {
        let shared = |(name, keys): (&String, &AwsCredentials)| (name.clone(), keys.clone().into());
        Self {
            configured: configured.iter().map(shared).collect(),
            files: Arc::new(ProfileFiles::new(environment.files.clone())),
            environment,
        }
    }

    /// The credentials of that name; `None` and `default` are those that AWS's tools would use.
    pub(super) async fn find(
        &self,
        name: Option<&str>,
    ) -> Result<Arc<AwsCredentials>, CredentialsError> {
        let name = name.unwrap_or("default");
        if let Some(keys) = self.configured.get(name) {
            return checked(keys, || format!("[aws.credentials.{name}]"));
        }
        let is_default = name == "default";
        if let (true, Some(keys)) = (is_default, &self.environment.keys) {
            return checked(keys, || "environment".to_owned());
        }
        let profile = if is_default { &self.environment.profile } else { name };
        let known = ProfileFiles::known(&self.files).await?;
        let files = || self.files.describe();
        match known.get(profile) {
            Some(Some(keys)) => checked(keys, || format!("profile `{profile}`")),
            Some(None) => {
                Err(CredentialsError::NoKeys { profile: profile.to_owned(), files: files() })
            }
            None if is_default => {
                Err(CredentialsError::Nowhere { profile: profile.to_owned(), files: files() })
            }
            None => Err(CredentialsError::Unknown { name: name.to_owned(), files: files() }),
        }
    }
}

/// Whether the keys can stand in headers.
fn checked(
    keys: &Arc<AwsCredentials>,
    place: impl FnOnce() -> String,
) -> Result<Arc<AwsCredentials>, CredentialsError> {
    let is_bad = |text: &str| text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic());
    let parts = [
        ("access key id", Some(keys.access_key_id.as_str())),
        ("secret access key", Some(keys.secret_access_key.reveal())),
        ("session token", keys.session_token.as_ref().map(Secret::reveal)),
    ];
    match parts.into_iter().find(|(_, text)| text.is_some_and(is_bad)) {
        Some((what, _)) => Err(CredentialsError::Malformed { what, place: place() }),
        None => Ok(Arc::clone(keys)),
    }
}

/// Profiles by name; `None` for one without keys.
type KnownProfiles = BTreeMap<String, Option<Arc<AwsCredentials>>>;

/// The profile files, and what they said last.
#[derive(Debug)]
struct ProfileFiles {
    paths: Vec<(FileKind, PathBuf)>,
    last: Mutex<Option<Reading>>,
    /// Held by whoever reads, who may be on another thread than who asked.
    reading: Arc<AsyncMutex<()>>,
}

#[derive(Debug, Clone)]
struct Reading {
    known: Arc<KnownProfiles>,
    stamps: Vec<Option<Stamp>>,
    looked_at: Instant,
    read_at: Instant,
}

/// Tells one state of a file from the next: when it was changed, and its length.
type Stamp = (SystemTime, u64);

impl ProfileFiles {
    fn new(paths: Vec<(FileKind, PathBuf)>) -> Self {
        Self { paths, last: Mutex::default(), reading: Arc::default() }
    }

    async fn known(self: &Arc<Self>) -> Result<Arc<KnownProfiles>, CredentialsError> {
        let last = self.last.lock().clone();
        if let Some(last) = &last
            && last.looked_at.elapsed() < LOOK_EVERY
        {
            return Ok(Arc::clone(&last.known));
        }
        let guard = match (Arc::clone(&self.reading).try_lock_owned(), &last) {
            (Ok(guard), _) => guard,
            (Err(_), Some(last)) => return Ok(Arc::clone(&last.known)),
            (Err(_), None) => Arc::clone(&self.reading).lock_owned().await,
        };
        let this = Arc::clone(self);
        // The guard goes along: a call that is cut off leaves one thread at a file system that
        // hangs, not one more each time.
        let looked = tokio::task::spawn_blocking(move || {
            let _guard = guard;
            this.look()
        });
        let failed = |error| CredentialsError::Unreadable {
            path: self.paths.first().map(|(_, path)| path.clone()).unwrap_or_default(),
            source: io::Error::other(error),
        };
        looked.await.map_err(failed)?
    }

    /// Reads the files, if they changed or were not read for long.
    fn look(&self) -> Result<Arc<KnownProfiles>, CredentialsError> {
        let now = Instant::now();
        let last = self.last.lock().clone();
        // Somebody else may have looked while this caller waited.
        if let Some(last) = &last
            && now.saturating_duration_since(last.looked_at) < LOOK_EVERY
        {
            return Ok(Arc::clone(&last.known));
        }
        let stamps: Vec<_> = self.paths.iter().map(|(_, path)| stamp(path)).collect();
        let reading = match last {
            Some(last) if last.stamps == stamps && now - last.read_at < READ_EVERY => {
                Reading { looked_at: now, ..last }
            }
            last => match (self.read(), last) {
                (Ok(known), _) => Reading { known, stamps, looked_at: now, read_at: now },
                // Half-written, perhaps; what it said before may serve until it is whole.
                (Err(error), Some(last)) => {
                    tracing::warn!(error = %error, "profile files cannot be read again");
                    Reading { looked_at: now, ..last }
                }
                (Err(error), None) => return Err(error),
            },
        };
        let known = Arc::clone(&reading.known);
        *self.last.lock() = Some(reading);
        Ok(known)
    }

    fn read(&self) -> Result<Arc<KnownProfiles>, CredentialsError> {
        let mut profiles = Profiles::new();
        for (kind, path) in &self.paths {
            match std::fs::read_to_string(path) {
                Ok(text) => read_profiles(&text, *kind, &mut profiles),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(CredentialsError::Unreadable { path: path.clone(), source });
                }
            }
        }
        let keys = |(name, profile): (String, Profile)| (name, keys_of(&profile).map(Arc::new));
        Ok(Arc::new(profiles.into_iter().map(keys).collect()))
    }

    /// For error messages.
    fn describe(&self) -> String {
        let paths: Vec<_> =
            self.paths.iter().rev().map(|(_, path)| path.display().to_string()).collect();
        if paths.is_empty() { "any file (HOME is not set)".to_owned() } else { paths.join(" or ") }
    }
}

/// The keys of a profile that has both.
fn keys_of(profile: &Profile) -> Option<AwsCredentials> {
    let setting = |name: &str| profile.get(name).filter(|value| !value.reveal().is_empty());
    Some(AwsCredentials {
        access_key_id: setting("aws_access_key_id")?.reveal().to_owned(),
        secret_access_key: setting("aws_secret_access_key")?.clone(),
        session_token: setting("aws_session_token").cloned(),
    })
}

/// `None`: there is no such file, or it cannot be looked at.
fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

#[cfg(test)]
mod tests;
