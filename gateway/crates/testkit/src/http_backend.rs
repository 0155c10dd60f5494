//! A web server that records every request and answers what the test says.
//!
//! In:  requests over real sockets, a handler `request -> answer`.
//! Out: [`RecordedRequest`]s in order of arrival, header names with the sender's casing.
//!
//! Holds always: a request is recorded before its handler runs, so whoever has seen an answer
//! finds the request; dropping the backend ends its connections at once.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header::{HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{DEADLINE, within};

/// One request, as it stood on the wire.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// The verb.
    pub method: String,
    /// The raw target: path and query.
    pub target: String,
    /// The target up to `?`.
    pub path: String,
    /// The target after `?`.
    pub query: Option<String>,
    /// Names with the sender's casing, in order.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
    /// Which TCP connection brought it, counted from 1: equal numbers show a kept connection.
    pub connection: usize,
}

impl RecordedRequest {
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
        std::str::from_utf8(&self.body).expect("a request body in UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a request body in JSON")
    }
}

/// What a backend answers, and how slowly.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    drip: Option<Duration>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    Stalled,
    Cut,
}

impl Answer {
    /// This status, no headers, no body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            delay: Duration::ZERO,
            drip: None,
            end: End::Answered,
        }
    }

    /// 200.
    pub fn ok() -> Self {
        Self::status(200)
    }

    /// 200 with this body.
    pub fn body_of(body: impl Into<Vec<u8>>) -> Self {
        Self::ok().body(body)
    }

    /// Never answers; the connection stays open.
    pub fn stall() -> Self {
        Self { end: End::Stalled, ..Self::ok() }
    }

    /// Closes the connection without an answer.
    pub fn cut() -> Self {
        Self { end: End::Cut, ..Self::ok() }
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Begun (or cut) only after this long.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The body a byte at a time, this long before each.
    pub fn dripping(mut self, interval: Duration) -> Self {
        self.drip = Some(interval);
        self
    }
}

type Handler =
    dyn Fn(RecordedRequest) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// The server. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct HttpBackend {
    address: SocketAddr,
    seen: Arc<Seen>,
    /// How many requests [`Self::next_request`] has given out.
    given: Mutex<usize>,
    server: JoinHandle<()>,
}

/// What has arrived so far.
#[derive(Debug)]
struct Seen {
    requests: Mutex<Vec<RecordedRequest>>,
    count: watch::Sender<usize>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    connections: AtomicUsize,
}

