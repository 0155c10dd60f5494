//! Tokens and keys over real sockets (reliability, 14, 16 and 18; RFC 8725).

// The helpers of a test are test code too, which the lint cannot tell here.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod support;

use std::{
    collections::BTreeMap,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use support::{
    issuer::{Issuer, Reply},
    signer::Signer,
};
use tidegate_authorizers::{
    Denial, DenialStatus,
    jwt::{JwtAccepted, JwtKeyCache, JwtRefused, JwtVerifier},
};
use tidegate_flow::context::UpgradeRequest;
use tidegate_integrations::{BackendPools, BackendTls, Owner, PoolLimits};
use tidegate_model::{JwtAlgorithm, JwtAuthorizer, JwtKeys, OnExpiry, TokenSource};

const NOW_MS: u64 = 1_700_000_000_000;
const NOW_S: u64 = NOW_MS / 1000;
const SPACING: Duration = Duration::from_secs(5);

const ALGORITHMS: [JwtAlgorithm; 9] = [
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::PS384,
    JwtAlgorithm::PS512,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::EdDSA,
];

fn rules(issuer: &Issuer, keys: JwtKeys) -> JwtAuthorizer {
    JwtAuthorizer {
        issuer: issuer.name(),
        audiences: vec!["chat".to_owned()],
        keys,
        algorithms: ALGORITHMS.to_vec(),
        token_source: vec![
            TokenSource::Header("Authorization".to_owned()),
            TokenSource::Subprotocol,
        ],
        required_scopes: Vec::new(),
        required_claims: BTreeMap::new(),
        on_expiry: OnExpiry::Close,
        leeway: Duration::ZERO,
    }
}

fn claims(issuer: &Issuer) -> Value {
    json!({"iss": issuer.name(), "aud": "chat", "sub": "u1", "exp": NOW_S + 60})
}

fn claims_with(issuer: &Issuer, name: &str, value: Value) -> Value {
    let mut claims = claims(issuer);
    claims[name] = value;
    claims
}

fn upgrade(token: &str) -> UpgradeRequest {
    let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
    UpgradeRequest { headers, ..UpgradeRequest::default() }
}

/// One core with one authorizer.
struct Core {
    pools: BackendPools,
    verifier: Arc<JwtVerifier>,
}

impl Core {
    fn new(issuer: &Issuer) -> Self {
        Self::with(rules(issuer, issuer.discovery()), &JwtKeyCache::new())
    }

    fn with(rules: JwtAuthorizer, cache: &JwtKeyCache) -> Self {
        Self::of(Arc::new(JwtVerifier::new(rules, cache)))
    }

    fn of(verifier: Arc<JwtVerifier>) -> Self {
        Self { pools: BackendPools::new(PoolLimits::default(), BackendTls::native()), verifier }
    }

    async fn authorize(&self, token: &str) -> Result<JwtAccepted, JwtRefused> {
        self.verifier.authorize(&self.pools, &upgrade(token), NOW_MS).await
    }

    /// `ok`, or the kind of the refusal.
    async fn verdict(&self, token: &str) -> &'static str {
        match self.authorize(token).await {
            Ok(_) => "ok",
            Err(refused) => refused.kind(),
        }
    }
}

/// Moves the runtime's clock on; a stopped clock would run out while a socket is waited for.
async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Runs `waiting`, which waits for time to pass, until it ends; meanwhile hours may pass.
async fn skipping<T>(waiting: impl Future<Output = T>) -> T {
    let mut waiting = pin!(waiting);
    for _ in 0..1000 {
        // Long enough for an answer of the issuer's; the fetch's time is up with the second skip.
        match tokio::time::timeout(Duration::from_millis(150), &mut waiting).await {
            Ok(ended) => return ended,
            Err(_) => skip(SPACING - Duration::from_secs(1)).await,
        }
    }
    panic!("it never ends");
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_let_in() {
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        let signer = Signer::new("k", name);
        let issuer = Issuer::start(&[&signer]);
        let core = Core::new(&issuer);
        assert_eq!(core.verdict(&signer.sign(&claims(&issuer))).await, "ok", "{name}");
        let forged = Signer::new("k", "ES256");
        let header = json!({"alg": name, "kid": "k"}).to_string();
        let forged = forged.sign_with(&header, &claims(&issuer).to_string());
        assert_eq!(core.verdict(&forged).await, "signature", "{name}");
    }
}

