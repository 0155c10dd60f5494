//! The worker of the `function` scenario: a client of the Lambda Runtime API over one kept-alive
//! connection, blocking, so that next to nothing of a round trip is its own.
//!
//! ```text
//! GET  .../invocation/next           the event: a message
//! POST .../invocation/{id}/response  the message itself; to the route `times`, [`Times`]
//! ```
//!
//! In:  the address of the Runtime API, from the environment.
//! Out: results.
//!
//! Holds always: each event gets one result, before the next one is asked for.

use std::{
    env,
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    ops::Range,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use crate::{
    affinity,
    client::SCRATCH_BYTES,
    failure::Failure,
    histogram::Histogram,
    http::{self, BodyLength},
};

/// The messages so far, but for those that asked for this, and the worker's own time for them:
/// from an event's last byte to the write of its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Times {
    /// Messages.
    pub(crate) events: u64,
    /// Half of them took at most this, nanoseconds.
    pub(crate) p50_ns: u64,
}

/// As much of a proxy event as is used here.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "requestContext")]
    context: Context,
    body: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    route_key: String,
}

/// The proxy response.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    status_code: u16,
    body: &'a str,
}

/// Works until the Runtime API is gone, on `core` if one is named.
pub(crate) fn work(core: Option<usize>) -> Result<(), Failure> {
    if let Some(core) = core {
        affinity::move_to(core)?;
    }
    let address = env::var("AWS_LAMBDA_RUNTIME_API").map_err(|_| {
        Failure::Usage("AWS_LAMBDA_RUNTIME_API is not set: the gateway starts workers".to_owned())
    })?;
    let mut api = RuntimeApi::connect(address)?;
    let mut latency = Histogram::default();
    while let Some(invocation) = api.next()? {
        let received_at = Instant::now();
        let event: Event =
            serde_json::from_slice(&api.bytes[invocation.event]).map_err(io::Error::from)?;
        let asks_for_times = event.context.route_key == "times";
        let body = if asks_for_times {
            let p50_ns = latency.quantile(0.5).unwrap_or(0);
            let times = Times { events: latency.total(), p50_ns };
            serde_json::to_string(&times).map_err(io::Error::from)?
        } else {
            event.body.unwrap_or_default()
        };
        let answer = Answer { status_code: 200, body: &body };
        let answer = serde_json::to_vec(&answer).map_err(io::Error::from)?;
        api.send_result(&invocation.id, &answer)?;
        if !asks_for_times {
            // Nanoseconds of 584 years would not fit.
            latency.record(received_at.elapsed().as_nanos() as u64);
        }
        api.read_acceptance()?;
    }
    Ok(())
}

/// An event, and what its result is posted to.
struct Invocation {
    id: String,
    /// Where it is in [`RuntimeApi::bytes`].
    event: Range<usize>,
}

/// The worker's connection to its Runtime API.
struct RuntimeApi {
    stream: TcpStream,
    host: String,
    /// What is sent, and then what is received; each exchange overwrites the one before.
    request: Vec<u8>,
    bytes: Vec<u8>,
}

impl RuntimeApi {
    fn connect(host: String) -> io::Result<Self> {
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host, request: Vec::new(), bytes: vec![0; SCRATCH_BYTES] })
    }

    /// Waits for the next event; `None` when the gateway has ended.
    fn next(&mut self) -> io::Result<Option<Invocation>> {
        self.request.clear();
        let host = &self.host;
        write!(
            self.request,
            "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {host}\r\n\r\n"
        )?;
        self.stream.write_all(&self.request)?;
        let Some((head, event)) = self.read()? else { return Ok(None) };
        let head = &self.bytes[head];
        let id = http::header(head, "lambda-runtime-aws-request-id")
            .and_then(|id| str::from_utf8(id).ok());
        match (http::status(head), id) {
            (Some([b'2', b'0', b'0']), Some(id)) => {
                Ok(Some(Invocation { id: id.to_owned(), event }))
            }
            _ => Err(refused(head)),
        }
    }

    fn send_result(&mut self, id: &str, result: &[u8]) -> io::Result<()> {
        self.request.clear();
        let (host, length) = (&self.host, result.len());
        write!(
            self.request,
            "POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: {host}\r\n\
             Content-Length: {length}\r\n\r\n"
        )?;
        self.request.extend_from_slice(result);
        self.stream.write_all(&self.request)
    }

    fn read_acceptance(&mut self) -> io::Result<()> {
        let Some((head, _)) = self.read()? else { return Err(ErrorKind::UnexpectedEof.into()) };
        let head = &self.bytes[head];
        match http::status(head) {
            Some([b'2', b'0', b'2']) => Ok(()),
            _ => Err(refused(head)),
        }
    }

    /// One whole answer: where its head and its body are in [`Self::bytes`]. `None` where the
    /// other side ends the connection instead.
    fn read(&mut self) -> io::Result<Option<(Range<usize>, Range<usize>)>> {
        let mut filled = 0;
        loop {
            if let Some(end) = http::head_end(&self.bytes[..filled]) {
                let BodyLength::Bytes(length) = http::body_length(&self.bytes[..end]) else {
                    return Err(refused(&self.bytes[..end]));
                };
                if filled == end + length {
                    return Ok(Some((0..end, end..filled)));
                }
                // Nothing can follow an answer before the next request.
                if filled > end + length {
                    return Err(ErrorKind::InvalidData.into());
                }
            }
            if filled == self.bytes.len() {
                self.bytes.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn refused(head: &[u8]) -> io::Error {
    io::Error::other(format!("the runtime api answered {}", http::first_line(head)))
}
