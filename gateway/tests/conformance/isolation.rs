//! That nobody notices what happens to others (reliability, lines 24 and 31).
//!
//! In:  many sockets at once; backends that are down, stall or drip.
//! Out: that each socket reads its own bytes only, and that other routes answer as before.
//!
//! Holds always: what must not be touched is used while the harm is done. Counts are scaled down
//! to what a test may take; a loss is still 0.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use tidegate_testkit::{Answer, Client, FunctionBackend, HttpBackend};

use crate::{
    echo, echoes,
    resources::{resident, sockets},
    start, text, watched_echo,
};

/// reliability, line 24, at what fits: posts and echoes with the socket's own tag.
#[tokio::test]
async fn no_socket_sees_a_foreign_byte() {
    let function = FunctionBackend::accepting().await;
    let gateway = start(&watched_echo(&function)).await;
    let count = sockets(1000);
    let clients: Vec<_> = stream::iter(0..count)
        .map(|number| {
            let url = format!("{}?tag={number}", gateway.ws_url("prod"));
            async move { (number, Client::connect(&url).await) }
        })
        .buffer_unordered(32)
        .collect()
        .await;
    let mut ids = vec![String::new(); count];
    for event in function.wait_for_events("CONNECT", count).await {
        let tag: usize = text(&event["queryStringParameters"]["tag"]).parse().expect("a number");
        ids[tag] = text(&event["requestContext"]["connectionId"]).to_owned();
    }
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), count, "ids are unique");
    let (ids, gateway) = (&ids, &gateway);
    stream::iter(clients)
        .for_each_concurrent(64, |(number, mut client)| async move {
            let tag = format!("tag {number} of {}", ids[number]);
            let posted = format!("posted to {tag}");
            client.send_text(&tag).await;
            assert_eq!(client.next_text().await, tag);
            let status = gateway.post_to("prod", &ids[number], posted.as_bytes()).await.status;
            assert_eq!(status, 200);
            assert_eq!(client.next_text().await, posted);
            client.send_text(&tag).await;
            assert_eq!(client.next_text().await, tag);
            client.ping_pong().await;
        })
        .await;
}

/// reliability, line 31: down, and healthy within a second of its return.
#[tokio::test]
async fn a_backend_that_is_down_hurts_its_own_route_only_and_is_used_again_at_once() {
    let backend = HttpBackend::answering(Answer::body_of("first")).await;
    let url = backend.url();
    let toml = echo().http_proxy("b", &url).two_way("backend", "b");
    let gateway = start(&toml).await;
    let mut client = Client::connect(&gateway.ws_url("prod")).await;
    let call = r#"{"action":"backend"}"#;
    client.send_text(call).await;
    assert_eq!(client.next_text().await, "first");
    let address = backend.stop().await;
    for _ in 0..20 {
        client.send_text(call).await;
        let frame = client.next_json().await;
        assert_eq!(frame["message"], "Internal server error");
        echoes(&mut client, "other route").await;
    }
    let kind = [("route", "backend"), ("kind", "unreachable")];
    assert_eq!(gateway.metric("tidegate_integration_errors_total", &kind).await, 20.0);
    let _back = HttpBackend::start_at(address, |_| async { Answer::body_of("back") }).await;
    let returned = Instant::now();
    client.send_text(call).await;
    assert_eq!(client.next_text().await, "back");
    assert!(returned.elapsed() < Duration::from_secs(1), "{:?}", returned.elapsed());
}

/// reliability, line 31: stalled, and dripping a byte.
#[tokio::test]
async fn a_backend_that_stalls_or_drips_hurts_its_own_route_only() {
    let healthy = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&healthy);
    let backend = HttpBackend::start(move |request| {
        let healthy = switch.load(Ordering::SeqCst);
        async move {
            match request.path.as_str() {
                _ if healthy => Answer::body_of("healthy"),
                "/stall" => Answer::stall(),
                _ => Answer::body_of(vec![b'x'; 1000]).dripping(Duration::from_millis(100)),
            }
        }
    })
    .await;
    let mut toml = echo();
    for name in ["stall", "drip"] {
        let url = format!("{}/{name}", backend.url());
        toml =
            toml.http_proxy(name, &url).integration(name, "timeout_ms", "1000").two_way(name, name);
    }
    let gateway = start(&toml).await;
    let mut bystander = Client::connect(&gateway.ws_url("prod")).await;
    let memory = resident(&gateway);
    let mut waiting = Vec::new();
    for number in 0..20 {
        let mut client = Client::connect(&gateway.ws_url("prod")).await;
        for _ in 0..5 {
            let name = if number % 2 == 0 { "stall" } else { "drip" };
            client.send_text(&format!(r#"{{"action":"{name}"}}"#)).await;
        }
        waiting.push(client);
    }
    for _ in 0..50 {
        let asked = Instant::now();
        echoes(&mut bystander, "meanwhile").await;
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    for client in &mut waiting {
        for _ in 0..5 {
            assert_eq!(client.next_json().await["message"], "Endpoint request timed out");
        }
    }
    let grown = resident(&gateway).saturating_sub(memory);
    assert!(grown < 16 << 20, "{grown} bytes for 100 calls that stand still");
    healthy.store(true, Ordering::SeqCst);
    for name in ["stall", "drip"] {
        bystander.send_text(&format!(r#"{{"action":"{name}"}}"#)).await;
        assert_eq!(bystander.next_text().await, "healthy");
    }
}
