//! Replays the kept inputs of the fuzz target, so that what once broke the engine stays fixed.

use std::{fs, path::Path};

#[path = "../../../../fuzz/src/vtl.rs"]
pub mod targets;

#[test]
fn templates_that_were_kept_still_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../fuzz/corpus/vtl");
    let mut replayed = 0;
    for entry in fs::read_dir(&folder).expect("a folder of inputs") {
        let file = entry.expect("a folder that can be listed").path();
        println!("{}", file.display());
        targets::vtl(&fs::read(&file).expect("a file that can be read"));
        replayed += 1;
    }
    assert!(replayed > 0, "{folder:?} has no inputs");
}
