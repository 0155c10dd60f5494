//! The task of one open connection: a future of some 150 bytes that holds no buffer while the
//! client is quiet.
//!
//! In:  readiness of the socket, orders in the outbox, the timer's ring.
//! Out: messages to `dispatch`, frames to the socket, one `$disconnect`.
//!
//! tungstenite's context is the protocol machine (masking, UTF-8, fragments, pings, the close
//! handshake, the limits). It is made when bytes arrive, fed from a buffer of the thread's, and
//! dropped when the stream stands between two messages.

use std::{
    cell::RefCell,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tidegate_flow::{
    session::{Action, End, EndCause, Input, Session},
    timing_wheel::Key,
};
use tidegate_model::{Binary, RouteKey};
use tidegate_telemetry::{ClientErrorKind, DisconnectCause, DroppedCause};
use tokio::net::TcpStream;
use tracing::{Instrument as _, debug};
use tungstenite::{
    Error, Message,
    error::CapacityError,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::{
    connection::{Connection, now_ms},
    disconnect::{has_disconnect, run_disconnect},
    dispatch::{self, Incoming},
    frame::encode_close,
    frame_tracker::FrameTracker,
    run::run_span,
};
use crate::{
    core_state::Core,
    node::Running,
    transport::{self, Tls},
};

/// How long the client may take to answer our close frame, or to read what it is still owed.
const CLOSE_GRACE: Duration = Duration::from_secs(3);

/// Reads of one poll; then the other connections have their turn.
const READS_PER_POLL: usize = 4;

/// The thread's read buffer.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// Replies gathered before they are written within one read.
const FLUSH_BYTES: usize = 32 * 1024;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; READ_BUFFER_BYTES].into_boxed_slice());
    static OUT_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// See the module.
pub(crate) struct SessionTask {
    core: Arc<Core>,
    connection: Arc<Connection>,
    tls: Tls,
    /// Only while a message is under way.
    machine: Option<Box<WebSocketContext>>,
    /// Read and tracked, but not yet given to the machine.
    backlog: Option<Box<[u8]>>,
    tracker: FrameTracker,
    session: Session,
    timer: Option<Key>,
    /// Nothing more to write matters: the transport is broken or out of time.
    broken: bool,
    /// A drain waits for it.
    _running: Running,
}

/// What the machine reads from and writes to.
struct Wire<'w> {
    unread: &'w [u8],
    out: &'w mut Vec<u8>,
}

impl io::Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.unread.read(buffer)
    }
}

impl io::Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SessionTask {
    /// The task of a connection whose 101 is in its outbox. `early` came behind the request.
    pub(crate) fn new(
        core: Arc<Core>,
        connection: Arc<Connection>,
        tls: Tls,
        early: &[u8],
    ) -> Self {
        let running = core.node.begin_run();
        let mut task = Self {
            core,
            connection,
            tls,
            machine: None,
            backlog: None,
            tracker: FrameTracker::default(),
            session: Session::default(),
            timer: None,
            broken: false,
            _running: running,
        };
        if !early.is_empty() {
            task.tracker.feed(early);
            task.backlog = Some(early.into());
        }
        task.set_timer();
        task
    }

    /// Asks to be polled when the next limit of time may be reached.
    fn set_timer(&mut self) {
        if let Some(key) = self.timer.take() {
            self.core.forget(key);
        }
        let delay = match self.session {
            Session::Open => self.deadlines().0,
            Session::Closing(_) | Session::Ended => CLOSE_GRACE,
        };
        self.timer = Some(self.core.wake_after(delay, self.connection.clone()));
    }

