//! Replays the kept inputs of the fuzz targets, so that what once broke a parser stays fixed.

use std::{fs, path::Path};

#[path = "../../../../fuzz/src/flow.rs"]
pub mod targets;

/// Runs `target` on each file of its corpus. A failure's output names the file last.
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {folder:?}: {error}"));
    let mut replayed = 0;
    for entry in entries {
        let file = entry.expect("a folder that can be listed").path();
        println!("{}", file.display());
        target(&fs::read(&file).expect("a file that can be read"));
        replayed += 1;
    }
    assert!(replayed > 0, "{folder:?} has no inputs");
}

#[test]
fn selection_expressions_that_were_kept_still_hold() {
    replay("selection_expression", targets::selection_expression);
}

#[test]
fn relaxed_json_that_was_kept_still_holds() {
    replay("relaxed_json", targets::relaxed_json);
}

#[test]
fn uri_templates_that_were_kept_still_hold() {
    replay("uri_template", targets::uri_template);
}

#[test]
fn proxy_responses_that_were_kept_still_hold() {
    replay("proxy_response", targets::proxy_response);
}

#[test]
fn signed_requests_that_were_kept_still_hold() {
    replay("signed_request", targets::signed_request);
}

#[test]
fn trace_contexts_that_were_kept_still_hold() {
    replay("trace_context", targets::trace_context);
}

#[test]
fn access_log_formats_that_were_kept_still_hold() {
    replay("access_log_format", targets::access_log_format);
}

#[test]
fn tokens_that_were_kept_still_hold() {
    replay("jwt", targets::jwt);
}

#[test]
fn policies_that_were_kept_still_hold() {
    replay("policy", targets::policy);
}
