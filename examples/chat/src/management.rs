//! The gateway's management API, as far as the chat needs it: a post to one connection.
//!
//! In:  a connection id and the bytes of a message.
//! Out: `POST {management_url}/@connections/{id}` over kept-alive HTTP/1.1, and how it ended.
//!
//! Holds always: no more than `MAX_AT_ONCE` posts are on their way.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode, Uri, client::conn::http1::SendRequest, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{net::TcpStream, sync::Semaphore, time};

/// A large room must not open a socket for each of its people at the same moment.
const MAX_AT_ONCE: usize = 64;
/// Waits before each attempt. A gateway that restarts is back within the last of them.
const ATTEMPTS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(100), Duration::from_millis(900)];
/// For one attempt, from the connect to the end of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What may stand in a path as it is (RFC 3986, 2.3). Connection ids end in `=`, which may not.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why a message did not reach its connection's queue.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// 410: the connection is closed, and no later post will reach it.
    #[error("the connection is gone")]
    Gone,
    /// Any other answer that is no success.
    #[error("the gateway answered {0}")]
    Refused(StatusCode),
    /// No answer at all.
    #[error("no answer from the gateway")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl PostError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Gone => false,
            Self::Refused(status) => status.is_server_error() || status.as_u16() == 429,
            Self::Unreachable(_) => true,
        }
    }
}

/// The gateway, as a place to post to.
pub struct Management {
    authority: String,
    /// The path before `/@connections`: the stage.
    base: String,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    turns: Semaphore,
}

impl Management {
    /// `url` is `http://host:port/stage`. Says what is wrong with another one.
    pub fn new(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|e| format!("management url {url:?}: {e}"))?;
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => Ok(Self {
                authority: match authority.port() {
                    Some(_) => authority.to_string(),
                    None => format!("{authority}:80"),
                },
                base: uri.path().trim_end_matches('/').to_owned(),
                idle: Mutex::default(),
                turns: Semaphore::new(MAX_AT_ONCE),
            }),
            _ => Err(format!("management url {url:?}: want http://host:port/stage")),
        }
    }

    /// Posts one message, and tries again where that can help. `Ok` means that it stands in
    /// the connection's send queue.
    pub async fn post(&self, connection: &str, message: Bytes) -> Result<(), PostError> {
        let _turn = self.turns.acquire().await.expect("never closed");
        let mut outcome = Ok(());
        for wait in ATTEMPTS {
            time::sleep(wait).await;
            outcome = match time::timeout(TIMEOUT, self.attempt(connection, message.clone())).await
            {
                Ok(outcome) => outcome,
                Err(elapsed) => Err(PostError::Unreachable(elapsed.into())),
            };
            match &outcome {
                Err(error) if error.may_pass() => {}
                _ => return outcome,
            }
        }
        outcome
    }

    async fn attempt(&self, connection: &str, message: Bytes) -> Result<(), PostError> {
        let unreachable = |e: hyper::Error| PostError::Unreachable(e.into());
        let path =
            format!("{}/@connections/{}", self.base, utf8_percent_encode(connection, ESCAPED));
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(message))
            .expect("a path of escaped characters and a host that was parsed");
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(unreachable)?;
        let status = response.status();
        // Read to the end: only then can the socket serve the next post.
        response.into_body().collect().await.map_err(unreachable)?;
        self.idle.lock().push(sender);
        match status {
            StatusCode::GONE => Err(PostError::Gone),
            status if status.is_success() => Ok(()),
            status => Err(PostError::Refused(status)),
        }
    }

    /// A kept socket that is still good, else a new one.
    async fn sender(&self) -> Result<SendRequest<Full<Bytes>>, PostError> {
        loop {
            let kept = self.idle.lock().pop();
            let Some(mut kept) = kept else { break };
            if kept.ready().await.is_ok() {
                return Ok(kept);
            }
        }
        let socket = TcpStream::connect(&self.authority).await;
        let socket = socket.map_err(|e| PostError::Unreachable(e.into()))?;
        // Posts are small and each waits for its answer: nothing to gather (Nagle) here.
        socket.set_nodelay(true).map_err(|e| PostError::Unreachable(e.into()))?;
        let (sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|e| PostError::Unreachable(e.into()))?;
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
        let good = Management::new("http://127.0.0.1:8080/demo/").expect("good");
        assert_eq!((&*good.authority, &*good.base), ("127.0.0.1:8080", "/demo"));
        assert_eq!(Management::new("http://gate/demo").expect("good").authority, "gate:80");
        for bad in ["https://127.0.0.1/demo", "127.0.0.1:8080", "/demo", ""] {
            let message = Management::new(bad).err().expect(bad);
            assert!(message.contains("management url"), "{message}");
        }
    }
}
