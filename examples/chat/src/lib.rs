//! A chat, as a sample of a backend for Tidegate: people hold WebSocket connections to the
//! gateway, the gateway makes each of their messages one HTTP request to this backend, and the
//! backend posts to any connection through the gateway. It never sees a socket of theirs.
//!
//! ```text
//!  browser ──GET /──────────────────────────────────────────► Chat: the page
//!  browser ══WebSocket══ gateway ──POST /gateway + Tidegate-*──► Chat ─► Rooms
//!                        gateway ◄──POST /demo/@connections/{id}── Management ◄─┘
//! ```
//!
//! In:  HTTP requests: the page's files, and the gateway's calls for the routes of
//!      [`GATEWAY_TOML`], told apart by their `Tidegate-Event-Type` and `Tidegate-Route-Key`.
//! Out: an answer to the sender as the HTTP response (routes with `reply = true`), and events
//!      to everyone concerned as posts.
//!
//! Holds always: each connection has one queue and one task that empties it, so that events
//! reach it in the order in which [`Rooms`] made them; different connections do not wait for
//! each other.
//!
//! Whoever reaches the backend's port can claim to be the gateway, so it belongs on loopback or
//! a private network. Web pages of others cannot: a header of one's own needs a CORS preflight,
//! and that is not answered here.

pub mod management;
mod page;
pub mod rooms;

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task::JoinSet, time};

use management::{Management, PostError};
use rooms::{Delivery, Join, Refusal, Rooms, Say};

/// The example's `gateway.toml`, as it stands in the repository.
pub const GATEWAY_TOML: &str = include_str!("../gateway.toml");

/// How long someone who is gone is still shown: a reload of the page is not a farewell.
const FAREWELL_AFTER: Duration = Duration::from_secs(2);
/// Events that may wait for one connection. One that is this far behind loses what comes
/// next; its page sees a gap in the numbers and asks again.
const QUEUED_EVENTS: usize = 1024;
/// The gateway's own limit for a message, bytes.
const MAX_BODY_BYTES: usize = 131_072;

/// [`GATEWAY_TOML`] with other addresses: for the public port, for metrics and health, and of
/// this backend (host and port).
pub fn gateway_toml(listen: SocketAddr, admin: SocketAddr, backend: SocketAddr) -> String {
    let mut table = "";
    let mut out = String::with_capacity(GATEWAY_TOML.len() + 64);
    for line in GATEWAY_TOML.lines() {
        if line.starts_with('[') {
            table = line;
        }
        let key = line.split_once('=').map(|(key, _)| key.trim());
        match (table, key) {
            ("[listen]", Some("address")) => out += &format!("address = \"{listen}\""),
            ("[admin]", Some("address")) => out += &format!("address = \"{admin}\""),
            ("[apis.chat.stages.demo]", Some("variables")) => {
                out += &format!("variables = {{ backend = \"{backend}\" }}");
            }
            _ => out += line,
        }
        out.push('\n');
    }
    out
}

/// Where the gateway is, once it listens.
#[derive(Debug, Clone)]
pub struct GatewayAddress {
    /// For browsers: `ws://127.0.0.1:8080/demo`.
    pub websocket_url: String,
    /// For this backend: `http://127.0.0.1:8080/demo`.
    pub management_url: String,
}

/// The chat's port, taken but not served yet: the gateway needs to know it, and the chat needs
/// to know the gateway's.
#[derive(Debug)]
pub struct Chat {
    listener: TcpListener,
    address: SocketAddr,
}

impl Chat {
    /// Takes the port (0: any free one). Needs no runtime, so [`Chat::serve`] may run in
    /// another thread.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where the page and the backend are served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped, which ends everything that it started. Fails at once when
    /// an address of the gateway is malformed, or outside a tokio runtime's IO.
    pub async fn serve(self, gateway: GatewayAddress) -> io::Result<()> {
        let wrong = |message| io::Error::new(io::ErrorKind::InvalidInput, message);
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let backend = Arc::new(Backend {
            management: Management::new(&gateway.management_url).map_err(wrong)?,
            websocket_url: gateway.websocket_url,
            state: Mutex::default(),
            tasks: Mutex::default(),
        });
        let _guard = EndTasks(Arc::clone(&backend));
        loop {
            let socket = match listener.accept().await {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of file descriptors, most likely: some will be free again.
                    tracing::warn!(%error, "chat could not accept");
                    time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let served = Arc::clone(&backend);
            backend.spawn(async move {
                let service = service_fn(|request| {
                    let backend = Arc::clone(&served);
                    async move { Ok::<_, Infallible>(backend.answer(request).await) }
                });
                let mut http = hyper::server::conn::http1::Builder::new();
                let serving = http.timer(TokioTimer::new());
                if let Err(error) = serving.serve_connection(TokioIo::new(socket), service).await {
                    tracing::debug!(%error, "http connection ended");
                }
            });
        }
    }
}

struct Backend {
    management: Management,
    websocket_url: String,
    state: Mutex<State>,
    /// Everything that runs. Taken after `state` where both are.
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct State {
    rooms: Rooms,
    /// By connection id: the events on their way to it.
    queues: HashMap<String, mpsc::Sender<Bytes>>,
}

/// Tasks hold the backend and the backend holds the tasks: someone must cut that.
struct EndTasks(Arc<Backend>);

impl Drop for EndTasks {
    fn drop(&mut self) {
        self.0.tasks.lock().abort_all();
    }
}

/// What the sender of a message reads, on routes with `reply = true`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Answer {
    Ok { r#ref: Option<String>, seq: Option<u64> },
    Error { r#ref: Option<String>, code: &'static str, message: String },
}

impl Backend {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/gateway") => self.gateway_calls(request).await,
            (&Method::GET, path) => page::file(path, &self.websocket_url),
            _ => page::status(StatusCode::NOT_FOUND),
        }
    }

