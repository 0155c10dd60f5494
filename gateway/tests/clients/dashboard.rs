//! `examples/dashboard` and its page, in headless Chromium. Screenshots stay in `.tests/screenshots`.

use crate::{
    examples,
    program::{Program, cases},
};

async fn run(program: Program, case: &str) {
    examples::run("dashboard", program, case).await;
}

cases! {
    Program::Node("node/dashboard_in_chromium.mjs"), run:
    charts_move_and_the_numbers_with_them,
    a_late_viewer_has_the_history_at_once,
    a_viewer_who_was_cut_off_comes_back_without_gaps,
    a_slow_viewer_holds_nobody_up_and_gets_the_newest_value,
    an_unsubscribed_chart_is_not_sent,
    the_keyboard_reads_the_past,
    screenshots_are_kept,
}
