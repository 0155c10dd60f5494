//! The baseline: a hand-written single-threaded epoll server that does for each scenario the
//! least that can be done. It is what this machine allows; it checks next to nothing.
//!
//! ```text
//! upgrade              101, for this program's one key
//! {"action":"id"}      the connection's number
//! {"action":"route"..  POST /reply to the backend, its body is the reply
//! {"action":"join"}    "joined": the connection is a member of the one group
//! any other message    the message itself
//! POST .../{number}    the body, as a message to that connection; 200
//! POST .../room        the body, as a message to each member; 200 with their number
//! ```
//!
//! Holds always: one event ends with at most one write per socket; an idle connection owns
//! no buffer.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{self, SocketAddr},
    process, thread,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use crate::{
    client::SCRATCH_BYTES,
    frame,
    http::{self, BodyLength},
};

const LISTENER: Token = Token(usize::MAX);

/// What the other end of a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A caller that speaks HTTP, until it upgrades.
    Http,
    /// A WebSocket client.
    WebSocket,
    /// The backend, which owes this client an answer, if any.
    Backend(Option<ClientId>),
}

/// A client, told from a later one in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ClientId {
    index: usize,
    generation: u32,
}

struct Peer {
    stream: TcpStream,
    kind: Kind,
    generation: u32,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

struct Server {
    poll: Poll,
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    idle_backends: Vec<usize>,
    members: Vec<ClientId>,
    backend: SocketAddr,
    generation: u32,
    /// Kept between events, so that no event allocates: what answers the event's peer, and
    /// what goes to another one.
    out: Vec<u8>,
    aside: Vec<u8>,
}

/// Serves until the process is ended, or until its standard input is.
pub(crate) fn serve(backend: SocketAddr) -> io::Result<()> {
    thread::spawn(|| {
        // The pipe closes when the program that started this one is gone.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        process::exit(0);
    });
    let mut listener = TcpListener::from_std(listen()?);
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let address = listener.local_addr()?;
    // The same line as the gateway's, so that one reader serves both.
    writeln!(io::stderr(), r#"{{"fields":{{"message":"listening","address":"{address}"}}}}"#)?;

    let mut server = Server {
        poll,
        peers: Vec::new(),
        free: Vec::new(),
        idle_backends: Vec::new(),
        members: Vec::new(),
        backend,
        generation: 0,
        out: Vec::new(),
        aside: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    let mut scratch = vec![0; SCRATCH_BYTES];
    loop {
        match server.poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    server.add(stream, Kind::Http)?;
                }
            } else {
                server.ready(event.token().0, event.is_read_closed(), &mut scratch);
            }
        }
    }
}

