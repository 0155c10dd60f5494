//! Questions to a gateway's admin port: one request, one connection, one answer.
//!
//! In:  where it is, and a path. Out: the status and the body; the values in `/metrics`.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use crate::{failure::Failure, http};

const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer of the admin port.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) first_line: String,
    pub(crate) is_ok: bool,
    pub(crate) body: String,
}

/// Asks for `path` and waits for the whole answer.
pub(crate) fn get(admin: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let body_at = http::head_end(&answer).unwrap_or(answer.len());
    Ok(Answer {
        first_line: http::first_line(&answer),
        is_ok: http::status(&answer) == Some(*b"200"),
        body: String::from_utf8_lossy(&answer[body_at..]).into_owned(),
    })
}

/// The whole of `/metrics`.
pub(crate) fn metrics(admin: SocketAddr) -> Result<Metrics, Failure> {
    let answer = get(admin, "/metrics")?;
    if answer.is_ok {
        return Ok(Metrics(answer.body));
    }
    Err(Failure::Usage(format!("/metrics answered {}", answer.first_line)))
}

/// Waits until the node says that it is ready.
pub(crate) fn wait_until_ready(admin: SocketAddr, within: Duration) -> Result<(), Failure> {
    let until = Instant::now() + within;
    loop {
        let answer = get(admin, "/health/ready")?;
        if answer.is_ok {
            return Ok(());
        }
        if Instant::now() > until {
            let text = format!("a node is {} after {within:?}", answer.body.trim());
            return Err(Failure::Usage(text));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What stood in `/metrics`.
#[derive(Debug)]
pub(crate) struct Metrics(String);

impl Metrics {
    /// The value of the line that begins with `name`, its labels included.
    pub(crate) fn value(&self, name: &str) -> Result<f64, Failure> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.ok_or_else(|| Failure::Usage(format!("{name} does not stand in /metrics")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_whole_name() {
        let metrics =
            Metrics("# HELP a_total x\na_total_b 1\na_total 2\nb{c=\"d\"} 3\n".to_owned());
        assert_eq!(metrics.value("a_total").expect("a value"), 2.0);
        assert_eq!(metrics.value("b{c=\"d\"}").expect("a value"), 3.0);
        let error = metrics.value("a").expect_err("no such line").to_string();
        assert!(error.contains("a does not stand"), "{error}");
    }
}
