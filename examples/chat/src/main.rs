//! The chat example beside a gateway of its own: `tidegate run examples/chat/gateway.toml`.
//!
//! In:  `CHAT_LISTEN` (default `127.0.0.1:3000`): where the page and the backend are served;
//!      `CHAT_GATEWAY` (default `http://127.0.0.1:8080/demo`): the gateway, or the balancer before
//!      several, and the stage;
//!      `CHAT_ACCESS_KEY_ID` and `CHAT_SECRET_ACCESS_KEY`: signs the calls to it.
//! Out: serves until it is stopped.

use std::{env, error::Error};

use chat_example::{AccessKey, Chat, GatewayAddress};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let given = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let listen = given("CHAT_LISTEN", "127.0.0.1:3000");
    let listen = listen.parse().map_err(|_| format!("CHAT_LISTEN={listen}: want address:port"))?;
    let management_url = given("CHAT_GATEWAY", "http://127.0.0.1:8080/demo");
    let websocket_url = management_url.replacen("http", "ws", 1);

    let mut chat = Chat::bind(listen).map_err(|error| format!("listen on {listen}: {error}"))?;
    match (env::var("CHAT_ACCESS_KEY_ID"), env::var("CHAT_SECRET_ACCESS_KEY")) {
        (Ok(id), Ok(secret)) => chat = chat.signing(AccessKey::new(id, secret)),
        (Err(_), Err(_)) => {}
        _ => return Err("CHAT_ACCESS_KEY_ID and CHAT_SECRET_ACCESS_KEY go together".into()),
    }
    println!("the chat is at http://{}", chat.address());
    chat.serve(GatewayAddress { websocket_url, management_url }).await?;
    Ok(())
}
