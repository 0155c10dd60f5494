//! Calls over real sockets: what backends see, and what becomes of a call when they misbehave
//! (websocket-api, 4.4 and 5; tidegate, section 4; reliability, 31).

// The helpers of a test are test code too, which the lint cannot tell here.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tidegate_flow::{
    context::{ConnectionFacts, Event, Occurrence, UpgradeRequest},
    opaque_id::OpaqueId,
};
use tidegate_integrations::{
    Answer, Aws, AwsEnvironment, BackendPools, BackendTls, CompiledIntegration, FunctionLimits,
    IntegrationError, InvalidIntegration, LocalFunctions, Owner, PoolLimits, Surroundings,
    WorkerSurroundings,
};
use tidegate_model::{
    AwsCredentials, AwsSettings, Function, HttpTarget, Integration, IntegrationKind, InvalidUri,
    Secret, UriTemplate,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener},
    time::{sleep, timeout},
};

const LIMIT: usize = 1 << 20;
const DEADLINE: Duration = Duration::from_secs(10);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request as a backend saw it.
#[derive(Debug, Clone)]
struct Seen {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// A backend that speaks proper HTTP and remembers what it was asked.
struct Backend {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Reply = Arc<dyn Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync>;

impl Backend {
    async fn start(reply: impl Fn(&Seen) -> Response<Full<Bytes>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (count, log, reply): (_, _, Reply) = (accepted.clone(), seen.clone(), Arc::new(reply));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream, log.clone(), reply.clone()));
            }
        });
        Self { address, accepted, seen }
    }

    /// Answers with the request's body.
    async fn echo() -> Self {
        Self::start(|seen| Response::new(Full::new(seen.body.clone()))).await
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    log: Arc<Mutex<Vec<Seen>>>,
    reply: Reply,
) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (log, reply) = (log.clone(), reply.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let seen = Seen { method: head.method, uri: head.uri, headers: head.headers, body };
            let response = reply(&seen);
            log.lock().unwrap().push(seen);
            Ok::<_, hyper::Error>(response)
        }
    });
    // The client may cut the connection; that is its business.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A backend that does as it likes with each connection; the first has number 0.
async fn raw_backend<F>(on_connection: impl Fn(usize, TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(on_connection(number, stream));
        }
    });
    uri
}

/// Reads one whole request; `None` once the gateway has closed the connection.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    loop {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => request.push(byte[0]),
            _ => return None,
        }
        if request.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(request).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

fn pools(limits: PoolLimits) -> BackendPools {
    BackendPools::new(limits, BackendTls::native())
}

fn http(uri: &str, method: Method) -> IntegrationKind {
    IntegrationKind::HttpProxy(HttpTarget { uri: UriTemplate::parse(uri).unwrap(), method })
}

fn function(uri: &str) -> IntegrationKind {
    IntegrationKind::AwsProxy(Function::Web(UriTemplate::parse(uri).unwrap()))
}

fn integration(kind: IntegrationKind, timeout: Duration) -> Integration {
    Integration {
        name: "backend".to_owned(),
        kind,
        timeout,
        request_parameters: Vec::new(),
        context_headers: true,
        credentials: None,
    }
}

fn compiled(kind: IntegrationKind, timeout: Duration) -> CompiledIntegration {
    compile(&integration(kind, timeout), &BTreeMap::new()).unwrap()
}

/// For a stage with these variables, on a node without functions of its own.
fn compile(
    integration: &Integration,
    variables: &BTreeMap<String, String>,
) -> Result<CompiledIntegration, InvalidIntegration> {
    let aws = Arc::new(Aws::new(AwsSettings::default(), AwsEnvironment::new(|_| None)));
    let surroundings = WorkerSurroundings {
        region: "us-east-1".to_owned(),
        account_id: "000000000000".to_owned(),
        credentials: AwsCredentials {
            access_key_id: String::new(),
            secret_access_key: Secret::new(String::new()),
            session_token: None,
        },
        ca_bundle: None,
        gateway_port: None,
        variables: BTreeMap::new(),
    };
    let functions = LocalFunctions::start(&[], surroundings, FunctionLimits::default()).unwrap();
    let around = Surroundings {
        api_id: "chat",
        variables,
        max_answer_bytes: LIMIT,
        aws: &aws,
        functions: &functions,
    };
    CompiledIntegration::compile(&around, integration)
}