#[tokio::test]
async fn a_token_gives_principal_context_and_end() {
    let signer = Signer::new("k", "ES256");
    let issuer = Issuer::start(&[&signer]);
    let rules = rules(&issuer, issuer.jwks());
    let core = Core::with(rules.clone(), &JwtKeyCache::new());
    let token = signer.sign(&claims_with(&issuer, "role", json!(["a", "b"])));
    let accepted = core.authorize(&token).await.unwrap();
    assert_eq!(accepted.authorizer.principal_id, "u1");
    assert!(accepted.authorizer.context.contains(&("role".to_owned(), r#"["a","b"]"#.to_owned())));
    assert_eq!(accepted.closes_at_ms, Some(NOW_MS + 60_000));
    assert_eq!(issuer.asked(), [0, 1], "an address in the configuration needs no discovery");

    let keep = JwtAuthorizer { on_expiry: OnExpiry::Keep, ..rules };
    let core = Core::with(keep, &JwtKeyCache::new());
    assert_eq!(core.authorize(&token).await.unwrap().closes_at_ms, None);
}

#[tokio::test]
async fn a_browsers_token_is_read_from_the_subprotocol_and_taken_out_of_it() {
    let signer = Signer::new("k", "EdDSA");
    let issuer = Issuer::start(&[&signer]);
    let core = Core::new(&issuer);
    let token = signer.sign(&claims(&issuer));
    let headers = vec![("Sec-WebSocket-Protocol".to_owned(), format!("chat, bearer.{token}"))];
    let mut upgrade = UpgradeRequest { headers, ..UpgradeRequest::default() };
    assert!(core.verifier.authorize(&core.pools, &upgrade, NOW_MS).await.is_ok());
    core.verifier.strip_subprotocol(&mut upgrade);
    assert_eq!(upgrade.headers, [("Sec-WebSocket-Protocol".to_owned(), "chat".to_owned())]);

    let elsewhere = vec![TokenSource::QueryString("token".to_owned())];
    let rules = JwtAuthorizer { token_source: elsewhere, ..rules(&issuer, issuer.jwks()) };
    let headers = vec![("Sec-WebSocket-Protocol".to_owned(), "bearer.v2".to_owned())];
    let mut upgrade = UpgradeRequest { headers, ..UpgradeRequest::default() };
    Core::with(rules, &JwtKeyCache::new()).verifier.strip_subprotocol(&mut upgrade);
    assert_eq!(upgrade.headers.len(), 1, "no token is looked for there: a name like any other");
}

/// reliability, 15: a tampered byte anywhere is refused.
#[tokio::test]
async fn a_token_with_any_character_changed_is_refused() {
    let signer = Signer::new("k", "EdDSA");
    let issuer = Issuer::start(&[&signer]);
    let core = Core::with(
        JwtAuthorizer { algorithms: vec![JwtAlgorithm::EdDSA], ..rules(&issuer, issuer.jwks()) },
        &JwtKeyCache::new(),
    );
    let token = signer.sign(&claims(&issuer));
    assert_eq!(core.verdict(&token).await, "ok");
    for at in 0..token.len() {
        for with in ['A', 'Q', '_', '.', '='] {
            let mut tampered: Vec<char> = token.chars().collect();
            if tampered[at] == with {
                continue;
            }
            tampered[at] = with;
            let tampered: String = tampered.into_iter().collect();
            // A changed key id, or one that is gone, is an unknown key: waits, so its time is skipped.
            let verdict = skipping(core.verdict(&tampered)).await;
            assert_ne!(verdict, "ok", "{with} at {at} of {token}");
        }
    }
}

/// reliability, 14, 16 and 18.
#[tokio::test]
async fn every_bad_token_is_refused_with_its_status_and_nothing_of_it_is_told() {
    let signer = Signer::new("rsa", "RS256");
    let other = Signer::new("ec", "ES256");
    let stranger = Signer::new("ec", "ES256");
    let issuer = Issuer::start(&[&signer, &other]);
    let core = Core::new(&issuer);
    let good = claims(&issuer);
    let with = |name: &str, value: Value| signer.sign(&claims_with(&issuer, name, value));
    let text = good.to_string();
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid}).to_string();

    // The public key as a shared secret: the classical confusion (RFC 8725, 2.1).
    let public = signer.jwk()["n"].as_str().unwrap().to_owned();
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header("HS256", "rsa")),
        URL_SAFE_NO_PAD.encode(&text)
    );
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(public).unwrap());
    let mac = hmac::sign(&secret, message.as_bytes());
    let confused = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac));
    let unsigned = signer.sign_with(&header("none", "rsa"), &text);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    let embedded = json!({"alg": "ES256", "kid": "ec", "jwk": stranger.jwk()}).to_string();
    let critical = json!({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}).to_string();

    let bad = [
        (confused, "algorithm"),
        (unsigned, "algorithm"),
        (signer.sign_with(&header("PS256", "rsa"), &text), "signature"),
        (signer.sign_with(&header("ES256", "rsa"), &text), "key_of_other_algorithm"),
        (other.sign_with(&header("RS256", "rsa"), &text), "signature"),
        (stranger.sign(&good), "signature"),
        (stranger.sign_with(&embedded, &text), "signature"),
        (signer.sign_with(&critical, &text), "critical"),
        (with("iss", json!("https://elsewhere.example")), "issuer"),
        (with("aud", json!("mail")), "audience"),
        (with("exp", json!(NOW_S)), "expired"),
        (with("nbf", json!(NOW_S + 1)), "not_yet_valid"),
        (with("iat", json!(NOW_S + 1)), "issued_in_future"),
        (with("sub", Value::Null), "missing_claim"),
        (signer.sign_with(&header("RS256", "rsa"), r#"{"sub":1,"sub":2}"#), "malformed"),
        (signer.sign_with(&header("RS256", "rsa"), "claims"), "malformed"),
        ("not.a-token".to_owned(), "malformed"),
    ];
    for (token, kind) in bad {
        let refused = core.authorize(&token).await.unwrap_err();
        assert_eq!((refused.kind(), refused.status()), (kind, DenialStatus::Forbidden), "{token}");
        assert_eq!(refused.blame(), Owner::Client, "{kind}");
        let denial = Denial::from(refused);
        for part in token.split('.').filter(|part| part.len() > 4) {
            assert!(!format!("{denial:?}").contains(part), "{denial:?}");
        }
    }
    let unknown = stranger.sign_with(&header("ES256", "nobodys"), &text);
    assert_eq!(skipping(core.verdict(&unknown)).await, "unknown_key");

    let huge = core.authorize(&with("x", json!("y".repeat(8192)))).await.unwrap_err();
    assert_eq!((huge.status(), huge.blame()), (DenialStatus::Failed, Owner::ApiOwner));
    let none = core.verifier.authorize(&core.pools, &UpgradeRequest::default(), NOW_MS).await;
    assert_eq!(none.unwrap_err().status(), DenialStatus::Unauthorized);
}

#[tokio::test]
async fn an_algorithm_that_the_authorizer_does_not_list_is_refused_without_asking_for_keys() {
    let signer = Signer::new("k", "ES256");
    let issuer = Issuer::start(&[&signer]);
    let algorithms = vec![JwtAlgorithm::EdDSA];
    let rules = JwtAuthorizer { algorithms, ..rules(&issuer, issuer.discovery()) };
    let core = Core::with(rules, &JwtKeyCache::new());
    assert_eq!(core.verdict(&signer.sign(&claims(&issuer))).await, "algorithm");
    assert_eq!(issuer.asked(), [0, 0]);
}

/// Clients come back with the token that they were closed with, long after its key is gone.
#[tokio::test]
async fn an_expired_token_of_an_unknown_key_asks_nobody() {
    let signer = Signer::new("old", "ES256");
    let issuer = Issuer::start(&[&signer]);
    let core = Core::new(&issuer);
    let token = signer.sign(&claims_with(&issuer, "exp", json!(NOW_S - 1)));
    assert_eq!(core.verdict(&token).await, "expired");
    assert_eq!(issuer.asked(), [0, 0]);
}

#[tokio::test]
async fn all_who_wait_for_the_first_keys_share_one_fetch() {
    let signer = Signer::new("k", "ES256");
    let issuer = Issuer::start(&[&signer]);
    issuer.open(false);
    let core = Arc::new(Core::new(&issuer));
    let token = signer.sign(&claims(&issuer));
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (core, token) = (Arc::clone(&core), token.clone());
            tokio::spawn(async move { core.verdict(&token).await })
        })
        .collect();
    let began = tokio::time::Instant::now();
    issuer.until_asked().await;
    issuer.open(true);
    for verdict in waiting {
        assert_eq!(verdict.await.unwrap(), "ok");
    }
    assert!(began.elapsed() < SPACING, "nobody waits for longer than that one fetch");
    assert_eq!(issuer.asked(), [1, 1]);
    assert_eq!(core.verdict(&token).await, "ok");
    assert_eq!(issuer.asked(), [1, 1], "keys that are known are not asked for");
}

