//! A WebSocket client that sends whatever bytes the test writes, right or wrong.
//!
//! In:  [`Frame`]s with any bits, handshakes with any headers.
//! Out: [`ReceivedFrame`]s one by one, control frames included, nothing answered by itself.
//!
//! Holds always: no frame is sent that the test did not send.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{DEADLINE, HttpClient, HttpResponse, http_client::target, within};

/// The key of RFC 6455's example (1.3), and what a server must answer to it.
pub(crate) const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame's kind (RFC 6455, 5.2); the reserved ones by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// 0.
    Continuation,
    /// 1.
    Text,
    /// 2.
    Binary,
    /// 8.
    Close,
    /// 9.
    Ping,
    /// 10.
    Pong,
    /// 3 to 7 and 11 to 15.
    Reserved(u8),
}

impl Opcode {
    fn number(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
            Self::Reserved(number) => number & 0xf,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            other => Self::Reserved(other),
        }
    }
}

/// One frame to send. Starts out final, masked and honest about its length.
#[derive(Debug, Clone)]
pub struct Frame {
    last: bool,
    rsv: u8,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    payload: Vec<u8>,
    length: Option<u64>,
}

impl Frame {
    /// Any frame.
    pub fn new(opcode: Opcode, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Self { last: true, rsv: 0, opcode, mask: Some(MASK), payload, length: None }
    }

    /// A text frame; the bytes need not be UTF-8.
    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::Text, payload)
    }

    /// A continuation frame.
    pub fn continuation(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(Opcode::Continuation, payload)
    }

    /// A close frame with a code, which may be one that must not be sent.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(Opcode::Close, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// With more to come (FIN off).
    pub fn not_last(mut self) -> Self {
        self.last = false;
        self
    }

    /// With reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3.
    pub fn rsv(mut self, bits: u8) -> Self {
        self.rsv = bits & 7;
        self
    }

    /// Unmasked, as no client may send.
    pub fn unmasked(mut self) -> Self {
        self.mask = None;
        self
    }

    /// Claiming another payload length than it has.
    pub fn claiming(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.length.unwrap_or(self.payload.len() as u64);
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let mut bytes = vec![u8::from(self.last) << 7 | self.rsv << 4 | self.opcode.number()];
        match (u16::try_from(length), length) {
            (_, 0..=125) => bytes.push(masked | length as u8),
            (Ok(short), _) => {
                bytes.push(masked | 126);
                bytes.extend(short.to_be_bytes());
            }
            (Err(_), _) => {
                bytes.push(masked | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        let mask = self.mask.unwrap_or_default();
        bytes.extend(self.mask.iter().flatten());
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }
}

/// One frame from the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// FIN.
    pub last: bool,
    /// The reserved bits: 4 is RSV1, 2 is RSV2, 1 is RSV3.
    pub rsv: u8,
    /// The kind.
    pub opcode: Opcode,
    /// The payload. A server's frames are never masked.
    pub payload: Vec<u8>,
}

impl ReceivedFrame {
    /// A close frame's code (1005 when it has none) and reason.
    ///
    /// # Panics
    /// When it is no close frame, or a malformed one.
    pub fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, Opcode::Close, "a close frame was due, not {self:?}");
        match self.payload.as_slice() {
            [] => (1005, String::new()),
            [high, low, reason @ ..] => {
                let reason = String::from_utf8(reason.to_vec()).expect("a reason in UTF-8");
                (u16::from_be_bytes([*high, *low]), reason)
            }
            [_] => panic!("a close frame of one byte"),
        }
    }
}

/// One TCP connection that was upgraded by hand.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    buffer: Vec<u8>,
    response: HttpResponse,
}

impl RawClient {
    /// Opens `url` (`ws://host:port/stage`).
    ///
    /// # Panics
    /// When the answer is not a right 101.
    pub async fn connect(url: &str) -> Self {
        Self::connect_with(url, &[]).await
    }

