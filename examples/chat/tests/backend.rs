//! The backend as the gateway meets it: HTTP calls with `Tidegate-*` headers in, sends to
//! `/demo/@groups/{group}` out, to a stand-in of the management API that keeps the groups.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know as such")]

use std::{
    collections::{BTreeMap, BTreeSet},
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

/// What the stand-in knows and has seen. It keeps the groups, as the gateway does.
#[derive(Default)]
struct Gateway {
    /// By name: the connections in it.
    groups: Mutex<BTreeMap<String, BTreeSet<String>>>,
    /// Connection id and event, in the order of sending.
    seen: Mutex<Vec<(String, Value)>>,
    /// The `Idempotency-Key` of each send, also of those that were not taken.
    names: Mutex<Vec<String>>,
    arrived: Notify,
    /// What takes the next send dies of it.
    breaks_off: AtomicBool,
    /// Everyone gets what is sent, and it is not answered.
    silent: AtomicBool,
    /// [`AWAY`] cannot be reached: the others get what is sent, and it is answered 503.
    one_is_away: AtomicBool,
    /// Name and connection: nobody gets the same twice.
    given: Mutex<BTreeSet<(String, String)>>,
}

/// Whoever is connected to another gateway, which may be dead.
const AWAY: &str = "away";

impl Gateway {
    async fn take(&self, request: Request<Incoming>) -> (StatusCode, String) {
        let (head, body) = request.into_parts();
        let target = head.uri.path().strip_prefix("/demo/@").expect("a call of the stage's");
        let group = target.strip_prefix("groups/");
        if head.method == Method::GET {
            let count = self.groups.lock().get(group.expect("a group")).map_or(0, BTreeSet::len);
            return (StatusCode::OK, json!({ "connections": count }).to_string());
        }
        assert_eq!(head.method, Method::POST);
        let name = head.headers["idempotency-key"].to_str().expect("text").to_owned();
        self.names.lock().push(name.clone());
        if self.breaks_off.swap(false, Ordering::Relaxed) {
            return (StatusCode::BAD_GATEWAY, String::new());
        }
        let except = head.uri.query().and_then(|query| query.strip_prefix("except="));
        let except = except.map(|id| id.replace("%3D", "="));
        let body = body.collect().await.expect("body").to_bytes();
        let event: Value = serde_json::from_slice(&body).expect("json");
        let mut reached = self.members(group);
        reached.retain(|id| Some(id) != except.as_ref());
        let missed = self.one_is_away.load(Ordering::Relaxed) && reached.remove(AWAY);
        let count = reached.len();
        reached.retain(|id| self.given.lock().insert((name.clone(), id.clone())));
        self.seen.lock().extend(reached.into_iter().map(|id| (id, event.clone())));
        self.arrived.notify_waiters();
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if missed {
            return (StatusCode::SERVICE_UNAVAILABLE, "{}".to_owned());
        }
        (StatusCode::OK, json!({ "recipients": count, "nodes": 1 }).to_string())
    }

    /// Of one group, or of all.
    fn members(&self, group: Option<&str>) -> BTreeSet<String> {
        let groups = self.groups.lock();
        match group {
            Some(group) => groups.get(group).cloned().unwrap_or_default(),
            None => groups.values().flatten().cloned().collect(),
        }
    }

    /// What an answer's headers ask for.
    fn regroup(&self, id: &str, join: &str, leave: &str) {
        let mut groups = self.groups.lock();
        for group in join.split(',').filter(|group| !group.is_empty()) {
            groups.entry(group.to_owned()).or_default().insert(id.to_owned());
        }
        for group in leave.split(',').filter(|group| !group.is_empty()) {
            groups.get_mut(group).expect("a group one was in").remove(id);
        }
    }

    /// The socket has ended, and nobody has told the backend yet.
    fn lose(&self, id: &str) {
        for members in self.groups.lock().values_mut() {
            members.remove(id);
        }
    }
}

struct World {
    chat: SocketAddr,
    gateway: Arc<Gateway>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl World {
    async fn start() -> Self {
        Self::start_behind(Arc::default()).await
    }

    /// A backend, and the management API of a gateway that may know connections already.
    async fn start_behind(gateway: Arc<Gateway>) -> Self {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::clone(&gateway);
        let management = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let gateway = Arc::clone(&told);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let gateway = Arc::clone(&gateway);
                        async move {
                            let (status, body) = gateway.take(request).await;
                            let mut response = Response::new(Full::<Bytes>::from(body));
                            *response.status_mut() = status;
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        let chat = Chat::bind(ANY_PORT).unwrap();
        let chat_address = chat.address();
        let serving = chat.serve(GatewayAddress {
            websocket_url: format!("ws://{address}/demo"),
            management_url: format!("http://{address}/demo"),
        });
        let serving = tokio::spawn(async move { serving.await.expect("serves") });
        Self { chat: chat_address, gateway, tasks: vec![management, serving] }
    }

    async fn http(&self, request: Request<Full<Bytes>>) -> Response<Bytes> {
        let socket = TcpStream::connect(self.chat).await.unwrap();
        let (mut sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(driver);
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    async fn get(&self, path: &str) -> Response<Bytes> {
        let request = Request::get(path).header("host", "chat").body(Full::default()).unwrap();
        self.http(request).await
    }

    /// One call as the gateway makes it, and what it does with the answer. A connection belongs
    /// to the person that its id begins with: `ann`, `ann.2`.
    async fn call(&self, id: &str, event: &str, route: &str, body: &str) -> (StatusCode, Bytes) {
        let request = Request::post("/gateway")
            .header("host", "chat")
            .header("Tidegate-Connection-Id", id)
            .header("Tidegate-Principal-Id", id.split('.').next().unwrap())
            .header("Tidegate-Event-Type", event)
            .header("Tidegate-Route-Key", route)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        let answer = self.http(request).await;
        let header = |name| answer.headers().get(name).map_or("", |value| value.to_str().unwrap());
        self.gateway.regroup(id, header("tidegate-join"), header("tidegate-leave"));
        (answer.status(), answer.into_body())
    }

    async fn message(&self, id: &str, route: &str, body: &str) -> Value {
        let (status, body) = self.call(id, "MESSAGE", route, body).await;
        assert_eq!(status, StatusCode::OK);
        serde_json::from_slice(&body).expect("an answer")
    }

    /// Comes into a room, perhaps from another one, and looks around there.
    async fn go(&self, id: &str, name: &str, room: &str, leaving: Option<&str>) -> Value {
        let ask = json!({"room": room, "name": name, "leaving": leaving, "ref": "j"});
        let answer = self.message(id, "join", &ask.to_string()).await;
        assert_eq!((&answer["type"], &answer["ref"]), (&json!("ok"), &json!("j")), "{answer}");
        let look = json!({"room": answer["room"], "ref": "j"});
        self.message(id, "look", &look.to_string()).await
    }

    async fn join(&self, id: &str, name: &str) -> Value {
        let welcome = self.go(id, name, "quay", None).await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        welcome
    }

    async fn say(&self, id: &str, text: &str) -> Value {
        let body = json!({"action": "say", "room": "quay", "text": text, "ref": text});
        self.message(id, "say", &body.to_string()).await
    }

    async fn disconnect(&self, id: &str) {
        self.gateway.lose(id);
        assert_eq!(self.call(id, "DISCONNECT", "$disconnect", "").await.0, StatusCode::OK);
    }

    /// Waits until `count` events of a kind have reached a connection; gives them in order.
    async fn events(&self, id: &str, kind: &str, count: usize) -> Vec<Value> {
        self.until(|| self.so_far(id, kind).len() >= count).await.unwrap_or_else(|_| {
            panic!("{count} × {kind} for {id}: {:?}", self.so_far(id, kind));
        });
        self.so_far(id, kind)
    }

    /// Looks again after each send.
    async fn until(&self, condition: impl Fn() -> bool) -> Result<(), time::error::Elapsed> {
        let waiting = async {
            loop {
                let arrived = self.gateway.arrived.notified();
                if condition() {
                    return;
                }
                arrived.await;
            }
        };
        time::timeout(DEADLINE, waiting).await
    }

    fn so_far(&self, id: &str, kind: &str) -> Vec<Value> {
        let seen = self.gateway.seen.lock();
        let wanted = |(to, event): &&(String, Value)| to == id && event["type"] == kind;
        seen.iter().filter(wanted).map(|(_, event)| event.clone()).collect()
    }
}

fn texts(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|m| m["text"].as_str().expect("text")).collect()
}

fn names(welcome: &Value) -> Vec<&str> {
    let people = welcome["people"].as_array().expect("people");
    people.iter().map(|p| p["name"].as_str().expect("name")).collect()
}

#[tokio::test]
async fn whoever_joins_gets_people_and_history_and_the_others_hear_of_it() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    assert_eq!(world.say("ann", "hello").await["seq"], 1);
    let welcome = world.join("ben=", "Ben").await;

    assert_eq!(names(&welcome), ["Ann", "Ben"]);
    assert_eq!((&welcome["seq"], &welcome["ref"]), (&json!(1), &json!("j")));
    assert_eq!(welcome["you"], welcome["people"][1]["id"]);
    assert_eq!(texts(welcome["messages"].as_array().unwrap()), ["hello"]);
    let joined = world.events("ann", "joined", 1).await.remove(0);
    assert_eq!(joined["person"]["name"], "Ben");
    // Ann's own coming may have been on its way still, Ben's is not for him.
    let heard = world.so_far("ben=", "joined");
    assert!(heard.iter().all(|event| event["person"]["name"] == "Ann"), "{heard:?}");
}

#[tokio::test]
async fn the_gateway_is_told_to_put_a_connection_into_its_rooms_group() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    world.go("ann", "Ann", "Très loin", Some("quay")).await;
    let groups = world.gateway.groups.lock();
    let with: Vec<_> = groups.iter().filter(|(_, m)| !m.is_empty()).map(|(g, _)| g).collect();
    assert_eq!(with.len(), 2, "{with:?}");
    assert!(with[0].starts_with("here:~") && with[0].ends_with(":ann"), "{with:?}");
    assert!(with[1].starts_with("room:~"), "{with:?}");
}

#[tokio::test]
async fn a_room_hears_everything_in_order() {
    let world = World::start().await;
    for (id, name) in [("ann", "Ann"), ("ben", "Ben"), ("sam", "Sam")] {
        world.join(id, name).await;
    }
    let said: Vec<String> = (0..50).map(|n| format!("message {n}")).collect();
    for (n, text) in said.iter().enumerate() {
        assert_eq!(world.say(["ann", "ben"][n % 2], text).await["seq"], n + 1);
    }
    for id in ["ann", "ben", "sam"] {
        let heard = world.events(id, "message", said.len()).await;
        assert_eq!(texts(&heard), said);
        assert!(heard.iter().map(|m| m["seq"].as_u64().unwrap()).eq(1..=50));
    }
}

#[tokio::test]
async fn a_disconnect_is_announced_after_a_moment_and_the_last_windows_alone() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    for id in ["ben", "ben.2"] {
        world.join(id, "Ben").await;
    }
    world.disconnect("ben").await;
    world.join("sam", "Sam").await;
    world.disconnect("sam").await;
    assert_eq!(world.events("ann", "left", 1).await[0]["person"]["name"], "Sam");
    world.disconnect("ben.2").await;
    assert_eq!(world.events("ann", "left", 2).await[1]["person"]["name"], "Ben");
    assert_eq!(world.events("ann", "joined", 2).await.len(), 2, "one for each person");
}

#[tokio::test]
async fn a_reload_is_no_farewell() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    world.join("ben", "Ben").await;
    world.disconnect("ben").await;
    world.join("ben.2", "Ben").await;
    world.join("sam", "Sam").await;
    world.disconnect("sam").await; // after Ben's: when Sam has left, Ben's time has passed
    assert_eq!(world.events("ann", "left", 1).await[0]["person"]["name"], "Sam");
    assert_eq!(names(&world.join("ann", "Ann").await), ["Ann", "Ben"]);
}

