//! Why a run counts for nothing.

use std::io;

use crate::{client::ClientError, server_process::ServerError};

/// What ends the program with exit code 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the generator's own sockets or files")]
    Io(#[from] io::Error),
    #[error("the kernel refused a call of the generator")]
    System(#[from] nix::Error),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("a message that nobody asked for: {0}")]
    Unasked(String),
    #[error("a reply is not the message that was sent: {0}")]
    Foreign(String),
    #[error("{0}: {1} still missing when the wait for them ended")]
    Stuck(&'static str, u64),
    #[error("{what}: {got}, where {expected} must be")]
    Count { what: &'static str, got: u64, expected: u64 },
    #[error("a post was answered {0}, where 200 must come")]
    PostRefused(String),
    #[error("a post to a dead connection was answered {0}, where 410 must come, or 503 before it")]
    NotGone(String),
    #[error("a post through the other node was answered {0}, where 200 or 503 must come")]
    RemotePost(String),
    #[error("two posts of one poster that were accepted arrived in the other order")]
    Disordered,
    #[error("a group send was answered `{0}`, where its counts must come")]
    NoCounts(String),
    #[error("the worker answered `{0}`, where its times must come")]
    NoTimes(String),
    #[error("{0}")]
    Usage(String),
}
