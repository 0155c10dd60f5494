//! A backend that answers body and `Content-Type` of what it was sent, on kept connections.
//!
//! Beside the testkit's backends because those keep every request for the test to look at:
//! Autobahn's are hundreds of megabytes.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// The server. Dropping it closes its port and its connections.
pub(crate) struct EchoBackend {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl EchoBackend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(echo(stream));
            }
        });
        Self { address, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for EchoBackend {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers requests until the gateway closes. An error is the connection's end.
async fn echo(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let (mut length, mut content_type) = (0, String::new());
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().map_err(io::Error::other)?,
                "content-type" => content_type = format!("Content-Type: {value}\r\n"),
                "transfer-encoding" => return Err(io::Error::other("a body of unknown length")),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let head = format!("HTTP/1.1 200 OK\r\n{content_type}Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        line.clear();
    }
    Ok(())
}