/// The first fetch is for the first token; those that came after it began share one more, and none
/// is refused before.
#[tokio::test]
async fn a_burst_of_unknown_keys_is_two_fetches_five_seconds_apart() {
    let signer = Signer::new("k", "ES256");
    let issuer = Issuer::start(&[&signer]);
    let core = Arc::new(Core::new(&issuer));
    let began = tokio::time::Instant::now();
    let waiting: Vec<_> = (0..200)
        .map(|number| {
            let stranger = Signer::new(&format!("unknown-{number}"), "EdDSA");
            let (core, token) = (Arc::clone(&core), stranger.sign(&claims(&issuer)));
            tokio::spawn(async move { core.verdict(&token).await })
        })
        .collect();
    let all = async {
        for verdict in waiting {
            assert_eq!(verdict.await.unwrap(), "unknown_key");
        }
    };
    skipping(all).await;
    assert!(began.elapsed() >= SPACING);
    assert_eq!(issuer.asked(), [2, 2]);
}

/// A key that is published before it is used is never refused, however short before.
#[tokio::test]
async fn a_key_published_just_after_a_fetch_is_waited_for() {
    let (old, new) = (Signer::new("old", "ES256"), Signer::new("new", "ES256"));
    let issuer = Issuer::start(&[&old]);
    let core = Core::new(&issuer);
    assert_eq!(core.verdict(&old.sign(&claims(&issuer))).await, "ok");
    issuer.publish(&[&old, &new]);
    let token = new.sign(&claims(&issuer));
    let mut waiting = pin!(core.verdict(&token));
    let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
    assert!(early.is_err(), "the next fetch is not due yet");
    skip(SPACING).await;
    assert_eq!(waiting.await, "ok");
    assert_eq!(issuer.asked(), [2, 2]);
    assert_eq!(core.verdict(&old.sign(&claims(&issuer))).await, "ok", "both are published");

    issuer.publish(&[&new]);
    let unknown = Signer::new("unknown", "ES256").sign(&claims(&issuer));
    assert_eq!(skipping(core.verdict(&unknown)).await, "unknown_key");
    let withdrawn = old.sign(&claims(&issuer));
    assert_eq!(skipping(core.verdict(&withdrawn)).await, "unknown_key", "it is withdrawn");
    assert_eq!(core.verdict(&token).await, "ok");
}