/// With a backlog that takes a storm of connects.
fn listen() -> io::Result<net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Server {
    fn add(&mut self, mut stream: TcpStream, kind: Kind) -> io::Result<usize> {
        stream.set_nodelay(true)?;
        let index = self.free.pop().unwrap_or(self.peers.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        let peer = Peer { stream, kind, generation, partial: Vec::new(), unsent: Vec::new() };
        if index == self.peers.len() {
            self.peers.push(None);
        }
        self.peers[index] = Some(peer);
        Ok(index)
    }

    fn ready(&mut self, index: usize, to_the_end: bool, scratch: &mut [u8]) {
        // Taken out, so that what it says may concern the other peers.
        let Some(mut peer) = self.peers[index].take() else { return };
        if self.read(index, &mut peer, to_the_end, scratch).is_ok() {
            self.peers[index] = Some(peer);
        } else {
            self.idle_backends.retain(|idle| *idle != index);
            self.free.push(index);
        }
    }

    fn read(
        &mut self,
        index: usize,
        peer: &mut Peer,
        to_the_end: bool,
        scratch: &mut [u8],
    ) -> io::Result<()> {
        let mut out = mem::take(&mut self.out);
        out.clear();
        loop {
            let kept = peer.partial.len();
            scratch[..kept].copy_from_slice(&peer.partial);
            match peer.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let filled = kept + count;
                    let used = self.take(index, peer, &mut scratch[..filled], &mut out)?;
                    peer.partial = scratch[used..filled].to_vec();
                    if filled < scratch.len() && !to_the_end {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let written = peer.write(&out);
        self.out = out;
        written
    }

    /// Takes what is whole from the front of `bytes` and says how many bytes it was.
    fn take(
        &mut self,
        index: usize,
        peer: &mut Peer,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = &mut bytes[used..];
            let taken = match peer.kind {
                Kind::WebSocket => self.take_frame(index, peer.generation, rest, out)?,
                Kind::Http => self.take_request(peer, rest, out)?,
                Kind::Backend(client) => {
                    let taken = self.take_answer(client, rest)?;
                    if taken.is_some() {
                        peer.kind = Kind::Backend(None);
                        self.idle_backends.push(index);
                    }
                    taken
                }
            };
            match taken {
                Some(count) => used += count,
                None => return Ok(used),
            }
        }
    }

    fn take_frame(
        &mut self,
        index: usize,
        generation: u32,
        bytes: &mut [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        let Some(header) = frame::parse(bytes).map_err(io::Error::other)? else { return Ok(None) };
        let (frame::FIN_TEXT, Some(mask)) = (header.first_byte, header.mask) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let payload = &mut bytes[header.header_bytes..header.frame_bytes()];
        frame::apply_mask(payload, mask);
        if payload.starts_with(br#"{"action":"id""#) {
            frame::append_server_text(out, index.to_string().as_bytes());
        } else if payload.starts_with(br#"{"action":"join""#) {
            self.members.push(ClientId { index, generation });
            frame::append_server_text(out, b"joined");
        } else if payload.starts_with(br#"{"action":"route""#) {
            self.call_backend(ClientId { index, generation }, payload)?;
        } else {
            frame::append_server_text(out, payload);
        }
        Ok(Some(header.frame_bytes()))
    }

    fn call_backend(&mut self, client: ClientId, body: &[u8]) -> io::Result<()> {
        let index = match self.idle_backends.pop() {
            Some(index) => index,
            None => {
                let stream = net::TcpStream::connect(self.backend)?;
                stream.set_nonblocking(true)?;
                self.add(TcpStream::from_std(stream), Kind::Backend(None))?
            }
        };
        let Some(peer) = &mut self.peers[index] else { return Err(ErrorKind::NotConnected.into()) };
        peer.kind = Kind::Backend(Some(client));
        self.aside.clear();
        let length = body.len();
        write!(
            self.aside,
            "POST /reply HTTP/1.1\r\nHost: backend\r\nContent-Length: {length}\r\n\r\n"
        )?;
        self.aside.extend_from_slice(body);
        peer.write(&self.aside)
    }

    fn take_answer(&mut self, client: Option<ClientId>, bytes: &[u8]) -> io::Result<Option<usize>> {
        let Some(end) = http::head_end(bytes) else { return Ok(None) };
        let BodyLength::Bytes(length) = http::body_length(&bytes[..end]) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let Some(body) = bytes[end..].get(..length) else { return Ok(None) };
        if let Some(client) = client {
            self.send(client.index, Some(client.generation), body);
        }
        Ok(Some(end + length))
    }

    fn take_request(
        &mut self,
        peer: &mut Peer,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<usize>> {
        let Some(end) = http::head_end(bytes) else { return Ok(None) };
        let head = &bytes[..end];
        if let Some(key) = http::header(head, "sec-websocket-key") {
            if key != frame::KEY.as_bytes() {
                return Err(ErrorKind::InvalidData.into());
            }
            write!(
                out,
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\
                 Upgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\r\n",
                frame::ACCEPT
            )?;
            peer.kind = Kind::WebSocket;
            return Ok(Some(end));
        }
        let BodyLength::Bytes(length) = http::body_length(head) else {
            return Err(ErrorKind::InvalidData.into());
        };
        let Some(body) = bytes[end..].get(..length) else { return Ok(None) };
        let number = http::target(head).rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if number == b"room" {
            let counts = format!(r#"{{"recipients":{}}}"#, self.send_to_members(body));
            let length = counts.len();
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{counts}")?;
            return Ok(Some(end + body.len()));
        }
        let to = str::from_utf8(number).ok().and_then(|digits| digits.parse().ok());
        let status = match to {
            Some(index) if self.send(index, None, body) => "200 OK",
            _ => "410 Gone",
        };
        write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")?;
        Ok(Some(end + length))
    }

    /// One message to each member that is still there; how many those are.
    fn send_to_members(&mut self, message: &[u8]) -> usize {
        self.aside.clear();
        frame::append_server_text(&mut self.aside, message);
        let Self { members, peers, aside, .. } = self;
        members.retain(|member| match &mut peers[member.index] {
            Some(peer) if peer.generation == member.generation => peer.write(aside).is_ok(),
            _ => false,
        });
        members.len()
    }

    /// One message to a client, if it is still there.
    fn send(&mut self, index: usize, generation: Option<u32>, message: &[u8]) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(index) else { return false };
        let is_the_one = generation.is_none_or(|generation| generation == peer.generation);
        if peer.kind != Kind::WebSocket || !is_the_one {
            return false;
        }
        self.aside.clear();
        frame::append_server_text(&mut self.aside, message);
        peer.write(&self.aside).is_ok()
    }
}

impl Peer {
    /// Writes what is left from before, then `fresh`; keeps what the socket does not take.
    fn write(&mut self, fresh: &[u8]) -> io::Result<()> {
        if self.unsent.is_empty() {
            let written = self.write_some(fresh)?;
            self.unsent.extend_from_slice(&fresh[written..]);
        } else {
            let mut unsent = mem::take(&mut self.unsent);
            unsent.extend_from_slice(fresh);
            let written = self.write_some(&unsent)?;
            self.unsent = unsent.split_off(written);
        }
        Ok(())
    }

    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        while written < bytes.len() {
            match self.stream.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}