#[tokio::test]
async fn who_goes_to_another_room_has_left_the_first() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    world.join("ben", "Ben").await;
    let welcome = world.go("ben", "Ben", "north", Some("quay")).await;
    assert_eq!(names(&welcome), ["Ben"]);
    assert_eq!(world.events("ann", "left", 1).await[0]["person"]["name"], "Ben");
    world.say("ann", "alone").await;
    world.events("ann", "message", 1).await;
    assert!(world.so_far("ben", "message").is_empty(), "another room's");
}

/// No `$disconnect` comes: that an event reached too few is all that the backend learns.
#[tokio::test]
async fn a_person_who_is_gone_without_a_word_is_asked_after() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    world.join("ben", "Ben").await;
    world.gateway.lose("ben");
    world.say("ann", "are you there").await;
    assert_eq!(world.events("ann", "left", 1).await[0]["person"]["name"], "Ben");
    assert_eq!(names(&world.join("ann", "Ann").await), ["Ann"]);
}

/// The gateway keeps the connections and their groups; everything else comes back by itself.
#[tokio::test]
async fn a_backend_that_starts_anew_finds_its_people_again() {
    let world = World::start().await;
    let before = world.join("ann", "Ann").await;
    world.join("ben", "Ben").await;
    world.events("ben", "rooms", 1).await;
    let told = world.so_far("ben", "anew").len();
    let gateway = Arc::clone(&world.gateway);
    drop(world);
    let world = World::start_behind(gateway).await;
    world.events("ben", "anew", told + 1).await;
    assert_eq!(world.say("ann", "still here").await["code"], "not_joined");
    let after = world.join("ann", "Ann").await;
    assert_eq!(before["you"], after["you"]);
    assert_ne!(before["log"], after["log"], "what was said is forgotten, and that can be seen");
    world.join("ben", "Ben").await;
    world.say("ann", "still here").await;
    assert_eq!(texts(&world.events("ben", "message", 1).await), ["still here"]);
}

