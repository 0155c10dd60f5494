//! A well-behaved WebSocket client.
//!
//! In:  a `ws://` URL, headers, subprotocols, messages. Out: texts, close codes, refusals.
//!
//! Holds always: pings are answered and skipped; a message that the test did not ask for fails it.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Bytes, Error, Message,
        client::IntoClientRequest,
        handshake::client::Response,
        http::{HeaderName, HeaderValue},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{
    DEADLINE, HttpClient, HttpResponse,
    http_client::{authority, target},
    raw_client::SAMPLE_KEY,
    within,
};

/// Why an upgrade did not end in an open connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// It was answered with this status.
    Refused(u16),
    /// Nobody listened, or the connection ended without an answer.
    Cut,
}

/// One open WebSocket.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    response: Response,
}

impl Client {
    /// Opens `url` (`ws://host:port/stage`).
    ///
    /// # Panics
    /// When the upgrade is refused or does not end within [`DEADLINE`].
    pub async fn connect(url: &str) -> Self {
        Self::connect_with(url, &[], &[]).await
    }

    /// Opens `url` with headers (`Host` and `Connection` replace its own) and offered
    /// subprotocols.
    ///
    /// # Panics
    /// As [`Self::connect`]; also when the 101 leaves the offer unanswered, as browsers fail
    /// then (a [`RawClient`](crate::RawClient) does not mind).
    pub async fn connect_with(url: &str, headers: &[(&str, &str)], subprotocols: &[&str]) -> Self {
        let opened = within(DEADLINE, "the upgrade", Self::open(url, headers, subprotocols)).await;
        opened.unwrap_or_else(|err| match err {
            Error::Http(response) => panic!(
                "upgrade of {url} refused: {} {:?}",
                response.status(),
                response.body().as_deref().map(String::from_utf8_lossy)
            ),
            err => panic!("upgrade of {url}: {err}"),
        })
    }

    /// Opens `url`, which may be refused.
    ///
    /// # Errors
    /// How it was not opened.
    ///
    /// # Panics
    /// When it is neither opened nor refused within [`DEADLINE`].
    pub async fn try_connect(url: &str) -> Result<Self, NotOpened> {
        let opened = within(DEADLINE, "the upgrade", Self::open(url, &[], &[])).await;
        opened.map_err(|err| match err {
            Error::Http(response) => NotOpened::Refused(response.status().as_u16()),
            _ => NotOpened::Cut,
        })
    }

    async fn open(
        url: &str,
        headers: &[(&str, &str)],
        subprotocols: &[&str],
    ) -> Result<Self, Error> {
        let mut request = url.into_client_request()?;
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            let value = HeaderValue::from_str(value).expect("a header value");
            // The client library writes one value of these and leaves others out.
            if name == "host" || name == "connection" {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        if !subprotocols.is_empty() {
            let offer = HeaderValue::from_str(&subprotocols.join(", ")).expect("subprotocol names");
            request.headers_mut().insert("sec-websocket-protocol", offer);
        }
        let stream = TcpStream::connect(authority(url)).await?;
        stream.set_nodelay(true)?;
        let (socket, response) = client_async(request, stream).await?;
        Ok(Self { socket, response })
    }

    /// A header of the 101.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// The names of all headers of the 101, in lower case.
    pub fn header_names(&self) -> Vec<&str> {
        self.response.headers().keys().map(HeaderName::as_str).collect()
    }

    /// The subprotocol that the 101 named.
    pub fn subprotocol(&self) -> Option<&str> {
        self.header("sec-websocket-protocol")
    }

    /// Sends one text message.
    pub async fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends one binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.send(Message::binary(Bytes::copy_from_slice(bytes))).await;
    }

    /// Sends any message.
    ///
    /// # Panics
    /// When the connection is closed.
    pub async fn send(&mut self, message: Message) {
        within(DEADLINE, "a message to be taken", self.socket.send(message)).await.expect("send");
    }