#[tokio::test]
async fn an_issuer_with_one_nameless_key_may_exchange_it() {
    let nameless = || Signer::new("", "ES256").without_id();
    let (old, new) = (nameless(), nameless());
    let issuer = Issuer::start(&[&old]);
    let core = Core::new(&issuer);
    assert_eq!(core.verdict(&old.sign(&claims(&issuer))).await, "ok");
    issuer.publish(&[&new]);
    assert_eq!(skipping(core.verdict(&new.sign(&claims(&issuer)))).await, "ok");
    assert_eq!(skipping(core.verdict(&old.sign(&claims(&issuer)))).await, "signature");
    issuer.publish(&[&new, &nameless()]);
    skip(SPACING).await;
    let unknown = Signer::new("unknown", "ES256").sign(&claims(&issuer));
    assert_eq!(skipping(core.verdict(&unknown)).await, "unknown_key");
    assert_eq!(core.verdict(&new.sign(&claims(&issuer))).await, "several_keys");
}

/// reliability, 14.
#[tokio::test]
async fn where_no_keys_can_be_had_nobody_is_let_in_until_they_can() {
    let signer = Signer::new("k", "ES256");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let issuer = Issuer::start_on(listener, &[&signer]);
    let token = signer.sign(&claims(&issuer));
    let core = Core::new(&issuer);
    drop(issuer);
    let refused = skipping(core.authorize(&token)).await.unwrap_err();
    assert_eq!((refused.kind(), refused.status()), ("keys_unavailable", DenialStatus::Failed));
    assert_eq!(refused.blame(), Owner::ApiOwner);
    let log = Denial::from(refused).log;
    assert!(log.contains(&format!("connect to {address}")), "{log}");

    let issuer = Issuer::start_on(std::net::TcpListener::bind(address).unwrap(), &[&signer]);
    assert_eq!(skipping(core.verdict(&token)).await, "ok");
    drop(issuer);
}

