//! TLS on the public port (websocket-api, item 46; tidegate, section 2).
//!
//! In:  certificates that `openssl` makes, and its `s_client` as a peer that can be told which
//!      protocol version to speak.
//! Out: what was said inside TLS, or why nothing was.
//!
//! Holds always: each refusal has a twin that differs in one thing and is served.

use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_testkit::{DEADLINE, Frame, FunctionBackend, GatewayToml, TestGateway, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{connection_id, start, watched_by};

/// An authority, a server certificate for `localhost` and 127.0.0.1, and a client certificate of
/// the same authority.
struct Certificates(TempDir);

impl Certificates {
    async fn make() -> Self {
        let directory = TempDir::with_prefix("tidegate-tls-").expect("a temporary folder");
        std::fs::write(
            directory.path().join("extensions"),
            "basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n",
        )
        .expect("a file of ours");
        let made = Self(directory);
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        made.run(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2")).await;
        for name in ["server", "client"] {
            made.run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"))
                .await;
            made.run(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
                 -extfile extensions -out {name}.pem -days 2"
            ))
            .await;
        }
        made
    }

    async fn run(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(self.0.path())
            .output();
        let output = within(DEADLINE, "openssl to end", output).await.expect("openssl runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {said}");
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// The file of a gateway that speaks TLS with these.
    fn on(&self, toml: GatewayToml, client_ca: Option<&Self>) -> GatewayToml {
        let quoted = |text: String| Value::from(text).to_string();
        let own = format!(
            "certificate = {}, private_key = {}",
            quoted(self.path("server.pem")),
            quoted(self.path("server.key"))
        );
        let client = client_ca.map(|other| quoted(other.path("ca.pem")));
        let client = client.map_or(String::new(), |path| format!(", client_ca = {path}"));
        toml.set("listen", "tls", &format!("{{ {own}{client} }}"))
    }

    /// `-cert -key` of the client certificate.
    fn as_client(&self) -> Vec<String> {
        vec!["-cert".into(), self.path("client.pem"), "-key".into(), self.path("client.key")]
    }
}

/// `openssl s_client`, connected, with its standard streams as the connection.
struct TlsPeer {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    read: Vec<u8>,
}

impl TlsPeer {
    fn connect(gateway: &TestGateway, authority: &Certificates, options: &[String]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-nocommands", "-verify_return_error"])
            .args(["-servername", "localhost", "-connect", &gateway.address().to_string()])
            .args(["-CAfile", &authority.path("ca.pem")])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("openssl runs");
        let input = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        Self { child, input, output, read: Vec::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        // A peer that was refused has gone already; what it said is looked at afterwards.
        let _ = within(DEADLINE, "openssl to read", self.input.write_all(bytes)).await;
        let _ = self.input.flush().await;
    }

    /// Reads until `end` has come; what came up to its end.
    async fn read_to(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            let found = self.read.windows(end.len()).position(|window| window == end);
            if let Some(at) = found {
                return self.read.drain(..at + end.len()).collect();
            }
            let read = self.output.read_buf(&mut self.read);
            let read = within(DEADLINE, "bytes through TLS", read).await.expect("a pipe");
            assert_ne!(read, 0, "TLS ended before {:?}", String::from_utf8_lossy(end));
        }
    }

    async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            let read = self.output.read_buf(&mut self.read);
            let read = within(DEADLINE, "bytes through TLS", read).await.expect("a pipe");
            assert_ne!(read, 0, "TLS ended early");
        }
        self.read.drain(..count).collect()
    }

    /// Upgrades; panics unless the answer is 101.
    async fn upgrade(&mut self) {
        self.send(
            b"GET /prod HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
              Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
        let head = String::from_utf8(self.read_to(b"\r\n\r\n").await).expect("a head");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Waits for the end of a connection that must come to nothing.
    async fn end(mut self) -> Output {
        drop(self.input);
        let mut stdout = self.read;
        let all = self.output.read_to_end(&mut stdout);
        within(DEADLINE, "the end of TLS", all).await.expect("a pipe");
        let output = within(DEADLINE, "openssl to end", self.child.wait_with_output()).await;
        let output = output.expect("a child of ours");
        Output { stdout, ..output }
    }
}

/// Asks for a page that would be answered 426 at once.
async fn answer(gateway: &TestGateway, authority: &Certificates, options: &[String]) -> Output {
    let mut peer = TlsPeer::connect(gateway, authority, options);
    peer.send(b"GET /prod HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    peer.end().await
}

fn served(output: &Output) -> bool {
    output.stdout.starts_with(b"HTTP/1.1 426 ")
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// websocket-api, item 46.
#[tokio::test]
async fn tls_1_2_and_1_3_are_served_and_1_1_is_not() {
    let certificates = Certificates::make().await;
    let toml = GatewayToml::new().route_key("$default", "reply", "false");
    let gateway = start(&certificates.on(toml, None)).await;
    // The same words but for the version, so that only the version can be what is refused.
    let options = |version: &str| words(&format!("{version} -cipher DEFAULT@SECLEVEL=0"));
    for version in ["-tls1_2", "-tls1_3"] {
        let output = answer(&gateway, &certificates, &options(version)).await;
        assert!(served(&output), "{version}: {output:?}");
    }
    let output = answer(&gateway, &certificates, &options("-tls1_1")).await;
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("alert"), "refused by the gateway, not by openssl: {said}");
}

/// tidegate, section 2: with TLS the port speaks HTTPS and WSS, and nothing in the clear.
#[tokio::test]
async fn a_websocket_and_a_long_post_pass_through_tls() {
    let certificates = Certificates::make().await;
    let function = FunctionBackend::accepting().await;
    let toml = watched_by(&function).echo("echo").two_way("$default", "echo");
    let gateway = start(&certificates.on(toml, None)).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = TlsPeer::connect(&gateway, &certificates, &words(version));
        client.upgrade().await;
        let id = connection_id(&function).await;
        client.send(&Frame::text("over TLS").encode()).await;
        assert_eq!(client.read_exactly(10).await, b"\x81\x08over TLS");
        let body = "x".repeat(100_000);
        let mut backend = TlsPeer::connect(&gateway, &certificates, &words(version));
        let head = format!(
            "POST /prod/@connections/{id} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        backend.send(&[head.as_bytes(), body.as_bytes()].concat()).await;
        let head = String::from_utf8(backend.read_to(b"\r\n\r\n").await).expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        // Three frames of 32 KiB with 4 bytes of head each, and the rest.
        let frames = client.read_exactly(3 * (32_768 + 4) + 1_696 + 4).await;
        assert_eq!(frames.iter().filter(|byte| **byte == b'x').count(), body.len());
    }
    let event = &function.events_of("CONNECT")[0];
    assert_eq!(event["headers"]["X-Forwarded-Proto"], "https");
}

/// tidegate, section 2: with TLS configured, nothing is answered in the clear.
#[tokio::test]
async fn plain_http_on_a_tls_port_is_not_answered() {
    let certificates = Certificates::make().await;
    let toml = GatewayToml::new().route_key("$default", "reply", "false");
    let gateway = start(&certificates.on(toml, None)).await;
    let mut plain = TcpStream::connect(gateway.address()).await.expect("connect");
    plain.write_all(b"GET /prod HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("send");
    let mut said = Vec::new();
    // The end may be a reset, since what was sent is not read.
    let _ = within(DEADLINE, "the end", plain.read_to_end(&mut said)).await;
    assert!(!said.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&said));
}

/// tidegate, section 3: `client_ca` is mutual TLS.
#[tokio::test]
async fn with_a_client_ca_only_its_certificates_are_served() {
    let certificates = Certificates::make().await;
    let foreign = Certificates::make().await;
    let toml = GatewayToml::new().route_key("$default", "reply", "false");
    let gateway = start(&certificates.on(toml, Some(&certificates))).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let options = |mut more: Vec<String>| {
            more.push(version.to_owned());
            more
        };
        let output = answer(&gateway, &certificates, &options(certificates.as_client())).await;
        assert!(served(&output), "{version}: {output:?}");
        for more in [Vec::new(), foreign.as_client()] {
            let output = answer(&gateway, &certificates, &options(more)).await;
            assert!(output.stdout.is_empty(), "{version}: {output:?}");
        }
    }
}
