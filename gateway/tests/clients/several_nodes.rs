//! The chat over three gateways, as `examples/chat/README.md` says it: its own commands start Redis,
//! gateways and HAProxy with the file of `deploy/`, and kill and restart them; before the balancer are
//! pages in headless Chromium, a member in Python and boto3. Screenshots stay in `.tests/screenshots`.
//!
//! In:  the README's commands and the two files that they name. Out: what people see meanwhile.
//!
//! Holds always: what the README says of addresses is read as addresses of the test's own, and nothing
//! else in it is changed but the number of the gateway that dies; what is started ends with the test.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use chat_example::{AccessKey, Chat, GatewayAddress, rooms::FAREWELL_MS};
use serde_json::{Value, json};
use tidegate_testkit::{
    Client, DEADLINE, HttpResponse, Signer, http_call, metric_value, try_http_call, wait_until,
};

use crate::{
    chat::chromium,
    program::{Program, Spoken, installed, output_of},
    readers_shell::{Desk, sections_blocks},
};

/// `node_lease_s` of the README's commands.
const LEASE: Duration = Duration::from_secs(3);
const GATEWAYS: [usize; 3] = [1, 2, 3];
const ROOM: &str = "harbour";

/// What stands behind the README's addresses.
struct Chatroom<'d> {
    desk: &'d Desk,
    key: (String, String),
}

impl Chatroom<'_> {
    fn balancer(&self, scheme: &str) -> String {
        self.desk.here(&format!("{scheme}://127.0.0.1:8080"))
    }

    /// A signed call through the balancer.
    async fn call(&self, method: &str, target: &str) -> HttpResponse {
        let url = self.balancer("http");
        let host = url.trim_start_matches("http://");
        let headers = [("Host", host)];
        let signer = Signer::new(&self.key.0, &self.key.1);
        let added = signer.sign(method, target, &headers, b"", SystemTime::now());
        let added = added.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: Vec<_> = headers.into_iter().chain(added).collect();
        http_call(&url, method, target, &all, b"").await
    }

    /// The connections in the room, once it is that many.
    async fn connections_in_room(&self, count: usize) -> Vec<String> {
        let what = format!("{count} connections in the room");
        wait_until(DEADLINE, &what, async || self.members().await.len() == count).await;
        self.members().await
    }

    /// The connections in the room, by the gateways' word.
    async fn members(&self) -> Vec<String> {
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let target = format!("/demo/@groups/room%3A{ROOM}/connections{after}");
            let answer = self.call("GET", &target).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            let more: Vec<String> =
                serde_json::from_value(page["connectionIds"].clone()).expect("ids");
            ids.extend(more);
            let Some(cursor) = page["cursor"].as_str() else { return ids };
            after = format!("?cursor={cursor}");
        }
    }

    fn admin(&self, gateway: usize) -> String {
        self.desk.here(&format!("http://127.0.1.{gateway}:8081"))
    }

    async fn metric(&self, gateway: usize, name: &str) -> f64 {
        let answer = try_http_call(&self.admin(gateway), "GET", "/metrics", &[], b"").await;
        answer.map_or(0.0, |answer| metric_value(answer.text(), name, &[]))
    }

    async fn sum(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for gateway in GATEWAYS {
            sum += self.metric(gateway, name).await;
        }
        sum
    }

    /// How many connections each gateway has.
    async fn connections(&self) -> BTreeMap<usize, u32> {
        let mut all = BTreeMap::new();
        for gateway in GATEWAYS {
            let count = self.metric(gateway, "tidegate_connections").await;
            all.insert(gateway, format!("{count}").parse().expect("a count"));
        }
        all
    }

    /// What the connect brings, and the gateway on which it has landed.
    async fn landing<T>(&self, connect: impl Future<Output = T>) -> (T, usize) {
        let before = self.connections().await;
        let connected = connect.await;
        let after = self.connections().await;
        let more: Vec<_> = GATEWAYS.into_iter().filter(|n| after[n] > before[n]).collect();
        let [gateway] = more[..] else { panic!("one connection more: {before:?}, {after:?}") };
        (connected, gateway)
    }

    /// Waits until a gateway is ready and the balancer knows it.
    async fn serves(&self, gateway: usize) {
        let (admin, balancer) = (self.admin(gateway), self.desk.here("http://127.0.0.1:8404"));
        wait_until(DEADLINE, &format!("gateway {gateway} to be ready"), async || {
            let answer = try_http_call(&admin, "GET", "/health/ready", &[], b"").await;
            answer.is_some_and(|answer| answer.status == 200)
        })
        .await;
        let server = format!("gateway-{gateway}");
        let up = [("proxy", "nodes"), ("server", &*server), ("state", "UP")];
        wait_until(DEADLINE, &format!("the balancer to use gateway {gateway}"), async || {
            let answer = try_http_call(&balancer, "GET", "/metrics", &[], b"").await;
            answer.is_some_and(|all| metric_value(all.text(), "haproxy_server_status", &up) == 1.0)
        })
        .await;
    }

    /// Somebody without a page, in the room.
    async fn member(&self, name: &str) -> Client {
        let url = format!("{}/demo?key={name}", self.balancer("ws"));
        let mut client = Client::connect(&url).await;
        let join = json!({ "action": "join", "room": ROOM, "name": name, "ref": "join" });
        client.send_text(&join.to_string()).await;
        next(&mut client, "ok").await;
        client
    }
}

