//! Why there are no credentials to sign a call with.

use std::{io, path::PathBuf};

/// Why no credentials were found. No text repeats a key's secret or a token.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// No credentials are asked for by name, and there are none anywhere.
    #[error(
        "no `[aws.credentials.default]`, no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and no profile `{profile}` in {files}"
    )]
    Nowhere {
        /// `AWS_PROFILE`, or `default`.
        profile: String,
        /// The files that were looked in.
        files: String,
    },
    /// Credentials are asked for by a name that nothing has.
    #[error("no `[aws.credentials.{name}]`, and no profile `{name}` in {files}")]
    Unknown {
        /// As the integration has it.
        name: String,
        /// The files that were looked in.
        files: String,
    },
    /// There is such a profile, and it has no access key.
    #[error(
        "profile `{profile}` of {files} has no aws_access_key_id and aws_secret_access_key, and no other way to credentials is known here"
    )]
    NoKeys {
        /// The profile.
        profile: String,
        /// The files that were looked in.
        files: String,
    },
    /// What was found cannot stand in a header.
    #[error("the {what} of {place} is empty or has characters that no AWS credential has")]
    Malformed {
        /// `access key id`, `secret access key` or `session token`.
        what: &'static str,
        /// Where it comes from.
        place: String,
    },
    /// A file is there and cannot be read.
    #[error("read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
