//! Connections to backends, kept alive between calls.
//!
//! In:  an endpoint and a request.
//! Out: the whole response, or why there is none.
//!
//! Holds always: a connection carries one request at a time; one whose call was cut off, failed or
//! left something unread is closed and never used again; an endpoint that stalls holds its own
//! calls and no other endpoint's; no lock is held over an await.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tidegate_model::{BackendUri, Endpoint};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, timeout},
};

use crate::{BackendTls, IntegrationError, answer, answer::BodyError, name_lookup::NameLookup};

/// The largest response head, and the largest piece of a body that is read at once. 64 KiB.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// How long one address of several may take to connect before the next one is tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) type BackendRequest = Request<Full<Bytes>>;

/// How many connections to one endpoint the pools of one core keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLimits {
    /// Calls under way at once, and so connections. More calls wait, within their timeouts.
    /// Default 1024.
    pub active: usize,
    /// Connections kept without a call. Default 256.
    pub idle: usize,
    /// How long an idle connection is kept; less where the backend's `Keep-Alive` header says so.
    /// Default 60 s.
    pub idle_lifetime: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { active: 1024, idle: 256, idle_lifetime: Duration::from_secs(60) }
    }
}

/// One core's connections to all backends. Calls must run in the runtime of that core.
///
/// Clones are handles on the same pools.
#[derive(Debug, Clone)]
pub struct BackendPools {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: PoolLimits,
    tls: BackendTls,
    pools: Mutex<Pools>,
}

#[derive(Debug, Default)]
struct Pools {
    by_endpoint: HashMap<Endpoint, Arc<Pool>>,
    /// Runs exactly while there is a pool.
    reaper: Option<AbortHandle>,
}

/// The connections to one endpoint.
#[derive(Debug)]
struct Pool {
    /// The latest returned is the last, and taken first: the others may then grow old.
    idle: Mutex<Vec<Idle>>,
    permits: Semaphore,
    lookup: NameLookup,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    expires_at: Instant,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// The task that reads and writes the socket, which it owns.
    driver: AbortHandle,
}

/// A connection with a call on it. Dropped anywhere but in [`InUse::give_back`], it closes the
/// socket: hyper would do so too, but not before a peer that reads nothing has taken the request.
struct InUse(Option<Connection>);

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.driver.abort();
        }
    }
}

impl BackendPools {
    /// Empty pools. `tls` is shared by all cores.
    pub fn new(limits: PoolLimits, tls: BackendTls) -> Self {
        Self { shared: Arc::new(Shared { limits, tls, pools: Mutex::default() }) }
    }

    /// Connections that wait for a call and can take one, over all endpoints.
    pub fn idle_connections(&self) -> usize {
        let now = Instant::now();
        let usable =
            |pool: &Arc<Pool>| pool.idle.lock().iter().filter(|idle| idle.is_usable(now)).count();
        self.shared.pools.lock().by_endpoint.values().map(usable).sum()
    }

    /// Gets a document that the gateway itself needs: a `GET` of `uri`, its body at most
    /// `max_body_bytes`. Redirections are not followed; the status is the caller's to look at.
    ///
    /// # Errors
    /// [`IntegrationError::TimedOut`] after `time_limit`; no connection, no whole answer, or one
    /// that is too large; [`IntegrationError::UriTooLong`] for a uri that fits no request line.
    pub async fn fetch(
        &self,
        uri: &BackendUri,
        max_body_bytes: usize,
        time_limit: Duration,
    ) -> Result<Response<Bytes>, IntegrationError> {
        let mut request = own_request(uri)?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let exchange = Box::pin(self.exchange(&uri.endpoint, request, max_body_bytes));
        timeout(time_limit, exchange).await.map_err(|_| IntegrationError::TimedOut(time_limit))?
    }

