#![allow(missing_docs)]
use std::{collections::BTreeMap, io::{Read, Write}, sync::Arc, time::{Duration, Instant}};
use bytes::Bytes;
use tidegate_flow::{context::*, opaque_id::OpaqueId};
use tidegate_integrations::*;
use tidegate_model::*;
fn cpu() -> u64 { std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse().unwrap() }
#[test]
fn bench() {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(async move {
            let l = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tx.send(l.local_addr().unwrap()).unwrap();
            loop {
                let (mut s, _) = l.accept().await.unwrap();
                s.set_nodelay(true).unwrap();
                tokio::spawn(async move {
                    use tokio::io::*;
                    let mut b = [0; 4096];
                    loop { if s.read(&mut b).await.unwrap_or(0) == 0 { return }
                      s.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 25\r\n\r\n{\"statusCode\":200       }").await.unwrap(); }
                });
            }
        });
    });
    let addr = rx.recv().unwrap();
    for kind in ["http_proxy", "http_proxy without context", "aws_proxy", "build"] {
        let uri = UriTemplate::parse(&format!("http://{addr}/messages")).unwrap();
        let ik = if kind == "aws_proxy" { IntegrationKind::AwsProxy { uri } } else { IntegrationKind::HttpProxy(HttpTarget { uri, method: http::Method::POST }) };
        let i = Integration { name: "x".into(), kind: ik, timeout: Duration::from_secs(29), request_parameters: vec![], context_headers: kind == "http_proxy" };
        let c = Arc::new(CompiledIntegration::compile("chat", &i, &BTreeMap::new(), 1<<20).unwrap());
        let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        rt.block_on(async {
            let pools = Arc::new(BackendPools::new(PoolLimits::default(), BackendTls::native()));
            let run = |n: usize, conc: usize| { let (c, pools) = (c.clone(), pools.clone()); async move {
                let tasks: Vec<_> = (0..conc).map(|_| { let (c, pools) = (c.clone(), pools.clone()); tokio::spawn(async move {
                    let connection = ConnectionFacts { id: OpaqueId::random(), api_id: "chat".into(), stage: "prod".into(), domain_name: "chat.example.com".into(), source_ip: [1,2,3,4].into(), user_agent: Some("Mozilla".into()), connected_at_ms: 1_708_326_702_789 };
                    let vars = BTreeMap::new();
                    for _ in 0..n { 
                        let occurrence = Occurrence::Message { message_id: OpaqueId::random(), body: Bytes::from_static(b"{\"action\":\"sendmessage\",\"text\":\"hello world hello world\"}"), binary: false };
                        let event = Event { connection: &connection, route_key: "sendmessage", occurrence: &occurrence, request_id: OpaqueId::random(), at_ms: 1_708_326_702_790, stage_variables: &vars };
                        c.call(&pools, &event).await.unwrap(); }
                })}).collect();
                for t in tasks { t.await.unwrap(); }
            }};
            run(100, 100).await;
            for conc in [1usize, 100, 1000] {
                let n = 100_000 / conc;
                let (a, t) = (cpu(), Instant::now());
                run(n, conc).await;
                println!("{kind} x{conc}: {:.2} us cpu, {:.0} k/s", (cpu() - a) as f64 / 1000. / (n * conc) as f64, (n*conc) as f64 / t.elapsed().as_secs_f64() / 1000.);
            }
        });
    }
    let connection = ConnectionFacts { id: OpaqueId::random(), api_id: "chat".into(), stage: "prod".into(), domain_name: "chat.example.com".into(), source_ip: [1,2,3,4].into(), user_agent: Some("Mozilla".into()), connected_at_ms: 1_708_326_702_789 };
    let vars = BTreeMap::new();
    let occurrence = Occurrence::Message { message_id: OpaqueId::random(), body: Bytes::from_static(b"{\"action\":\"sendmessage\",\"text\":\"hello world hello world\"}"), binary: false };
    let event = Event { connection: &connection, route_key: "sendmessage", occurrence: &occurrence, request_id: OpaqueId::random(), at_ms: 1_708_326_702_790, stage_variables: &vars };
    let mut out = Vec::new();
    let t = Instant::now();
    for _ in 0..1_000_000 { out.clear(); tidegate_flow::event::proxy_event(std::hint::black_box(&event), &mut out); std::hint::black_box(&out); }
    println!("proxy_event {} bytes: {:.0} ns", out.len(), t.elapsed().as_nanos() as f64 / 1e6);
    let t = Instant::now();
    for n in 0..1_000_000u64 { std::hint::black_box(request_time(1_708_326_702_790 + n)); }
    println!("request_time: {:.0} ns", t.elapsed().as_nanos() as f64 / 1e6);
    let r = br#"{"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": "{\"a\": 1, \"text\": \"hello\"}"}"#;
    let t = Instant::now();
    for _ in 0..1_000_000 { std::hint::black_box(tidegate_flow::proxy_response::parse(std::hint::black_box(r)).unwrap()); }
    println!("proxy_response: {:.0} ns", t.elapsed().as_nanos() as f64 / 1e6);
    let _ = (std::io::stdin().by_ref().bytes().next().is_none(), std::io::stdout().flush());
}
