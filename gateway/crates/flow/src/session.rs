//! The life of one accepted WebSocket connection, without a socket and without a clock.
//!
//! In:  [`Input`]: what the peer, the operator and the time limits did.
//! Out: [`Action`]: what the socket's task in `edge` shall do about it.
//!
//! ```text
//! Open --our close--> Closing --their close, their end, or grace over--> Ended
//!   \--their close, or their end------------------------------------------> Ended
//! ```
//!
//! Holds always: [`Action::RunDisconnect`] comes exactly once, with the step into `Ended`; a close
//! frame is sent at most once.

use std::{borrow::Cow, mem};

/// Why and how a connection ended, as `$disconnect` will be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `disconnectStatusCode` (RFC 6455, 7.4).
    pub code: u16,
    /// `disconnectReason`.
    pub reason: Cow<'static, str>,
    /// For metrics.
    pub cause: EndCause,
}

/// Who or what ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// The client sent a close frame first.
    Client,
    /// The transport ended without a close frame.
    Lost,
    /// No message for too long.
    Idle,
    /// Open for too long.
    MaxAge,
    /// The management API.
    Deleted,
    /// A frame or message over the limit.
    TooLarge,
    /// A binary message where none is taken.
    Binary,
    /// A violation of RFC 6455.
    Protocol,
    /// The send queue was full.
    SlowClient,
    /// The node drains.
    Drain,
    /// The stage is no longer served.
    StageRemoved,
    /// The token that it was opened with has expired.
    TokenExpired,
    /// The node has lost its lease.
    LeaseLost,
    /// The node has died, and another one ends its connections.
    NodeLost,
}

impl End {
    /// The client closed without a status code (websocket-api, section 3.7).
    pub fn without_status() -> Self {
        Self {
            code: 1005,
            reason: Cow::Borrowed("Client-side close frame status not set"),
            cause: EndCause::Client,
        }
    }

    /// The client closed with a status code.
    pub fn by_client(code: u16, reason: String) -> Self {
        Self { code, reason: Cow::Owned(reason), cause: EndCause::Client }
    }

    /// The transport ended without a close frame.
    pub fn lost() -> Self {
        Self { code: 1006, reason: Cow::Borrowed(""), cause: EndCause::Lost }
    }

    /// The node has died, as a surviving one tells it (RFC 6455, 7.1.5).
    pub fn node_lost() -> Self {
        Self { code: 1006, reason: Cow::Borrowed(""), cause: EndCause::NodeLost }
    }

    /// The node has lost its lease: 1012, so that clients come again.
    pub fn lease_lost(reason: String) -> Self {
        Self { code: 1012, reason: Cow::Owned(reason), cause: EndCause::LeaseLost }
    }

    /// 1001 "Going away": idle, too old, or the node leaves.
    pub fn going_away(cause: EndCause) -> Self {
        Self { code: 1001, reason: Cow::Borrowed("Going away"), cause }
    }

    /// The token of a JWT authorizer has expired.
    pub fn token_expired() -> Self {
        Self { code: 1008, reason: Cow::Borrowed("token expired"), cause: EndCause::TokenExpired }
    }

    /// Closed by the gateway over what the client did or did not do; no reason text.
    pub fn refused(code: u16, cause: EndCause) -> Self {
        Self { code, reason: Cow::Borrowed(""), cause }
    }

    /// Closed by the management API. Without a code of the caller's own, the client reads 1000
    /// and no reason, and `$disconnect` reads Amazon's text (websocket-api, section 3.7).
    pub fn deleted(code: u16, reason: String) -> Self {
        let reason = if code == 1000 && reason.is_empty() {
            Cow::Borrowed("Connection Closed Normally")
        } else {
            Cow::Owned(reason)
        };
        Self { code, reason, cause: EndCause::Deleted }
    }

