//! The gateway's management API, as far as the chat needs it.
//!
//! In:  a group's name, or none for everyone, and the bytes of a message.
//! Out: `POST {management_url}/@groups/{group}` and the like over kept-alive HTTP/1.1, signed where
//!      there is a key, and how it ended.
//!
//! Holds always: no more than `MAX_AT_ONCE` calls are on their way; a message that goes out again
//! does so under the same `Idempotency-Key`, and so reaches everyone once.

use std::{
    hash::{BuildHasher, RandomState},
    iter,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, Uri, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::{net::TcpStream, sync::Semaphore, time};

use crate::signature::AccessKey;

/// Many who leave at once must not open a socket each.
const MAX_AT_ONCE: usize = 16;
/// Waits before each attempt of a question. A gateway that restarts is back within the last of them.
const QUESTION: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(900)];
/// Between two attempts to reach everyone.
const EVERYONE: Duration = Duration::from_secs(1);
/// For one attempt, from the connect to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What may stand in a query as it is (RFC 3986, 2.3). Connection ids end in `=`, which may not.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a call had no effect.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// An answer that is no success.
    #[error("the gateway answered {0}")]
    Refused(StatusCode),
    /// A success that says something else than it should.
    #[error("the gateway answered no count")]
    Unclear(#[source] serde_json::Error),
    /// No answer at all.
    #[error("no answer from the gateway")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It was not made.
    #[error("the call could not be signed")]
    Unsigned(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CallError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Unclear(_) | Self::Unsigned(_) => false,
            Self::Refused(status) => status.is_server_error() || status.as_u16() == 429,
            Self::Unreachable(_) => true,
        }
    }

    /// One of several gateways is perhaps dead.
    fn is_unavailable(&self) -> bool {
        matches!(self, Self::Refused(StatusCode::SERVICE_UNAVAILABLE))
    }
}

/// `POST @groups/{group}` and `POST @broadcast`.
#[derive(Deserialize)]
struct Sent {
    recipients: u64,
}

/// `GET @groups/{group}`.
#[derive(Deserialize)]
struct Members {
    connections: u64,
}

fn recipients(answer: &Bytes) -> Result<u64, CallError> {
    let sent: Sent = serde_json::from_slice(answer).map_err(CallError::Unclear)?;
    Ok(sent.recipients)
}

/// The gateway, as a place to call.
pub struct Management {
    authority: String,
    /// The path before `/@groups`: the stage.
    base: String,
    /// Whose calls these are, where gateways want to know.
    key: Option<AccessKey>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    turns: Semaphore,
    /// Of this run, and of a message of it.
    run: u64,
    sent: AtomicU64,
}

