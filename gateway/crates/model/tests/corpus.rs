//! Replays the kept inputs of the fuzz targets, so that what once broke a parser stays fixed.

use std::{fs, path::Path};

#[path = "../../../../fuzz/src/model.rs"]
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
fn aws_uris_that_were_kept_still_hold() {
    replay("aws_uri", targets::aws_uri);
}
