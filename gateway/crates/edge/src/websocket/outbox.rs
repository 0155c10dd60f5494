//! What waits for one client: frames, bounded in bytes, and the order to close.
//!
//! In:  encoded frames, from any thread.
//! Out: bytes on the socket, in the order in which they were taken.
//!
//! Holds always: a frame that was begun is finished before anything else is written; nothing is
//! written before the 101; what waits is at most the limit plus one message, the 101 and a close frame.
//!
//! A plain socket is written by whoever sends, when nothing waits: most frames never see the
//! queue, and no task is woken for them. TLS needs the session's state, so its frames are queued
//! for the connection's own task.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    task::Waker,
};

use bytes::Bytes;
use connection_store::SendError;
use tidegate_flow::session::End;
use tidegate_model::SlowClient;
use tokio::net::TcpStream;

/// Frames that one vectored write takes.
const WRITE_BATCH: usize = 64;

/// The send queue of one connection. Lives behind a mutex that is never held over an await.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Bytes of the first waiting entry that are on the socket already.
    first_written: usize,
    stage: Stage,
    order: Option<Box<End>>,
    /// The timer of the connection's task has fired.
    rung: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    /// A message that was not begun may be dropped by policy; the 101, a close frame and the rest
    /// of what was begun may not.
    droppable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The upgrade is not answered: frames are kept.
    Held,
    /// Frames go out.
    Open,
    /// A close frame was queued or the connection is to be closed: no more messages are taken.
    Closed,
}

/// How full a queue may be, and what then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimit {
    pub(crate) bytes: usize,
    pub(crate) policy: SlowClient,
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) result: Result<(), SendError>,
    /// Messages that gave way or were not taken.
    pub(crate) dropped: u32,
    /// The queue was full and the policy is to close: the caller orders the close.
    pub(crate) overflowed: bool,
}

impl Sent {
    const TAKEN: Self = Self { result: Ok(()), dropped: 0, overflowed: false };
    const CLOSED: Self = Self { result: Err(SendError::Closed), dropped: 0, overflowed: false };
}

impl Outbox {
    /// The queue of a connection whose upgrade is not answered yet.
    pub(crate) fn held() -> Self {
        Self {
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            first_written: 0,
            stage: Stage::Held,
            order: None,
            rung: false,
            waker: None,
        }
    }

    /// Takes one encoded message. `direct` is the socket when the sender may write to it.
    pub(crate) fn send(
        &mut self,
        frame: &Bytes,
        direct: Option<&TcpStream>,
        limit: QueueLimit,
    ) -> Sent {
        match self.stage {
            Stage::Closed => return Sent::CLOSED,
            Stage::Held if self.waiting_bytes + frame.len() > limit.bytes => {
                return Sent { result: Err(SendError::Full), dropped: 1, overflowed: false };
            }
            Stage::Held => {
                self.push(frame.clone(), true);
                return Sent::TAKEN;
            }
            Stage::Open => {}
        }
        if self.waiting.is_empty()
            && let Some(socket) = direct
        {
            match socket.try_write(frame) {
                Ok(written) if written == frame.len() => return Sent::TAKEN,
                Ok(written) => {
                    // Begun is finished, whatever the limit says.
                    self.push(frame.clone(), true);
                    self.first_written = written;
                    self.wake();
                    return Sent::TAKEN;
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.stage = Stage::Closed;
                    self.wake();
                    return Sent::CLOSED;
                }
            }
        }
        let dropped = match self.make_room(frame.len(), limit) {
            Ok(dropped) => dropped,
            Err(refused) => return refused,
        };
        self.push(frame.clone(), true);
        self.wake();
        Sent { result: Ok(()), dropped, overflowed: false }
    }

    /// Takes what one read gave rise to: replies and pongs, whole frames one after another. They
    /// are copied only when the socket does not take them at once.
    pub(crate) fn send_gathered(
        &mut self,
        frames: &[u8],
        direct: Option<&TcpStream>,
        limit: QueueLimit,
    ) -> Sent {
        if self.stage == Stage::Open
            && self.waiting.is_empty()
            && let Some(socket) = direct
            && let Ok(written @ 1..) = socket.try_write(frames)
        {
            if written < frames.len() {
                self.push(Bytes::copy_from_slice(&frames[written..]), false);
                self.wake();
            }
            return Sent::TAKEN;
        }
        self.send(&Bytes::copy_from_slice(frames), direct, limit)
    }

    /// Puts the 101 before whatever was held, and lets frames out from now on.
    pub(crate) fn open(&mut self, upgrade_answer: Bytes) {
        self.waiting_bytes += upgrade_answer.len();
        self.waiting.push_front(Waiting { bytes: upgrade_answer, droppable: false });
        if self.stage == Stage::Held {
            self.stage = Stage::Open;
        }
    }