    /// The next message that is no ping and no pong; `None` when the connection has ended.
    pub async fn next_message(&mut self) -> Option<Message> {
        within(DEADLINE, "a message from the gateway", self.receive()).await
    }

    /// As [`Self::next_message`], for a task that reads for as long as its test lasts. May be
    /// cancelled, and then goes on with the same message.
    pub async fn receive(&mut self) -> Option<Message> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(message) => return Some(message),
                Err(_) => return None,
            }
        }
    }

    /// The next text message.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn next_text(&mut self) -> String {
        match self.next_message().await {
            Some(Message::Text(text)) => text.as_str().to_owned(),
            other => panic!("a text message was due, not {other:?}"),
        }
    }

    /// The next text message as JSON.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn next_json(&mut self) -> serde_json::Value {
        let text = self.next_text().await;
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("JSON ({err}), not {text:?}"))
    }

    /// The next binary message.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn next_binary(&mut self) -> Bytes {
        match self.next_message().await {
            Some(Message::Binary(bytes)) => bytes,
            other => panic!("a binary message was due, not {other:?}"),
        }
    }

    /// Sends a ping and waits for its pong; messages that come first fail the test. After this
    /// the gateway has read everything that was sent before.
    pub async fn ping_pong(&mut self) {
        self.send(Message::Ping(Bytes::from_static(b"are you there"))).await;
        let pong = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Pong(payload))) if payload == "are you there" => return,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("a pong was due, not {other:?}"),
                }
            }
        };
        within(DEADLINE, "a pong", pong).await;
    }

    /// Fails when a message (or the end) comes within `time`. For what must not happen; the
    /// waiting is paid in full, so keep `time` short.
    pub async fn expect_silence(&mut self, time: Duration) {
        if let Ok(message) = tokio::time::timeout(time, self.receive()).await {
            panic!("silence was due, not {message:?}");
        }
    }

    /// How the connection ends: the peer's close frame, with 1005 for one without a code and
    /// 1006 for none at all. The library answers the frame.
    ///
    /// # Panics
    /// When a data message comes first.
    pub async fn next_close(&mut self) -> (u16, String) {
        let (code, reason) = match self.next_message().await {
            Some(Message::Close(Some(frame))) => (frame.code.into(), frame.reason.to_string()),
            Some(Message::Close(None)) => (1005, String::new()),
            None => (1006, String::new()),
            other => panic!("a close was due, not {other:?}"),
        };
        // Reading to the end sends the answering close frame.
        if code != 1006 {
            within(DEADLINE, "the end after a close", async {
                while let Some(Ok(_)) = self.socket.next().await {}
            })
            .await;
        }
        (code, reason)
    }

    /// Sends a close frame with a code and waits for the peer's; returns it as
    /// [`Self::next_close`].
    pub async fn close(&mut self, code: u16, reason: &str) -> (u16, String) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: reason.into() };
        self.send(Message::Close(Some(frame))).await;
        self.next_close().await
    }

    /// Sends a close frame without a code and waits for the peer's.
    pub async fn close_without_code(&mut self) -> (u16, String) {
        self.send(Message::Close(None)).await;
        self.next_close().await
    }
}

/// Asks for an upgrade that must be refused; returns the answer.
///
/// # Panics
/// When it is accepted.
pub async fn refused(url: &str) -> HttpResponse {
    refused_with(url, &[], &[]).await
}

/// As [`refused`], with headers and offered subprotocols.
///
/// # Panics
/// When it is accepted.
pub async fn refused_with(
    url: &str,
    headers: &[(&str, &str)],
    subprotocols: &[&str],
) -> HttpResponse {
    let offer = subprotocols.join(", ");
    let mut all = vec![
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", SAMPLE_KEY),
    ];
    if !subprotocols.is_empty() {
        all.push(("Sec-WebSocket-Protocol", &offer));
    }
    all.extend(headers);
    let mut client = HttpClient::connect(url).await;
    let response = client.call("GET", &target(url), &all, b"").await;
    assert_ne!(response.status, 101, "the upgrade of {url} must be refused");
    response
}
