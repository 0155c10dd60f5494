//! One client's HTTP connection: requests one after another, until one of them becomes a
//! WebSocket.
//!
//! In:  bytes of a peer that nobody knows yet: bounded in size and in time.
//! Out: answers in the requests' order, or the upgrade.
//!
//! Holds always: a request is answered or its connection is closed; what is buffered is at most
//! one head and one body of the allowed size, plus one read.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::{
    chunked::{self, Chunked},
    head::{BadHead, BodyLength, Head, MAX_HEAD_BYTES, end_of_head, with_head},
    response::Response,
};
use crate::{
    admin,
    core_state::Core,
    management,
    transport::{self, Peer},
    websocket::upgrade::{self, Upgrade},
};

/// How long a connection may wait between two requests: longer than SDKs keep idle ones.
const BETWEEN_REQUESTS: Duration = Duration::from_secs(120);

/// What is read and thrown away of a body that is too large, so that the client reads the answer
/// instead of a reset.
const DISCARDED_BYTES: u64 = 8 * 1024 * 1024;

/// And for how long.
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// What is read at once.
const READ_BYTES: usize = 4 * 1024;

/// Which of the gateway's ports a connection came in on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Public,
    Admin,
}

/// What a request turns out to be, once its head is read.
enum Request {
    /// Answered here and now.
    Answer(Response),
    /// A call of the management API, whose body must be read first.
    Management,
    /// A WebSocket.
    Upgrade(Box<Upgrade>),
}

/// The peer closed, failed or was too slow: there is nobody to answer.
struct Gone;

/// Serves one connection until it ends or is upgraded.
///
/// Until the first head is whole, that is a small future without a buffer to speak of: whoever
/// connects and says little costs little.
pub(crate) async fn serve(core: Arc<Core>, port: Port, mut peer: Peer, handshake_ends: Instant) {
    let mut bytes = Vec::new();
    match read_head(&mut peer, &mut bytes, handshake_ends).await {
        Ok(Ok(head_end)) => {
            Box::pin(serve_requests(core, port, peer, bytes, head_end)).await;
        }
        Ok(Err(bad)) => Box::pin(refuse_head(&mut peer, bad)).await,
        Err(Gone) => {}
    }
}

/// Answers requests, of which the first one's head is there, until one is an upgrade.
async fn serve_requests(
    core: Arc<Core>,
    port: Port,
    mut peer: Peer,
    mut bytes: Vec<u8>,
    mut head_end: usize,
) {
    loop {
        let read = with_head(&bytes[..head_end], |head| {
            let request = classify(&core, port, &peer, &head);
            let expects = head.lists("expect", "100-continue");
            let only_head = head.method == "HEAD";
            let limit = management::body_limit(&core.node.snapshot(), &head);
            (request, head.body_length(), head.keep_alive(), expects, only_head, limit)
        });
        let (request, length, keep_alive, expects, only_head, limit) = match read {
            Ok(read) => read,
            Err(bad) => return refuse_head(&mut peer, bad).await,
        };
        if let Request::Upgrade(upgrade) = request {
            bytes.drain(..head_end);
            bytes.shrink_to_fit();
            return Box::pin(upgrade::run(core, peer, *upgrade, bytes)).await;
        }
        if expects && matches!(request, Request::Management) {
            let _ =
                transport::write_all(&peer.socket, &mut peer.tls, b"HTTP/1.1 100 Continue\r\n\r\n")
                    .await;
        }
        let body = match read_body(&mut peer, &mut bytes, head_end, length, limit).await {
            Ok(body) => body,
            Err(BadBody::Gone) => return,
            Err(BadBody::Malformed) => {
                return answer_and_close(&mut peer, &Response::bad_request("malformed body"), 0)
                    .await;
            }
            Err(BadBody::TooLarge(left)) => {
                let response = match &request {
                    Request::Answer(response) => response.clone(),
                    _ => {
                        let refuse =
                            |head: Head<'_, '_>| management::payload_too_large(&core, &head);
                        with_head(&bytes[..head_end], refuse)
                            .unwrap_or_else(|_| Response::bad_request("malformed request"))
                    }
                };
                return answer_and_close(&mut peer, &response, left).await;
            }
        };
        let mut response = match request {
            Request::Answer(response) => response,
            Request::Management => {
                let call = with_head(&bytes[..head_end], |head| {
                    let body = body.decoded.as_deref().unwrap_or(&bytes[head_end..body.wire_end]);
                    management::authorize(&core, &head, &peer, body)
                });
                match call {
                    Ok(call) => management::answer(&core, call).await,
                    Err(_) => Response::bad_request("malformed request"),
                }
            }
            Request::Upgrade(_) => return,
        };
        if only_head {
            // Its answer has no body, or the next answer would be read as one (RFC 9110, 9.3.2).
            response.body.clear();
        }
        let encoded = response.encode(keep_alive);
        if transport::write_all(&peer.socket, &mut peer.tls, &encoded).await.is_err() {
            return;
        }
        if !keep_alive {
            return transport::shut(&peer.socket, &mut peer.tls);
        }
        bytes.drain(..body.wire_end);
        if bytes.is_empty() && bytes.capacity() > 4096 {
            bytes = Vec::new();
        }
        let deadline = Instant::now() + BETWEEN_REQUESTS;
        head_end = match read_head(&mut peer, &mut bytes, deadline).await {
            Ok(Ok(end)) => end,
            Ok(Err(bad)) => return refuse_head(&mut peer, bad).await,
            Err(Gone) => return,
        };
    }
}

