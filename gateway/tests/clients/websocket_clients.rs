//! The WebSocket libraries that handlers, bots and tests use most (client contract, section 3).

use tidegate_testkit::GatewayToml;

use crate::{
    gateway,
    program::{Program, cases, output_of},
};

/// Runs a case against a gateway with Amazon's limits.
async fn run(program: Program, case: &str) {
    let (gateway, _function) = gateway(GatewayToml::new()).await;
    let mut command = program.command();
    command.arg(case).env("TIDEGATE_WS_URL", gateway.ws_url("prod"));
    output_of(command).await;
}

mod python_websockets {
    use super::*;

    cases! {
        Program::Python("python/websockets_client.py"), run:
        text_comes_back_as_text,
        a_fragmented_message_arrives_whole,
        a_ping_is_answered,
        the_subprotocol_is_the_backends_choice,
        a_refused_handshake_shows_its_status,
        a_binary_message_closes_with_1003,
        a_frame_over_32_kib_closes_with_1009,
        a_message_over_128_kib_closes_with_1009,
    }
}

mod npm_ws {
    use super::*;

    cases! {
        Program::Node("node/ws_client.mjs"), run:
        text_comes_back_as_text,
        a_fragmented_message_arrives_whole,
        a_ping_is_answered,
        the_subprotocol_is_the_backends_choice,
        a_subprotocol_that_the_backend_does_not_choose_is_not_answered,
        a_refused_handshake_shows_its_status,
        a_binary_message_closes_with_1003,
        a_frame_over_32_kib_closes_with_1009,
        a_close_is_answered,
    }
}