/// Posts to `uri`, with plenty of time.
fn post(uri: &str) -> CompiledIntegration {
    compiled(http(uri, Method::POST), DEADLINE)
}

fn message(text: &str) -> Occurrence {
    let body = Bytes::copy_from_slice(text.as_bytes());
    Occurrence::Message { message_id: OpaqueId::random(), body, binary: false }
}

async fn call(
    integration: &CompiledIntegration,
    pools: &BackendPools,
    occurrence: &Occurrence,
) -> Result<Answer, IntegrationError> {
    let connection = ConnectionFacts {
        id: OpaqueId::random(),
        api_id: "chat".into(),
        stage: "prod".into(),
        domain_name: "chat.example.com".into(),
        source_ip: [203, 0, 113, 7].into(),
        user_agent: None,
        connected_at_ms: 1_708_326_702_789,
        authorization: None,
    };
    let event = Event {
        connection: &connection,
        route_key: "sendmessage",
        occurrence,
        request_id: OpaqueId::random(),
        at_ms: 1_708_326_702_790,
        stage_variables: &BTreeMap::new(),
        trace: None,
    };
    timeout(DEADLINE, integration.call(pools, &event)).await.expect("a call ends in time")
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let all = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(DEADLINE, all).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_message_reaches_the_backend_unchanged_and_its_answer_comes_back() {
    let backend = Backend::start(|seen| {
        let body = Full::new(seen.body.clone());
        Response::builder().status(201).header("X-Answer", "yes").body(body).unwrap()
    })
    .await;
    let pools = pools(PoolLimits::default());
    let text = "{\"action\" : \"é\"}\r\n";
    let answer = call(&post(&backend.uri("/messages?a=1")), &pools, &message(text)).await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["x-answer"], "yes");
    assert_eq!(answer.body, text);
    assert!(!answer.binary);
    let seen = backend.seen().remove(0);
    assert_eq!((seen.method, seen.uri.to_string().as_str()), (Method::POST, "/messages?a=1"));
    assert_eq!(seen.body, text);
    assert_eq!(seen.headers["host"], backend.address.to_string());
    assert_eq!(seen.headers["content-length"], text.len().to_string());
    assert!(!seen.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn an_empty_message_is_posted_with_a_content_length_of_0() {
    let backend = Backend::echo().await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&backend.uri("/")), &pools, &message("")).await.unwrap();
    assert!(answer.body.is_empty());
    let headers = backend.seen().remove(0).headers;
    assert_eq!(headers.get_all("content-length").iter().collect::<Vec<_>>(), ["0"]);
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let chunked = |n: usize| {
        let text = format!("answer {n}");
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
            text.len()
        )
    };
    let uri = raw_backend(move |number, mut stream| async move {
        assert_eq!(number, 0, "the first connection serves all calls");
        for n in 0.. {
            if read_request(&mut stream).await.is_none() {
                break;
            }
            stream.write_all(chunked(n).as_bytes()).await.unwrap();
        }
    })
    .await;
    let (pools, integration) = (pools(PoolLimits::default()), post(&uri));
    for n in 0..3 {
        let answer = call(&integration, &pools, &message("x")).await.unwrap();
        assert_eq!(answer.body, format!("answer {n}"));
        assert_eq!(pools.idle_connections(), 1);
    }

    let backend = Backend::echo().await;
    let integration = post(&backend.uri("/"));
    for size in [0, 10, 300_000] {
        let text = "x".repeat(size);
        assert_eq!(call(&integration, &pools, &message(&text)).await.unwrap().body, text);
    }
    assert_eq!(backend.accepted(), 1);
}

