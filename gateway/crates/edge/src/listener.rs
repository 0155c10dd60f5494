//! Listening sockets: one per core on the same port, and the loop that accepts.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
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
    tls::PortTls,
    transport::{Peer, Tls},
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// Pause after an accept that failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What each TLS connection begins with: the type of a handshake record (RFC 8446, 5.1). No HTTP
/// request does.
const TLS_HANDSHAKE: u8 = 0x16;

/// Listens with `count` sockets on one port; the kernel spreads new connections over them.
///
/// None listens before all are bound, and none that listens is closed: whoever connects while a
/// node starts is either refused or served. A socket that only looks whether the port is free must
/// not listen either, for closing it would reset those who came meanwhile.
pub(crate) fn bind(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    if address.port() != 0 {
        // Sockets that share a port would silently share it with another process too.
        drop(open(address, Sharing::None)?);
    }
    let first = open(address, Sharing::Port)?;
    let address = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(open(address, Sharing::Port)?);
    }
    for socket in &sockets {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets.into_iter().map(Into::into).collect())
}

/// Whether several sockets may have one port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    None,
    Port,
}

/// A bound socket, which does not listen yet.
fn open(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Port {
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
    Ok(socket)
}

/// Accepts until it is dropped.
pub(crate) async fn accept(
    core: Arc<Core>,
    port: Port,
    listener: TcpListener,
    tls: Arc<ArcSwap<PortTls>>,
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
    tls: Arc<PortTls>,
    deadline: Instant,
) {
    let Accepted { socket, address, local_port } = accepted;
    // A frame is written whole; waiting for more would only delay it.
    let _ = socket.set_nodelay(true);
    if let Some((socket, tls)) = agree_on_tls(socket, address, tls, deadline).await {
        exchange::serve(core, port, Peer { socket, tls, address, local_port }, deadline).await;
    }
}

/// Speaks TLS with the peer if that is what the port speaks with it; `None` if that failed.
async fn agree_on_tls(
    socket: TcpStream,
    address: SocketAddr,
    tls: Arc<PortTls>,
    deadline: Instant,
) -> Option<(TcpStream, Tls)> {
    let config = match &*tls {
        PortTls::Plain => return Some((socket, None)),
        PortTls::Always(config) => config,
        PortTls::ForLoopbackToo(config) => {
            let near = address.ip().to_canonical().is_loopback();
            if !(near && begins_tls(&socket, deadline).await) {
                return Some((socket, None));
            }
            config
        }
    };
    handshake(socket, address, config.clone(), deadline).await
}

/// Whether the first byte that the peer sends begins TLS; the byte stays to be read.
///
/// A peer that sends nothing, or is gone, is left to whoever reads next and sees the same.
async fn begins_tls(socket: &TcpStream, deadline: Instant) -> bool {
    let mut first = [0];
    matches!(timeout_at(deadline, socket.peek(&mut first)).await, Ok(Ok(1)))
        && first == [TLS_HANDSHAKE]
}

async fn handshake(
    socket: TcpStream,
    address: SocketAddr,
    config: Arc<ServerConfig>,
    deadline: Instant,
) -> Option<(TcpStream, Tls)> {
    // Boxed, for it is larger than all that comes after, and gone by then.
    let handshake = Box::pin(TlsAcceptor::from(config).accept(socket));
    match timeout_at(deadline, handshake).await {
        Ok(Ok(stream)) => {
            let (socket, state) = stream.into_inner();
            return Some((socket, Some(Box::new(state))));
        }
        Ok(Err(err)) => debug!(peer = %address, error = %err, "TLS failed"),
        Err(_) => debug!(peer = %address, "TLS handshake timed out"),
    }
    None
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        sync::atomic::{AtomicBool, Ordering},
    };

    use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;
    use crate::DevelopmentAuthority;

    /// What a peer's first bytes and its address make of a connection to a development port.
    enum Seen {
        Tls,
        Plain(Vec<u8>),
        Failed,
    }

    struct Development {
        authority: DevelopmentAuthority,
        _folder: tempfile::TempDir,
    }

    impl Development {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let authority = DevelopmentAuthority::load_or_create(folder.path()).unwrap();
            Self { authority, _folder: folder }
        }

        /// Runs `client` against the port, which takes its peer to be at `address`.
        fn serve(
            &self,
            address: &str,
            wait: Duration,
            client: impl FnOnce(std::net::TcpStream) + Send,
        ) -> Seen {
            let config = self.authority.server_config(&[]).unwrap();
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(move || client(std::net::TcpStream::connect(port).unwrap()));
                runtime.block_on(async {
                    let (socket, _) = listener.accept().unwrap();
                    socket.set_nonblocking(true).unwrap();
                    let socket = TcpStream::from_std(socket).unwrap();
                    let tls = Arc::new(PortTls::ForLoopbackToo(config));
                    let deadline = Instant::now() + wait;
                    let agreed =
                        agree_on_tls(socket, address.parse().unwrap(), tls, deadline).await;
                    match agreed {
                        None => Seen::Failed,
                        Some((_, Some(_))) => Seen::Tls,
                        Some((socket, None)) => {
                            let mut bytes = vec![0; 64];
                            let read = async {
                                socket.readable().await?;
                                socket.try_read(&mut bytes)
                            };
                            let read = tokio::time::timeout(wait, read).await;
                            bytes.truncate(read.map_or(0, |read| read.unwrap_or(0)));
                            Seen::Plain(bytes)
                        }
                    }
                })
            })
        }

        fn tls_client(&self) -> impl FnOnce(std::net::TcpStream) + Send + use<> {
            let mut roots = RootCertStore::empty();
            let ca = CertificateDer::from_pem_file(self.authority.ca_certificate_path()).unwrap();
            roots.add(ca).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            move |socket| {
                let name = ServerName::try_from("localhost").unwrap();
                let client = ClientConnection::new(Arc::new(config), name).unwrap();
                // Ends when the other side has done what the test is about.
                let _ = StreamOwned::new(client, socket).read(&mut [0]);
            }
        }
    }

    /// A port that was free a moment ago.
    fn free_address() -> SocketAddr {
        bind("127.0.0.1:0".parse().unwrap(), 1).unwrap()[0].local_addr().unwrap()
    }

    /// Connects until it is served, or all is over; gives what went wrong but refusals.
    fn connect_early(address: SocketAddr, is_over: &AtomicBool) -> Vec<io::Error> {
        let mut cut = Vec::new();
        while !is_over.load(Ordering::Relaxed) {
            let served = std::net::TcpStream::connect(address).and_then(|mut socket| {
                if socket.local_addr()? == address {
                    // The port is of the range from which the system gave this socket its own, and
                    // it has reached itself.
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                socket.set_read_timeout(Some(LONG))?;
                socket.read_exact(&mut [0])
            });
            match served {
                Ok(()) => break,
                Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(err) => cut.push(err),
            }
        }
        cut
    }

    /// A look whether the port is free once listened for an instant: whoever connected in it was
    /// reset when it was closed.
    #[test]
    fn nobody_who_connects_while_the_listeners_are_opened_is_cut() {
        const CLIENTS: usize = 3;
        let mut rounds = 0;
        let deadline = std::time::Instant::now() + LONG;
        while rounds < 300 {
            let (address, is_over) = (free_address(), AtomicBool::new(false));
            let (mut served, mut cut) = (0, Vec::new());
            std::thread::scope(|scope| {
                let clients =
                    [(); CLIENTS].map(|()| scope.spawn(|| connect_early(address, &is_over)));
                // Somebody else may have been given the port meanwhile.
                for listener in bind(address, 2).iter().flatten().cycle() {
                    if served == CLIENTS || std::time::Instant::now() > deadline {
                        break;
                    }
                    match listener.accept() {
                        Ok((mut socket, _)) => {
                            socket.write_all(b"x").unwrap();
                            served += 1;
                        }
                        Err(_) => std::thread::yield_now(),
                    }
                }
                is_over.store(true, Ordering::Relaxed);
                cut.extend(clients.into_iter().flat_map(|client| client.join().unwrap()));
            });
            assert!(std::time::Instant::now() < deadline, "{served} served in round {rounds}");
            if served > 0 {
                assert!(cut.is_empty(), "in round {rounds}: {cut:?}");
                rounds += 1;
            }
        }
    }

    #[test]
    fn a_port_at_which_another_process_listens_is_not_shared() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let taken = bind(first[0].local_addr().unwrap(), 2).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn every_listener_has_the_port_that_the_first_was_given() {
        let ports = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> = ports.iter().map(|one| one.local_addr().unwrap().port()).collect();
        assert!(ports.len() == 3 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    const SOON: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_loopback_peer_may_speak_tls_with_a_development_port() {
        let development = Development::new();
        for address in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            let seen = development.serve(address, LONG, development.tls_client());
            assert!(matches!(seen, Seen::Tls), "{address}");
        }
    }

    #[test]
    fn a_peer_from_elsewhere_gets_no_tls_from_a_development_port() {
        let development = Development::new();
        let seen = development.serve("192.0.2.1:1", LONG, development.tls_client());
        let Seen::Plain(bytes) = seen else { panic!("its bytes are left to the HTTP parser") };
        assert_eq!(bytes[0], TLS_HANDSHAKE);
    }

    #[test]
    fn plain_http_passes_a_development_port_untouched() {
        let seen = Development::new().serve("127.0.0.1:1", LONG, |mut socket| {
            socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        });
        assert!(matches!(seen, Seen::Plain(bytes) if bytes == b"GET / HTTP/1.1\r\n\r\n"));
    }

    #[test]
    fn a_peer_that_says_nothing_is_left_to_the_reader_of_its_head() {
        let development = Development::new();
        let seen = development.serve("127.0.0.1:1", SOON, |mut socket| {
            let _ = socket.read(&mut [0]);
        });
        assert!(matches!(seen, Seen::Plain(bytes) if bytes.is_empty()));
        let gone = development.serve("127.0.0.1:1", LONG, drop);
        assert!(matches!(gone, Seen::Plain(bytes) if bytes.is_empty()));
    }

    #[test]
    fn a_handshake_that_is_none_ends_the_connection() {
        let development = Development::new();
        let seen = development.serve("127.0.0.1:1", LONG, |mut socket| {
            socket.write_all(b"\x16GET / HTTP/1.1\r\n\r\n").unwrap();
        });
        assert!(matches!(seen, Seen::Failed));
        let slow = development.serve("127.0.0.1:1", SOON, |mut socket| {
            socket.write_all(b"\x16").unwrap();
            let _ = socket.read(&mut [0]);
        });
        assert!(matches!(slow, Seen::Failed), "within the same deadline");
    }
}
