//! A chat, as a sample of a backend for Tidegate: people hold WebSocket connections to the
//! gateway, the gateway makes each of their messages one HTTP request to this backend, and the
//! backend sends to whole rooms through the gateway. It never sees a socket of theirs, and keeps
//! no list of their connections: rooms are groups of the gateway's.
//!
//! ```text
//!  browser ──GET /──────────────────────────────────────────► Chat: the page
//!  browser ══WebSocket══ gateway ──POST /authorize──────────► authorizer: who is it?
//!                        gateway ──POST /gateway + Tidegate-*──► Chat ─► Rooms
//!                        gateway ◄──Tidegate-Join, -Leave──────┘          │
//!                        gateway ◄──POST /demo/@groups/{room}── Management ◄
//! ```
//!
//! In:  HTTP requests: the page's files, and the gateway's calls for the routes of
//!      [`GATEWAY_TOML`], told apart by their `Tidegate-Event-Type` and `Tidegate-Route-Key`.
//! Out: an answer to the sender as the HTTP response (routes with `reply = true`), which also
//!      puts its connection into groups, and events to groups.
//!
//! Holds always: one task sends all events, one after the other, so that everyone gets them in the
//! order in which [`Rooms`] made them, and waits for nobody who cannot be reached. Nothing here is about one connection for longer than a
//! request lasts: gateways may be several, and this backend may be restarted under its people.
//!
//! Whoever reaches the backend's port can claim to be the gateway, so it belongs on loopback or
//! a private network. Web pages of others cannot: a header of one's own needs a CORS preflight,
//! and that is not answered here.

mod authorizer;
mod catch_up;
pub mod groups;
pub mod management;
mod page;
mod presence;
pub mod rooms;
mod signature;

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
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time,
};

use management::Management;
use rooms::{Caller, Delivery, Join, Look, Recipients, Refusal, Rooms, Say, Typing};
pub use signature::AccessKey;

/// The example's `gateway.toml`, as it stands in the repository.
pub const GATEWAY_TOML: &str = include_str!("../gateway.toml");

/// Events that may wait for the gateway. Beyond it they are dropped; pages see a gap in the
/// numbers and ask again.
const QUEUED_EVENTS: usize = 4096;
/// How long the next event waits for an event's answer. A gateway that is well takes some
/// milliseconds.
const ANSWERED_WITHIN: Duration = Duration::from_millis(200);
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
    key: Option<AccessKey>,
}

impl Chat {
    /// Takes the port (0: any free one). Needs no runtime, so [`Chat::serve`] may run in
    /// another thread.
    pub fn bind(listen: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, key: None })
    }

    /// Signs the calls to the gateway, as `[management] auth = "sigv4"` wants it.
    pub fn signing(self, key: AccessKey) -> Self {
        Self { key: Some(key), ..self }
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
        let (outgoing, waiting) = mpsc::channel(QUEUED_EVENTS);
        let backend = Arc::new(Backend {
            management: Management::new(&gateway.management_url, self.key).map_err(wrong)?,
            websocket_url: gateway.websocket_url,
            state: Mutex::new(State { rooms: Rooms::default(), checked: HashMap::new(), outgoing }),
            missed: Notify::new(),
            tasks: Mutex::default(),
        });
        let _guard = EndTasks(Arc::clone(&backend));
        backend.spawn(Arc::clone(&backend).send_events(waiting));
        backend.spawn(Arc::clone(&backend).watch_presence());
        backend.spawn(Arc::clone(&backend).catch_up());
        // By those who were here before: it knows none of them.
        backend.missed();
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
    missed: Notify,
    /// Everything that runs. Taken after `state` where both are.
    tasks: Mutex<JoinSet<()>>,
}

struct State {
    rooms: Rooms,
    /// Room and person: whether they are still there is being found out, and whether it must be
    /// found out again after that.
    checked: HashMap<(String, String), bool>,
    outgoing: mpsc::Sender<Delivery>,
}

impl State {
    /// Puts events into the queue. Called with the state still locked: two requests must not put
    /// theirs in another order than `Rooms` decided.
    fn deliver(&self, events: Vec<Delivery>) {
        for event in events {
            if self.outgoing.try_send(event).is_err() {
                tracing::warn!("an event was dropped: too many wait for the gateway");
            }
        }
    }
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
    Ok {
        r#ref: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<String>,
    },
    Error {
        r#ref: Option<String>,
        code: &'static str,
        message: String,
    },
}