    /// Orders the connection's task to close. Only the first order counts.
    pub(crate) fn order_close(&mut self, end: End) {
        if self.order.is_none() {
            self.order = Some(Box::new(end));
            self.stage = Stage::Closed;
            self.wake();
        }
    }

    /// The order to close, once.
    pub(crate) fn take_order(&mut self) -> Option<Box<End>> {
        self.order.take()
    }

    /// Stops taking messages and queues the close frame. With `discard`, what has not begun to be
    /// written gives way: the client does not read it anyway. Returns how many messages did.
    pub(crate) fn close(&mut self, close_frame: Bytes, discard: bool) -> u32 {
        self.stage = Stage::Closed;
        let dropped = if discard { self.discard() } else { 0 };
        self.push(close_frame, false);
        dropped
    }

    /// Takes no more messages, and returns how many never went out.
    pub(crate) fn shut(&mut self) -> u32 {
        self.stage = Stage::Closed;
        self.waker = None;
        let dropped = self.waiting.iter().filter(|entry| entry.droppable).count();
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
        self.first_written = 0;
        u32::try_from(dropped).unwrap_or(u32::MAX)
    }

    /// Whom to wake when something waits.
    pub(crate) fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// The timer fired: wakes the connection's task and leaves word why.
    pub(crate) fn ring(&mut self) {
        self.rung = true;
        self.wake();
    }

    /// Whether the timer fired since it was asked last.
    pub(crate) fn take_ring(&mut self) -> bool {
        std::mem::take(&mut self.rung)
    }

