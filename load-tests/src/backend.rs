//! The HTTP backend of all routes: a thread of the generator, on its core.
//!
//! ```text
//! POST /reply       200, the request's body
//! POST /id          200, the value of Tidegate-Connection-Id
//! POST /connect     200, the same as the client's first message; a member of the group from then on
//! POST /disconnect  200
//! ```
//!
//! Holds always: requests of one connection are answered in order, each once, and counted
//! before they are answered; what is answered late is the only one of its connection.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::{
    client::SCRATCH_BYTES,
    http::{self, BodyLength},
    lifecycle::Lifecycle,
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
    lifecycle: Lifecycle,
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

    /// What it was told of connections.
    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.shared.lifecycle
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
    /// An answer that is not to be given before its time.
    late: Option<(Instant, Vec<u8>)>,
}

fn serve(mut poll: Poll, listener: &TcpListener, shared: &Shared) {
    let mut events = Events::with_capacity(256);
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut scratch = vec![0; SCRATCH_BYTES];
    // Who has a late answer, the soonest first: each is as late as the others.
    let mut waiting: VecDeque<usize> = VecDeque::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let timeout = Duration::from_millis(if waiting.is_empty() { 100 } else { 1 });
        if poll.poll(&mut events, Some(timeout)).is_err() {
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
                        peers[free] = Some(Peer { stream, partial, unsent, late: None });
                    }
                }
                continue;
            }
            let slot = &mut peers[event.token().0];
            let Some(peer) = slot else { continue };
            // A peer that sends what it should not is cut off: its caller sees and fails.
            let had_late = peer.late.is_some();
            let outcome = peer.ready(event.is_read_closed(), &mut scratch, shared);
            let has_late = peer.late.is_some();
            if outcome.is_err() {
                *slot = None;
                // Its place may be another's soon.
                waiting.retain(|waiting| *waiting != event.token().0);
                if has_late {
                    shared.lifecycle.connected();
                }
            } else if has_late && !had_late {
                waiting.push_back(event.token().0);
            }
        }
        let now = Instant::now();
        while let Some(first) = waiting.front()
            && let Some(peer) = &mut peers[*first]
            && let Some((_, answer)) = peer.late.take_if(|(due, _)| *due <= now)
        {
            waiting.pop_front();
            shared.lifecycle.connected();
            peer.unsent.extend_from_slice(&answer);
            // Where it has gone, its next event says so.
            let _ = peer.write();
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
                        if self.late.is_some() {
                            return Err(ErrorKind::InvalidData.into());
                        }
                        self.late = request.answer(&mut self.unsent, shared);
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
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
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

    /// Answers, or gives what is to be answered and when.
    fn answer(&self, out: &mut Vec<u8>, shared: &Shared) -> Option<(Instant, Vec<u8>)> {
        let id = http::header(self.head, "tidegate-connection-id");
        let no_id = ("400 Bad Request", &b"no Tidegate-Connection-Id"[..]);
        let mut late = None;
        let mut headers = String::new();
        let (status, body) = match (http::target(self.head), id) {
            (b"/reply", _) => {
                shared.replies.fetch_add(1, Ordering::Relaxed);
                ("200 OK", self.body)
            }
            (b"/id", Some(id)) => ("200 OK", id),
            (b"/connect", Some(id)) => {
                late = shared.lifecycle.connecting();
                let id = String::from_utf8_lossy(id);
                headers = format!("Tidegate-Reply: {id}\r\nTidegate-Join: room\r\n");
                ("200 OK", &b""[..])
            }
            (b"/disconnect", Some(id)) => {
                shared.lifecycle.ended(&String::from_utf8_lossy(id));
                ("200 OK", &b""[..])
            }
            (b"/id" | b"/connect" | b"/disconnect", None) => no_id,
            _ => ("404 Not Found", &b"none of /reply, /id, /connect and /disconnect"[..]),
        };
        let is_connect = !headers.is_empty();
        let mut delayed = Vec::new();
        let to = if late.is_some() { &mut delayed } else { out };
        let length = body.len();
        // Writing into a Vec cannot fail.
        let _ = write!(to, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
        to.extend_from_slice(body);
        if is_connect && late.is_none() {
            shared.lifecycle.connected();
        }
        late.map(|due| (due, delayed))
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
