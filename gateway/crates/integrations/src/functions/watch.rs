//! Notices that a function's files have changed.
//!
//! In:  a folder.
//! Out: one signal for each change, once the files have come to rest.
//!
//! Asked, not told: a look at the folder twice a second costs nothing to keep, works on every file
//! system, and exists only while `watch = true`. Holds always: looking takes at most a twentieth of
//! one core, on a thread of its own; no more than [`MAX_FILES`] files are looked at; links to
//! folders are not followed.

use std::{
    collections::hash_map::DefaultHasher,
    fs::{self, DirEntry},
    hash::{Hash as _, Hasher as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Files beyond these are not watched, which is said once.
const MAX_FILES: usize = 10_000;

/// Folders in folders.
const MAX_DEPTH: usize = 32;

/// What is installed or made, not written. Folders whose names begin with a dot are left out too.
const IGNORED: [&str; 4] = ["node_modules", "__pycache__", "target", "site-packages"];

/// The share of one core that looking may take: a twentieth.
const REST_FACTOR: u32 = 19;

/// Calls `changed` after each change under `directory`, until it says that nobody listens.
pub(super) async fn watch(
    directory: PathBuf,
    interval: Duration,
    mut changed: impl FnMut() -> bool + Send,
) {
    let mut last: Option<Sight> = None;
    // Files were changing at the last look: editors and compilers write in several steps.
    let mut moving = false;
    loop {
        let started = Instant::now();
        let folder = directory.clone();
        // The runtime ends.
        let Ok(sight) = tokio::task::spawn_blocking(move || look(&folder)).await else { return };
        let took = started.elapsed();
        let differs = match &last {
            None => {
                if sight.is_cut_off() {
                    tracing::warn!(
                        directory = %directory.display(),
                        watched = MAX_FILES,
                        "too many files to watch"
                    );
                }
                false
            }
            Some(last) => *last != sight,
        };
        if moving && !differs && !changed() {
            return;
        }
        moving = differs;
        last = Some(sight);
        let rest = if moving { interval / 5 } else { interval };
        tokio::time::sleep(rest.max(took * REST_FACTOR)).await;
    }
}

/// What a folder looks like. Two that are equal show the same files.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    files: usize,
    hash: u64,
}

impl Sight {
    fn is_cut_off(&self) -> bool {
        self.files >= MAX_FILES
    }
}

fn look(directory: &Path) -> Sight {
    let mut hasher = DefaultHasher::new();
    let mut files = 0;
    visit(directory, MAX_DEPTH, &mut files, &mut hasher);
    Sight { files, hash: hasher.finish() }
}

fn visit(directory: &Path, depth: usize, files: &mut usize, hasher: &mut DefaultHasher) {
    // A folder that cannot be read, or has just gone, looks like an empty one.
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut entries: Vec<DirEntry> = entries.flatten().collect();
    // The same files in the same order, so that the same ones are watched where there are too many.
    entries.sort_unstable_by_key(DirEntry::file_name);
    for entry in entries {
        if *files >= MAX_FILES {
            return;
        }
        let name = entry.file_name();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            let ignored = name.as_bytes().starts_with(b".")
                || IGNORED.iter().any(|ignored| name == *ignored)
                || entry.path().join("pyvenv.cfg").exists();
            if depth > 0 && !ignored {
                name.hash(hasher);
                visit(&entry.path(), depth - 1, files, hasher);
                // Where this folder ends.
                0_u8.hash(hasher);
            }
            continue;
        }
        // Of a link, what it leads to.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_file() {
            *files += 1;
            name.hash(hasher);
            metadata.len().hash(hasher);
            metadata.modified().ok().hash(hasher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_is_seen_and_what_is_installed_or_made_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("deep/er")).unwrap();
        for name in [".git", "node_modules", "__pycache__", "target", "env"] {
            fs::create_dir(path(name)).unwrap();
        }
        fs::write(path("env/pyvenv.cfg"), "").unwrap();
        let before = look(folder.path());
        for made in [".git/a", "node_modules/a", "__pycache__/a", "target/a", "env/a"] {
            fs::write(path(made), "new").unwrap();
        }
        assert_eq!(look(folder.path()), before, "what is installed or made does not count");

        let mut sights = vec![before];
        let mut seen = |what: &str| {
            let sight = look(folder.path());
            assert!(!sights.contains(&sight), "{what}");
            sights.push(sight);
        };
        fs::write(path("deep/er/app.py"), "one").unwrap();
        seen("a new file");
        fs::write(path("deep/er/app.py"), "three").unwrap();
        seen("another length");
        let file = fs::File::options().write(true).open(path("deep/er/app.py")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        seen("another time");
        fs::rename(path("deep/er/app.py"), path("deep/app.py")).unwrap();
        seen("another place");
    }
}