impl Management {
    /// `url` is `http://host:port/stage`. Says what is wrong with another one.
    pub fn new(url: &str, key: Option<AccessKey>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("management url {url:?}: {e}"))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => Ok(Self {
                authority: match authority.port() {
                    Some(_) => authority.to_string(),
                    None => format!("{authority}:80"),
                },
                base: uri.path().trim_end_matches('/').to_owned(),
                key,
                idle: Mutex::default(),
                turns: Semaphore::new(MAX_AT_ONCE),
                run: RandomState::new().hash_one(url),
                sent: AtomicU64::new(0),
            }),
            _ => Err(format!("management url {url:?}: want http://host:port/stage")),
        }
    }

    /// Sends a message to every member of a group, wherever they are connected, but to
    /// `except`, a connection. Gives the number of those that it reached. Where the gateways say
    /// that one of them cannot be reached (503), it does not wait for that one: the others have
    /// sent it. Any other failure that may pass is not for long: one more attempt.
    pub async fn send(
        &self,
        group: &str,
        except: Option<&str>,
        message: Bytes,
    ) -> Result<u64, CallError> {
        let mut path = format!("{}/@groups/{group}", self.base);
        if let Some(connection) = except {
            path += &format!("?except={}", utf8_percent_encode(connection, ESCAPED));
        }
        self.post(&path, message).await
    }

    /// Sends a message to everyone, as [`Self::send`] does to a group.
    pub async fn broadcast(&self, message: Bytes) -> Result<u64, CallError> {
        self.post(&format!("{}/@broadcast", self.base), message).await
    }

    /// The same, again and again until it has reached everyone; each of them gets it once.
    pub async fn reach_everyone(&self, message: Bytes) -> Result<u64, CallError> {
        let waits = iter::once(Duration::ZERO).chain(iter::repeat(EVERYONE));
        let path = format!("{}/@broadcast", self.base);
        recipients(&self.call(Method::POST, &path, &self.name(), message, waits).await?)
    }

    /// How many connections a group has.
    pub async fn members(&self, group: &str) -> Result<u64, CallError> {
        let path = format!("{}/@groups/{group}", self.base);
        let answer = self.call(Method::GET, &path, "", Bytes::new(), QUESTION).await?;
        let members: Members = serde_json::from_slice(&answer).map_err(CallError::Unclear)?;
        Ok(members.connections)
    }

    async fn post(&self, path: &str, message: Bytes) -> Result<u64, CallError> {
        let name = self.name();
        let attempt = || self.call(Method::POST, path, &name, message.clone(), [Duration::ZERO]);
        let answer = match attempt().await {
            Err(error) if error.may_pass() && !error.is_unavailable() => attempt().await,
            outcome => outcome,
        };
        recipients(&answer?)
    }

    /// Of one message, however often it is sent.
    fn name(&self) -> String {
        format!("{:016x}-{}", self.run, self.sent.fetch_add(1, Ordering::Relaxed))
    }

    /// One call, tried again where that can help, after each of `waits`.
    async fn call(
        &self,
        method: Method,
        path: &str,
        name: &str,
        body: Bytes,
        waits: impl IntoIterator<Item = Duration>,
    ) -> Result<Bytes, CallError> {
        let _turn = self.turns.acquire().await.expect("never closed");
        let mut outcome = Err(CallError::Refused(StatusCode::SERVICE_UNAVAILABLE));
        for wait in waits {
            time::sleep(wait).await;
            let attempt = self.attempt(method.clone(), path, name, body.clone());
            outcome = match time::timeout(TIMEOUT, attempt).await {
                Ok(outcome) => outcome,
                Err(elapsed) => Err(CallError::Unreachable(elapsed.into())),
            };
            match &outcome {
                Err(error) if error.may_pass() => {}
                _ => return outcome,
            }
        }
        outcome
    }

    async fn attempt(
        &self,
        method: Method,
        path: &str,
        name: &str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let unreachable = |e: hyper::Error| CallError::Unreachable(e.into());
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json");
        if !name.is_empty() {
            request = request.header("idempotency-key", name);
        }
        let request = request.body(Full::new(body.clone()));
        let mut request = request.expect("a path of such characters, and a host that was parsed");
        if let Some(key) = &self.key {
            key.sign(&mut request, &self.authority, &body).map_err(CallError::Unsigned)?;
        }
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status();
        // Read to the end: only then can the socket serve the next call.
        let answer = response.into_body().collect().await.map_err(unreachable)?.to_bytes();
        self.idle.lock().push(sender);
        if status.is_success() { Ok(answer) } else { Err(CallError::Refused(status)) }
    }

    /// A kept socket that is still good, else a new one.
    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, CallError> {
        loop {
            let kept = self.idle.lock().pop();
            let Some(mut kept) = kept else { break };
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let socket = TcpStream::connect(&self.authority).await;
        let socket = socket.map_err(|e| CallError::Unreachable(e.into()))?;
        // Calls are small and each waits for its answer: nothing to gather (Nagle) here.
        socket.set_nodelay(true).map_err(|e| CallError::Unreachable(e.into()))?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|e| CallError::Unreachable(e.into()))?;
        // Ends when its sender is dropped, or the gateway hangs up.
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "socket to the gateway ended");
            }
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_management_url_must_be_plain_http_with_a_host() {
        let good = Management::new("http://127.0.0.1:8080/demo/", None).expect("good");
        assert_eq!((&*good.authority, &*good.base), ("127.0.0.1:8080", "/demo"));
        assert_eq!(Management::new("http://gate/demo", None).expect("good").authority, "gate:80");
        for bad in ["https://127.0.0.1/demo", "127.0.0.1:8080", "/demo", ""] {
            let message = Management::new(bad, None).err().expect(bad);
            assert!(message.contains("management url"), "{message}");
        }
    }
}
