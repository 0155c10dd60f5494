//! Backends that stall, drip, say too much or speak no HTTP (reliability, 31).
//!
//! In:  calls to them, with a timeout and a bound on the answer.
//! Out: the error of each call, and when it came.
//!
//! Holds always: such a call ends in time and at its bound, and its connection is not used again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::Method;
use tidegate_integrations::{IntegrationError, Owner, PoolLimits};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use crate::{
    DEADLINE, LIMIT,
    backend::{Backend, raw_backend, read_request},
    call, compiled, http, message, pools, post, until,
};

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
