//! An HTTP/1.1 client that sends the request target byte for byte as the test wrote it.
//!
//! In:  method, raw target (`/prod/%40connections/x%3D`, `//`), headers, body.
//! Out: [`HttpResponse`]: status, headers in order and casing of the wire, body.
//!
//! Holds always: nothing is normalised, escaped, followed or retried.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{DEADLINE, within};

/// Most header lines that an answer may have.
const MAX_HEADERS: usize = 128;

/// One answer, as it stood on the wire.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    /// The status line's number.
    pub status: u16,
    /// Names with the server's casing, in order.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The first value of a header, whatever its casing.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a response body in UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("a JSON body ({err}), not {:?}", self.text()))
    }
}

/// One TCP connection, kept open between calls.
#[derive(Debug)]
pub struct HttpClient {
    stream: TcpStream,
    address: String,
    /// What was read beyond the last answer.
    buffer: Vec<u8>,
}

impl HttpClient {
    /// Connects to `address`: `host:port`, or a URL whose scheme and path are ignored.
    ///
    /// # Panics
    /// When nothing listens there.
    pub async fn connect(address: &str) -> Self {
        Self::try_connect(address).await.unwrap_or_else(|err| panic!("connect to {address}: {err}"))
    }

    async fn try_connect(address: &str) -> io::Result<Self> {
        let address = authority(address).to_owned();
        let stream = within(DEADLINE, "a TCP connection", TcpStream::connect(&address)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, address, buffer: Vec::new() })
    }

    /// Sends one request and reads its answer. `Host` and `Content-Length` are added unless
    /// `headers` has them (or a `Transfer-Encoding`); a call without a body says no length.
    ///
    /// # Panics
    /// When no whole answer comes.
    pub async fn call(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> HttpResponse {
        let head = self.head(method, target, headers, body);
        self.send_bytes(&[head.as_bytes(), body].concat()).await;
        self.read_response(method == "HEAD").await
    }

    /// The bytes of a request's head, with what `call` adds.
    pub(crate) fn head(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let given = |name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !given("host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        let sized = given("content-length") || given("transfer-encoding");
        if !sized && (!body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH")) {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head + "\r\n"
    }

    /// Sends bytes as they are, for requests that no client would make. A peer that has closed
    /// already is no failure here: its answer may stand to be read.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let sent = within(DEADLINE, "the request to be taken", self.stream.write_all(bytes)).await;
        if let Err(err) = sent {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
            assert!(matches!(err.kind(), BrokenPipe | ConnectionReset), "send: {err}");
        }
    }

    /// Reads one answer. `of_head`: it answers a HEAD, so it has no body.
    ///
    /// # Panics
    /// When no whole answer comes.
    pub async fn read_response(&mut self, of_head: bool) -> HttpResponse {
        self.try_read_response(of_head).await.unwrap_or_else(|cut| panic!("{cut}"))
    }

    /// As [`Self::read_response`]; the error says where the connection ended instead.
    async fn try_read_response(&mut self, of_head: bool) -> Result<HttpResponse, String> {
        let mut response = loop {
            if let Some((response, used)) = parse_head(&self.buffer) {
                self.buffer.drain(..used);
                break response;
            }
            if !self.read_more().await {
                let got = String::from_utf8_lossy(&self.buffer);
                return Err(format!("the connection ended before an answer's head: {got:?}"));
            }
        };
        let status = response.status;
        if of_head || status == 204 || status == 304 || (100..200).contains(&status) {
            return Ok(response);
        }
        let chunked = response
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        response.body = if chunked {
            self.read_chunks().await?
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().expect("a number as Content-Length");
            self.take(length).await?
        } else {
            while self.read_more().await {}
            std::mem::take(&mut self.buffer)
        };
        Ok(response)
    }

    /// Whether the peer closes its side before anything else arrives. `false` when bytes come.
    pub async fn ended(&mut self) -> bool {
        self.buffer.is_empty() && !self.read_more().await
    }

    /// The connection and what was read beyond the last answer, for another protocol.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.buffer)
    }

    async fn read_chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let size = self.take_line().await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).expect("a chunk size in hexadecimal");
            if size == 0 {
                while !self.take_line().await?.is_empty() {} // trailers
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            assert_eq!(self.take_line().await?, "", "a chunk ends with a line break");
        }
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            if !self.read_more().await {
                return Err("the connection ended inside a body".to_owned());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    async fn take_line(&mut self) -> Result<String, String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(at + 2).await?;
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.read_more().await {
                return Err("the connection ended inside a chunked body".to_owned());
            }
        }
    }

    /// Reads what is there; `false` at the end. A reset is an end like any other.
    async fn read_more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.buffer);
        within(DEADLINE, "bytes of an answer", read).await.unwrap_or(0) > 0
    }
}

/// One call over a connection of its own; `base` as for [`HttpClient::connect`].
pub async fn http_call(
    base: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> HttpResponse {
    HttpClient::connect(base).await.call(method, target, headers, body).await
}

/// As [`http_call`], to somebody who may be about to end: `None` when nobody listens, or the
/// connection ends before the answer is whole. The call may have been carried out all the same.
pub async fn try_http_call(
    base: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<HttpResponse> {
    let mut client = HttpClient::try_connect(base).await.ok()?;
    let head = client.head(method, target, headers, body);
    client.send_bytes(&[head.as_bytes(), body].concat()).await;
    client.try_read_response(method == "HEAD").await.ok()
}

/// `host:port` of a URL, or the text itself.
pub(crate) fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// Path and query of a URL, `/` when it has none.
pub(crate) fn target(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('/') => rest[at..].to_owned(),
        Some(at) => format!("/{}", &rest[at..]),
        None => "/".to_owned(),
    }
}

/// The head of an answer, its body still empty, and the head's length; `None` when not whole yet.
fn parse_head(bytes: &[u8]) -> Option<(HttpResponse, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let used = match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return None,
        Err(err) => panic!("no HTTP answer ({err}): {:?}", String::from_utf8_lossy(bytes)),
    };
    let headers = response
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()));
    let status = response.code.expect("a complete head has a status");
    Some((HttpResponse { status, headers: headers.collect(), body: Vec::new() }, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_parts_into_authority_and_target() {
        let url = "ws://127.0.0.1:81/prod?a=b";
        assert_eq!((authority(url), target(url).as_str()), ("127.0.0.1:81", "/prod?a=b"));
        assert_eq!((authority("h:1"), target("http://h:1").as_str()), ("h:1", "/"));
        assert_eq!(target("http://h:1?x=1"), "/?x=1");
    }
}