    /// Posts something that the gateway itself has to tell: `body` to `uri`, with `headers`; the
    /// answer's body is at most `max_body_bytes`. The status is the caller's to look at.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn post(
        &self,
        uri: &BackendUri,
        headers: &HeaderMap,
        body: Bytes,
        max_body_bytes: usize,
        time_limit: Duration,
    ) -> Result<Response<Bytes>, IntegrationError> {
        let mut request = own_request(uri)?;
        *request.method_mut() = Method::POST;
        request
            .headers_mut()
            .extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        *request.body_mut() = Full::new(body);
        let exchange = Box::pin(self.exchange(&uri.endpoint, request, max_body_bytes));
        timeout(time_limit, exchange).await.map_err(|_| IntegrationError::TimedOut(time_limit))?
    }

    /// Sends `request` to `endpoint` and reads the whole response, its body at most
    /// `max_body_bytes`. The caller sets the time limit by dropping the future.
    pub(crate) async fn exchange(
        &self,
        endpoint: &Endpoint,
        request: BackendRequest,
        max_body_bytes: usize,
    ) -> Result<Response<Bytes>, IntegrationError> {
        let pool = self.pool(endpoint);
        let _permit = pool.permits.acquire().await.expect("this semaphore is never closed");

        let outcome = match pool.take_idle() {
            None => Err(request),
            Some(mut connection) => {
                let repeatable = is_idempotent(request.method()).then(|| Box::new(request.clone()));
                match connection.send(request).await {
                    Ok(response) => Ok((connection, response)),
                    Err(error) => Err(again(error, repeatable).map_err(|e| lost(endpoint, e))?),
                }
            }
        };
        let (connection, response) = match outcome {
            Ok(answered) => answered,
            // Boxed because it is big and rare: most calls find a connection.
            Err(request) => Box::pin(pool.call_afresh(endpoint, &self.shared.tls, request)).await?,
        };

        let (head, mut body) = response.into_parts();
        let body = match answer::read_body(&mut body, max_body_bytes).await {
            Ok(body) => body,
            Err(BodyError::TooLarge) => {
                return Err(IntegrationError::AnswerTooLarge(max_body_bytes));
            }
            Err(BodyError::Lost(error)) => return Err(lost(endpoint, error)),
        };
        connection.give_back(&pool, &self.shared.limits, &head.headers);
        Ok(Response::from_parts(head, body))
    }

    fn pool(&self, endpoint: &Endpoint) -> Arc<Pool> {
        let mut pools = self.shared.pools.lock();
        if let Some(pool) = pools.by_endpoint.get(endpoint) {
            return Arc::clone(pool);
        }
        let pool = Arc::new(Pool {
            idle: Mutex::default(),
            permits: Semaphore::new(self.shared.limits.active),
            lookup: NameLookup::default(),
        });
        pools.by_endpoint.insert(endpoint.clone(), Arc::clone(&pool));
        if pools.reaper.is_none() {
            pools.reaper = Some(tokio::spawn(reap(Arc::downgrade(&self.shared))).abort_handle());
        }
        pool
    }
}

/// Closes idle connections in time: one task for all of them, none while there is no pool.
async fn reap(shared: std::sync::Weak<Shared>) {
    while let Some(period) = shared.upgrade().map(|shared| shared.limits.idle_lifetime / 4) {
        tokio::time::sleep(period.max(Duration::from_millis(100))).await;
        let Some(shared) = shared.upgrade() else { return };
        let now = Instant::now();
        let mut pools = shared.pools.lock();
        pools.by_endpoint.retain(|_, pool| {
            let mut idle = pool.idle.lock();
            idle.retain(|idle| idle.is_usable(now));
            // A pool that no call holds and that keeps nothing is made anew when it is needed;
            // so an endpoint that left the configuration leaves no trace.
            Arc::strong_count(pool) > 1 || !idle.is_empty()
        });
        if pools.by_endpoint.is_empty() {
            pools.reaper = None;
            return;
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(reaper) = self.pools.get_mut().reaper.take() {
            reaper.abort();
        }
    }
}

impl Pool {
    fn take_idle(&self) -> Option<InUse> {
        let mut idle = self.idle.lock();
        if idle.is_empty() {
            return None;
        }
        let now = Instant::now();
        while let Some(candidate) = idle.pop() {
            if candidate.is_usable(now) {
                return Some(InUse(Some(candidate.connection)));
            }
        }
        None
    }

    /// Sends `request` on a new connection.
    async fn call_afresh(
        &self,
        endpoint: &Endpoint,
        tls: &BackendTls,
        request: BackendRequest,
    ) -> Result<(InUse, Response<Incoming>), IntegrationError> {
        let mut connection = self.connect(endpoint, tls).await.map_err(|source| {
            IntegrationError::Unreachable { endpoint: describe(endpoint), source }
        })?;
        match connection.send(request).await {
            Ok(response) => Ok((connection, response)),
            Err(error) => Err(lost(endpoint, error.into_error())),
        }
    }

    async fn connect(&self, endpoint: &Endpoint, tls: &BackendTls) -> io::Result<InUse> {
        match endpoint {
            Endpoint::Http(host, port) => drive(self.connect_tcp(host, *port).await?).await,
            Endpoint::Https(host, port) => {
                let stream = self.connect_tcp(host, *port).await?;
                drive(tls.connect(host, stream).await?).await
            }
            Endpoint::Unix(path) => drive(UnixStream::connect(path).await?).await,
        }
    }

    async fn connect_tcp(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = self.lookup.addresses(host, port).await?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (index, address) in addresses.iter().enumerate() {
            let attempt = TcpStream::connect(address);
            let outcome = if index + 1 == addresses.len() {
                attempt.await
            } else {
                let late = |_| Err(io::ErrorKind::TimedOut.into());
                timeout(ADDRESS_TIMEOUT, attempt).await.unwrap_or_else(late)
            };
            match outcome {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failure = error,
            }
        }
        self.lookup.forget();
        Err(failure)
    }
}

/// The request to send once more, after it failed on a connection that had been idle.
///
/// The backend may have closed that connection in the meantime. A request that never left is sent
/// again; one that perhaps left, only if doing it twice is as good as once (RFC 9110, 9.2.2), in
/// which case `repeatable` is it. All others would double a message.
fn again(
    mut error: TrySendError<BackendRequest>,
    repeatable: Option<Box<BackendRequest>>,
) -> Result<BackendRequest, hyper::Error> {
    match error.take_message().or(repeatable.map(|request| *request)) {
        Some(request) if !error.error().is_parse() => Ok(request),
        _ => Err(error.into_error()),
    }
}

/// Starts the task that speaks HTTP/1.1 over `stream`. It ends with the connection.
async fn drive<S>(stream: S) -> io::Result<InUse>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_BUFFER_BYTES);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // The call on it, if any, has been told; an idle connection may end as it likes.
            tracing::debug!(error = %error, "backend connection ended");
        }
    });
    Ok(InUse(Some(Connection { sender, driver: driver.abort_handle() })))
}

