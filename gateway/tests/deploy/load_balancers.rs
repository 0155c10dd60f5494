//! HAProxy and nginx, started from `deploy/haproxy/haproxy.cfg` and `deploy/nginx/nginx.conf`.
//!
//! In:  those files with their addresses replaced, and for nginx its scratch folders; two gateways
//!      that share a Redis, and a third address where nobody listens, as if a node had died.
//! Out: what clients before the proxy and backends behind the gateways see.

use std::{net::SocketAddr, time::SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_testkit::{
    Answer, Client, DEADLINE, FunctionBackend, GatewayToml, HttpBackend, HttpResponse, RedisServer,
    Signer, TestGateway, http_call, wait_until,
};
use tokio::{net::TcpStream, process::Child};

use crate::{
    GATEWAY,
    programs::{free_address, program, replaced, run, serve, text_of},
};

const KEY: &str = "AKIDBACKEND";
const SECRET: &str = "not a secret";

/// `[limits] idle_timeout_s` where the file does not say, seconds.
const IDLE_TIMEOUT_S: u32 = 600;

#[derive(Debug, Clone, Copy)]
enum Kind {
    HaProxy,
    Nginx,
}

/// What a proxy takes for a node: its public and its admin port.
#[derive(Debug, Clone, Copy)]
struct Ports {
    public: SocketAddr,
    admin: SocketAddr,
}

impl Ports {
    fn of(gateway: &TestGateway) -> Self {
        let admin = gateway.admin_url();
        let admin = admin.trim_start_matches("http://").parse().expect("an address");
        Self { public: gateway.address(), admin }
    }

    fn nobodys() -> Self {
        Self { public: free_address(), admin: free_address() }
    }
}

/// A running proxy.
struct Proxy {
    address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl Proxy {
    async fn start(kind: Kind, nodes: [Ports; 3]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let address = free_address();
        let (file, text) = match kind {
            Kind::HaProxy => ("haproxy.cfg", haproxy_file(address, nodes)),
            Kind::Nginx => ("nginx.conf", nginx_file(address, nodes, &folder)),
        };
        let path = folder.path().join(file);
        std::fs::write(&path, text).expect("a file of ours");
        let mut command = match kind {
            Kind::HaProxy => program("haproxy"),
            Kind::Nginx => program("nginx"),
        };
        // One process each: killing it with its value leaves no worker behind.
        match kind {
            Kind::HaProxy => command.arg("-db").arg("-f").arg(&path),
            Kind::Nginx => command
                .args(["-e", "stderr", "-g", "daemon off; master_process off;", "-c"])
                .arg(&path)
                .arg("-p")
                .arg(folder.path()),
        };
        let child = serve(&mut command);
        wait_until(DEADLINE, "the proxy to listen", async || {
            TcpStream::connect(address).await.is_ok()
        })
        .await;
        Self { address, _child: child, _folder: folder }
    }

    fn ws_url(&self) -> String {
        format!("ws://{}/prod", self.address)
    }

    /// A signed post to a connection.
    async fn post_to(&self, connection_id: &str, body: &[u8]) -> HttpResponse {
        // As SDKs do, with what is not a letter written by `%`.
        let target = format!("/prod/@connections/{}", connection_id.replace('=', "%3D"));
        let host = self.address.to_string();
        let headers = [("Host", host.as_str())];
        let added =
            Signer::new(KEY, SECRET).sign("POST", &target, &headers, body, SystemTime::now());
        let all: Vec<_> = headers
            .into_iter()
            .chain(added.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .collect();
        http_call(&format!("http://{host}"), "POST", &target, &all, body).await
    }
}

fn haproxy_file(address: SocketAddr, nodes: [Ports; 3]) -> String {
    let text = text_of("deploy/haproxy/haproxy.cfg");
    let mut pairs = vec![
        ("bind :8080", format!("bind {address}")),
        ("bind :8404", format!("bind {}", free_address())),
    ];
    let servers = [1, 2, 3].map(|n| format!("gateway-{n}:8080 port 8081"));
    for (server, node) in servers.iter().zip(nodes) {
        pairs.push((server, format!("{} port {}", node.public, node.admin.port())));
    }
    replaced(&text, &pairs)
}

/// Besides addresses: where it keeps its process id and bodies, which only root may where Debian's does.
fn nginx_file(address: SocketAddr, nodes: [Ports; 3], folder: &TempDir) -> String {
    let text = text_of("deploy/nginx/nginx.conf");
    let folder = folder.path().display();
    let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    let mut pairs = vec![
        ("listen 8080", format!("listen {address}")),
        ("pid /run/nginx.pid;", format!("pid {folder}/nginx.pid;")),
        ("\nhttp {\n", format!("\nhttp {{\n{scratch}")),
        ("access_log /dev/stdout", format!("access_log {folder}/access.log")),
    ];
    let servers = [1, 2, 3].map(|n| format!("gateway-{n}:8080"));
    for (server, node) in servers.iter().zip(nodes) {
        pairs.push((server, node.public.to_string()));
    }
    replaced(&text, &pairs)
}

/// Two nodes that are one gateway, their Redis, and the function behind them.
struct Nodes {
    gateways: [TestGateway; 2],
    function: FunctionBackend,
    _redis: RedisServer,
}

impl Nodes {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let function =
            FunctionBackend::start(|event| json!({ "statusCode": 200, "body": event["body"] }))
                .await;
        let toml = GatewayToml::new()
            .function("function", &function.url())
            .route("$connect", "function")
            .two_way("$default", "function")
            .signed(KEY, SECRET)
            .redis(&[redis.url()])
            .build();
        let gateways =
            [TestGateway::start(GATEWAY, &toml).await, TestGateway::start(GATEWAY, &toml).await];
        for gateway in &gateways {
            wait_until(DEADLINE, "a node to be ready", async || {
                gateway.admin("/health/ready").await.status == 200
            })
            .await;
        }
        Self { gateways, function, _redis: redis }
    }

    async fn behind(&self, kind: Kind) -> Proxy {
        let [a, b] = &self.gateways;
        Proxy::start(kind, [Ports::of(a), Ports::of(b), Ports::nobodys()]).await
    }

    async fn connections(&self) -> [f64; 2] {
        let [a, b] = &self.gateways;
        [a.metric("tidegate_connections", &[]).await, b.metric("tidegate_connections", &[]).await]
    }

    /// Opens a connection through the proxy; its id, and the `$connect` event.
    async fn connect(&self, proxy: &Proxy) -> (Client, String, Value) {
        let forged = [("X-Forwarded-For", "203.0.113.9")];
        let client = Client::connect_with(&proxy.ws_url(), &forged, &[]).await;
        let event = self.function.next_event("CONNECT").await;
        let id = event["requestContext"]["connectionId"].as_str().expect("an id").to_owned();
        (client, id, event)
    }
}

async fn echoes(client: &mut Client, text: &str) {
    client.send_text(text).await;
    assert_eq!(client.next_text().await, text);
}

/// Both nodes get clients, whichever node a post reaches finds the connection, and the backend sees
/// who the client is, whatever the client says of itself.
async fn serves_two_nodes_as_one(kind: Kind) {
    let nodes = Nodes::start().await;
    let proxy = nodes.behind(kind).await;
    let mut clients = Vec::new();
    for n in 0..4 {
        let (mut client, id, event) = nodes.connect(&proxy).await;
        echoes(&mut client, &format!("message {n}")).await;
        let via = event["headers"]["X-Forwarded-For"].as_str().expect("X-Forwarded-For");
        assert_eq!(via, "127.0.0.1, 127.0.0.1", "the client's address, then the proxy's");
        clients.push((client, id));
    }
    assert_eq!(nodes.connections().await, [2.0, 2.0], "where the fewest are");
    for (client, id) in &mut clients {
        // Whichever node takes it; both, in all likelihood, of six.
        for n in 0..6 {
            let answer = proxy.post_to(id, format!("post {n}").as_bytes()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(client.next_text().await, format!("post {n}"));
        }
    }
}

/// From the first moment of its drain: clients that it held are told to go, new ones land elsewhere
/// and nobody is refused meanwhile.
async fn goes_on_while_a_node_drains(kind: Kind) {
    let nodes = Nodes::start().await;
    let proxy = nodes.behind(kind).await;
    let (mut first, _, _) = nodes.connect(&proxy).await;
    let (mut second, _, _) = nodes.connect(&proxy).await;
    assert_eq!(nodes.connections().await, [1.0, 1.0], "where the fewest are");
    nodes.gateways[1].signal("TERM").await;
    nodes.gateways[1].wait_for_log("draining").await;
    for n in 0..8 {
        let (mut client, _, _) = nodes.connect(&proxy).await;
        echoes(&mut client, &format!("after {n}")).await;
    }
    // Which of the two it held is the proxy's secret: the one that is still served stays.
    let closed = tokio::select! {
        code = first.next_close() => (code.0, &mut second),
        code = second.next_close() => (code.0, &mut first),
    };
    assert_eq!(closed.0, 1001);
    echoes(closed.1, "still here").await;
}

/// Killed: nobody says goodbye, and new clients land elsewhere all the same.
async fn goes_on_when_a_node_dies(kind: Kind) {
    let nodes = Nodes::start().await;
    let proxy = nodes.behind(kind).await;
    nodes.gateways[1].signal("KILL").await;
    for n in 0..8 {
        let (mut client, id, _) = nodes.connect(&proxy).await;
        echoes(&mut client, &format!("after {n}")).await;
        assert_eq!(proxy.post_to(&id, b"posted").await.status, 200);
        assert_eq!(client.next_text().await, "posted");
    }
}

/// A node that breaks off in the midst of a post may have sent the message: the poster is told, and
/// no other node gets the post.
async fn does_not_repeat_a_post(kind: Kind) {
    let broken = async || {
        HttpBackend::start(async |request: tidegate_testkit::RecordedRequest| {
            match request.path.as_str() {
                "/health/ready" => Answer::ok(),
                _ => Answer::cut(),
            }
        })
        .await
    };
    let nodes = [broken().await, broken().await, broken().await];
    let ports = [0, 1, 2].map(|n| Ports { public: nodes[n].address(), admin: nodes[n].address() });
    let proxy = Proxy::start(kind, ports).await;
    let answer = proxy.post_to("AAAAAAAAAAAAAAA=", b"once").await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    let posts = nodes.iter().flat_map(HttpBackend::requests).filter(|it| it.method == "POST");
    let posts: Vec<_> = posts.map(|it| it.target).collect();
    assert_eq!(posts, ["/prod/@connections/AAAAAAAAAAAAAAA%3D"], "once, and as it was written");
}

#[tokio::test]
async fn haproxy_serves_two_nodes_as_one() {
    serves_two_nodes_as_one(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_serves_two_nodes_as_one() {
    serves_two_nodes_as_one(Kind::Nginx).await;
}

#[tokio::test]
async fn haproxy_goes_on_while_a_node_drains() {
    goes_on_while_a_node_drains(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_goes_on_while_a_node_drains() {
    goes_on_while_a_node_drains(Kind::Nginx).await;
}

#[tokio::test]
async fn haproxy_goes_on_when_a_node_dies() {
    goes_on_when_a_node_dies(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_goes_on_when_a_node_dies() {
    goes_on_when_a_node_dies(Kind::Nginx).await;
}

#[tokio::test]
async fn haproxy_does_not_repeat_a_post() {
    does_not_repeat_a_post(Kind::HaProxy).await;
}

#[tokio::test]
async fn nginx_does_not_repeat_a_post() {
    does_not_repeat_a_post(Kind::Nginx).await;
}

/// HAProxy asks the admin port; a node that is up and says that it is not ready gets nobody.
#[tokio::test]
async fn haproxy_sends_nobody_to_a_node_that_is_not_ready() {
    let node = async |ready: u16| {
        HttpBackend::start(move |request: tidegate_testkit::RecordedRequest| {
            std::future::ready(match request.path.as_str() {
                "/health/ready" => Answer::status(ready),
                _ => Answer::ok(),
            })
        })
        .await
    };
    let nodes = [node(200).await, node(503).await, node(503).await];
    let ports = [0, 1, 2].map(|n| Ports { public: nodes[n].address(), admin: nodes[n].address() });
    let proxy = Proxy::start(Kind::HaProxy, ports).await;
    let posts = |n: usize| nodes[n].requests().iter().filter(|it| it.method == "POST").count();
    // Until it has asked, it takes nodes for ready.
    wait_until(DEADLINE, "both to be known", async || {
        [1, 2].iter().all(|n: &usize| nodes[*n].count() - posts(*n) >= 2)
    })
    .await;
    // It notes the second answer a moment after it was given: from a post on that went right.
    wait_until(DEADLINE, "posts to go to the ready node", async || {
        let before = posts(0);
        for _ in 0..6 {
            proxy.post_to("x", b"x").await;
        }
        posts(0) - before == 6
    })
    .await;
    let strays = posts(1) + posts(2);
    for _ in 0..20 {
        assert_eq!(proxy.post_to("x", b"x").await.status, 200);
    }
    assert_eq!(posts(1) + posts(2), strays, "posts to nodes that are not ready");
}

/// Else a quiet client would be cut off without a word, where the gateway would tell it why.
#[test]
fn the_proxies_wait_longer_than_a_connection_may_be_idle() {
    let minutes = |file: &str, start: &str| -> u32 {
        let text = text_of(file);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start));
        let line = line.unwrap_or_else(|| panic!("no {start:?} in {file}")).trim();
        line.trim_end_matches(';').strip_suffix('m').expect("minutes").parse().expect("a number")
    };
    for (file, start) in [
        ("deploy/haproxy/haproxy.cfg", "timeout tunnel"),
        ("deploy/nginx/nginx.conf", "proxy_read_timeout"),
        ("deploy/nginx/nginx.conf", "proxy_send_timeout"),
    ] {
        assert!(minutes(file, start) * 60 > IDLE_TIMEOUT_S, "{start} in {file}");
    }
}

/// What is said at the start and ignored is found out in the night.
#[tokio::test]
async fn the_proxies_take_their_files_without_a_warning() {
    let folder = TempDir::new().expect("a temporary folder");
    let nodes = || [Ports::nobodys(), Ports::nobodys(), Ports::nobodys()];
    let path = folder.path().join("haproxy.cfg");
    std::fs::write(&path, haproxy_file(free_address(), nodes())).expect("a file of ours");
    let said = run(program("haproxy").arg("-c").arg("-f").arg(&path)).await.expect_well();
    assert!(!said.all().contains("[WARNING]"), "{}", said.all());
    let path = folder.path().join("nginx.conf");
    std::fs::write(&path, nginx_file(free_address(), nodes(), &folder)).expect("a file of ours");
    let said = run(program("nginx").arg("-t").args(["-e", "stderr", "-c"]).arg(&path)).await;
    let said = said.expect_well();
    // A machine that gives fewer descriptors than the file counts on is no fault of the file.
    let warned =
        |line: &&str| line.contains("[warn]") && !line.contains("open file resource limit");
    assert_eq!(said.all().lines().find(warned), None);
}