/// Reads on until an event of a kind comes.
async fn next(client: &mut Client, kind: &str) -> Value {
    loop {
        let event = client.next_json().await;
        if event["type"] == kind {
            return event;
        }
    }
}

/// The pages, by the names of their people.
struct Pages(Spoken);

impl Pages {
    async fn tell(&mut self, order: &str, page: &str, more: Value) -> Value {
        let mut line = json!({ "do": order, "page": page });
        let more = more.as_object().expect("an object").clone();
        line.as_object_mut().expect("an object").extend(more);
        self.0.ask(&line).await
    }

    /// Waits until all of these pages list these people.
    async fn list(&mut self, pages: &[&str], people: &[&str]) {
        for page in pages {
            // Oneself first, then by name.
            let mut names = people.to_vec();
            names.sort_unstable_by_key(|name| (name != page, *name));
            self.tell("people", page, json!({ "names": names })).await;
        }
    }

    /// Waits until all of these pages show just these messages, each once and in this order.
    async fn show(&mut self, pages: &[&str], messages: &[String]) {
        for page in pages {
            self.tell("messages", page, json!({ "texts": messages })).await;
        }
    }

    async fn say(&mut self, page: &str, text: &str, said: &mut Vec<String>) {
        self.tell("say", page, json!({ "text": text })).await;
        said.push(text.to_owned());
        self.show(&[page], said).await;
    }

    /// Whom a page has seen leave.
    async fn left(&mut self, page: &str) -> Vec<String> {
        let notices = self.tell("texts", page, json!({ "selector": ".notice" })).await;
        let notices: Vec<String> = serde_json::from_value(notices).expect("texts");
        let left = notices.iter().filter_map(|notice| notice.strip_suffix(" left"));
        left.map(str::to_owned).collect()
    }

    /// How often a page has said that it reconnects.
    async fn reconnects(&mut self, page: &str) -> usize {
        let states = self.tell("states", page, json!({})).await;
        let states = states.as_array().expect("what it has said of its connection");
        states.iter().filter(|state| *state == "waiting").count()
    }
}

/// Waits until the member in Python has seen what it should.
async fn sees(member: &mut Spoken, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        let told = member.ask(&json!({})).await;
        if is_so(&told) {
            return told;
        }
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await; // it is another process
    }
}

