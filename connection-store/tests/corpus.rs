//! Replays the kept inputs of the fuzz target, so that what once broke the bus's form stays fixed.

use std::{fs, path::Path};

#[path = "../../fuzz/src/bus.rs"]
pub mod target;

#[test]
fn bus_messages_that_were_kept_still_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/bus");
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {folder:?}: {error}"));
    let mut replayed = 0;
    for entry in entries {
        let file = entry.expect("a folder that can be listed").path();
        println!("{}", file.display());
        target::bus(&fs::read(&file).expect("a file that can be read"));
        replayed += 1;
    }
    assert!(replayed > 0, "{folder:?} has no inputs");
}
