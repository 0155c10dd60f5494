//! `examples/start.sh game` and its page, in headless Chromium; and the tests that the example
//! brings itself. Screenshots stay in `.tests/screenshots`.

use std::path::Path;

use tokio::process::Command;

use crate::{
    examples,
    program::{Program, cases, installed, output_of},
};

async fn run(program: Program, case: &str) {
    examples::run("game", program, case).await;
}

cases! {
    Program::Node("node/game_in_chromium.mjs"), run:
    two_players_play_a_match_to_its_end,
    a_third_and_a_fourth_can_join,
    a_reload_comes_back_into_the_seat,
    a_cut_connection_comes_back_into_the_seat,
    an_illegal_move_is_refused_and_changes_nothing,
    signalling_connects_the_data_channels_of_two_pages,
    signals_reach_the_peer_that_they_name_and_nobody_else,
    an_offer_to_an_unknown_peer_is_answered_with_an_error,
    an_offer_to_a_lost_peer_is_answered_with_an_error,
    what_others_write_stays_text,
    the_board_is_played_with_the_keyboard,
    screenshots_are_kept,
}

/// The rules, a match's clock and the players' places, without a gateway.
#[tokio::test]
async fn the_rules_pass_the_tests_beside_them() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/game");
    let mut command = Command::new(installed("node/bin/node"));
    command.current_dir(example).arg("--test");
    for file in ["rules", "match", "world"] {
        command.arg(format!("tests/{file}.test.js"));
    }
    output_of(command).await;
}
