//! Where a backend is, with stage variables in it.

use std::collections::BTreeMap;

/// Why a uri was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUri {
    /// `${` without `}`, or a variable that is no stage variable.
    #[error("`{0}`: only ${{stageVariables.NAME}} may stand in a uri")]
    Variable(String),
    /// The stage does not define a variable that the uri needs.
    #[error("`{uri}` needs the stage variable `{name}`, which the stage does not define")]
    Undefined {
        /// As written.
        uri: String,
        /// The variable.
        name: String,
    },
    /// Not http, https or unix, or without a host.
    #[error(
        "`{0}` is no backend: http://host[:port]/path, https://host[:port]/path or unix:/path/to.sock:/path"
    )]
    Form(String),
}

/// A uri as written, `${stageVariables.NAME}` not yet replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
}

/// Where a backend listens; the key of a connection pool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Plain HTTP over TCP: host (no brackets) and port.
    Http(String, u16),
    /// HTTP over TLS: host (no brackets) and port.
    Https(String, u16),
    /// Plain HTTP over a unix socket: the socket's path.
    Unix(String),
}

/// A uri whose variables are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendUri {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// What the `Host` header says: the uri's authority; `localhost` for a unix socket.
    pub authority: String,
    /// Starts with `/`. `{NAME}` in it is a path parameter.
    pub path: String,
    /// Without the `?`.
    pub query: Option<String>,
}

impl UriTemplate {
    /// Checks the variables' form; the uri's own form shows once they are replaced.
    pub fn parse(text: &str) -> Result<Self, InvalidUri> {
        let _ = text;
        Err(InvalidUri::Form(String::new()))
    }

    /// The uri as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Replaces the variables and takes the uri apart.
    pub fn expand(&self, variables: &BTreeMap<String, String>) -> Result<BackendUri, InvalidUri> {
        let _ = variables;
        Err(InvalidUri::Form(self.text.clone()))
    }
}
