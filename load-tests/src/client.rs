//! One WebSocket client over a non-blocking socket, framed by hand.
//!
//! ```text
//! connecting --writable--> upgrading --101--> open
//! ```
//!
//! In:  readiness of its socket; payloads to send.
//! Out: each text message, in order; [`ClientError`] for whatever should not have come.
//!
//! Holds always: an event ends with one write, however many messages it brought; what the
//! socket did not take is written before anything newer.

use std::{
    io::{self, ErrorKind, Read, Write},
    mem,
    net::{Ipv4Addr, SocketAddr},
};

use mio::{Interest, Registry, Token, event::Event, net::TcpStream};
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::{
    frame::{self, FrameTooLong},
    http,
};

/// Bytes of the buffer that a [`Client`] is read with: holds the largest frame whole.
pub(crate) const SCRATCH_BYTES: usize = 64 * 1024;

/// Why a client cannot go on. Each of these fails the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("a client's socket")]
    Io(#[from] io::Error),
    #[error("the upgrade was answered with {0}, where 101 and the right accept key must come")]
    NotUpgraded(String),
    #[error("the server closed a connection that was in use")]
    Ended,
    #[error("the server sent a close frame with code {0:?}")]
    Closed(Option<u16>),
    #[error("a frame with first byte {0:#04x} came, where only whole text messages can")]
    UnexpectedFrame(u8),
    #[error("a client's incoming frame")]
    TooLong(#[from] FrameTooLong),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    Open,
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    phase: Phase,
    /// The start of a frame whose rest has not come.
    partial: Vec<u8>,
    /// What the socket has not taken.
    unsent: Vec<u8>,
}

impl Client {
    /// Begins to connect and to upgrade; [`Client::is_open`] tells when it is done.
    pub(crate) fn connect(
        server: SocketAddr,
        source: Ipv4Addr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let mut stream = start_connect(server, source)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let unsent = format!(
            "GET /s HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            frame::KEY
        )
        .into_bytes();
        Ok(Self { stream, phase: Phase::Connecting, partial: Vec::new(), unsent })
    }

    /// Whether the 101 has come.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Does what `event` allows. `on_message` gets each message and a buffer for frames to
    /// send in return, which are written at the end, all at once. `scratch` is
    /// [`SCRATCH_BYTES`] long and shared by all clients.
    pub(crate) fn ready<E: From<ClientError>>(
        &mut self,
        event: &Event,
        scratch: &mut [u8],
        mut on_message: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        if event.is_writable() && self.phase == Phase::Connecting {
            self.stream.take_error().and_then(|error| error.map_or(Ok(()), Err)).map_err(io)?;
            self.phase = Phase::Upgrading;
        }
        let mut out = mem::take(&mut self.unsent);
        if event.is_readable() {
            self.read(event.is_read_closed(), scratch, &mut out, &mut on_message)?;
        }
        self.write(out).map_err(io)?;
        Ok(())
    }

    /// Sends frames that no message called for.
    pub(crate) fn send(&mut self, frames: &[u8]) -> Result<(), ClientError> {
        let mut out = mem::take(&mut self.unsent);
        out.extend_from_slice(frames);
        Ok(self.write(out)?)
    }

    fn read<E: From<ClientError>>(
        &mut self,
        to_the_end: bool,
        scratch: &mut [u8],
        out: &mut Vec<u8>,
        on_message: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let kept = self.partial.len();
            scratch[..kept].copy_from_slice(&self.partial);
            match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(ClientError::Ended.into()),
                Ok(count) => {
                    let filled = kept + count;
                    let used = self.take(&scratch[..filled], out, on_message)?;
                    // Assigned, not cleared, so that an idle client gives its buffer back.
                    self.partial = scratch[used..filled].to_vec();
                    // A short read has drained the socket (epoll(7)): the next bytes bring
                    // an event of their own. An end that was announced already does not.
                    if filled < scratch.len() && !to_the_end {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(io(error).into()),
            }
        }
    }

    /// Takes whole messages from the front of `bytes` and says how many bytes they were.
    fn take<E: From<ClientError>>(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        on_message: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut used = 0;
        if self.phase != Phase::Open {
            let Some(end) = http::head_end(bytes) else { return Ok(0) };
            check_upgrade(&bytes[..end])?;
            self.phase = Phase::Open;
            used = end;
        }
        while let Some(header) = frame::parse(&bytes[used..]).map_err(ClientError::from)? {
            let frame = &bytes[used..][..header.frame_bytes()];
            let payload = &frame[header.header_bytes..];
            match (header.first_byte, header.mask) {
                (frame::FIN_TEXT, None) => on_message(payload, out)?,
                (frame::FIN_CLOSE, None) => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Err(ClientError::Closed(code).into());
                }
                (other, _) => return Err(ClientError::UnexpectedFrame(other).into()),
            }
            used += header.frame_bytes();
        }
        Ok(used)
    }

    fn write(&mut self, mut out: Vec<u8>) -> io::Result<()> {
        let mut written = 0;
        while self.phase != Phase::Connecting && written < out.len() {
            match self.stream.write(&out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        out.drain(..written);
        self.unsent = out;
        Ok(())
    }
}

fn io(error: io::Error) -> ClientError {
    ClientError::Io(error)
}

fn check_upgrade(head: &[u8]) -> Result<(), ClientError> {
    let accepted = http::status(head) == Some(*b"101")
        && http::header(head, "sec-websocket-accept") == Some(frame::ACCEPT.as_bytes());
    if accepted {
        return Ok(());
    }
    let first_line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(ClientError::NotUpgraded(String::from_utf8_lossy(first_line).into_owned()))
}

/// Begins a connection from `source`, without Nagle's delay.
pub(crate) fn start_connect(server: SocketAddr, source: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // The port is chosen when the whole pair of addresses is known. Choosing it in `bind`
    // walks over every connection that still waits out its last minute: milliseconds at 12,000.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}