    /// Writes what waits until nothing does or the socket would block (`Err`).
    pub(crate) fn write_to(&mut self, socket: &TcpStream) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_BATCH];
            let mut count = 0;
            for (slice, entry) in slices.iter_mut().zip(&self.waiting) {
                let skip = if count == 0 { self.first_written } else { 0 };
                *slice = IoSlice::new(&entry.bytes[skip..]);
                count += 1;
            }
            let written = socket.try_write_vectored(&slices[..count])?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.advance(written);
        }
        // A burst's queue is not kept for the quiet time after it.
        if self.waiting.capacity() > WRITE_BATCH {
            self.waiting = VecDeque::new();
        }
        Ok(())
    }

    /// The next unwritten bytes, for a transport that copies them.
    pub(crate) fn peek(&self) -> Option<Bytes> {
        self.waiting.front().map(|entry| entry.bytes.slice(self.first_written..))
    }

    /// Forgets `written` bytes that the transport has taken.
    pub(crate) fn advance(&mut self, written: usize) {
        let mut left = self.first_written + written;
        while let Some(first) = self.waiting.front() {
            if left < first.bytes.len() {
                break;
            }
            left -= first.bytes.len();
            self.waiting_bytes -= first.bytes.len();
            self.waiting.pop_front();
        }
        self.first_written = left;
    }

    fn push(&mut self, bytes: Bytes, droppable: bool) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Waiting { bytes, droppable });
    }

    /// Makes room by policy: how many gave way, or why there is none.
    fn make_room(&mut self, bytes: usize, limit: QueueLimit) -> Result<u32, Sent> {
        // One message always has room, or a reply larger than the limit could never be sent.
        if self.waiting.is_empty() || self.waiting_bytes + bytes <= limit.bytes {
            return Ok(0);
        }
        match limit.policy {
            SlowClient::Close => {
                Err(Sent { result: Err(SendError::Closed), dropped: 1, overflowed: true })
            }
            SlowClient::DropNewest => {
                Err(Sent { result: Err(SendError::Full), dropped: 1, overflowed: false })
            }
            SlowClient::DropOldest => {
                let mut dropped = 0;
                let mut index = usize::from(self.first_written > 0);
                while self.waiting_bytes + bytes > limit.bytes && index < self.waiting.len() {
                    if self.waiting[index].droppable {
                        let gone = self.waiting.remove(index).map_or(0, |e| e.bytes.len());
                        self.waiting_bytes -= gone;
                        dropped += 1;
                    } else {
                        index += 1;
                    }
                }
                // Behind a message that is under way, however large, the newest one always has room.
                let is_only_begun = self.first_written > 0 && self.waiting.len() == 1;
                if self.waiting_bytes + bytes <= limit.bytes || dropped > 0 || is_only_begun {
                    Ok(dropped)
                } else {
                    Err(Sent { result: Err(SendError::Full), dropped: 1, overflowed: false })
                }
            }
        }
    }

    /// Lets go of every message that was not begun.
    fn discard(&mut self) -> u32 {
        let before = self.waiting.len();
        let mut begun = self.first_written > 0;
        self.waiting.retain(|entry| std::mem::take(&mut begun) || !entry.droppable);
        self.waiting_bytes = self.waiting.iter().map(|entry| entry.bytes.len()).sum();
        u32::try_from(before - self.waiting.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8, length: usize) -> Bytes {
        vec![byte; length].into()
    }

    fn opened() -> Outbox {
        let mut outbox = Outbox::held();
        outbox.open(Bytes::new());
        outbox.advance(0);
        outbox
    }

    fn firsts(outbox: &Outbox) -> Vec<u8> {
        outbox.waiting.iter().map(|entry| entry.bytes[0]).collect()
    }

    #[test]
    fn what_is_posted_before_the_101_goes_out_after_it() {
        let limit = QueueLimit { bytes: 10, policy: SlowClient::Close };
        let mut outbox = Outbox::held();
        assert_eq!(outbox.send(&frame(b'a', 6), None, limit), Sent::TAKEN);
        let refused = outbox.send(&frame(b'b', 6), None, limit);
        assert_eq!(refused.result, Err(SendError::Full), "held posts are bounded too");
        outbox.open(frame(b'1', 3));
        assert_eq!(firsts(&outbox), b"1a");
    }

    #[test]
    fn a_full_queue_closes_drops_the_oldest_or_drops_the_newest() {
        let with = |policy| {
            let mut outbox = opened();
            let limit = QueueLimit { bytes: 10, policy };
            for byte in [b'a', b'b'] {
                assert_eq!(outbox.send(&frame(byte, 5), None, limit), Sent::TAKEN);
            }
            let sent = outbox.send(&frame(b'c', 5), None, limit);
            (sent, firsts(&outbox))
        };
        let (sent, waiting) = with(SlowClient::Close);
        assert!(sent.overflowed && sent.result == Err(SendError::Closed));
        assert_eq!(waiting, b"ab");
        let (sent, waiting) = with(SlowClient::DropOldest);
        assert_eq!((sent.result, sent.dropped, &waiting[..]), (Ok(()), 1, &b"bc"[..]));
        let (sent, waiting) = with(SlowClient::DropNewest);
        assert_eq!((sent.result, &waiting[..]), (Err(SendError::Full), &b"ab"[..]));
    }

    #[test]
    fn a_message_over_the_limit_is_taken_when_nothing_waits() {
        for policy in [SlowClient::Close, SlowClient::DropOldest, SlowClient::DropNewest] {
            let limit = QueueLimit { bytes: 10, policy };
            let mut outbox = opened();
            assert_eq!(outbox.send(&frame(b'a', 50), None, limit), Sent::TAKEN, "{policy:?}");
            assert_ne!(outbox.send(&frame(b'b', 50), None, limit), Sent::TAKEN, "{policy:?}");
        }
    }

    #[test]
    fn a_frame_that_was_begun_is_never_dropped() {
        let mut outbox = opened();
        let limit = QueueLimit { bytes: 10, policy: SlowClient::DropOldest };
        for byte in [b'a', b'b'] {
            assert_eq!(outbox.send(&frame(byte, 5), None, limit), Sent::TAKEN);
        }
        outbox.advance(2);
        assert_eq!(outbox.send(&frame(b'c', 5), None, limit).dropped, 1);
        assert_eq!(firsts(&outbox), b"ac");
        assert_eq!(outbox.peek().expect("a is begun").len(), 3);
        outbox.close(frame(b'x', 4), true);
        assert_eq!(firsts(&outbox), b"ax", "the begun frame is finished before the close frame");
    }

    /// A message larger than the queue is under way to a slow client: what it gets next is the
    /// newest, not the first that came meanwhile.
    #[test]
    fn the_newest_message_has_room_behind_one_that_is_larger_than_the_queue() {
        let mut outbox = opened();
        let limit = QueueLimit { bytes: 10, policy: SlowClient::DropOldest };
        assert_eq!(outbox.send(&frame(b'a', 50), None, limit), Sent::TAKEN);
        outbox.advance(2);
        assert_eq!(outbox.send(&frame(b'b', 5), None, limit), Sent::TAKEN);
        assert_eq!(firsts(&outbox), b"ab");
        assert_eq!(outbox.send(&frame(b'c', 5), None, limit).dropped, 1);
        assert_eq!(firsts(&outbox), b"ac", "and never more than one");
    }

    #[test]
    fn the_first_order_to_close_counts() {
        let mut outbox = opened();
        outbox.order_close(End::deleted(4001, "first".to_owned()));
        outbox.order_close(End::deleted(4002, "second".to_owned()));
        assert_eq!(outbox.take_order().map(|end| end.code), Some(4001));
        let limit = QueueLimit { bytes: 9, policy: SlowClient::Close };
        assert_eq!(outbox.send(&frame(b'a', 1), None, limit), Sent::CLOSED);
    }
}
