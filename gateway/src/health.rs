//! `tidegate health`: asks a node on this machine whether it is ready.
//!
//! In:  the address of its admin port.
//! Out: what it said, or why there is no saying: for health checks in images that have no shell.
//!
//! Holds always: the answer is there within [`PATIENCE`], however slowly the other side drips, and
//! no more than [`LONGEST_ANSWER`] of it is kept.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long the whole question may take. A node that needs longer is not ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// The gateway's answers are a line; whatever else listens there may say more.
const LONGEST_ANSWER: usize = 4096;

/// Why a node is not known to be ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    /// Nobody listens there, or not in time.
    #[error("connect to {admin}")]
    Connect { admin: SocketAddr, source: io::Error },
    /// The connection broke, or the time was over.
    #[error("ask {admin} whether it is ready")]
    Ask { admin: SocketAddr, source: io::Error },
    /// What listens there is no admin port.
    #[error("{admin} did not answer in HTTP: is it the address of [admin]?")]
    NotHttp { admin: SocketAddr },
    /// The node itself says so: it drains, or its store is away.
    #[error("{admin} answered {status}: {said}")]
    NotReady { admin: SocketAddr, status: u16, said: String },
}

/// Asks for `/health/ready`. `Ok` is what a ready node said.
pub(crate) fn ask(admin: SocketAddr) -> Result<String, HealthError> {
    ask_within(admin, PATIENCE)
}

fn ask_within(admin: SocketAddr, patience: Duration) -> Result<String, HealthError> {
    let until = Instant::now() + patience;
    let stream = TcpStream::connect_timeout(&admin, patience)
        .map_err(|source| HealthError::Connect { admin, source })?;
    let answer =
        exchange(stream, admin, until).map_err(|source| HealthError::Ask { admin, source })?;
    let (status, said) = parse(&answer).ok_or(HealthError::NotHttp { admin })?;
    match status {
        200 => Ok(said),
        _ => Err(HealthError::NotReady { admin, status, said }),
    }
}

/// Sends the request and takes the answer to its end.
fn exchange(mut stream: TcpStream, admin: SocketAddr, until: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(left(until)?))?;
    let request =
        format!("GET /health/ready HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while answer.len() < LONGEST_ANSWER {
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            // What a read timeout is called differs between systems.
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(err) => return Err(err),
        }
    }
    Ok(answer)
}

/// The time that is left; a timeout of zero would mean none at all.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_late()) } else { Ok(left) }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// Status and the body's first line.
fn parse(answer: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    // Nothing that listens there may write control characters to a terminal.
    let line = body.lines().next().unwrap_or_default();
    Some((status, line.chars().filter(|c| !c.is_control()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Listens, answers one connection with `answer`, and holds it for as long as `hold`.
    fn answering(answer: &'static [u8], hold: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("the question");
            let mut request = [0; 1024];
            let count = stream.read(&mut request).expect("the request");
            assert!(
                request[..count].starts_with(b"GET /health/ready HTTP/1.1\r\nHost: 127.0.0.1:")
            );
            stream.write_all(answer).expect("the answer");
            std::thread::sleep(hold);
        });
        address
    }

    fn said(result: Result<String, HealthError>) -> String {
        match result {
            Ok(said) => said,
            Err(err) => crate::exit::with_causes(&err),
        }
    }

    #[test]
    fn a_ready_node_is_ready() {
        let admin =
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nready\n", Duration::ZERO);
        assert_eq!(ask(admin).expect("ready"), "ready");
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let admin = answering(
            b"HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready: draining\x1b[2J\nmore",
            Duration::ZERO,
        );
        let expected = format!("{admin} answered 503: not ready: draining[2J");
        assert_eq!(said(ask(admin)), expected);
    }

    #[test]
    fn what_does_not_speak_http_is_named() {
        let admin = answering(b"SSH-2.0-x\r\n\r\n", Duration::ZERO);
        let expected = format!("{admin} did not answer in HTTP: is it the address of [admin]?");
        assert_eq!(said(ask(admin)), expected);
    }

    #[test]
    fn nobody_there_is_an_error_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let admin = listener.local_addr().expect("a bound listener");
        drop(listener);
        let answer = said(ask(admin));
        assert!(answer.starts_with(&format!("connect to {admin}: ")), "{answer}");
    }

    /// A node that hangs half-way through its answer is not ready, and the check ends.
    #[test]
    fn an_answer_that_does_not_end_is_given_up() {
        let admin = answering(b"HTTP/1.1 200 OK\r\n", Duration::from_secs(60));
        let answer = said(ask_within(admin, Duration::from_millis(100)));
        assert_eq!(answer, format!("ask {admin} whether it is ready: no answer in time"));
    }

    #[test]
    fn an_answer_without_end_is_cut() {
        const LONG: &[u8] = &[b'x'; 3 * LONGEST_ANSWER];
        let admin = answering(LONG, Duration::from_secs(60));
        assert!(matches!(ask(admin), Err(HealthError::NotHttp { .. })));
    }
}