fn classify(core: &Core, port: Port, peer: &Peer, head: &Head<'_, '_>) -> Request {
    match port {
        Port::Admin => Request::Answer(admin::answer(&core.node, head)),
        Port::Public if management::is_call(head.raw_path()) => Request::Management,
        Port::Public => match upgrade::check(core, peer, head) {
            Ok(upgrade) => Request::Upgrade(Box::new(upgrade)),
            Err(response) => Request::Answer(response),
        },
    }
}

/// Reads until a whole head is there; its end.
async fn read_head(
    peer: &mut Peer,
    bytes: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Result<usize, BadHead>, Gone> {
    let mut searched = 0;
    loop {
        if let Some(end) = end_of_head(bytes, searched) {
            return Ok(if end > MAX_HEAD_BYTES { Err(BadHead::TooLarge) } else { Ok(end) });
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Ok(Err(BadHead::TooLarge));
        }
        searched = bytes.len();
        match timeout_at(deadline, read_some(peer, bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0)) | Err(_) => return Err(Gone),
            Ok(Err(err)) => {
                debug!(peer = %peer.address, error = %err, "read failed");
                return Err(Gone);
            }
        }
    }
}

/// Appends what is there, once something is.
async fn read_some(peer: &mut Peer, bytes: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        // On the stack, and not over an await: waiting needs no buffer.
        match append_available(peer, bytes) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => peer.socket.readable().await?,
            done => return done,
        }
    }
}

fn append_available(peer: &mut Peer, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; READ_BYTES];
    let read = transport::try_read(&peer.socket, &mut peer.tls, &mut buffer)?;
    bytes.extend_from_slice(&buffer[..read]);
    if read > 0 && read < buffer.len() && peer.tls.is_none() {
        transport::mark_drained(&peer.socket);
    }
    Ok(read)
}

/// A request's body: in the buffer as it came, or put together from chunks.
struct Body {
    wire_end: usize,
    decoded: Option<Vec<u8>>,
}

enum BadBody {
    Gone,
    Malformed,
    /// Over the limit; about so many bytes are still to come.
    TooLarge(u64),
}

async fn read_body(
    peer: &mut Peer,
    bytes: &mut Vec<u8>,
    head_end: usize,
    length: BodyLength,
    limit: usize,
) -> Result<Body, BadBody> {
    let deadline = Instant::now() + BETWEEN_REQUESTS;
    loop {
        let there = (bytes.len() - head_end) as u64;
        match length {
            BodyLength::Invalid => return Err(BadBody::Malformed),
            BodyLength::Known(length) if length > limit as u64 => {
                return Err(BadBody::TooLarge(length.saturating_sub(there)));
            }
            BodyLength::Known(length) if there >= length => {
                let length = usize::try_from(length).map_err(|_| BadBody::Malformed)?;
                return Ok(Body { wire_end: head_end + length, decoded: None });
            }
            BodyLength::Known(_) => {}
            BodyLength::Chunked => match chunked::decode(&bytes[head_end..], limit) {
                Chunked::Complete(body, wire) => {
                    return Ok(Body { wire_end: head_end + wire, decoded: Some(body) });
                }
                Chunked::Incomplete => {}
                Chunked::TooLarge => return Err(BadBody::TooLarge(DISCARDED_BYTES)),
                Chunked::Malformed => return Err(BadBody::Malformed),
            },
        }
        match timeout_at(deadline, read_some(peer, bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) | Err(_) => return Err(BadBody::Gone),
        }
    }
}

async fn refuse_head(peer: &mut Peer, bad: BadHead) {
    let response = match bad {
        BadHead::Malformed => Response::bad_request("not an HTTP/1.1 request"),
        BadHead::TooLarge => Response::error(
            431,
            "RequestHeaderFieldsTooLargeException",
            "the request's head may have 16384 bytes and 100 headers",
        ),
    };
    answer_and_close(peer, &response, DISCARDED_BYTES.min(256 * 1024)).await;
}

/// Answers, then reads and throws away about `left` bytes, so that the answer is not lost in a
/// reset.
async fn answer_and_close(peer: &mut Peer, response: &Response, left: u64) {
    let encoded = response.encode(false);
    if transport::write_all(&peer.socket, &mut peer.tls, &encoded).await.is_err() {
        return;
    }
    transport::shut(&peer.socket, &mut peer.tls);
    let mut scrap = Vec::new();
    let discard = async {
        let mut budget = left.min(DISCARDED_BYTES);
        while budget > 0 {
            match read_some(peer, &mut scrap).await {
                Ok(read @ 1..) => budget = budget.saturating_sub(read as u64),
                Ok(0) | Err(_) => return,
            }
            scrap.clear();
        }
    };
    let _ = timeout(DISCARD_TIME, discard).await;
}