    /// How long until a limit of time is reached, and what happens then.
    fn deadlines(&self) -> (Duration, End) {
        let limits = &self.core.node.snapshot().limits;
        let idle = limits.idle_timeout.saturating_sub(self.connection.idle_for());
        let age = limits
            .max_connection
            .map_or(Duration::MAX, |limit| limit.saturating_sub(self.connection.age()));
        let authorization = self.connection.facts.authorization.as_ref();
        // A token's end is a time of day.
        let token = authorization
            .and_then(|authorization| authorization.expires_at_ms)
            .map_or(Duration::MAX, |end| Duration::from_millis(end.saturating_sub(now_ms())));
        if token < age.min(idle) {
            (token, End::token_expired())
        } else if age < idle {
            (age, End::going_away(EndCause::MaxAge))
        } else {
            (idle, End::going_away(EndCause::Idle))
        }
    }

    fn on_timer(&mut self) {
        self.timer = None;
        match self.session {
            Session::Open => {
                let (left, end) = self.deadlines();
                if left.is_zero() {
                    self.input(Input::Close(end));
                } else {
                    self.set_timer();
                }
            }
            Session::Closing(_) => {
                self.broken = true;
                self.input(Input::GraceOver);
            }
            Session::Ended => self.broken = true,
        }
    }

    fn input(&mut self, input: Input) {
        match self.session.step(input) {
            Action::Nothing => {}
            Action::SendClose(end) => self.send_close(&end),
            Action::RunDisconnect(end) => self.end(end),
        }
    }

    fn send_close(&mut self, end: &End) {
        self.core.node.store().remove(self.connection.id);
        self.machine = None;
        self.backlog = None;
        let frame = encode_close(end.code, end.frame_reason());
        // Whoever does not read would not get to the close frame behind a full queue.
        let discard = end.cause == EndCause::SlowClient;
        let dropped = self.connection.outbox().close(frame, discard);
        if dropped > 0 {
            self.connection.count_dropped(DroppedCause::Close, dropped);
        }
        self.set_timer();
        if self.tracker.close_seen() {
            self.input(Input::PeerClosed(End::without_status()));
        }
    }

    fn end(&mut self, end: End) {
        self.core.node.store().remove(self.connection.id);
        self.machine = None;
        self.backlog = None;
        self.connection.leave();
        debug!(
            connection_id = %self.connection.facts.id,
            code = end.code,
            cause = ?end.cause,
            "connection ended"
        );
        if let Some(stage) = self.core.node.snapshot().stage(self.connection.stage) {
            stage.metrics.disconnect(disconnect_cause(end.cause));
        }
        self.set_timer();
        if !has_disconnect(&self.core.node.snapshot(), &self.connection) {
            self.connection.forget_facts();
            return;
        }
        let (core, connection) = (self.core.clone(), self.connection.clone());
        let span = run_span(&connection.facts, RouteKey::DISCONNECT);
        tokio::spawn(run_disconnect(core, connection, end).instrument(span));
    }