    /// The reason that stands in the close frame: at most 123 bytes, cut at a character.
    pub fn frame_reason(&self) -> &str {
        if self.cause == EndCause::Deleted
            && self.code == 1000
            && matches!(self.reason, Cow::Borrowed(_))
        {
            return "";
        }
        let mut cut = self.reason.len().min(123);
        while !self.reason.is_char_boundary(cut) {
            cut -= 1;
        }
        &self.reason[..cut]
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// The gateway wants it closed.
    Close(End),
    /// The peer's close frame arrived.
    PeerClosed(End),
    /// The transport ended or failed.
    PeerGone,
    /// The time for the peer's answer to our close frame is over.
    GraceOver,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// Send a close frame, stop taking messages, and start the time of grace.
    SendClose(End),
    /// Run `$disconnect`, flush what the protocol still owes, and let go of the socket.
    RunDisconnect(End),
}

/// The phase a connection is in.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Session {
    /// Messages go both ways.
    #[default]
    Open,
    /// Our close frame is sent or queued; the end that it told.
    Closing(Box<End>),
    /// `$disconnect` was handed out.
    Ended,
}

impl Session {
    /// Applies one input. Every (phase, input) pair is written out.
    pub fn step(&mut self, input: Input) -> Action {
        let (next, action) = match (mem::take(self), input) {
            (Self::Open, Input::Close(end)) => {
                (Self::Closing(Box::new(end.clone())), Action::SendClose(end))
            }
            (Self::Open, Input::PeerClosed(end)) => (Self::Ended, Action::RunDisconnect(end)),
            (Self::Open, Input::PeerGone) => (Self::Ended, Action::RunDisconnect(End::lost())),
            // No close frame was sent, so nobody's grace can be over.
            (Self::Open, Input::GraceOver) => (Self::Open, Action::Nothing),
            // The first close wins: it is what the client was told.
            (closing @ Self::Closing(_), Input::Close(_)) => (closing, Action::Nothing),
            (Self::Closing(end), Input::PeerClosed(_) | Input::PeerGone | Input::GraceOver) => {
                (Self::Ended, Action::RunDisconnect(*end))
            }
            (Self::Ended, _) => (Self::Ended, Action::Nothing),
        };
        *self = next;
        action
    }

    /// Whether messages of the client are still taken.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether `$disconnect` was handed out.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Close(End::going_away(EndCause::Idle))),
            Just(Input::Close(End::deleted(1000, String::new()))),
            Just(Input::PeerClosed(End::without_status())),
            Just(Input::PeerGone),
            Just(Input::GraceOver),
        ]
    }

    proptest! {
        #[test]
        fn every_accepted_connection_gets_exactly_one_disconnect(
            script in prop::collection::vec(any_input(), 0..40),
        ) {
            let mut session = Session::default();
            let mut actions: Vec<Action> = script.into_iter().map(|i| session.step(i)).collect();
            actions.push(session.step(Input::PeerGone));
            let runs = actions.iter().filter(|a| matches!(a, Action::RunDisconnect(_))).count();
            let closes = actions.iter().filter(|a| matches!(a, Action::SendClose(_))).count();
            prop_assert_eq!(runs, 1);
            prop_assert!(closes <= 1);
            prop_assert!(session.is_ended());
        }
    }

    /// websocket-api, section 3.7: `$disconnect` carries what the close frame said.
    #[test]
    fn our_close_is_what_disconnect_is_told_whatever_the_peer_answers() {
        let mut session = Session::default();
        let idle = End::going_away(EndCause::Idle);
        assert_eq!(session.step(Input::Close(idle.clone())), Action::SendClose(idle.clone()));
        let answer = Input::PeerClosed(End::by_client(4000, "mine".to_owned()));
        assert_eq!(session.step(answer), Action::RunDisconnect(idle));
    }

    #[test]
    fn a_delete_sends_1000_without_a_reason_and_tells_disconnect_amazons_text() {
        let end = End::deleted(1000, String::new());
        assert_eq!(end.reason, "Connection Closed Normally");
        assert_eq!(end.frame_reason(), "");
        let own = End::deleted(4001, "bye".to_owned());
        assert_eq!((own.code, own.frame_reason()), (4001, "bye"));
    }

    #[test]
    fn a_close_frames_reason_is_cut_at_a_character() {
        let end = End::deleted(4001, "ü".repeat(100));
        assert_eq!(end.frame_reason().len(), 122);
    }
}