#[tokio::test]
async fn nonsense_from_the_issuer_is_no_key_and_takes_none_away() {
    let signer = Signer::new("k", "ES256");
    let weak = json!({"keys": [{"kty": "RSA", "kid": "weak", "e": "AQAB",
        "n": URL_SAFE_NO_PAD.encode([0xff; 128])}]});
    let elsewhere = |issuer: &str| json!({"issuer": issuer, "jwks_uri": "http://127.0.0.1:1/"});
    let text = |value: Value| Reply::Text(value.to_string());
    let keys = [
        Reply::Status(500),
        Reply::Status(404),
        Reply::Status(302),
        Reply::Text("<html>maintenance</html>".to_owned()),
        Reply::Text(String::new()),
        text(json!({"keys": []})),
        text(json!({"keys": "none"})),
        text(weak),
        Reply::Text(format!(r#"{{"keys":[],"x":"{}"}}"#, "y".repeat(256 * 1024))),
        Reply::Never,
    ];
    let discoveries =
        [Reply::Status(503), text(elsewhere("https://evil.example")), Reply::Text("[]".to_owned())];
    let all = keys
        .into_iter()
        .map(|reply| (Reply::Good, reply))
        .chain(discoveries.into_iter().map(|reply| (reply, Reply::Good)));
    for (discovery, jwks) in all {
        let issuer = Issuer::start(&[&signer]);
        let token = signer.sign(&claims(&issuer));
        let unknown = Signer::new("unknown", "ES256").sign(&claims(&issuer));
        let (fresh, used) = (Core::new(&issuer), Core::new(&issuer));
        assert_eq!(used.verdict(&token).await, "ok");
        issuer.discovery_replies(discovery.clone());
        issuer.jwks_replies(jwks.clone());
        let case = format!("{discovery:?} {:.80}", format!("{jwks:?}"));
        assert_eq!(skipping(fresh.verdict(&token)).await, "keys_unavailable", "{case}");
        assert_eq!(skipping(used.verdict(&unknown)).await, "keys_unavailable", "{case}");
        assert_eq!(used.verdict(&token).await, "ok", "the old keys are kept: {case}");
    }
}

#[tokio::test]
async fn keys_are_there_before_the_first_token_and_renewed_as_their_issuer_says() {
    let (old, new) = (Signer::new("old", "ES256"), Signer::new("new", "ES256"));
    let issuer = Issuer::start(&[&old]);
    issuer.cache_control("max-age=120");
    let cache = JwtKeyCache::new();
    let core = Core::with(rules(&issuer, issuer.discovery()), &cache);
    let background = {
        let (cache, pools) = (cache.clone(), core.pools.clone());
        tokio::spawn(async move { match cache.keep_fresh(&pools).await {} })
    };
    issuer.until_keys_asked(1).await;
    assert_eq!(core.verdict(&old.sign(&claims(&issuer))).await, "ok");
    assert_eq!(issuer.asked(), [1, 1]);

    issuer.publish(&[&new]);
    // Looked at again after the first fetch, then when it is due.
    skip(Duration::from_secs(6)).await;
    tokio::task::yield_now().await;
    skip(Duration::from_secs(115)).await;
    issuer.until_keys_asked(2).await;
    assert_eq!(core.verdict(&new.sign(&claims(&issuer))).await, "ok");
    let withdrawn = old.sign(&claims(&issuer));
    assert_eq!(skipping(core.verdict(&withdrawn)).await, "unknown_key");

    // An authorizer that a reload adds is served at once; one that it takes away is left alone.
    let added = Issuer::start(&[&new]);
    let other = Core::with(rules(&added, added.jwks()), &cache);
    added.until_keys_asked(1).await;
    drop(other);
    let asked = added.asked();
    skip(Duration::from_secs(3600)).await;
    issuer.until_keys_asked(issuer.asked()[1] + 1).await;
    assert_eq!(added.asked(), asked);
    background.abort();
}

#[tokio::test]
async fn authorizers_of_one_issuer_share_its_keys_across_reloads() {
    let signer = Signer::new("k", "ES256");
    let issuer = Issuer::start(&[&signer]);
    let token = signer.sign(&claims(&issuer));
    let cache = JwtKeyCache::new();
    let before = Core::with(rules(&issuer, issuer.discovery()), &cache);
    assert_eq!(before.verdict(&token).await, "ok");
    let after = Core::with(rules(&issuer, issuer.discovery()), &cache);
    drop(before);
    assert_eq!(after.verdict(&token).await, "ok");
    assert_eq!(issuer.asked(), [1, 1]);
    drop(after);
    let later = Core::with(rules(&issuer, issuer.discovery()), &cache);
    assert_eq!(later.verdict(&token).await, "ok");
    assert_eq!(issuer.asked(), [2, 2], "nobody needed them, so they were gone");
}

#[test]
fn a_core_that_ends_while_it_fetches_does_not_hold_up_the_others() {
    let signer = Signer::new("k", "ES256");
    let issuer = Issuer::start(&[&signer]);
    let token = signer.sign(&claims(&issuer));
    let rules = rules(&issuer, issuer.jwks());
    let verifier = Arc::new(JwtVerifier::new(rules, &JwtKeyCache::new()));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    issuer.open(false);
    let ending = runtime();
    ending.block_on(async {
        let core = Core::of(Arc::clone(&verifier));
        let cut_off = tokio::time::timeout(Duration::from_millis(200), core.verdict(&token)).await;
        assert!(cut_off.is_err());
        issuer.until_keys_asked(1).await;
    });
    drop(ending);
    issuer.open(true);
    runtime().block_on(async {
        assert_eq!(skipping(Core::of(verifier).verdict(&token)).await, "ok");
    });
    assert_eq!(issuer.asked()[1], 2);
}

/// reliability, 16: four cores verify while the issuer goes from one key to the next. Real time,
/// for the cores' clocks are their own: two fetches, which 5 s part, follow the first.
#[test]
fn keys_rotate_under_load_without_a_wrong_accept_or_a_false_refusal() {
    let (old, new) = (Signer::new("old", "ES256"), Signer::new("new", "EdDSA"));
    let issuer = Issuer::start(&[&old]);
    let forgers = [Signer::new("old", "ES256"), Signer::new("new", "EdDSA")];
    let forged = forgers.map(|forger| forger.sign(&claims(&issuer)));
    let (old_token, new_token) = (old.sign(&claims(&issuer)), new.sign(&claims(&issuer)));
    let rules = rules(&issuer, issuer.discovery());
    let verifier = Arc::new(JwtVerifier::new(rules, &JwtKeyCache::new()));
    // What the issuer signs with now.
    let current = Mutex::new(old_token.clone());
    let (done, accepted) = (AtomicBool::new(false), AtomicUsize::new(0));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let core = Core::of(Arc::clone(&verifier));
                runtime().block_on(async {
                    while !done.load(SeqCst) {
                        let token = current.lock().unwrap().clone();
                        assert_eq!(core.verdict(&token).await, "ok", "a false refusal");
                        accepted.fetch_add(1, SeqCst);
                        // The one whose key is surely known; another might wait and hold us up.
                        assert_eq!(core.verdict(&forged[0]).await, "signature", "a wrong accept");
                    }
                });
            });
        }
        let core = Core::of(Arc::clone(&verifier));
        runtime().block_on(async {
            assert_eq!(core.verdict(&old_token).await, "ok");
            // Published, and at once in use.
            issuer.publish(&[&old, &new]);
            current.lock().unwrap().clone_from(&new_token);
            assert_eq!(core.verdict(&new_token).await, "ok");
            assert_eq!(core.verdict(&old_token).await, "ok", "a false refusal");
            for forged in &forged {
                assert_eq!(core.verdict(forged).await, "signature", "a wrong accept");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            done.store(true, SeqCst);
        });
    });
    runtime().block_on(async {
        let core = Core::of(verifier);
        issuer.publish(&[&new]);
        let unknown = Signer::new("unknown", "ES256").sign(&claims(&issuer));
        assert_eq!(skipping(core.verdict(&unknown)).await, "unknown_key");
        assert_eq!(skipping(core.verdict(&old_token)).await, "unknown_key", "a wrong accept");
        assert_eq!(core.verdict(&new_token).await, "ok");
    });
    assert!(accepted.load(SeqCst) > 100, "{accepted:?}");
    assert!(issuer.asked()[1] <= 4, "{:?}", issuer.asked());
}
