//! A wire that can be cut: what goes through it stops, and no side is told.
//!
//! In:  connections; the order to hold what they carry, or to let it through.
//! Out: the same bytes at the target, and back.
//!
//! Holds always: while it is held nothing passes, in neither direction, and nothing is lost either:
//! it comes afterwards, as it does when a network is whole again.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// The wire. Dropping it ends its connections.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    passes: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TcpProxy {
    /// A wire to a port of this machine.
    pub async fn start(target_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let passes = watch::Sender::new(true);
        let task = tokio::spawn(accept(listener, target_port, passes.subscribe()));
        Self { address, passes, task }
    }

    /// Where it is to be connected to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nothing passes from now on; connections are taken, and hear nothing.
    pub fn hold(&self) {
        self.passes.send_replace(false);
    }

    /// Everything passes again.
    pub fn release(&self) {
        self.passes.send_replace(true);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The set owns the connections: aborting this task ends them all.
async fn accept(listener: TcpListener, target_port: u16, passes: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                connections.spawn(carry(client, target_port, passes.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, target_port: u16, mut passes: watch::Receiver<bool>) {
    if passes.wait_for(|passes| *passes).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", target_port)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Where one side ends, so does the other: both halves are dropped.
    tokio::select! {
        () = copy(from_client, to_server, passes.clone()) => {}
        () = copy(from_server, to_client, passes) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut passes: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let may_pass = passes.wait_for(|passes| *passes).await.is_ok();
        if !may_pass || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // An end passes no sooner than anything else.
    let _ = passes.wait_for(|passes| *passes).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Answer, DEADLINE, HttpBackend, http_call, within};

    #[tokio::test]
    async fn what_is_held_comes_later() {
        let backend = HttpBackend::answering(Answer::body_of("hello")).await;
        let proxy = TcpProxy::start(backend.address().port()).await;
        let base = format!("http://{}", proxy.address());
        assert_eq!(http_call(&base, "GET", "/", &[], b"").await.text(), "hello");
        proxy.hold();
        let mut held = Box::pin(http_call(&base, "GET", "/", &[], b""));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut held).await.is_err());
        assert_eq!(backend.count(), 1);
        proxy.release();
        assert_eq!(within(DEADLINE, "the answer", held).await.text(), "hello");
    }
}
