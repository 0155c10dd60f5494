//! The backend as the gateway meets it: HTTP calls with `Tidegate-*` headers in, posts to
//! `/demo/@connections/{id}` out, recorded by a stand-in of the management API.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

use std::{
    collections::HashSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chat_example::{Chat, GatewayAddress};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
    time,
};

const DEADLINE: Duration = Duration::from_secs(10);
const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What the stand-in has seen and what it should do.
#[derive(Default)]
struct Posts {
    /// Connection id as it stood in the path, and event.
    seen: Mutex<Vec<(String, Value)>>,
    arrived: Notify,
    gone: Mutex<HashSet<String>>,
    /// Posts to these are not answered until `let_go`.
    held: Mutex<HashSet<String>>,
    let_go: Notify,
    busy_once: AtomicBool,
}

impl Posts {
    async fn take(&self, request: Request<Incoming>) -> StatusCode {
        assert_eq!(request.method(), Method::POST);
        let path = request.uri().path().to_owned();
        let id = path.strip_prefix("/demo/@connections/").expect("a post to a connection");
        let body = request.into_body().collect().await.expect("body").to_bytes();
        if self.gone.lock().contains(id) {
            return StatusCode::GONE;
        }
        if self.busy_once.swap(false, Ordering::Relaxed) {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        let event = serde_json::from_slice(&body).expect("json");
        self.seen.lock().push((id.to_owned(), event));
        self.arrived.notify_waiters();
        if self.held.lock().contains(id) {
            self.let_go.notified().await;
        }
        StatusCode::OK
    }
}

struct World {
    chat: SocketAddr,
    posts: Arc<Posts>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    async fn start() -> Self {
        let posts = Arc::new(Posts::default());
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let gateway = listener.local_addr().unwrap();
        let recorded = Arc::clone(&posts);
        let management = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let posts = Arc::clone(&recorded);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let posts = Arc::clone(&posts);
                        async move {
                            let mut response = Response::new(Full::<Bytes>::default());
                            *response.status_mut() = posts.take(request).await;
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        let chat = Chat::bind(ANY_PORT).unwrap();
        let address = chat.address();
        let serving = chat.serve(GatewayAddress {
            websocket_url: format!("ws://{gateway}/demo"),
            management_url: format!("http://{gateway}/demo"),
        });
        let serving = tokio::spawn(async move { serving.await.expect("serves") });
        Self { chat: address, posts, tasks: [management, serving] }
    }

    async fn http(&self, request: Request<Full<Bytes>>) -> (StatusCode, String, Bytes) {
        let socket = TcpStream::connect(self.chat).await.unwrap();
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(driver);
        let response = sender.send_request(request).await.unwrap();
        let status = response.status();
        let header = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let kind = header("content-type").unwrap_or_default();
        (status, kind, response.into_body().collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str) -> (StatusCode, String, Bytes) {
        let request = Request::get(path).header("host", "chat").body(Full::default()).unwrap();
        self.http(request).await
    }

    /// One call as the gateway makes it.
    async fn call(&self, id: &str, event: &str, route: &str, body: &str) -> (StatusCode, Bytes) {
        let request = Request::post("/gateway")
            .header("host", "chat")
            .header("Tidegate-Connection-Id", id)
            .header("Tidegate-Event-Type", event)
            .header("Tidegate-Route-Key", route)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        let (status, _, body) = self.http(request).await;
        (status, body)
    }

    async fn message(&self, id: &str, route: &str, body: &str) -> Value {
        let (status, body) = self.call(id, "MESSAGE", route, body).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).expect("an answer")
    }

    async fn join(&self, id: &str, name: &str) {
        let body = json!({"action": "join", "room": "quay", "name": name, "key": name, "ref": "j"});
        let answer = self.message(id, "join", &body.to_string()).await;
        assert_eq!(answer["type"], "ok", "{answer}");
    }

    async fn say(&self, id: &str, text: &str) -> Value {
        let body = json!({"action": "say", "room": "quay", "text": text, "ref": text});
        self.message(id, "say", &body.to_string()).await
    }

    async fn disconnect(&self, id: &str) {
        assert_eq!(self.call(id, "DISCONNECT", "$disconnect", "").await.0, StatusCode::OK);
    }

    /// Waits until `count` events of a kind have reached a connection; gives them in order.
    async fn events(&self, id: &str, kind: &str, count: usize) -> Vec<Value> {
        let waiting = async {
            loop {
                let arrived = self.posts.arrived.notified();
                let events = self.so_far(id, kind);
                if events.len() >= count {
                    return events;
                }
                arrived.await;
            }
        };
        let waited = time::timeout(DEADLINE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{count} × {kind} for {id}: {:?}", self.so_far(id, kind)))
    }

    fn so_far(&self, id: &str, kind: &str) -> Vec<Value> {
        let seen = self.posts.seen.lock();
        let wanted = |(to, event): &&(String, Value)| to == id && event["type"] == kind;
        seen.iter().filter(wanted).map(|(_, event)| event.clone()).collect()
    }
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|m| m["text"].as_str().expect("text")).collect()
}

#[tokio::test]
async fn whoever_joins_gets_people_and_history_and_the_others_hear_of_it() {
    let world = World::start().await;
    assert_eq!(world.call("a", "CONNECT", "$connect", "").await.0, StatusCode::OK);
    world.join("a", "Ann").await;
    assert_eq!(world.say("a", "hello").await["seq"], 1);
    world.join("b", "Ben").await;

    let welcome = world.events("b", "welcome", 1).await.remove(0);
    let people = welcome["people"].as_array().unwrap();
    assert_eq!(people.iter().map(|p| &p["name"]).collect::<Vec<_>>(), ["Ann", "Ben"]);
    assert_eq!((&welcome["seq"], &welcome["ref"]), (&json!(1), &json!("j")));
    assert_eq!(welcome["you"], people[1]["id"]);
    let history = world.events("b", "history", 1).await.remove(0);
    assert_eq!(texts(history["messages"].as_array().unwrap()), ["hello"]);
    let joined = world.events("a", "joined", 1).await.remove(0);
    assert_eq!(joined["person"]["name"], "Ben");
    assert!(!welcome.to_string().contains("key"), "a person's key is nobody else's business");
}

/// Each post is answered before the next to the same connection is made, while posts to
/// others go on: one who is slow holds up nobody else.
#[tokio::test]
async fn a_room_hears_everything_in_order_and_a_slow_connection_delays_only_itself() {
    let world = World::start().await;
    for (id, name) in [("a", "Ann"), ("b", "Ben"), ("slow", "Sam")] {
        world.join(id, name).await;
    }
    world.events("slow", "rooms", 1).await;
    world.posts.held.lock().insert("slow".to_owned());
    let said: Vec<String> = (0..50).map(|n| format!("message {n}")).collect();
    for (n, text) in said.iter().enumerate() {
        assert_eq!(world.say(["a", "b"][n % 2], text).await["seq"], n + 1);
    }
    for id in ["a", "b"] {
        let heard = world.events(id, "message", said.len()).await;
        assert_eq!(texts(&heard), said);
        assert!(heard.iter().map(|m| m["seq"].as_u64().unwrap()).eq(1..=50));
    }
    assert!(world.events("slow", "message", 1).await.len() == 1, "the first is not answered yet");

    world.posts.held.lock().clear();
    world.posts.let_go.notify_one();
    assert_eq!(texts(&world.events("slow", "message", said.len()).await), said);
}

#[tokio::test]
async fn a_disconnect_is_announced_after_a_moment() {
    let world = World::start().await;
    world.join("a", "Ann").await;
    world.join("b", "Ben").await;
    world.disconnect("b").await;
    let left = world.events("a", "left", 1).await.remove(0);
    assert_eq!(left["person"]["name"], "Ben");
    world.say("a", "alone").await;
    world.events("a", "message", 1).await;
    assert!(world.so_far("b", "message").is_empty(), "nothing is posted to who is gone");
}

/// No `$disconnect` comes: the gateway's answer to a post is all that the backend learns.
#[tokio::test]
async fn a_connection_that_is_gone_is_forgotten() {
    let world = World::start().await;
    world.join("a", "Ann").await;
    world.join("b=", "Ben").await;
    world.events("b%3D", "welcome", 1).await;
    world.posts.gone.lock().insert("b%3D".to_owned());
    world.say("a", "are you there").await;
    let left = world.events("a", "left", 1).await.remove(0);
    assert_eq!(left["person"]["name"], "Ben");
}

#[tokio::test]
async fn a_post_that_the_gateway_could_not_take_is_tried_again() {
    let world = World::start().await;
    world.posts.busy_once.store(true, Ordering::Relaxed);
    world.join("a", "Ann").await;
    world.events("a", "welcome", 1).await;
}

#[tokio::test]
async fn what_the_chat_does_not_understand_is_answered_with_an_error() {
    let world = World::start().await;
    for (route, body, code) in [
        ("join", "{name: 1", "malformed"),
        ("join", r#"{"name": 1}"#, "malformed"),
        ("join", r#"{"room": "quay", "name": ""}"#, "empty"),
        ("say", r#"{"room": "quay", "text": "hi", "ref": "7"}"#, "not_joined"),
        ("$default", "hello?", "unknown_action"),
        ("$default", r#"{"action": "dance"}"#, "unknown_action"),
    ] {
        let answer = world.message("a", route, body).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{body}");
        assert!(!answer["message"].as_str().unwrap().is_empty());
    }
    let answer = world.message("a", "say", r#"{"room":"quay","text":"hi","ref":"7"}"#).await;
    assert_eq!(answer["ref"], "7", "the page knows which message failed");
    let (status, body) = world.call("a", "MESSAGE", "typing", "{}").await;
    assert_eq!((status, body.len()), (StatusCode::NO_CONTENT, 0), "a route without reply");
}

#[tokio::test]
async fn markup_in_names_and_messages_stays_text() {
    let world = World::start().await;
    let name = "<img src=x onerror=alert(1)>";
    world.join("a", name).await;
    world.say("a", "</script><b>\"'&").await;
    let message = world.events("a", "message", 1).await.remove(0);
    assert_eq!((&message["name"], &message["text"]), (&json!(name), &json!("</script><b>\"'&")));
}

/// A browser can send a form or a plain `fetch` here from any page, but not these headers.
#[tokio::test]
async fn a_call_without_the_gateways_headers_is_refused() {
    let world = World::start().await;
    let request = Request::post("/gateway").header("host", "chat").body(Full::default()).unwrap();
    assert_eq!(world.http(request).await.0, StatusCode::BAD_REQUEST);
    let preflight = Request::options("/gateway").header("host", "chat").body(Full::default());
    assert_eq!(world.http(preflight.unwrap()).await.0, StatusCode::NOT_FOUND);
    assert_eq!(world.call("a", "OTHER", "$connect", "").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_page_comes_whole_from_here_and_knows_where_the_gateway_is() {
    let world = World::start().await;
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/?room=quay", "text/html; charset=utf-8"),
        ("/chat.css", "text/css; charset=utf-8"),
        ("/chat.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let (status, told, body) = world.get(path).await;
        assert_eq!((status, told.as_str()), (StatusCode::OK, kind), "{path}");
        let text = String::from_utf8(body.to_vec()).unwrap();
        for elsewhere in ["src=\"http", "href=\"http", "url(", "@import", "innerHTML"] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
    let config: Value = serde_json::from_slice(&world.get("/config.json").await.2).unwrap();
    assert!(config["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"), "{config}");
    assert_eq!(world.get("/nothing").await.0, StatusCode::NOT_FOUND);
}

/// Dropping `serve` ends everything: sockets are closed, the port is free again.
#[tokio::test]
async fn the_chat_ends_when_it_is_dropped() {
    let world = World::start().await;
    world.join("a", "Ann").await;
    let mut open = TcpStream::connect(world.chat).await.unwrap();
    // Served once, so that a task holds it, and not only the listener's backlog.
    open.write_all(b"GET /nothing HTTP/1.1\r\nhost: chat\r\n\r\n").await.unwrap();
    let mut bytes = [0; 1024];
    assert!(open.read(&mut bytes).await.unwrap() > 0);
    world.tasks[1].abort();
    let end = time::timeout(DEADLINE, open.read(&mut bytes)).await.expect("the socket is closed");
    assert!(matches!(end, Ok(0) | Err(_)));
    Chat::bind(world.chat).expect("the port is free");
}

#[test]
fn the_chat_serves_on_a_runtime_of_another_thread() {
    let chat = Chat::bind(ANY_PORT).unwrap();
    let address = chat.address();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = "http://127.0.0.1:9/demo".to_owned();
        runtime.block_on(
            chat.serve(GatewayAddress { websocket_url: url.clone(), management_url: url }),
        )
    });
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nhost: chat\r\nconnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    socket.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<title>Tidegate chat</title>"));
}
