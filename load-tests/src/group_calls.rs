//! Sends to the group of all clients, one at a time, and what became of each.
//!
//! In:  through which node. Out: what it was answered; whether the members got what was said.
//!
//! Holds always: the numbers of the sends grow by one, whatever they are answered.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::Ordering,
    time::Duration,
};

use serde::Deserialize;

use crate::{
    failure::Failure,
    flock::Got,
    http,
    message::{Shape, Tag},
};

/// Longer than the gateway waits for another node.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Who sends.
#[derive(Debug)]
pub(crate) struct GroupCaller {
    shape: Shape,
    /// Of each send, how many it was said to have reached; the first has number 1.
    recipients: Vec<Option<u32>>,
    /// Those before were compared with what the members got.
    checked: usize,
}

/// One send.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) number: usize,
    /// `None` where it was answered 503: whom it reached is not known.
    pub(crate) recipients: Option<u32>,
    first_line: String,
}

impl Sent {
    /// What to say where it had to be counted.
    pub(crate) fn refused(&self) -> Failure {
        Failure::PostRefused(self.first_line.clone())
    }
}

#[derive(Deserialize)]
struct Counts {
    recipients: u32,
}

impl GroupCaller {
    /// Nothing sent yet.
    pub(crate) fn new(payload_bytes: usize) -> Self {
        let shape = Shape::new("group", payload_bytes);
        Self { shape, recipients: vec![None], checked: 1 }
    }

    /// Sends to all members, through `node`. Any answer but 200 and 503 is a failure.
    pub(crate) fn send(&mut self, node: SocketAddr) -> Result<Sent, Failure> {
        let number = self.recipients.len();
        let tag = Tag { owner: 0, slot: 0, sequence: number as u32, sent_ns: 0 };
        let body = self.shape.write(tag);
        let length = body.len();
        let mut request = format!(
            "POST /s/@groups/room HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        let mut stream = TcpStream::connect(node)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(&request)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let first_line = http::first_line(&answer);
        let end = http::head_end(&answer).unwrap_or(answer.len());
        let recipients = match http::status(&answer) {
            Some([b'2', b'0', b'0']) => match serde_json::from_slice(&answer[end..]) {
                Ok(Counts { recipients }) => Some(recipients),
                Err(_) => {
                    let text = String::from_utf8_lossy(&answer[end..]).into_owned();
                    return Err(Failure::NoCounts(text));
                }
            },
            Some([b'5', b'0', b'3']) => None,
            _ => return Err(Failure::PostRefused(first_line)),
        };
        self.recipients.push(recipients);
        Ok(Sent { number, recipients, first_line })
    }

    /// Compares what the sends since the last check were answered with what members got: as many
    /// as it was said, all those that were members throughout, and nobody else.
    pub(crate) fn check(&mut self, got: &Got, stayers: u32, all: u32) -> Result<(), Failure> {
        for number in self.checked..self.recipients.len() {
            let members = got.sends[number].load(Ordering::Relaxed);
            let stayed = got.stayers[number].load(Ordering::Relaxed);
            let is = |what, got: u32, expected: u32| {
                let (got, expected) = (got.into(), expected.into());
                if got == expected { Ok(()) } else { Err(Failure::Count { what, got, expected }) }
            };
            if let Some(said) = self.recipients[number] {
                is("members that got a send", members, said)?;
                is("members that stayed and got a send", stayed, stayers)?;
            }
            is("members that got a send, of all", members.min(all), members)?;
        }
        self.checked = self.recipients.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check of one send that was said to reach `said`.
    fn checked(said: Option<u32>, members: u32, stayed: u32) -> Option<String> {
        let mut caller = GroupCaller::new(64);
        caller.recipients.push(said);
        let got = Got::new(1);
        got.sends[1].store(members, Ordering::Relaxed);
        got.stayers[1].store(stayed, Ordering::Relaxed);
        caller.check(&got, 18, 20).err().map(|failure| failure.to_string())
    }

    #[test]
    fn a_send_must_reach_whom_it_was_said_to() {
        assert_eq!(checked(Some(19), 19, 18), None);
        assert_eq!(checked(None, 7, 7), None, "nothing was promised");
        let error = checked(Some(19), 18, 18).expect("it is wrong");
        assert!(error.contains("members that got a send: 18, where 19 must be"), "{error}");
        let error = checked(Some(19), 19, 17).expect("it is wrong");
        assert!(error.contains("that stayed"), "{error}");
        let error = checked(None, 21, 18).expect("it is wrong");
        assert!(error.contains("of all"), "{error}");
    }
}
