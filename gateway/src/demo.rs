//! `tidegate demo`: the chat example, whole, in one process.

use std::{io, net::SocketAddr, path::Path, process::ExitCode, thread};

use chat_example::{Chat, GatewayAddress, gateway_toml};
use tidegate_edge::StartError;
use tracing::error;

use crate::{config, exit, serve::Served};

/// The stage of `examples/chat/gateway.toml`.
const STAGE: &str = "demo";

/// Starts backend and gateway, says what to open, and serves until a signal.
pub(crate) fn run(listen: SocketAddr, admin: SocketAddr, page: SocketAddr) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => return exit::fail(&err),
    };
    let bound = {
        let _context = runtime.enter();
        Chat::bind(page)
    };
    let chat = match bound {
        Ok(chat) => chat,
        Err(err) => {
            return exit::fail(&io::Error::new(
                err.kind(),
                format!("listen on {page} for the page: {err}; choose another with --page"),
            ));
        }
    };
    let address = chat.address();
    // The example's own file, with the addresses of this run.
    let text = gateway_toml(listen, admin, address);
    let loaded = match config::parse(&text, Path::new(""), "examples/chat/gateway.toml") {
        Ok(loaded) => loaded,
        Err(problems) => return exit::refuse(&problems),
    };
    let served = match Served::start(&loaded.configuration) {
        Ok(served) => served,
        Err(err @ StartError::Listen { .. }) => {
            let message = exit::with_causes(&err);
            let hint = "choose another with --listen or --admin";
            return exit::fail(&io::Error::other(format!("{message}; {hint}")));
        }
        Err(err) => return exit::fail(&err),
    };
    let public = served.gateway().address();
    let gateway = GatewayAddress {
        websocket_url: format!("ws://{public}/{STAGE}"),
        management_url: format!("http://{public}/{STAGE}"),
    };
    let backend = thread::Builder::new().name("chat".to_owned()).spawn(move || {
        if let Err(err) = runtime.block_on(chat.serve(gateway)) {
            error!(error = %err, "the chat's backend ended");
        }
    });
    if let Err(err) = backend {
        return exit::fail(&err);
    }
    announce(address, public);
    served.until_signalled(None)
}

#[expect(clippy::print_stdout, reason = "what to open is what the command is for")]
fn announce(page: SocketAddr, gateway: SocketAddr) {
    println!(
        "\n  The chat is at      http://{page}\n  The gateway is at   ws://{gateway}/{STAGE}\n\n  Open the first in two tabs and say hello. Ctrl-C ends it.\n"
    );
}