impl Backend {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/gateway") => self.gateway_calls(request).await,
            (&Method::POST, "/authorize") => match read_body(request.into_body()).await {
                Some(event) => authorizer::answer(&event).map_or_else(
                    || page::status(StatusCode::BAD_REQUEST),
                    |said| page::json(&said),
                ),
                None => page::status(StatusCode::BAD_REQUEST),
            },
            (&Method::GET, path) => page::file(path, &self.websocket_url),
            _ => page::status(StatusCode::NOT_FOUND),
        }
    }

    /// One call of the gateway. For a message the body counts, where the route replies, and the
    /// headers that join and leave groups.
    async fn gateway_calls(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let told = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(connection), Some(person), Some(event), Some(route)) = (
            told("tidegate-connection-id"),
            told("tidegate-principal-id"),
            told("tidegate-event-type"),
            told("tidegate-route-key"),
        ) else {
            return page::status(StatusCode::BAD_REQUEST);
        };
        let caller = Caller { person, connection };
        match event {
            "MESSAGE" => {
                let Some(body) = read_body(body).await else {
                    return page::status(StatusCode::BAD_REQUEST);
                };
                match route {
                    "join" => self.join(caller, &body),
                    "look" => self.look(caller, &body),
                    "say" => self.say(caller, &body),
                    "typing" => self.typing(caller, &body),
                    _ => refused(None, &Refusal::UnknownAction),
                }
            }
            "DISCONNECT" => {
                self.disconnected(person);
                page::status(StatusCode::OK)
            }
            _ => page::status(StatusCode::BAD_REQUEST),
        }
    }

    /// The gateway puts the connection into the room's group, and into the person's, before its
    /// client reads the answer. It asks how things stand (`look`) only then.
    fn join(self: &Arc<Self>, caller: Caller<'_>, body: &[u8]) -> Response<Full<Bytes>> {
        let ask = match read::<Join>(body) {
            Ok(ask) => ask,
            Err(why) => return refused(None, &why),
        };
        let leaving = match ask.leaving.as_deref().map(rooms::room_name).transpose() {
            Ok(leaving) => leaving,
            Err(why) => return refused(ask.r#ref, &why),
        };
        let room = {
            let state = &mut *self.state.lock();
            match state.rooms.join(caller, &ask, now_ms()) {
                Ok((room, events)) => {
                    state.deliver(events);
                    room
                }
                Err(why) => return refused(ask.r#ref, &why),
            }
        };
        let both = |room: &str| {
            let person = groups::of_person(room, caller.person);
            HeaderValue::try_from(format!("{},{person}", groups::of_room(room)))
        };
        let answer = Answer::Ok { r#ref: ask.r#ref, seq: None, room: Some(room.clone()) };
        let mut answer = page::json(&answer);
        let headers = answer.headers_mut();
        if let Ok(groups) = both(&room) {
            headers.insert("tidegate-join", groups);
        }
        if let Some(left) = leaving.filter(|left| *left != room) {
            if let Ok(groups) = both(&left) {
                headers.insert("tidegate-leave", groups);
            }
            self.left(&left, caller.person);
        }
        answer
    }

    fn look(&self, caller: Caller<'_>, body: &[u8]) -> Response<Full<Bytes>> {
        match read::<Look>(body) {
            Ok(ask) => match self.state.lock().rooms.look(caller, &ask) {
                Ok(welcome) => page::json_bytes(welcome),
                Err(why) => refused(ask.r#ref, &why),
            },
            Err(why) => refused(None, &why),
        }
    }

    fn say(&self, caller: Caller<'_>, body: &[u8]) -> Response<Full<Bytes>> {
        let ask = match read::<Say>(body) {
            Ok(ask) => ask,
            Err(why) => return refused(None, &why),
        };
        let state = &mut *self.state.lock();
        match state.rooms.say(caller, &ask, now_ms()) {
            Ok((seq, events)) => {
                state.deliver(events);
                page::json(&Answer::Ok { r#ref: ask.r#ref, seq: Some(seq), room: None })
            }
            Err(why) => refused(ask.r#ref, &why),
        }
    }

    /// A route without reply: what is wrong with the message, nobody would read.
    fn typing(&self, caller: Caller<'_>, body: &[u8]) -> Response<Full<Bytes>> {
        if let Ok(ask) = read::<Typing>(body) {
            let state = &mut *self.state.lock();
            state.deliver(state.rooms.typing(caller, &ask));
        }
        page::status(StatusCode::NO_CONTENT)
    }

    /// Sends the events, one after the other: what one caller sends a group arrives in order. An
    /// answer that is slow in coming waits for one of several gateways; the others have the event.
    async fn send_events(self: Arc<Self>, mut waiting: mpsc::Receiver<Delivery>) {
        while let Some(delivery) = waiting.recv().await {
            let (answering, answered) = oneshot::channel::<Infallible>();
            let backend = Arc::clone(&self);
            self.spawn(async move {
                backend.send_event(delivery).await;
                drop(answering);
            });
            let _ = time::timeout(ANSWERED_WITHIN, answered).await;
        }
    }

    async fn send_event(self: &Arc<Self>, Delivery { to, event }: Delivery) {
        let sent = match &to {
            Recipients::All => self.management.broadcast(event).await,
            Recipients::Room { room, except } => {
                let group = groups::of_room(room);
                self.management.send(&group, except.as_deref(), event).await
            }
        };
        match (sent, to) {
            (Ok(reached), Recipients::Room { room, except }) => {
                self.reached(&room, reached + u64::from(except.is_some()));
            }
            (Ok(_), Recipients::All) => {}
            (Err(error), _) => {
                tracing::warn!(%error, "an event has perhaps not reached everyone");
                self.missed();
            }
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

async fn read_body(body: Incoming) -> Option<Bytes> {
    Some(Limited::new(body, MAX_BODY_BYTES).collect().await.ok()?.to_bytes())
}

fn refused(r#ref: Option<String>, why: &Refusal) -> Response<Full<Bytes>> {
    page::json(&Answer::Error { r#ref, code: why.code(), message: why.to_string() })
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