impl HttpBackend {
    /// Starts on a free loopback port.
    pub async fn start<H, F>(handler: H) -> Self
    where
        H: Fn(RecordedRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), handler).await
    }

    /// Starts with one answer for everything.
    pub async fn answering(answer: Answer) -> Self {
        Self::start(move |_| std::future::ready(answer.clone())).await
    }

    /// Starts at an address, for a backend that comes back after [`Self::stop`].
    ///
    /// # Panics
    /// When the address is taken.
    pub async fn start_at<H, F>(address: SocketAddr, handler: H) -> Self
    where
        H: Fn(RecordedRequest) -> F + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let handler: Arc<Handler> = Arc::new(move |request| Box::pin(handler(request)));
        let listener = TcpListener::bind(address).await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let seen = Arc::new(Seen {
            requests: Mutex::default(),
            count: watch::Sender::new(0),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        let server = tokio::spawn(accept(listener, Arc::clone(&seen), handler));
        Self { address, seen, given: Mutex::new(0), server }
    }

    /// Closes the port and every connection. Its address is free when this returns.
    pub async fn stop(mut self) -> SocketAddr {
        self.server.abort();
        let _ = (&mut self.server).await; // the abort, told as an error
        self.address
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:{port}`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        lock(&self.seen.requests).clone()
    }

    /// How many requests have arrived.
    pub fn count(&self) -> usize {
        *self.seen.count.borrow()
    }

    /// How many requests are at the handler now.
    pub fn in_flight(&self) -> usize {
        self.seen.in_flight.load(Ordering::SeqCst)
    }

    /// The most requests that were at the handler at once.
    pub fn most_in_flight(&self) -> usize {
        self.seen.most_in_flight.load(Ordering::SeqCst)
    }

    /// How many TCP connections were accepted.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests have arrived in all; returns all of them.
    ///
    /// # Panics
    /// When they do not arrive within [`DEADLINE`].
    pub async fn wait_for_requests(&self, count: usize) -> Vec<RecordedRequest> {
        let mut arrivals = self.seen.count.subscribe();
        let what = format!("{count} requests at the backend (there were {})", self.count());
        within(DEADLINE, &what, arrivals.wait_for(|arrived| *arrived >= count))
            .await
            .expect("the sender lives in self");
        self.requests()
    }

    /// The first request that this method has not returned yet.
    ///
    /// # Panics
    /// When none arrives within [`DEADLINE`].
    pub async fn next_request(&self) -> RecordedRequest {
        let index = {
            let mut given = lock(&self.given);
            *given += 1;
            *given - 1
        };
        self.wait_for_requests(index + 1).await.swap_remove(index)
    }
}

impl Drop for HttpBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Seen {
    fn record(&self, request: RecordedRequest) {
        let mut requests = lock(&self.requests);
        requests.push(request);
        self.count.send_replace(requests.len());
    }
}

/// Counts a request as in flight until it is answered or given up.
struct InFlight(Arc<Seen>);

impl InFlight {
    fn enter(seen: &Arc<Seen>) -> Self {
        let now = seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A test that panicked while it held the lock has said why already.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The set owns the connections: aborting this task ends them all.
async fn accept(listener: TcpListener, seen: Arc<Seen>, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let number = seen.connections.fetch_add(1, Ordering::SeqCst) + 1;
                connections.spawn(serve(stream, number, Arc::clone(&seen), Arc::clone(&handler)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, connection: usize, seen: Arc<Seen>, handler: Arc<Handler>) {
    let _ = stream.set_nodelay(true);
    let read = Arc::new(Mutex::new(Vec::new()));
    let tee = Tee { stream, read: Arc::clone(&read) };
    let service = service_fn(move |request: Request<Incoming>| {
        let (seen, handler, read) = (Arc::clone(&seen), Arc::clone(&handler), Arc::clone(&read));
        async move {
            let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            // No client here pipelines, so what was read since the last request is this one.
            let bytes = std::mem::take(&mut *lock(&read));
            let request = parse_head(&bytes, body.to_vec(), connection)?;
            let _in_flight = InFlight::enter(&seen);
            seen.record(request.clone());
            respond(handler(request).await).await
        }
    });
    // An error here is the peer's or the test's own doing (a cut, a reset).
    let _ = http1::Builder::new().serve_connection(TokioIo::new(tee), service).await;
}

/// hyper keeps no casing of header names that could be read; the bytes do.
fn parse_head(bytes: &[u8], body: Vec<u8>, connection: usize) -> io::Result<RecordedRequest> {
    let mut headers = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(bytes).map_err(io::Error::other)?;
    let target = parsed.path.unwrap_or_default().to_owned();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (target.clone(), None),
    };
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()));
    Ok(RecordedRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        target,
        path,
        query,
        headers: headers.collect(),
        body,
        connection,
    })
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

async fn respond(answer: Answer) -> io::Result<Response<Body>> {
    tokio::time::sleep(answer.delay).await;
    match answer.end {
        End::Answered => {}
        End::Stalled => std::future::pending().await,
        End::Cut => return Err(io::Error::other("cut, as the test asked")),
    }
    let mut response = Response::new(body(answer.body, answer.drip));
    *response.status_mut() = answer.status.try_into().map_err(io::Error::other)?;
    for (name, value) in &answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        let value = HeaderValue::from_str(value).map_err(io::Error::other)?;
        response.headers_mut().append(name, value);
    }
    Ok(response)
}

fn body(bytes: Vec<u8>, drip: Option<Duration>) -> Body {
    let Some(interval) = drip else {
        return http_body_util::Full::new(Bytes::from(bytes)).boxed_unsync();
    };
    let rest = VecDeque::from(bytes);
    let bytes = stream::unfold(rest, move |mut rest| async move {
        tokio::time::sleep(interval).await;
        rest.pop_front().map(|byte| (Bytes::from(vec![byte]), rest))
    });
    StreamBody::new(bytes.map(|byte| Ok(Frame::data(byte)))).boxed_unsync()
}

/// A stream that remembers what was read from it.
struct Tee {
    stream: TcpStream,
    read: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tee {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        lock(&self.read).extend_from_slice(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tee {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpClient, http_call};

    #[tokio::test]
    async fn a_request_is_recorded_with_raw_target_casing_and_body() {
        let backend =
            HttpBackend::answering(Answer::status(201).header("X-A", "1").body("yes")).await;
        let target = "/a//b/%40c?x=%3D";
        let response =
            http_call(&backend.url(), "POST", target, &[("X-OddCASE", "v")], b"hello").await;
        assert_eq!((response.status, response.text()), (201, "yes"));
        assert_eq!(response.header("x-a"), Some("1"));
        let request = backend.next_request().await;
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", target));
        assert_eq!(
            (request.path.as_str(), request.query.as_deref()),
            ("/a//b/%40c", Some("x=%3D"))
        );
        assert!(request.headers.contains(&("X-OddCASE".to_owned(), "v".to_owned())));
        assert_eq!(request.text(), "hello");
    }

    #[tokio::test]
    async fn requests_of_one_connection_are_told_apart() {
        let backend = HttpBackend::start(async |r: RecordedRequest| Answer::body_of(r.body)).await;
        let mut client = HttpClient::connect(&backend.url()).await;
        let chunked = [("Transfer-Encoding", "chunked")];
        client.call("POST", "/1", &chunked, b"3\r\none\r\n0\r\n\r\n").await;
        assert_eq!(client.call("POST", "/2", &[], b"two").await.text(), "two");
        let requests = backend.requests();
        let seen: Vec<_> = requests.iter().map(|r| (r.target.as_str(), r.text())).collect();
        assert_eq!(seen, [("/1", "one"), ("/2", "two")]);
        assert_eq!((backend.connections(), requests[1].connection), (1, 1));
    }

    #[tokio::test]
    async fn a_cut_answer_ends_the_connection() {
        let backend = HttpBackend::answering(Answer::cut()).await;
        let mut client = HttpClient::connect(&backend.url()).await;
        client.send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(client.ended().await);
        assert_eq!(backend.count(), 1);
    }

    #[tokio::test]
    async fn a_dripping_answer_arrives_whole() {
        let slow = Answer::body_of("drip").dripping(Duration::from_millis(1));
        let backend = HttpBackend::answering(slow).await;
        assert_eq!(http_call(&backend.url(), "GET", "/", &[], b"").await.text(), "drip");
    }

    #[tokio::test]
    async fn a_stopped_backend_can_come_back_at_its_address() {
        let first = HttpBackend::answering(Answer::ok()).await;
        http_call(&first.url(), "GET", "/", &[], b"").await;
        let address = first.stop().await;
        assert!(TcpStream::connect(address).await.is_err());
        let second = HttpBackend::start_at(address, async |_| Answer::status(202)).await;
        assert_eq!(http_call(&second.url(), "GET", "/", &[], b"").await.status, 202);
    }
}