/// As while a gateway waits for the word of another one that has just died or stands still.
#[tokio::test]
async fn nobody_waits_for_an_answer_that_does_not_come() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    world.events("ann", "rooms", 1).await;
    world.gateway.silent.store(true, Ordering::Relaxed);
    for n in 1..=10 {
        world.say("ann", &n.to_string()).await;
    }
    let heard = world.events("ann", "message", 10).await;
    assert!(heard.iter().map(|m| m["seq"].as_u64().unwrap()).eq(1..=10), "in order all the same");
}

/// A balancer says 502 then; the next attempt is for another gateway.
#[tokio::test]
async fn an_event_whose_answer_is_lost_is_sent_again_at_once_under_the_same_name() {
    let world = World::start().await;
    world.join("ann", "Ann").await;
    world.events("ann", "rooms", 1).await;
    world.gateway.breaks_off.store(true, Ordering::Relaxed);
    world.say("ann", "hello").await;
    world.events("ann", "message", 1).await;
    let names = world.gateway.names.lock();
    let [.., earlier, first, again] = &names[..] else { panic!("{names:?}") };
    assert!(first == again && earlier != first, "{names:?}");
}

/// As when one of several gateways has been killed and its lease has not run out yet.
#[tokio::test]
async fn nobody_waits_for_those_who_cannot_be_reached_and_they_are_told_to_ask_again() {
    let world = World::start().await;
    let names = |which: fn(&[String]) -> usize| which(&world.gateway.names.lock());
    // The backend's first word to everyone, who are nobody yet.
    world.until(|| names(<[String]>::len) > 0).await.expect("a first word");
    world.join("ann", "Ann").await;
    world.join(AWAY, "Ben").await;
    world.events(AWAY, "rooms", 1).await;
    world.gateway.one_is_away.store(true, Ordering::Relaxed);
    for n in 1..=30 {
        world.say("ann", &n.to_string()).await;
    }
    // All of them, while he still cannot be reached: a second's wait for each would be too long.
    let heard = world.events("ann", "message", 30).await;
    assert!(heard.iter().map(|m| m["seq"].as_u64().unwrap()).eq(1..=30));
    assert!(world.so_far(AWAY, "message").is_empty());

    // That something was missed is tried to be told under one name, until he can be reached.
    let tries = |names: &[String]| names.iter().filter(|name| Some(*name) == names.last()).count();
    world.until(|| names(tries) > 1).await.expect("a second attempt under the same name");
    assert_eq!(world.so_far("ann", "anew").len(), 1, "she is told once");
    world.gateway.one_is_away.store(false, Ordering::Relaxed);
    world.events(AWAY, "anew", 1).await;
    let after = world.join(AWAY, "Ben").await;
    assert_eq!(after["messages"].as_array().expect("messages").len(), 30);
}