    /// One call of the gateway. For `$connect` the status decides (2xx lets the client in);
    /// for a message only the body counts, and only where the route replies.
    async fn gateway_calls(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let told = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(connection), Some(event), Some(route)) = (
            told("tidegate-connection-id"),
            told("tidegate-event-type"),
            told("tidegate-route-key"),
        ) else {
            return page::status(StatusCode::BAD_REQUEST);
        };
        match event {
            "MESSAGE" => {
                let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
                    return page::status(StatusCode::BAD_REQUEST);
                };
                self.message(connection, route, &body.to_bytes())
            }
            // Everyone may come; who they are they say with `join`.
            "CONNECT" => page::status(StatusCode::OK),
            "DISCONNECT" => {
                self.disconnected(connection);
                page::status(StatusCode::OK)
            }
            _ => page::status(StatusCode::BAD_REQUEST),
        }
    }

    fn message(
        self: &Arc<Self>,
        connection: &str,
        route: &str,
        body: &[u8],
    ) -> Response<Full<Bytes>> {
        let done = match route {
            "join" => read::<Join>(body).map(|ask| {
                let state = &mut *self.state.lock();
                let done = state.rooms.join(connection, &ask).map(|events| {
                    self.deliver(state, events);
                    None
                });
                (ask.r#ref, done)
            }),
            "say" => read::<Say>(body).map(|ask| {
                let state = &mut *self.state.lock();
                let done = state.rooms.say(connection, &ask, now_ms()).map(|(seq, events)| {
                    self.deliver(state, events);
                    Some(seq)
                });
                (ask.r#ref, done)
            }),
            "typing" => {
                let state = &mut *self.state.lock();
                let events = state.rooms.typing(connection);
                self.deliver(state, events);
                return page::status(StatusCode::NO_CONTENT); // a route without reply
            }
            _ => Err(Refusal::UnknownAction),
        };
        let answer = match done {
            Ok((r#ref, Ok(seq))) => Answer::Ok { r#ref, seq },
            Ok((r#ref, Err(why))) => {
                Answer::Error { r#ref, code: why.code(), message: why.to_string() }
            }
            Err(why) => Answer::Error { r#ref: None, code: why.code(), message: why.to_string() },
        };
        page::json(&answer)
    }

    /// Puts events into the queues of their connections. Called with the state still locked:
    /// two requests must not put theirs in another order than `Rooms` decided.
    fn deliver(self: &Arc<Self>, state: &mut State, events: Vec<Delivery>) {
        for Delivery { to, event } in events {
            for connection in to {
                let queue = state.queues.entry(connection).or_insert_with_key(|connection| {
                    let (queue, waiting) = mpsc::channel(QUEUED_EVENTS);
                    self.spawn(Arc::clone(self).empty_queue(connection.clone(), waiting));
                    queue
                });
                if queue.try_send(event.clone()).is_err() {
                    tracing::debug!("an event was dropped: its connection's queue is full");
                }
            }
        }
    }

    /// Posts one connection's events, one after the other.
    async fn empty_queue(self: Arc<Self>, connection: String, mut waiting: mpsc::Receiver<Bytes>) {
        while let Some(event) = waiting.recv().await {
            match self.management.post(&connection, event).await {
                Ok(()) => {}
                // Its `$disconnect` may be on its way still.
                Err(PostError::Gone) => return self.disconnected(&connection),
                Err(error) => tracing::warn!(%error, "an event did not reach its connection"),
            }
        }
    }

    /// Forgets a connection, at once for events, after a moment for the eyes of others.
    fn disconnected(self: &Arc<Self>, connection: &str) {
        let state = &mut *self.state.lock();
        state.queues.remove(connection);
        if state.rooms.disconnected(connection) {
            let (backend, connection) = (Arc::clone(self), connection.to_owned());
            self.spawn(async move {
                time::sleep(FAREWELL_AFTER).await;
                let state = &mut *backend.state.lock();
                let events = state.rooms.give_up(&connection);
                backend.deliver(state, events);
            });
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Malformed(error.to_string()))
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The new addresses are other listeners' old ones, so that a replacement which looks at
    /// the text alone would replace twice.
    #[test]
    fn the_gateway_file_takes_other_addresses_and_keeps_everything_else() {
        let (listen, admin, backend) = ("[::1]:8081", "127.0.0.1:3000", "127.0.0.1:8080");
        let made =
            gateway_toml(listen.parse().unwrap(), admin.parse().unwrap(), backend.parse().unwrap());
        let made: toml::Table = made.parse().unwrap();
        let mut wanted: toml::Table = GATEWAY_TOML.parse().unwrap();
        wanted["listen"]["address"] = listen.into();
        wanted["admin"]["address"] = admin.into();
        wanted["apis"]["chat"]["stages"]["demo"]["variables"]["backend"] = backend.into();
        assert_eq!(made, wanted);
    }

    /// The defaults of `main.rs` and the file belong together.
    #[test]
    fn the_gateway_file_names_the_addresses_that_the_documentation_names() {
        let addresses = ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:3000"];
        let [listen, admin, backend] = addresses.map(|a| a.parse().unwrap());
        assert_eq!(gateway_toml(listen, admin, backend), GATEWAY_TOML);
    }
}