impl InUse {
    /// Sends at once; the future waits for the response's head. (No `async fn`, which would carry
    /// the request for as long.)
    fn send(
        &mut self,
        request: BackendRequest,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<BackendRequest>>> + use<>
    {
        let connection = self.0.as_mut().expect("only give_back takes it, and takes self as well");
        connection.sender.try_send_request(request)
    }

    /// Back to the pool, after the whole response was read.
    fn give_back(mut self, pool: &Pool, limits: &PoolLimits, answered: &HeaderMap) {
        let lifetime = keep_alive(answered).unwrap_or(Duration::MAX).min(limits.idle_lifetime);
        let idle = self
            .0
            .take()
            .map(|connection| Idle { connection, expires_at: Instant::now() + lifetime });
        let Some(idle) = idle else { return };
        // Not ready: the backend will close it, or answered without taking the whole request.
        let mut list = pool.idle.lock();
        if idle.connection.sender.is_ready() && !lifetime.is_zero() && list.len() < limits.idle {
            list.push(idle);
        } else {
            drop(list);
            self.0 = Some(idle.connection); // closed by the drop of `self`
        }
    }
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        now < self.expires_at && self.connection.sender.is_ready()
    }
}

/// How long the backend says that it will keep the connection, less a second for the way there:
/// a request that crosses the backend's close on the wire is lost. (Node: 5 s.)
fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
    let value = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let seconds = value.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| seconds.trim().parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds.saturating_sub(1)))
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}

/// A request of the gateway's own: `uri`, and nothing yet but its host.
fn own_request(uri: &BackendUri) -> Result<BackendRequest, IntegrationError> {
    let target = match &uri.query {
        Some(query) => format!("{}?{query}", uri.path),
        None => uri.path.clone(),
    };
    let mut request = Request::new(Full::default());
    *request.uri_mut() = target.parse().map_err(|_| IntegrationError::UriTooLong)?;
    let host = HeaderValue::from_str(&uri.authority).map_err(|_| IntegrationError::UriTooLong)?;
    request.headers_mut().insert(header::HOST, host);
    Ok(request)
}

fn lost(endpoint: &Endpoint, source: hyper::Error) -> IntegrationError {
    IntegrationError::Lost { endpoint: describe(endpoint), source }
}

fn describe(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Http(host, port) | Endpoint::Https(host, port) if host.contains(':') => {
            format!("[{host}]:{port}")
        }
        Endpoint::Http(host, port) | Endpoint::Https(host, port) => format!("{host}:{port}"),
        Endpoint::Unix(path) => path.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_names_its_keep_alive_is_left_a_second_before_it() {
        let parsed = |text: &'static str| {
            let name = HeaderName::from_static("keep-alive");
            keep_alive(&HeaderMap::from_iter([(name, HeaderValue::from_static(text))]))
        };
        assert_eq!(parsed("timeout=5"), Some(Duration::from_secs(4)));
        assert_eq!(parsed("max=100, Timeout = 30"), Some(Duration::from_secs(29)));
        assert_eq!(parsed("timeout=0"), Some(Duration::ZERO));
        assert_eq!(parsed("timeout=soon"), None);
        assert_eq!(parsed("max=100"), None);
        assert_eq!(keep_alive(&HeaderMap::from_iter([(header::HOST, "h".parse().unwrap())])), None);
    }

    #[test]
    fn only_methods_that_may_be_repeated_are() {
        assert!(is_idempotent(&Method::GET) && is_idempotent(&Method::PUT));
        assert!(!is_idempotent(&Method::POST) && !is_idempotent(&Method::PATCH));
    }
}
