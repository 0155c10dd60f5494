//! A keep-alive connection to the management API, over which one post at a time is made.
//!
//! In:  readiness of its socket; whole requests.
//! Out: each answer.
//!
//! Holds always: only what has a declared length is an answer; all else fails the run.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::{Interest, Token, net::TcpStream};

use crate::{
    client::{self, ClientError},
    crowd::Crowd,
    failure::Failure,
    http::{self, BodyLength},
};

/// What a post was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    head: &'a [u8],
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The three digits of the status; zeros where there are none.
    pub(crate) fn status(self) -> [u8; 3] {
        http::status(self.head).unwrap_or(*b"000")
    }

    /// The body of a 200. Any other answer is the failure of a run in which there can be none.
    pub(crate) fn accepted(self) -> Result<&'a [u8], Failure> {
        if self.status() == *b"200" { Ok(self.body) } else { Err(self.refused()) }
    }

    /// What to say where a 200 had to come.
    pub(crate) fn refused(self) -> Failure {
        Failure::PostRefused(http::first_line(self.head))
    }

    /// What to say where the connection is dead.
    pub(crate) fn not_gone(self) -> Failure {
        Failure::NotGone(http::first_line(self.head))
    }
}

/// One posting connection.
#[derive(Debug)]
pub(crate) struct Poster {
    stream: TcpStream,
    /// The start of an answer whose rest has not come.
    partial: Vec<u8>,
}

impl Poster {
    /// Begins to connect; the first event of `token` says that it has.
    pub(crate) fn connect(
        server: SocketAddr,
        token: usize,
        crowd: &mut Crowd,
    ) -> Result<Self, Failure> {
        let mut stream = client::start_connect(server, crowd.sources.next())?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        crowd.poll.registry().register(&mut stream, Token(token), interest)?;
        Ok(Self { stream, partial: Vec::new() })
    }

    /// Sends a whole request; the one before must have been answered.
    pub(crate) fn post(&mut self, request: &[u8]) -> Result<(), Failure> {
        // One post is under way at a time, and far smaller than a socket's buffer.
        Ok(self.stream.write_all(request)?)
    }

    /// The answer to the post under way, once it is there whole.
    pub(crate) fn read_answer<'s>(
        &mut self,
        scratch: &'s mut [u8],
    ) -> Result<Option<Answer<'s>>, Failure> {
        let kept = self.partial.len();
        scratch[..kept].copy_from_slice(&self.partial);
        let filled = match self.stream.read(&mut scratch[kept..]) {
            Ok(0) => return Err(ClientError::Ended.into()),
            Ok(count) => kept + count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let answer = &scratch[..filled];
        self.partial.clear();
        if let Some(end) = http::head_end(answer) {
            let (head, body) = answer.split_at(end);
            match http::body_length(head) {
                BodyLength::Bytes(length) if body.len() == length => {
                    return Ok(Some(Answer { head, body }));
                }
                BodyLength::Bytes(length) if body.len() < length => {}
                _ => return Err(Failure::PostRefused(http::first_line(answer))),
            }
        }
        self.partial.extend_from_slice(answer);
        Ok(None)
    }
}