/// reliability, 31: a backend that stalls holds its own calls only, and for no longer than their
/// timeout; its connections are not used again.
#[tokio::test]
async fn a_stalled_backend_times_out_while_another_one_answers() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let stalled = raw_backend(move |_, mut stream| {
        let closed = count.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            assert_eq!(read_request(&mut stream).await, None, "no second request comes this way");
            closed.fetch_add(1, SeqCst);
        }
    })
    .await;
    let healthy = Backend::echo().await;
    let pools = pools(PoolLimits { active: 2, ..PoolLimits::default() });
    let slow = compiled(http(&stalled, Method::POST), Duration::from_secs(1));
    let quick = post(&healthy.uri("/"));
    let hi = message("hi");

    // Two hold all that the endpoint may have; the third waits for one of them.
    let started = Instant::now();
    let stalled_calls = async {
        tokio::join!(call(&slow, &pools, &hi), call(&slow, &pools, &hi), call(&slow, &pools, &hi))
    };
    let healthy_calls = async {
        for _ in 0..20 {
            assert_eq!(call(&quick, &pools, &hi).await.unwrap().body, "hi");
        }
        started.elapsed()
    };
    let ((one, two, three), healthy_took) = tokio::join!(stalled_calls, healthy_calls);
    for outcome in [one, two, three] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, IntegrationError::TimedOut(_)), "{error:?}");
        assert_eq!((error.status().as_u16(), error.kind()), (504, "timed_out"));
    }
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert!(healthy_took < Duration::from_millis(900), "{healthy_took:?}");
    // Three, where the third call's second is over a moment after the first one has made room.
    until("the stalled connections are closed", || closed.load(SeqCst) >= 2).await;
    assert_eq!(pools.idle_connections(), 1, "only the healthy backend's is kept");
}