    /// Reads and handles what is there. Ready when there is nothing more to read, ever.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..READS_PER_POLL {
            if self.session.is_ended() {
                return Poll::Ready(());
            }
            if self.session.is_open() {
                if self.at_limit() {
                    self.connection.wait_for_call();
                    return Poll::Pending;
                }
                if let Some(backlog) = self.backlog.take() {
                    self.feed(&backlog);
                    continue;
                }
            }
            match self.read_once() {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    if ready!(self.poll_socket(|socket| socket.poll_read_ready(context))).is_err() {
                        self.lost();
                    }
                }
                Ok(READ_BUFFER_BYTES) => {}
                Ok(1..) if self.tls.is_none() => {
                    if let Some(socket) = self.connection.socket() {
                        transport::mark_drained(&socket);
                    }
                }
                Ok(1..) => {}
                Ok(0) | Err(_) => self.lost(),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_socket(
        &self,
        poll: impl FnOnce(&TcpStream) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        match self.connection.socket() {
            Some(socket) => poll(&socket),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn lost(&mut self) {
        self.broken = true;
        self.input(Input::PeerGone);
    }

    fn at_limit(&self) -> bool {
        let limit = self.core.node.snapshot().limits.max_in_flight.get();
        self.connection.in_flight() >= limit || self.connection.has_stopped_reading()
    }

    fn read_once(&mut self) -> io::Result<usize> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            // Let go of before what was read is fed, which may send.
            let read = match self.connection.socket() {
                Some(socket) => transport::try_read(&socket, &mut self.tls, buffer)?,
                None => 0,
            };
            if read > 0 {
                self.tracker.feed(&buffer[..read]);
                if self.session.is_open() {
                    self.feed(&buffer[..read]);
                } else if self.tracker.close_seen() {
                    self.input(Input::PeerClosed(End::without_status()));
                }
            }
            Ok(read)
        })
    }

    /// Gives bytes to the protocol machine and its messages to their routes.
    fn feed(&mut self, bytes: &[u8]) {
        let mut out = OUT_BUFFER.take();
        let mut machine = match self.machine.take() {
            Some(machine) => machine,
            None => Box::new(self.new_machine(bytes.len())),
        };
        let mut wire = Wire { unread: bytes, out: &mut out };
        let ended = loop {
            if self.at_limit() {
                // Whatever the machine or the wire still holds waits for a call to end.
                self.backlog = Some(wire.unread.into());
                break None;
            }
            match machine.read(&mut wire) {
                Ok(Message::Text(text)) => {
                    self.message(Incoming { body: text.into(), binary: false }, wire.out);
                }
                Ok(Message::Binary(body)) => {
                    if let Err(input) = self.binary(body, wire.out) {
                        break Some(input);
                    }
                }
                Ok(Message::Close(frame)) => {
                    // Writes the echo; "connection closed" is its way to say that it did.
                    let _ = machine.flush(&mut wire);
                    break Some(Input::PeerClosed(match frame {
                        None => End::without_status(),
                        Some(frame) => {
                            End::by_client(frame.code.into(), frame.reason.as_str().to_owned())
                        }
                    }));
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(Error::Io(err)) if err.kind() == io::ErrorKind::WouldBlock => break None,
                Err(err) => break Some(self.refuse(&err)),
            }
            if wire.out.len() >= FLUSH_BYTES {
                self.flush(wire.out);
            }
        };
        if ended.is_none() {
            // The pong to a ping that came last.
            let _ = machine.flush(&mut wire);
            if self.backlog.is_some() || !self.tracker.at_boundary() {
                self.machine = Some(machine);
            }
        }
        self.flush(&mut out);
        OUT_BUFFER.set(out);
        if let Some(input) = ended {
            self.input(input);
        }
    }

    fn new_machine(&self, bytes: usize) -> WebSocketContext {
        let snapshot = self.core.node.snapshot();
        let config = WebSocketConfig::default()
            // One read of what is there; a longer message's buffer is reserved by its header.
            .read_buffer_size(bytes.clamp(64, 16 * 1024))
            .write_buffer_size(0)
            .max_message_size(Some(snapshot.limits.max_message_bytes))
            .max_frame_size(Some(snapshot.limits.max_frame_bytes));
        WebSocketContext::new(Role::Server, Some(config))
    }

    fn message(&self, incoming: Incoming, out: &mut Vec<u8>) {
        dispatch::on_message(&self.core, &self.connection, incoming, out);
    }

    fn binary(&self, body: Bytes, out: &mut Vec<u8>) -> Result<(), Input> {
        let snapshot = self.core.node.snapshot();
        let Some(stage) = snapshot.stage(self.connection.stage) else { return Ok(()) };
        if stage.binary == Binary::Close {
            stage.metrics.client_error(ClientErrorKind::Binary);
            return Err(Input::Close(End::refused(1003, EndCause::Binary)));
        }
        self.message(Incoming { body, binary: true }, out);
        Ok(())
    }

    /// What a violation is closed with (RFC 6455, 7.4.1).
    fn refuse(&self, err: &Error) -> Input {
        let (code, cause, kind) = match err {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                (1009, EndCause::TooLarge, ClientErrorKind::TooLarge)
            }
            Error::Utf8(_) => (1007, EndCause::Protocol, ClientErrorKind::InvalidUtf8),
            _ => (1002, EndCause::Protocol, ClientErrorKind::Protocol),
        };
        if let Some(stage) = self.core.node.snapshot().stage(self.connection.stage) {
            stage.metrics.client_error(kind);
        }
        Input::Close(End::refused(code, cause))
    }

    /// Sends what was gathered, as one write.
    fn flush(&self, out: &mut Vec<u8>) {
        if out.is_empty() {
            return;
        }
        self.connection.send_gathered(out);
        out.clear();
        if out.capacity() > 4 * FLUSH_BYTES {
            *out = Vec::new();
        }
    }

    /// Writes what waits. Ready when nothing does.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let written = {
                let mut outbox = self.connection.outbox();
                match self.connection.socket() {
                    Some(socket) => transport::try_write(&socket, &mut self.tls, &mut outbox),
                    None => Err(io::ErrorKind::NotConnected.into()),
                }
            };
            match written {
                Ok(()) => return Poll::Ready(()),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    if ready!(self.poll_socket(|socket| socket.poll_write_ready(context))).is_err()
                    {
                        self.broken = true;
                    }
                }
                Err(_) => self.broken = true,
            }
            if self.broken {
                self.input(Input::PeerGone);
                return Poll::Ready(());
            }
        }
    }
}

