//! The HTTP backend of the `route` and `id` routes: a thread of the generator, on its core.
//!
//! ```text
//! POST /reply  200, the request's body
//! POST /id     200, the value of Tidegate-Connection-Id
//! ```
//!
//! Holds always: requests of one connection are answered in order, each once, and counted
//! before they are answered.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::{
    client::SCRATCH_BYTES,
    http::{self, BodyLength},
};

const LISTENER: Token = Token(usize::MAX);

/// A running backend; ends when dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    replies: AtomicU64,
    stop: AtomicBool,
}

impl Backend {
    /// Listens on a free loopback port.
    pub(crate) fn start() -> io::Result<Self> {
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let shared = Arc::new(Shared::default());
        let thread_shared = Arc::clone(&shared);
        let thread = thread::spawn(move || serve(poll, &listener, &thread_shared));
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Requests to `/reply` so far.
    pub(crate) fn replies(&self) -> u64 {
        self.shared.replies.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has shown itself already, as replies that never came.
            let _ = thread.join();
        }
    }
}

struct Peer {
    stream: TcpStream,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

fn serve(mut poll: Poll, listener: &TcpListener, shared: &Shared) {
    let mut events = Events::with_capacity(256);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    while !shared.stop.load(Ordering::Relaxed) {
        if poll.poll(&mut events, Some(Duration::from_millis(100))).is_err() {
            continue;
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    let free = peers.iter().position(Option::is_none).unwrap_or(peers.len());
                    if free == peers.len() {
                        peers.push(None);
                    }
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if poll.registry().register(&mut stream, Token(free), interest).is_ok() {
                        let (partial, unsent) = (Vec::new(), Vec::new());
                        peers[free] = Some(Peer { stream, partial, unsent });
                    }
                }
                continue;
            }
            let slot = &mut peers[event.token().0];
            let Some(peer) = slot else { continue };
            // A peer that sends what it should not is cut off: its caller sees and fails.
            if peer.ready(event.is_read_closed(), &mut scratch, shared).is_err() {
                *slot = None;
            }
        }
    }
}

impl Peer {
    fn ready(&mut self, to_the_end: bool, scratch: &mut [u8], shared: &Shared) -> io::Result<()> {
        loop {
            let kept = self.partial.len();
            scratch[..kept].copy_from_slice(&self.partial);
            match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let filled = kept + count;
                    let mut used = 0;
                    while let Some(request) = Request::parse(&scratch[used..filled])? {
                        used += request.bytes;
                        request.answer(&mut self.unsent, shared);
                    }
                    self.partial.clear();
                    self.partial.extend_from_slice(&scratch[used..filled]);
                    if filled < scratch.len() && !to_the_end {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// One whole request.
struct Request<'a> {
    head: &'a [u8],
    body: &'a [u8],
    bytes: usize,
}

impl<'a> Request<'a> {
    fn parse(bytes: &'a [u8]) -> io::Result<Option<Self>> {
        let Some(end) = http::head_end(bytes) else { return Ok(None) };
        let (head, rest) = bytes.split_at(end);
        let BodyLength::Bytes(length) = http::body_length(head) else {
            return Err(io::Error::new(ErrorKind::InvalidData, "a body of unknown length"));
        };
        let body = rest.get(..length);
        Ok(body.map(|body| Self { head, body, bytes: end + length }))
    }

    fn answer(&self, out: &mut Vec<u8>, shared: &Shared) {
        let (status, body) = match http::target(self.head) {
            b"/reply" => {
                shared.replies.fetch_add(1, Ordering::Relaxed);
                ("200 OK", self.body)
            }
            b"/id" => match http::header(self.head, "tidegate-connection-id") {
                Some(id) => ("200 OK", id),
                None => ("400 Bad Request", &b"no Tidegate-Connection-Id"[..]),
            },
            _ => ("404 Not Found", &b"neither /reply nor /id"[..]),
        };
        let length = body.len();
        // Writing into a Vec cannot fail.
        let _ = write!(out, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        out.extend_from_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use std::net;

    use super::*;

    fn exchange(stream: &mut net::TcpStream, requests: &str, expected: &str) {
        stream.write_all(requests.as_bytes()).expect("send");
        let mut answer = vec![0; expected.len()];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), expected);
    }

    #[test]
    fn requests_on_one_connection_are_answered_in_order_and_counted() {
        let backend = Backend::start().expect("backend");
        let mut stream = net::TcpStream::connect(backend.address).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        exchange(
            &mut stream,
            "POST /reply HTTP/1.1\r\nContent-Length: 3\r\n\r\nonePOST /id HTTP/1.1\r\n\
             Tidegate-Connection-Id: abc=\r\nContent-Length: 2\r\n\r\nxxPOST /rep",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc=",
        );
        exchange(
            &mut stream,
            "ly HTTP/1.1\r\nContent-Length: 3\r\n\r\ntwo",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
        );
        assert_eq!(backend.replies(), 2);
    }
}