/// The peer reads nothing, so the request itself hangs half sent.
#[tokio::test]
async fn a_call_that_is_cut_off_half_sent_closes_its_connection() {
    let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
    let uri = raw_backend(move |_, mut stream| {
        let told = told.clone();
        async move {
            sleep(Duration::from_millis(300)).await;
            let mut sink = Vec::new();
            let outcome = stream.read_to_end(&mut sink).await;
            told.send((outcome.is_ok(), sink.len())).unwrap();
        }
    })
    .await;
    let pools = pools(PoolLimits::default());
    let integration = compiled(http(&uri, Method::POST), Duration::from_millis(100));
    let huge = message(&"x".repeat(64 << 20));
    let error = call(&integration, &pools, &huge).await.unwrap_err();
    assert!(matches!(error, IntegrationError::TimedOut(_)), "{error:?}");
    let (_, received) = timeout(DEADLINE, tell.recv()).await.expect("the socket closes").unwrap();
    assert!(received < 64 << 20, "the rest is not sent once the call is over");
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_while_idle_is_not_used_and_nothing_is_doubled() {
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let uri = raw_backend(move |_, mut stream| {
        let requests = count.clone();
        async move {
            // One answer that promises more, then the end.
            if read_request(&mut stream).await.is_some() {
                requests.fetch_add(1, SeqCst);
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let (pools, integration) = (pools(PoolLimits::default()), post(&uri));
    for n in 1..=5 {
        assert_eq!(call(&integration, &pools, &message("x")).await.unwrap().body, "ok");
        assert_eq!(requests.load(SeqCst), n);
        until("the close is noticed", || pools.idle_connections() == 0).await;
    }
}

/// The backend took the message and died before it answered: it may have acted on it.
#[tokio::test]
async fn a_message_that_reached_a_dying_connection_is_not_sent_again_but_a_get_is() {
    for (method, expected) in [(Method::POST, 2), (Method::GET, 3)] {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let uri = raw_backend(move |_, mut stream| {
            let requests = count.clone();
            async move {
                while read_request(&mut stream).await.is_some() {
                    // The second request of all, which comes on the reused connection, is dropped.
                    if requests.fetch_add(1, SeqCst) == 1 {
                        return;
                    }
                    stream.write_all(OK).await.unwrap();
                }
            }
        })
        .await;
        let pools = pools(PoolLimits::default());
        let integration = compiled(http(&uri, method.clone()), DEADLINE);
        assert!(call(&integration, &pools, &message("x")).await.is_ok());
        let second = call(&integration, &pools, &message("x")).await;
        match second {
            Ok(answer) => assert_eq!((method, answer.body.as_ref()), (Method::GET, &b"ok"[..])),
            Err(error) => {
                assert_eq!(method, Method::POST);
                assert_eq!((error.kind(), error.status().as_u16()), ("lost", 504));
                assert_eq!(error.error_message().as_str(), "Internal server error");
            }
        }
        assert_eq!(requests.load(SeqCst), expected);
    }
}

#[tokio::test]
async fn a_backend_that_closes_with_each_answer_is_called_on_a_new_connection_each_time() {
    let backend = Backend::start(|_| {
        Response::builder().header("Connection", "close").body(Full::default()).unwrap()
    })
    .await;
    let (pools, integration) = (pools(PoolLimits::default()), post(&backend.uri("/")));
    for n in 1..=3 {
        call(&integration, &pools, &message("x")).await.unwrap();
        assert_eq!((backend.accepted(), pools.idle_connections()), (n, 0));
    }
}

/// A Node server names 5 s; a request that crosses its close on the wire would be lost.
#[tokio::test]
async fn a_connection_is_kept_no_longer_than_the_backend_says() {
    let backend = Backend::start(|_| {
        Response::builder().header("Keep-Alive", "timeout=1").body(Full::default()).unwrap()
    })
    .await;
    let (pools, integration) = (pools(PoolLimits::default()), post(&backend.uri("/")));
    for n in 1..=2 {
        call(&integration, &pools, &message("x")).await.unwrap();
        assert_eq!((backend.accepted(), pools.idle_connections()), (n, 0));
    }
}

#[tokio::test]
async fn idle_connections_are_closed_after_their_lifetime_without_a_call() {
    let closed = Arc::new(AtomicUsize::new(0));
    let count = closed.clone();
    let uri = raw_backend(move |_, mut stream| {
        let closed = count.clone();
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(OK).await.unwrap();
            }
            closed.fetch_add(1, SeqCst);
        }
    })
    .await;
    let limits = PoolLimits { idle_lifetime: Duration::from_millis(300), ..PoolLimits::default() };
    let (pools, integration) = (pools(limits), post(&uri));
    for n in 1..=2 {
        call(&integration, &pools, &message("x")).await.unwrap();
        assert_eq!(pools.idle_connections(), 1);
        until("the backend sees the close", || closed.load(SeqCst) == n).await;
    }
}

#[tokio::test]
async fn no_more_connections_are_kept_than_the_limit_and_no_more_opened_than_the_active_limit() {
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (count, peak) = (open.clone(), most.clone());
    let uri = raw_backend(move |_, mut stream| {
        let (open, most) = (count.clone(), peak.clone());
        async move {
            most.fetch_max(open.fetch_add(1, SeqCst) + 1, SeqCst);
            while read_request(&mut stream).await.is_some() {
                sleep(Duration::from_millis(20)).await;
                stream.write_all(OK).await.unwrap();
            }
            open.fetch_sub(1, SeqCst);
        }
    })
    .await;
    let pools = Arc::new(pools(PoolLimits { active: 4, idle: 2, ..PoolLimits::default() }));
    let integration = Arc::new(post(&uri));
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let (pools, integration) = (pools.clone(), integration.clone());
            tokio::spawn(async move { call(&integration, &pools, &message("x")).await.unwrap() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().body, "ok");
    }
    assert_eq!(most.load(SeqCst), 4);
    until("the surplus is closed", || open.load(SeqCst) == 2).await;
    assert_eq!(pools.idle_connections(), 2);
    drop(pools);
    until("pools that are gone hold no connection", || open.load(SeqCst) == 0).await;
}

/// reliability, 31: dripping a byte at a time is cut by the timeout, in the head and in the body.
#[tokio::test]
async fn a_dripping_backend_is_cut_at_the_timeout() {
    let endless_body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for head in ["HTTP/1.1 200 OK\r\nX-Drip: ", endless_body] {
        let (told, mut tell) = tokio::sync::mpsc::unbounded_channel();
        let drip: &[u8] = if head == endless_body { b"1\r\nx\r\n" } else { b"x" };
        let uri = raw_backend(move |_, mut stream| {
            let told = told.clone();
            async move {
                read_request(&mut stream).await.unwrap();
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(drip).await.is_ok() {
                    sleep(Duration::from_millis(10)).await;
                }
                told.send(()).unwrap();
            }
        })
        .await;
        let pools = pools(PoolLimits::default());
        let integration = compiled(http(&uri, Method::POST), Duration::from_millis(200));
        let started = Instant::now();
        let error = call(&integration, &pools, &message("x")).await.unwrap_err();
        assert!(matches!(error, IntegrationError::TimedOut(_)), "{error:?}");
        assert_eq!(error.error_message().as_str(), "Endpoint request timed out");
        assert!(started.elapsed() < Duration::from_secs(2));
        timeout(DEADLINE, tell.recv()).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn an_answer_of_the_limit_is_taken_and_one_byte_more_is_too_large() {
    let announced = |size: usize| format!("Content-Length: {size}\r\n\r\n{}", "x".repeat(size));
    let unannounced = |size: usize| {
        let half = "x".repeat(size / 2);
        let rest = "x".repeat(size - size / 2);
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{half}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n",
            half.len(),
            rest.len()
        )
    };
    for answer in
        [announced(LIMIT), unannounced(LIMIT), announced(LIMIT + 1), unannounced(LIMIT + 1)]
    {
        let fits = answer == announced(LIMIT) || answer == unannounced(LIMIT);
        let answer: Arc<str> = format!("HTTP/1.1 200 OK\r\n{answer}").into();
        let uri = raw_backend(move |_, mut stream| {
            let answer = answer.clone();
            async move {
                read_request(&mut stream).await.unwrap();
                // The gateway may close before it is all written.
                let _ = stream.write_all(answer.as_bytes()).await;
                read_request(&mut stream).await;
            }
        })
        .await;
        let pools = pools(PoolLimits::default());
        match call(&post(&uri), &pools, &message("x")).await {
            Ok(answer) => {
                assert!(fits);
                assert_eq!(answer.body.len(), LIMIT);
            }
            Err(error) => {
                assert!(
                    !fits && matches!(error, IntegrationError::AnswerTooLarge(LIMIT)),
                    "{error:?}"
                );
                assert_eq!(pools.idle_connections(), 0);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_http_or_ends_early_is_lost() {
    for answer in [
        "",
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nX: y\0z\r\n\r\n",
    ] {
        let uri = raw_backend(move |_, mut stream| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let pools = pools(PoolLimits::default());
        let error = call(&post(&uri), &pools, &message("x")).await.unwrap_err();
        assert!(matches!(error, IntegrationError::Lost { .. }), "{answer:?}: {error:?}");
        assert_eq!(error.blame(), Owner::ApiOwner);
    }
}

/// A head without end must not fill the memory: 64 KiB are read at most.
#[tokio::test]
async fn a_response_head_without_end_is_refused() {
    let uri = raw_backend(|_, mut stream| async move {
        read_request(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Endless: ").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let pools = pools(PoolLimits::default());
    let error = call(&post(&uri), &pools, &message("x")).await.unwrap_err();
    assert!(matches!(error, IntegrationError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_backend_that_is_down_is_unreachable_and_is_called_as_soon_as_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let pools = pools(PoolLimits::default());
    // By name, so that the look-up takes part.
    let integration = post(&format!("http://localhost:{}/", address.port()));
    for _ in 0..3 {
        let error = call(&integration, &pools, &message("x")).await.unwrap_err();
        assert!(matches!(error, IntegrationError::Unreachable { .. }), "{error:?}");
        assert_eq!((error.status().as_u16(), error.blame()), (504, Owner::ApiOwner));
        assert_eq!(error.to_string(), format!("connect to localhost:{}", address.port()));
    }
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        stream.write_all(OK).await.unwrap();
    });
    assert_eq!(call(&integration, &pools, &message("x")).await.unwrap().body, "ok");
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_unreachable() {
    let pools = pools(PoolLimits::default());
    let error = call(&post("http://nowhere.invalid/"), &pools, &message("x")).await.unwrap_err();
    assert!(matches!(error, IntegrationError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_the_answer_and_is_not_followed() {
    let backend = Backend::start(|_| {
        Response::builder().status(302).header("Location", "/other").body(Full::default()).unwrap()
    })
    .await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&backend.uri("/")), &pools, &message("x")).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(backend.seen().len(), 1);
}

/// A backend that answers the `$connect` call as if it were the upgrade itself.
#[tokio::test]
async fn a_backend_that_switches_protocols_is_answered_for_and_not_used_again() {
    let uri = raw_backend(|_, mut stream| async move {
        read_request(&mut stream).await.unwrap();
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        assert_eq!(read_request(&mut stream).await, None);
    })
    .await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&uri), &pools, &message("x")).await.unwrap();
    assert_eq!((answer.status, pools.idle_connections()), (101, 0));
}

#[tokio::test]
async fn an_octet_stream_is_a_binary_answer() {
    let backend = Backend::start(|_| {
        let body = Full::new(Bytes::from_static(&[0, 255]));
        Response::builder().header("Content-Type", "application/octet-stream").body(body).unwrap()
    })
    .await;
    let pools = pools(PoolLimits::default());
    let answer = call(&post(&backend.uri("/")), &pools, &message("x")).await.unwrap();
    assert!(answer.binary);
    assert_eq!(&answer.body[..], [0, 255]);
}

#[tokio::test]
async fn connect_shows_the_backend_the_clients_headers_and_query_and_no_body() {
    let backend = Backend::echo().await;
    let pools = pools(PoolLimits::default());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let occurrence = Occurrence::Connect(UpgradeRequest {
        headers: vec![
            pair("Sec-WebSocket-Protocol", "a, b"),
            pair("Cookie", "c=d"),
            pair("Tidegate-Principal-Id", "forged"),
            pair("Sec-WebSocket-Key", "k"),
        ],
        query: vec![pair("token", "a b")],
        raw_query: "token=a%20b".to_owned(),
    });
    call(&post(&backend.uri("/connect")), &pools, &occurrence).await.unwrap();
    let seen = backend.seen().remove(0);
    assert_eq!(seen.uri, "/connect?token=a%20b");
    assert!(seen.body.is_empty());
    assert_eq!(seen.headers["sec-websocket-protocol"], "a, b");
    assert_eq!(seen.headers["cookie"], "c=d");
    assert_eq!(seen.headers["tidegate-event-type"], "CONNECT");
    assert!(!seen.headers.contains_key("tidegate-principal-id"));
    assert!(!seen.headers.contains_key("sec-websocket-key"));
}

/// tidegate, section 4: any web server is a function.
#[tokio::test]
async fn a_function_gets_the_proxy_event_and_answers_a_proxy_response() {
    let backend = Backend::start(|seen| {
        let event: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        let response = serde_json::json!({
            "statusCode": 403,
            "headers": {"sec-WebSocket-Protocol": "a", "Tidegate-Join": "room"},
            "body": event["body"],
        });
        Response::new(Full::new(response.to_string().into()))
    })
    .await;
    let pools = pools(PoolLimits::default());
    let integration = compiled(function(&backend.uri("/fn")), DEADLINE);
    let answer = call(&integration, &pools, &message("{\"a\": 1}")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (403, &b"{\"a\": 1}"[..]));
    assert_eq!(answer.headers["sec-websocket-protocol"], "a");
    assert_eq!(answer.headers["tidegate-join"], "room");
    let seen = backend.seen().remove(0);
    assert_eq!((seen.method, seen.uri.path()), (Method::POST, "/fn"));
    assert_eq!(seen.headers["content-type"], "application/json");
}

/// websocket-api, 3.2 and 4.4.
#[tokio::test]
async fn a_function_that_fails_or_answers_no_proxy_response_is_a_502() {
    let proper = r#"{"statusCode": 200}"#;
    for (status, body, kind) in [
        (500, proper, "function_error"),
        (201, proper, "function_error"),
        (302, proper, "function_error"),
        (200, "\"hello\"", "malformed_proxy_response"),
        (200, "{\"body\": \"x\"}", "malformed_proxy_response"),
        (200, "", "malformed_proxy_response"),
    ] {
        let backend = Backend::start(move |_| {
            Response::builder().status(status).body(Full::new(body.into())).unwrap()
        })
        .await;
        let pools = pools(PoolLimits::default());
        let integration = compiled(function(&backend.uri("/")), DEADLINE);
        let error = call(&integration, &pools, &message("x")).await.unwrap_err();
        assert_eq!((error.kind(), error.status().as_u16()), (kind, 502));
        assert_eq!(error.error_message().as_str(), "Internal server error");
        assert_eq!(error.blame(), Owner::ApiOwner);
    }
}

#[tokio::test]
async fn a_mock_answers_its_status_and_the_message_itself() {
    let pools = pools(PoolLimits::default());
    let integration = compiled(IntegrationKind::Echo { status: 207 }, DEADLINE);
    let answer = call(&integration, &pools, &message("hi")).await.unwrap();
    assert_eq!((answer.status, answer.body.as_ref()), (207, &b"hi"[..]));
    let connect = Occurrence::Connect(UpgradeRequest::default());
    assert!(call(&integration, &pools, &connect).await.unwrap().body.is_empty());
}

#[tokio::test]
async fn a_unix_socket_is_a_backend() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let reply: Reply = Arc::new(|seen| Response::new(Full::new(seen.body.clone())));
        serve(stream, log, reply).await;
    });
    let pools = pools(PoolLimits::default());
    let integration = post(&format!("unix:{}:/messages", path.display()));
    for text in ["one", "two"] {
        assert_eq!(call(&integration, &pools, &message(text)).await.unwrap().body, text);
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0].uri, "/messages");
    assert_eq!(seen[0].headers["host"], "localhost");

    let gone = post("unix:/nonexistent/app.sock:/");
    let error = call(&gone, &pools, &message("x")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        ("unreachable", "connect to /nonexistent/app.sock")
    );
}

#[tokio::test]
async fn an_https_backend_is_trusted_by_its_authority_and_for_its_name_only() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let reply: Reply = Arc::new(|seen| Response::new(Full::new(seen.body.clone())));
                serve(stream, Arc::default(), reply).await;
            });
        }
    });

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let trusting = BackendPools::new(PoolLimits::default(), BackendTls::with_roots(roots));
    let by_name = post(&format!("https://localhost:{port}/"));
    for text in ["one", "two"] {
        assert_eq!(call(&by_name, &trusting, &message(text)).await.unwrap().body, text);
    }
    assert_eq!(trusting.idle_connections(), 1);

    // The certificate names the host, not its address.
    let by_address = post(&format!("https://127.0.0.1:{port}/"));
    let error = call(&by_address, &trusting, &message("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), ("unreachable", 504));

    let none = BackendTls::with_roots(rustls::RootCertStore::empty());
    let distrusting = BackendPools::new(PoolLimits::default(), none);
    let error = call(&by_name, &distrusting, &message("x")).await.unwrap_err();
    assert!(matches!(error, IntegrationError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_stage_variable_leads_to_the_backend_and_a_missing_one_is_named_at_the_start() {
    let backend = Backend::echo().await;
    let kind = http("http://${stageVariables.host}/x", Method::POST);
    let integration = integration(kind, DEADLINE);
    let variables = BTreeMap::from([("host".to_owned(), backend.address.to_string())]);
    let good = compile(&integration, &variables).unwrap();
    let pools = pools(PoolLimits::default());
    assert_eq!(call(&good, &pools, &message("hi")).await.unwrap().body, "hi");
    let refused = compile(&integration, &BTreeMap::new()).unwrap_err();
    let InvalidIntegration::Uri(InvalidUri::Undefined { name, .. }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(name, "host");
}

/// A task carries this future also while it does not call. Recorded: 152 bytes here, and 1.3 KB on
/// the heap while a call is under way.
#[tokio::test]
async fn a_waiting_call_is_small() {
    let (pools, integration) = (pools(PoolLimits::default()), post("http://backend/"));
    let occurrence = message("x");
    let connection = ConnectionFacts {
        id: OpaqueId::random(),
        api_id: "chat".into(),
        stage: "prod".into(),
        domain_name: "chat.example.com".into(),
        source_ip: [203, 0, 113, 7].into(),
        user_agent: None,
        connected_at_ms: 0,
        authorization: None,
    };
    let event = Event {
        connection: &connection,
        route_key: "x",
        occurrence: &occurrence,
        request_id: OpaqueId::random(),
        at_ms: 0,
        stage_variables: &BTreeMap::new(),
        trace: None,
    };
    let future = integration.call(&pools, &event);
    let size = size_of_val(&future);
    assert!(size <= 192, "a call's future is {size} bytes");
}

/// A call's future can be spawned.
#[test]
fn a_call_is_send() {
    fn is_send<T: Send>(_: T) {}
    fn check(integration: &CompiledIntegration, pools: &BackendPools, event: &Event<'_>) {
        is_send(integration.call(pools, event));
    }
    let _ = check;
}