#[tokio::test]
async fn three_gateways_are_one_chat_in_which_a_death_and_a_rolling_restart_lose_nothing() {
    let desk = Desk::new();
    let chat = Chat::bind(desk.address_of("127.0.0.1:3000")).expect("a free port");
    desk.copy("examples/chat/gateway.toml");
    desk.copy("deploy/haproxy/haproxy.cfg");
    let blocks = sections_blocks("examples/chat/README.md", "## Over several gateways");
    let [start, death, back, rolling_restart] = blocks;
    let mut shell = desk.shell();
    shell.run(&start).await;
    let exported = |name: &str| {
        let (_, after) = start.split_once(name).unwrap_or_else(|| panic!("{name} in the README"));
        after.split_whitespace().next().expect("a value")
    };
    let id = exported("CHAT_ACCESS_KEY_ID=");
    let secret = exported("CHAT_SECRET_ACCESS_KEY=");
    let room = Chatroom { desk: &desk, key: (id.to_owned(), secret.to_owned()) };
    for gateway in GATEWAYS {
        room.serves(gateway).await;
    }
    let page_url = format!("http://{}", chat.address());
    let address = GatewayAddress {
        websocket_url: format!("{}/demo", room.balancer("ws")),
        management_url: format!("{}/demo", room.balancer("http")),
    };
    let chat = chat.signing(AccessKey::new(id, secret));
    let _serving = tokio::spawn(async move { chat.serve(address).await.expect("it serves") });

    // Each page on a gateway of its own.
    let mut command = Program::Node("node/chat_pages.mjs").command();
    command
        .env("TIDEGATE_CHROMIUM", chromium())
        .env("TIDEGATE_CHAT_URL", page_url)
        .env("TIDEGATE_SCREENSHOTS", installed("").join("screenshots"));
    let names = ["Ada", "Grace", "Mary"];
    let mut pages = Pages(Spoken::start(command));
    let mut page_on = BTreeMap::new();
    for name in &names {
        let coming = pages.tell("come", name, json!({ "room": ROOM }));
        let (_, gateway) = room.landing(coming).await;
        page_on.insert(gateway, *name);
    }
    assert_eq!(page_on.len(), 3, "where the fewest are: {page_on:?}");

    // One without a page, who comes back by herself, and one who does not, on another gateway.
    let mut command = Program::Python("python/chat_member.py").command();
    command.arg(format!("{}/demo?key=pia", room.balancer("ws"))).args(["Pia", ROOM]);
    let mut pia = Spoken::start(command);
    let coming = sees(&mut pia, "the room", |told| told["people"].as_array().unwrap().len() == 4);
    let (_, pias) = room.landing(coming).await;
    let dies = GATEWAYS.into_iter().find(|gateway| *gateway != pias).expect("another one");
    let mut elsewhere = Vec::new();
    let mut bob = loop {
        let (client, gateway) = room.landing(room.member("Bob")).await;
        if gateway == dies {
            break client;
        }
        elsewhere.push(client);
        assert!(
            elsewhere.len() < 6,
            "nobody comes to gateway {dies}: {:?}",
            room.connections().await
        );
    };
    drop(elsewhere);
    let everyone = ["Ada", "Bob", "Grace", "Mary", "Pia"];
    pages.list(&names, &everyone).await;
    sees(&mut pia, "everyone", |told| told["people"] == json!(everyone)).await;

    // What one says, all see, once.
    let mut said = Vec::new();
    for name in &names {
        pages.say(name, &format!("{name} says hello"), &mut said).await;
    }
    pia.ask(&json!({ "say": "Pia says hello" })).await;
    said.push("Pia says hello".to_owned());
    pages.show(&names, &said).await;
    let all = json!(said);
    sees(&mut pia, "what was said", |told| told["messages"] == all).await;
    for text in &said {
        assert_eq!(next(&mut bob, "message").await["text"], *text);
    }

    // A post of boto3 arrives on whichever gateway the connection is.
    let ids = room.connections_in_room(5).await;
    let posted = json!({ "type": "rooms", "rooms": [{ "room": "posted by boto3", "people": 1 }] });
    let mut command = Program::Python("python/post_to_connections.py").command();
    command
        .arg(format!("{}/demo", room.balancer("http")))
        .arg(posted.to_string())
        .args(&ids)
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret);
    output_of(command).await;
    for name in &names {
        let shown = json!({ "selector": "#rooms bdi", "texts": ["posted by boto3"] });
        pages.tell("shows", name, shown).await;
    }
    sees(&mut pia, "the post", |told| told["others"].as_array().unwrap().contains(&posted)).await;
    while next(&mut bob, "rooms").await != posted {}

    // A death. The others go on talking before anybody can know what became of it.
    let victim = page_on[&dies];
    let others: Vec<_> = names.iter().copied().filter(|name| *name != victim).collect();
    let numbered = |block: &str| block.replace('2', &dies.to_string());
    let killed = Instant::now();
    shell.run(&numbered(&death)).await;
    for n in 1..=20 {
        let text = format!("Is anybody hurt? {n}");
        pia.ask(&json!({ "say": text })).await;
        said.push(text);
    }
    pages.show(&others, &said).await;
    let claimed = room.sum("tidegate_bus_claimed_nodes_total").await;
    assert_eq!(claimed, 0.0, "nobody waits for what it held; it took {:?}", killed.elapsed());
    // Whoever was there comes back through another one, and has missed nothing.
    pages.show(&[victim], &said).await;
    assert_eq!(pages.reconnects(victim).await, 1, "{victim} is told, and comes back at once");
    for name in &others {
        assert_eq!(pages.reconnects(name).await, 0, "{name} has nothing to do with it");
    }
    pages.tell("shows", victim, json!({ "selector": "#state", "texts": ["Connected"] })).await;
    pages.say(victim, "I am back", &mut said).await;
    pages.show(&names, &said).await;
    // Whoever does not is seen to leave, and nobody else is.
    let without_bob: Vec<_> = everyone.into_iter().filter(|name| *name != "Bob").collect();
    pages.list(&names, &without_bob).await;
    let late = killed.elapsed();
    let due = 2 * LEASE + Duration::from_millis(FAREWELL_MS) + Duration::from_secs(3);
    assert!(late < due, "a ghost was listed for {late:?}");
    for name in &others {
        assert_eq!(pages.left(name).await, ["Bob"], "{name} has seen them leave");
    }
    assert_eq!(room.sum("tidegate_bus_claimed_nodes_total").await, 1.0);
    room.connections_in_room(4).await;
    let bob = room.member("Bob").await;
    pages.list(&names, &everyone).await;
    pages.tell("shoot", victim, json!({ "file": "several-nodes-back" })).await;
    drop(bob);
    pages.list(&names, &without_bob).await;

    // A rolling restart, in the midst of a conversation.
    shell.run(&numbered(&back)).await;
    room.serves(dies).await;
    let before = said.len();
    let restarting = shell.run(&rolling_restart);
    let mut restarting = std::pin::pin!(restarting);
    loop {
        let text = format!("message {} of the restart", said.len() - before + 1);
        pia.ask(&json!({ "say": text })).await;
        said.push(text);
        // A talk's pace, not a wait.
        let pause = tokio::time::sleep(Duration::from_millis(25));
        tokio::select! {
            _ = &mut restarting => break,
            () = pause => {}
        }
    }
    assert!(said.len() - before > 10, "there was time to talk");
    for name in &names {
        let before = usize::from(*name == victim);
        assert!(pages.reconnects(name).await > before, "{name}'s gateway was not restarted");
        pages.say(name, &format!("{name} is still here"), &mut said).await;
    }
    pages.show(&names, &said).await;
    pages.list(&names, &without_bob).await;
    let all = json!(said);
    let told = sees(&mut pia, "what was said", |told| told["messages"] == all).await;
    assert_eq!(told["doubles"], json!([]), "on one connection, each message once");
    assert!(told["ends"].as_array().unwrap().contains(&json!(1001)), "{}", told["ends"]);
    pages.tell("shoot", victim, json!({ "file": "several-nodes-restarted" })).await;
    pia.end().await;
    pages.0.end().await;
}
