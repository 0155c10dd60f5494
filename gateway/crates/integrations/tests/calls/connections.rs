//! Which connections to a backend are kept, shared and closed.
//!
//! In:  calls one after another and at once; backends that close, keep, or say how long they keep.
//! Out: how many connections there were, how many are kept, and how often a request was sent.
//!
//! Holds always: nothing but a GET is ever sent a second time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Response};
use http_body_util::Full;
use tidegate_integrations::PoolLimits;
use tokio::{io::AsyncWriteExt as _, time::sleep};

use crate::{
    DEADLINE,
    backend::{Backend, OK, raw_backend, read_request},
    call, compiled, http, message, pools, post, until,
};

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