impl Future for SessionTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        let (order, rung) = {
            let mut outbox = task.connection.outbox();
            outbox.register(context.waker());
            (outbox.take_order(), outbox.take_ring())
        };
        // The ring goes first: it is about the timer that was set before the order came.
        if rung {
            task.on_timer();
        }
        if let Some(end) = order {
            task.input(Input::Close(*end));
        }
        // Reading goes first: its replies are in the write that follows.
        let _ = task.poll_read(context);
        let written = task.poll_write(context);
        if task.session.is_ended() && (task.broken || written.is_ready()) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        if let Some(key) = self.timer.take() {
            self.core.forget(key);
        }
        let dropped = self.connection.outbox().shut();
        if dropped > 0 {
            self.connection.count_dropped(DroppedCause::Closed, dropped);
        }
        // Closed here, which says goodbye on plain TCP.
        if let Some(socket) = self.connection.take_socket()
            && self.tls.is_some()
        {
            transport::shut(&socket, &mut self.tls);
        }
    }
}

pub(super) fn disconnect_cause(cause: EndCause) -> DisconnectCause {
    match cause {
        EndCause::Client => DisconnectCause::Client,
        EndCause::Lost => DisconnectCause::Lost,
        EndCause::Idle => DisconnectCause::Idle,
        EndCause::MaxAge => DisconnectCause::MaxAge,
        EndCause::Deleted => DisconnectCause::Deleted,
        EndCause::TooLarge => DisconnectCause::TooLarge,
        EndCause::Binary => DisconnectCause::Binary,
        EndCause::Protocol => DisconnectCause::Protocol,
        EndCause::SlowClient => DisconnectCause::SlowClient,
        EndCause::Drain => DisconnectCause::Drain,
        EndCause::StageRemoved => DisconnectCause::StageRemoved,
        EndCause::TokenExpired => DisconnectCause::TokenExpired,
        EndCause::LeaseLost => DisconnectCause::LeaseLost,
        EndCause::NodeLost => DisconnectCause::NodeLost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// reliability, line 36: what every idle connection keeps, so that it cannot creep. The
    /// runtime adds its task header, the socket its readiness record.
    #[test]
    fn the_task_and_the_state_of_an_idle_connection_are_small() {
        assert!(size_of::<SessionTask>() <= 168, "{}", size_of::<SessionTask>());
        assert!(size_of::<Connection>() <= 400, "{}", size_of::<Connection>());
    }
}
