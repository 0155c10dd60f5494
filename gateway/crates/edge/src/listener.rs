//! Listening sockets: one per core on the same port, and the loop that accepts.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout_at},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error};

use crate::{
    core_state::Core,
    http::exchange::{self, Port},
    transport::Peer,
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Binds `count` sockets to one port; the kernel spreads new connections over them.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    if address.port() != 0 {
        // Sockets that share a port would silently share it with another process too.
        drop(open(address, false)?);
    }
    let first = open(address, true)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(open(address, true)?);
    }
    Ok(sockets)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if let IpAddr::V6(ip) = address.ip()
        && ip.is_unspecified()
    {
        // [::] serves IPv4 too, whatever the system's default.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts until it is dropped.
pub(crate) async fn accept(
    core: Arc<Core>,
    port: Port,
    listener: TcpListener,
    tls: Arc<ArcSwapOption<ServerConfig>>,
) {
    let local_port = listener.local_addr().map_or(0, |local| local.port());
    loop {
        match listener.accept().await {
            Ok((socket, address)) => {
                let limit = core.node.snapshot().limits.handshake_timeout;
                let deadline = Instant::now() + limit;
                let tls = tls.load_full();
                let accepted = Accepted { socket, address, local_port };
                tokio::spawn(serve(core.clone(), port, accepted, tls, deadline));
            }
            // The client was gone before it was accepted.
            Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(err) => {
                error!(
                    error = %err,
                    "accept failed; raise the limit of open files if it is exhausted"
                );
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection as it was accepted.
struct Accepted {
    socket: TcpStream,
    address: SocketAddr,
    local_port: u16,
}

async fn serve(
    core: Arc<Core>,
    port: Port,
    accepted: Accepted,
    tls: Option<Arc<ServerConfig>>,
    deadline: Instant,
) {
    let Accepted { socket, address, local_port } = accepted;
    // A frame is written whole; waiting for more would only delay it.
    let _ = socket.set_nodelay(true);
    let (socket, tls) = match tls {
        None => (socket, None),
        Some(config) => {
            // Boxed, for it is larger than all that comes after, and gone by then.
            let handshake = Box::pin(TlsAcceptor::from(config).accept(socket));
            match timeout_at(deadline, handshake).await {
                Ok(Ok(stream)) => {
                    let (socket, state) = stream.into_inner();
                    (socket, Some(Box::new(state)))
                }
                Ok(Err(err)) => return debug!(peer = %address, error = %err, "TLS failed"),
                Err(_) => return debug!(peer = %address, "TLS handshake timed out"),
            }
        }
    };
    exchange::serve(core, port, Peer { socket, tls, address, local_port }, deadline).await;
}
