//! Bytes to and from a client: plain TCP, or TLS over it.
//!
//! The socket stands apart from the TLS state, because others than the connection's own task
//! write to a plain socket directly. The functions come in two forms: `try_*` for the session,
//! which polls, and `async` ones for the time before it.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use bytes::Buf as _;
use rustls::ServerConnection;
use tokio::{io::Interest, net::TcpStream, time::timeout};

use crate::websocket::Outbox;

/// The TLS state of one connection; `None` where the listener speaks plain TCP.
pub(crate) type Tls = Option<Box<ServerConnection>>;

/// A peer and its connection.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    pub(crate) tls: Tls,
    pub(crate) address: SocketAddr,
    /// The port that it connected to.
    pub(crate) local_port: u16,
}

/// Lets rustls read from and write to a socket that does not block.
struct NonBlocking<'s>(&'s TcpStream);

impl io::Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is there: 0 at the end, `WouldBlock` when nothing is.
pub(crate) fn try_read(socket: &TcpStream, tls: &mut Tls, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(tls) = tls else { return socket.try_read(buffer) };
    loop {
        match tls.reader().read(buffer) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            // Without a close_notify: the WebSocket close frame is what tells an end from a cut.
            Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            done => return done,
        }
        if tls.read_tls(&mut NonBlocking(socket))? == 0 {
            return Ok(0);
        }
        tls.process_new_packets().map_err(|err| io::Error::new(io::ErrorKind::InvalidData, err))?;
        flush_tls(socket, tls)?;
    }
}

/// Tells the runtime that a plain socket was read to its end for now, as a read of less than the
/// buffer shows: saves the read that would only say `WouldBlock`.
///
/// Only from a task of the runtime that drives the socket, and one with a single thread: so no
/// readiness can arrive between that read and this.
pub(crate) fn mark_drained(socket: &TcpStream) {
    if cfg!(target_os = "linux") {
        let _ = socket
            .try_io(Interest::READABLE, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
    }
}

/// Writes what waits in `outbox`: `WouldBlock` when some is left.
pub(crate) fn try_write(socket: &TcpStream, tls: &mut Tls, outbox: &mut Outbox) -> io::Result<()> {
    let Some(tls) = tls else { return outbox.write_to(socket) };
    loop {
        // What rustls has encrypted goes out before it gets more, so that it holds no queue.
        while tls.wants_write() {
            tls.write_tls(&mut NonBlocking(socket))?;
        }
        let Some(mut bytes) = outbox.peek() else { return Ok(()) };
        bytes.truncate(16 * 1024);
        let taken = tls.writer().write(&bytes)?;
        outbox.advance(taken);
    }
}

fn flush_tls(socket: &TcpStream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(&mut NonBlocking(socket)) {
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// How long a peer may take nothing of an answer.
const STALL_TIME: Duration = Duration::from_secs(30);

/// Writes all of `bytes`; `TimedOut` when the peer takes none of them for long.
pub(crate) async fn write_all(
    socket: &TcpStream,
    tls: &mut Tls,
    mut bytes: &[u8],
) -> io::Result<()> {
    loop {
        let step = match tls {
            None if bytes.is_empty() => return Ok(()),
            None => socket.try_write(bytes).map(|written| bytes.advance(written)),
            Some(tls) if tls.wants_write() => tls.write_tls(&mut NonBlocking(socket)).map(drop),
            Some(_) if bytes.is_empty() => return Ok(()),
            Some(tls) => tls.writer().write(bytes).map(|written| bytes.advance(written)),
        };
        match step {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                timeout(STALL_TIME, socket.writable()).await.map_err(io::Error::from)??;
            }
            Err(err) => return Err(err),
            Ok(()) => {}
        }
    }
}

/// Says goodbye: TLS's close_notify, then the end of our stream.
pub(crate) fn shut(socket: &TcpStream, tls: &mut Tls) {
    if let Some(tls) = tls {
        tls.send_close_notify();
        // A client that does not read any more needs no goodbye.
        let _ = flush_tls(socket, tls);
    }
    // Fails only when the peer was faster.
    let _ = socket2::SockRef::from(socket).shutdown(std::net::Shutdown::Write);
}
