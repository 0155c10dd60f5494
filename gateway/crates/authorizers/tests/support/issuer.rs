//! An issuer's web server on a thread of its own: a discovery document, a key document, and all
//! that can go wrong with either.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tidegate_model::{BackendUri, JwtKeys, UriTemplate};
use tokio::{net::TcpListener, sync::watch};

use super::signer::Signer;

/// How a document is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// As it should be.
    Good,
    Status(u16),
    Text(String),
    /// Not at all.
    Never,
}

pub struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    keys: Mutex<Vec<Value>>,
    cache_control: Mutex<Option<&'static str>>,
    discovery: Mutex<Reply>,
    jwks: Mutex<Reply>,
    discovery_asked: AtomicUsize,
    jwks_asked: AtomicUsize,
    open: watch::Sender<bool>,
}

impl Issuer {
    /// An issuer that publishes the keys of `signers`.
    pub fn start(signers: &[&Signer]) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Self::start_on(listener, signers)
    }

    pub fn start_on(listener: std::net::TcpListener, signers: &[&Signer]) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            keys: Mutex::default(),
            cache_control: Mutex::default(),
            discovery: Mutex::new(Reply::Good),
            jwks: Mutex::new(Reply::Good),
            discovery_asked: AtomicUsize::new(0),
            jwks_asked: AtomicUsize::new(0),
            open: watch::channel(true).0,
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = Arc::clone(&shared);
        // Its own runtime: a test may stop its own clock.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        let issuer = Self { address, shared, stop: Some(stop), thread: Some(thread) };
        issuer.publish(signers);
        issuer
    }

    pub fn name(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn discovery(&self) -> JwtKeys {
        JwtKeys::Discovery(self.uri("/.well-known/openid-configuration"))
    }

    pub fn jwks(&self) -> JwtKeys {
        JwtKeys::Jwks(self.uri("/jwks"))
    }

    fn uri(&self, path: &str) -> BackendUri {
        let uri = UriTemplate::parse(&format!("http://{}{path}", self.address)).unwrap();
        uri.expand(&BTreeMap::new()).unwrap()
    }

    pub fn publish(&self, signers: &[&Signer]) {
        *self.shared.keys.lock().unwrap() = signers.iter().map(|signer| signer.jwk()).collect();
    }

    pub fn cache_control(&self, value: &'static str) {
        *self.shared.cache_control.lock().unwrap() = Some(value);
    }

    pub fn discovery_replies(&self, reply: Reply) {
        *self.shared.discovery.lock().unwrap() = reply;
    }

    pub fn jwks_replies(&self, reply: Reply) {
        *self.shared.jwks.lock().unwrap() = reply;
    }

    /// While closed, requests are counted and wait.
    pub fn open(&self, open: bool) {
        self.shared.open.send_replace(open);
    }

    /// How often each document was asked for.
    pub fn asked(&self) -> [usize; 2] {
        [&self.shared.discovery_asked, &self.shared.jwks_asked].map(|asked| asked.load(SeqCst))
    }

    /// Waits until the key document was asked for that often. Real time, whatever the test's clock.
    pub async fn until_keys_asked(&self, times: usize) {
        self.until(|[_, keys]| keys >= times).await;
    }

    /// Waits until any document was asked for.
    pub async fn until_asked(&self) {
        self.until(|asked| asked != [0, 0]).await;
    }

    async fn until(&self, enough: impl Fn([usize; 2]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !enough(self.asked()) {
            assert!(Instant::now() < deadline, "asked {:?} times", self.asked());
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service =
                service_fn(|request: http::Request<_>| answer(Arc::clone(&shared), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: http::Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let host = request.headers()[header::HOST].to_str().unwrap().to_owned();
    let is_keys = request.uri().path() == "/jwks";
    let asked = if is_keys { &shared.jwks_asked } else { &shared.discovery_asked };
    asked.fetch_add(1, SeqCst);
    let _ = shared.open.subscribe().wait_for(|open| *open).await;

    let reply = if is_keys { &shared.jwks } else { &shared.discovery };
    let reply = reply.lock().unwrap().clone();
    let mut response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    let body = match reply {
        Reply::Never => std::future::pending().await,
        Reply::Text(text) => text,
        Reply::Status(status) => {
            response = response.status(StatusCode::from_u16(status).unwrap());
            "{}".to_owned()
        }
        Reply::Good if is_keys => {
            if let Some(value) = *shared.cache_control.lock().unwrap() {
                response = response.header(header::CACHE_CONTROL, value);
            }
            json!({ "keys": *shared.keys.lock().unwrap() }).to_string()
        }
        Reply::Good => {
            let issuer = format!("http://{host}");
            json!({"jwks_uri": format!("{issuer}/jwks"), "issuer": issuer}).to_string()
        }
    };
    Ok(response.body(Full::new(body.into())).unwrap())
}
