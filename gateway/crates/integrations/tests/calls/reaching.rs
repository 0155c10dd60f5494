//! How a backend is reached: by name, over TLS, over a Unix socket, through a stage variable.
//!
//! In:  the operator's uris, and backends that are there, are not, or are somebody else.
//! Out: the answer, or that the backend is unreachable.
//!
//! Holds always: an `https` backend that cannot prove its name is not spoken to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use http::{Method, Response};
use http_body_util::Full;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tidegate_integrations::{
    BackendPools, BackendTls, IntegrationError, InvalidIntegration, Owner, PoolLimits,
};
use tidegate_model::InvalidUri;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, UnixListener},
};

use crate::{
    DEADLINE,
    backend::{Backend, OK, Reply, read_request, serve},
    call, compile, http, integration, message, pools, post,
};

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
