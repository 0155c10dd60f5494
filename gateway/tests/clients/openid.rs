//! Tokens of a real OpenID provider, npm's `oidc-provider`, that exchanges its keys under load
//! (reliability, line 16).
//!
//! ```text
//! provider ◄── discovery, keys ── gateway ◄── upgrades ── crowd ── tokens ──► provider
//! ```
//!
//! In:  client credentials' access tokens; rotations as providers do them: the new key is published,
//!      then signs, then the old one is withdrawn.
//! Out: 101 for each token whose key is published, 403 for all that the provider did not sign.
//!
//! Holds always: the crowd's tokens are fetched and used all the while; none is kept back for a
//! rotation to be over.

use std::{
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::Value;
use tidegate_testkit::{Client, DEADLINE, GatewayToml, TestGateway, http_call, wait_until, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    task::JoinSet,
};

use crate::{
    GATEWAY,
    program::{Program, assert_installed, installed},
};

/// How many ask for tokens and connect at once.
const CROWD: usize = 6;

/// Upgrades with good tokens that each state of the keys sees at least.
const PER_STATE: usize = 150;

/// The provider's process. It ends with its value.
struct Provider {
    issuer: String,
    changes: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Provider {
    async fn start() -> Self {
        assert_installed(&installed("node/node_modules/oidc-provider"));
        let mut child = Program::Node("node/openid_provider.mjs")
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("run node");
        let changes = child.stdin.take().expect("stdin is piped");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let issuer = next(&mut lines).await;
        Self { issuer, changes, lines, _child: child }
    }

    /// Publishes the keys of these names; the first one signs from now on.
    async fn publish(&mut self, names: &str) {
        self.changes.write_all(format!("{names}\n").as_bytes()).await.expect("the provider reads");
        let ids = names.split(' ').map(|name| format!("key-{name}")).collect::<Vec<_>>().join(" ");
        assert_eq!(next(&mut self.lines).await, ids);
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    let line = within(DEADLINE, "a line of the provider", lines.next_line()).await;
    line.expect("its output is text").expect("the provider runs")
}

/// An access token for the api, by the client's credentials.
async fn token(issuer: &str) -> String {
    let form = "grant_type=client_credentials&client_id=chat-client&client_secret=chat-secret\
        &scope=chat.use&resource=urn%3Achat";
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let response = http_call(issuer, "POST", "/token", &headers, form.as_bytes()).await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["access_token"].as_str().expect("a token").to_owned()
}

/// Which key a token names.
fn key_id(token: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let header = token.split('.').next().expect("a header");
    let header = URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a key id").to_owned()
}

/// The same token with another signature of the same length.
fn forged(token: &str) -> String {
    let (text, signature) = token.rsplit_once('.').expect("a signature");
    let turned: String = signature.chars().rev().collect();
    format!("{text}.{turned}")
}

/// The status of an upgrade with this token.
async fn status(gateway: &TestGateway, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Authorization", bearer.as_str()),
    ];
    http_call(&gateway.http_url(), "GET", "/prod", &headers, b"").await.status
}

/// What the crowd has seen so far.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    accepted: AtomicUsize,
    /// One token of each key that ever signed, whose key is published still.
    published: Mutex<Vec<String>>,
    /// What must not have happened.
    wrong: Mutex<Vec<String>>,
}

impl Seen {
    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Fails with what must not have happened.
    fn assert_all_well(&self) {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(wrong, Vec::<String>::new());
    }

    fn published(&self) -> Vec<String> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn publishes(&self, tokens: &[&str]) {
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
    }
}

/// Fetches a token, connects with it, with an older one, and with a forged one; again and again.
async fn one_of_the_crowd(gateway: Arc<TestGateway>, issuer: String, seen: Arc<Seen>) {
    while !seen.stop.load(SeqCst) {
        // Which ones are published is asked before they are used: nothing is withdrawn while the
        // crowd may still use it.
        let mut good = seen.published();
        good.push(token(&issuer).await);
        for token in &good {
            match status(&gateway, token).await {
                101 => drop(seen.accepted.fetch_add(1, SeqCst)),
                other => seen.wrong(format!("{other} for a token of {}", key_id(token))),
            }
            match status(&gateway, &forged(token)).await {
                403 => {}
                other => seen.wrong(format!("{other} for a forged token of {}", key_id(token))),
            }
        }
    }
}

/// Waits until the crowd has connected that often in the state that the keys are in now.
async fn crowd_connects(seen: &Seen) {
    let enough = seen.accepted.load(SeqCst) + PER_STATE;
    wait_until(Duration::from_secs(60), "enough upgrades", async || {
        seen.assert_all_well();
        seen.accepted.load(SeqCst) >= enough
    })
    .await;
}

/// reliability, line 16: "a key rotated under load: no wrong accept, no false refusal while both
/// keys are published"; and the old key's tokens are refused once the keys were read again.
#[tokio::test]
async fn keys_rotate_under_load_without_a_wrong_accept_or_a_false_refusal() {
    let mut provider = Provider::start().await;
    provider.publish("old").await;
    let guard = "apis.test.authorizers.guard";
    let toml = GatewayToml::new()
        .echo("echo")
        .two_way("$default", "echo")
        .set(guard, "type", r#""jwt""#)
        .set(guard, "issuer", &format!("{:?}", provider.issuer))
        .set(guard, "audiences", r#"["chat"]"#)
        .set(guard, "required_scopes", r#"["chat.use"]"#)
        .route_key("$connect", "authorizer", r#""guard""#);
    let gateway = Arc::new(TestGateway::start(GATEWAY, &toml.build()).await);
    let issuer = provider.issuer.clone();
    let old = token(&issuer).await;
    assert_eq!(key_id(&old), "key-old");
    let bearer = format!("Bearer {old}");
    let headers = [("Authorization", bearer.as_str())];
    let mut open = Client::connect_with(&gateway.ws_url("prod"), &headers, &[]).await;

    let seen = Arc::new(Seen::default());
    seen.publishes(&[&old]);
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        crowd.spawn(one_of_the_crowd(Arc::clone(&gateway), issuer.clone(), Arc::clone(&seen)));
    }
    crowd_connects(&seen).await;

    // The new key is published; the old one signs still.
    provider.publish("old new").await;
    assert_eq!(key_id(&token(&issuer).await), "key-old");
    crowd_connects(&seen).await;

    // The new one signs; tokens of the old one are good still.
    provider.publish("new old").await;
    let new = token(&issuer).await;
    assert_eq!(key_id(&new), "key-new");
    seen.publishes(&[&old, &new]);
    crowd_connects(&seen).await;

    // The old key is withdrawn: its tokens are nothing that the crowd counts on any more, but each
    // may have just taken one to use. Once all have gone round, nobody has.
    seen.publishes(&[&new]);
    crowd_connects(&seen).await;
    provider.publish("new").await;
    crowd_connects(&seen).await;

    // The next rotation makes the gateway read the keys anew, and with that the old one is gone.
    provider.publish("next new").await;
    let next = token(&issuer).await;
    assert_eq!(key_id(&next), "key-next");
    assert_eq!(status(&gateway, &next).await, 101);
    assert_eq!(status(&gateway, &old).await, 403, "a token of a withdrawn key");
    seen.publishes(&[&new, &next]);
    crowd_connects(&seen).await;

    seen.stop.store(true, SeqCst);
    while let Some(ended) = crowd.join_next().await {
        ended.expect("each of the crowd ends well");
    }
    seen.assert_all_well();
    assert!(seen.accepted.load(SeqCst) >= 6 * PER_STATE);
    // Whoever is in stays in until the token itself ends.
    open.send_text("still here").await;
    assert_eq!(open.next_text().await, "still here");
}

/// Without the api's scope, for another audience, or from another provider: no token of a real
/// provider, however good elsewhere, lets anybody in.
#[tokio::test]
async fn another_providers_tokens_let_nobody_in() {
    let mut ours = Provider::start().await;
    ours.publish("a").await;
    let mut theirs = Provider::start().await;
    theirs.publish("a").await;
    let guard = "apis.test.authorizers.guard";
    let trusting = |audience: &str, scope: &str| {
        GatewayToml::new()
            .set(guard, "type", r#""jwt""#)
            .set(guard, "issuer", &format!("{:?}", ours.issuer))
            .set(guard, "audiences", &format!("[{audience:?}]"))
            .set(guard, "required_scopes", &format!("[{scope:?}]"))
            .route_key("$connect", "authorizer", r#""guard""#)
            .build()
    };
    let (own, foreign) = (token(&ours.issuer).await, token(&theirs.issuer).await);
    for (audience, scope, token, wanted) in [
        ("chat", "chat.use", &own, 101),
        ("chat", "chat.use", &foreign, 403),
        ("mail", "chat.use", &own, 403),
        ("chat", "chat.admin", &own, 403),
    ] {
        let gateway = TestGateway::start(GATEWAY, &trusting(audience, scope)).await;
        assert_eq!(status(&gateway, token).await, wanted, "{audience} {scope}");
    }
}

/// A page that bears a token, with the configuration of `docs/who-may-connect.md`.
mod browser {
    use tidegate_testkit::{TestGateway, TokenIssuer, TokenKey};

    use crate::{
        GATEWAY,
        chat::chromium,
        program::{Program, cases, output_of},
    };

    const PAGE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/who-may-connect.md"));

    /// The page's first configuration with the one about tokens added, trusting `issuer`.
    fn documented(issuer: &str) -> String {
        let blocks = PAGE.split("```toml\n").skip(1);
        let blocks: Vec<_> = blocks.filter_map(|rest| rest.split("```").next()).collect();
        let about_tokens = blocks.iter().find(|block| block.contains("\"jwt\""));
        let about_tokens = about_tokens.expect("a configuration with a JWT authorizer");
        let ports = "[listen]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
        let text = format!("{ports}{}\n{about_tokens}", blocks[0]);
        assert!(text.contains("https://id.example.com"), "{text}");
        text.replace("https://id.example.com", issuer)
    }

    async fn run(program: Program, case: &str) {
        let key = TokenKey::new("k1");
        let issuer = TokenIssuer::start(&[&key]).await;
        let gateway = TestGateway::start(GATEWAY, &documented(&issuer.url())).await;
        let mut claims = issuer.claims(3600);
        claims["scope"] = "chat.use".into();
        let mut command = program.command();
        command
            .arg(case)
            .env("TIDEGATE_CHROMIUM", chromium())
            .env("TIDEGATE_WS_URL", gateway.ws_url("prod"))
            .env("TIDEGATE_TOKEN", key.sign(&claims));
        output_of(command).await;
    }

    cases! {
        Program::Node("node/token_in_chromium.mjs"), run:
        a_page_connects_with_a_token_beside_its_subprotocol,
        a_page_with_a_bad_token_does_not_connect,
        a_page_that_offers_nothing_but_its_token_does_not_connect,
    }
}