#[tokio::test]
async fn what_the_chat_does_not_understand_is_answered_with_an_error() {
    let world = World::start().await;
    for (route, body, code) in [
        ("join", "{name: 1", "malformed"),
        ("join", r#"{"name": 1}"#, "malformed"),
        ("join", r#"{"room": "quay", "name": ""}"#, "empty"),
        ("look", r#"{"room": "quay"}"#, "not_joined"),
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
    for body in ["{}", "no json"] {
        let (status, body) = world.call("a", "MESSAGE", "typing", body).await;
        assert_eq!((status, body.len()), (StatusCode::NO_CONTENT, 0), "a route without reply");
    }
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
    assert_eq!(world.http(request).await.status(), StatusCode::BAD_REQUEST);
    let preflight = Request::options("/gateway").header("host", "chat").body(Full::default());
    assert_eq!(world.http(preflight.unwrap()).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(world.call("a", "OTHER", "$connect", "").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_gateway_is_told_who_connects() {
    let world = World::start().await;
    let event = json!({ "methodArn": "arn:aws:x", "queryStringParameters": { "key": "a key" } });
    let ask = |body: String| {
        let request = Request::post("/authorize").header("host", "chat");
        world.http(request.body(Full::from(body)).unwrap())
    };
    let said: Value = serde_json::from_slice(ask(event.to_string()).await.body()).unwrap();
    assert_eq!(said["principalId"].as_str().unwrap().len(), 16, "{said}");
    assert_eq!(ask("{}".to_owned()).await.status(), StatusCode::BAD_REQUEST);
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
        let answer = world.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()["content-type"], kind, "{path}");
        let text = String::from_utf8(answer.into_body().to_vec()).unwrap();
        for elsewhere in ["src=\"http", "href=\"http", "url(", "@import", "innerHTML"] {
            assert!(!text.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
    let config: Value = serde_json::from_slice(world.get("/config.json").await.body()).unwrap();
    assert!(config["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"), "{config}");
    assert_eq!(world.get("/nothing").await.status(), StatusCode::NOT_FOUND);
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