    /// Opens `url` with headers after the necessary ones, casing kept.
    ///
    /// # Panics
    /// When the answer is not a right 101.
    pub async fn connect_with(url: &str, headers: &[(&str, &str)]) -> Self {
        let mut all = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", SAMPLE_KEY),
        ];
        all.extend(headers);
        let mut http = HttpClient::connect(url).await;
        let response = http.call("GET", &target(url), &all, b"").await;
        assert_eq!(response.status, 101, "upgrade of {url}: {response:?}");
        assert_eq!(response.header("sec-websocket-accept"), Some(SAMPLE_ACCEPT));
        let (stream, buffer) = http.into_parts();
        Self { stream, buffer, response }
    }

    /// The 101.
    pub fn response(&self) -> &HttpResponse {
        &self.response
    }

    /// Sends one frame.
    pub async fn send(&mut self, frame: &Frame) {
        self.send_bytes(&frame.encode()).await;
    }

    /// Sends bytes as they are. A peer that has closed already is no failure here: its close
    /// frame may stand to be read.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = within(DEADLINE, "bytes to be taken", self.stream.write_all(bytes)).await;
        if let Err(err) = sent {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
            assert!(matches!(err.kind(), BrokenPipe | ConnectionReset), "send: {err}");
        }
    }

    /// The next frame; `None` when the connection has ended.
    ///
    /// # Panics
    /// When the connection ends inside a frame, or a frame is masked.
    pub async fn next_frame(&mut self) -> Option<ReceivedFrame> {
        loop {
            if let Some((frame, used)) = decode(&self.buffer) {
                self.buffer.drain(..used);
                return Some(frame);
            }
            let read = self.stream.read_buf(&mut self.buffer);
            if within(DEADLINE, "a frame from the gateway", read).await.unwrap_or(0) == 0 {
                assert!(self.buffer.is_empty(), "the connection ended inside a frame");
                return None;
            }
        }
    }

    /// The next frame must be a close frame; its code (1005 for none) and reason. 1006 when the
    /// connection ends without one.
    ///
    /// # Panics
    /// When another frame comes.
    pub async fn next_close(&mut self) -> (u16, String) {
        match self.next_frame().await {
            Some(frame) => frame.close(),
            None => (1006, String::new()),
        }
    }

    /// Ends the TCP connection without a close frame, as a lost client does.
    pub fn cut(self) {
        drop(self);
    }

    /// The socket, for tests that stop reading or read by hand.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

fn decode(bytes: &[u8]) -> Option<(ReceivedFrame, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(second & 0x80, 0, "a server's frame is never masked");
    let (length, head) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = head + usize::try_from(length).expect("a frame that fits into memory");
    let frame = ReceivedFrame {
        last: first & 0x80 != 0,
        rsv: first >> 4 & 7,
        opcode: Opcode::from_number(first & 0xf),
        payload: bytes.get(head..end)?.to_vec(),
    };
    Some((frame, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, refused};
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::{Message, http};

    /// A server that echoes texts, closes with 4001 at "close", and says 403 at `/no`.
    async fn echo_server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                tokio::spawn(echo(stream));
            }
        });
        format!("ws://{address}")
    }

    async fn echo(stream: TcpStream) {
        #[expect(clippy::result_large_err, reason = "the library's own signature")]
        let check = |request: &http::Request<()>, response: http::Response<()>| {
            if request.uri().path() != "/no" {
                return Ok(response);
            }
            let mut no = http::Response::new(Some("no entry".to_owned()));
            *no.status_mut() = http::StatusCode::FORBIDDEN;
            Err(no)
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, check).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            if message == Message::text("close") {
                let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                    code: 4001.into(),
                    reason: "enough".into(),
                };
                let _ = socket.close(Some(frame)).await;
            } else if message.is_text() {
                let _ = socket.send(message).await;
            }
        }
    }

    #[test]
    fn lengths_are_encoded_in_their_shortest_form() {
        for (length, head) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let bytes = Frame::text(vec![b'x'; length]).unmasked().encode();
            assert_eq!(bytes.len(), head + length);
            let (frame, used) = decode(&bytes).expect("a whole frame");
            assert_eq!((frame.payload.len(), used), (length, bytes.len()));
        }
    }

    #[tokio::test]
    async fn fragments_and_pings_are_sent_and_read_frame_by_frame() {
        let mut client = RawClient::connect(&echo_server().await).await;
        client.send(&Frame::text("he").not_last()).await;
        client.send(&Frame::new(Opcode::Ping, "p")).await;
        client.send(&Frame::continuation("llo")).await;
        let pong = client.next_frame().await.expect("a pong");
        assert_eq!((pong.opcode, pong.payload.as_slice()), (Opcode::Pong, b"p".as_slice()));
        let text = client.next_frame().await.expect("the echo");
        assert_eq!((text.opcode, text.payload.as_slice()), (Opcode::Text, b"hello".as_slice()));
        client.send(&Frame::close(3000, "bye")).await;
        assert_eq!(client.next_close().await, (3000, "bye".to_owned()));
    }

    /// The opposite of the property above: the peer does notice what is wrong.
    #[tokio::test]
    async fn an_unmasked_frame_really_goes_out_unmasked() {
        let mut client = RawClient::connect(&echo_server().await).await;
        client.send(&Frame::text("hello").unmasked()).await;
        let end = client.next_frame().await;
        assert!(end.is_none_or(|frame| frame.opcode == Opcode::Close), "no echo of a bad frame");
    }

    #[tokio::test]
    async fn the_ordinary_client_reads_texts_and_closes() {
        let url = echo_server().await;
        let mut client = Client::connect(&url).await;
        client.ping_pong().await;
        client.send_text("hello").await;
        assert_eq!(client.next_text().await, "hello");
        client.send_text("close").await;
        assert_eq!(client.next_close().await, (4001, "enough".to_owned()));
        let mut client = Client::connect(&url).await;
        assert_eq!(client.close_without_code().await, (1005, String::new()));
    }

    #[tokio::test]
    async fn a_refusal_is_read_whole() {
        let url = echo_server().await;
        let response = refused(&format!("{url}/no")).await;
        assert_eq!((response.status, response.text()), (403, "no entry"));
    }
}
