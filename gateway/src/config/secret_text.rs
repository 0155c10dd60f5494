//! A secret in `gateway.toml`: the text itself, or where it is.
//!
//! In:  what the file says, the process's environment and files.
//! Out: a [`Secret`], or why there is none. The secret's text is never part of a message.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use tidegate_model::Secret;

use super::surroundings::{FileFault, Surroundings};

/// A secret string.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SecretText {
    /// The text itself.
    Text(String),
    /// An environment variable that holds it.
    Env(EnvSource),
    /// A file that holds it.
    File(FileSource),
}

/// The name of an environment variable.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvSource {
    /// The variable's name.
    env: String,
}

/// The path of a file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSource {
    /// The file's path; one line break at its end is cut.
    file: String,
}

/// Why a secret could not be had. Names the place, never the text.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSecret {
    #[error("the secret is empty")]
    Empty,
    #[error("the environment variable `{0}` is not set")]
    UnsetVariable(String),
    #[error("the environment variable `{0}` is empty")]
    EmptyVariable(String),
    #[error("the file {0} is empty")]
    EmptyFile(String),
    #[error(transparent)]
    File(#[from] FileFault),
}

impl SecretText {
    /// Fetches the text.
    pub(super) fn resolve(&self, around: &Surroundings<'_>) -> Result<Secret, NoSecret> {
        let text = match self {
            Self::Text(text) if text.is_empty() => return Err(NoSecret::Empty),
            Self::Text(text) => text.clone(),
            Self::Env(EnvSource { env }) => match around.variable(env) {
                None => return Err(NoSecret::UnsetVariable(env.clone())),
                Some(text) if text.is_empty() => {
                    return Err(NoSecret::EmptyVariable(env.clone()));
                }
                Some(text) => text,
            },
            Self::File(FileSource { file }) => {
                let text = around.read_small_file(file)?;
                // Editors and `echo` end a file with a line break that is no part of the secret.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                if text.is_empty() {
                    return Err(NoSecret::EmptyFile(around.resolve(file).display().to_string()));
                }
                text.to_owned()
            }
        };
        Ok(Secret::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => out.write_str("****"),
            Self::Env(source) => source.fmt(out),
            Self::File(source) => source.fmt(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_the_file_is_not_printed() {
        assert_eq!(format!("{:?}", SecretText::Text("hunter2".to_owned())), "****");
    }
}
