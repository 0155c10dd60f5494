//! The files that lead a handler's calls to Amazon's name of its api to this gateway.
//!
//! In:  the system's folder for temporary files.
//! Out: a folder of ours in it, with one file for Python and one for Node, until this is dropped.
//!
//! Holds always: only this user can read or write the folder, and what a worker loads is what this
//! process wrote: a folder that was cleared away, as those for temporary files are, or that is no
//! longer the one that was made, is made anew under another name.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

const FILES: [(&str, &str); 2] = [
    ("sitecustomize.py", include_str!("preload/sitecustomize.py")),
    (NODE_FILE, include_str!("preload/preload.cjs")),
];

/// The file that Node is to require.
pub(super) const NODE_FILE: &str = "preload.cjs";

/// Keeps the folder there.
#[derive(Debug)]
pub(super) struct Preload {
    parent: PathBuf,
    made: Mutex<Option<Folder>>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Preload {
    /// Nothing is written before somebody asks for it.
    pub(super) fn new() -> Self {
        Self { parent: env::temp_dir(), made: Mutex::default() }
    }

    /// The folder, with its files.
    pub(super) fn folder(&self) -> io::Result<PathBuf> {
        let mut made = self.made.lock();
        if let Some(folder) = &*made
            && folder.is_intact()
        {
            return Ok(folder.path.clone());
        }
        let folder = Folder::make(&self.parent)?;
        let path = folder.path.clone();
        *made = Some(folder);
        Ok(path)
    }
}

impl Folder {
    fn make(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("tidegate-preload-{:016x}", rand::random::<u64>()));
        // Fails where the name exists, so that nobody can have made it for us.
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let metadata = fs::symlink_metadata(&path)?;
        let folder = Self { path, device: metadata.dev(), inode: metadata.ino() };
        for (name, text) in FILES {
            fs::write(folder.path.join(name), text)?;
        }
        Ok(folder)
    }

    fn is_the_one_made(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| {
            metadata.is_dir() && (metadata.dev(), metadata.ino()) == (self.device, self.inode)
        })
    }

    fn is_intact(&self) -> bool {
        self.is_the_one_made() && FILES.iter().all(|(name, _)| self.path.join(name).is_file())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_the_one_made() {
            // What remains is cleared away by the system.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_cleared_away_is_made_again_and_goes_with_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let preload = Preload { parent: parent.path().to_owned(), made: Mutex::default() };
        let first = preload.folder().unwrap();
        assert_eq!(fs::metadata(&first).unwrap().mode() & 0o777, 0o700);
        assert_eq!(preload.folder().unwrap(), first);

        fs::remove_file(first.join(NODE_FILE)).unwrap();
        let second = preload.folder().unwrap();
        assert!(second.join(NODE_FILE).is_file());
        assert!(!first.exists());

        fs::remove_dir_all(&second).unwrap();
        fs::create_dir(&second).unwrap();
        let third = preload.folder().unwrap();
        assert_ne!(third, second, "a folder that somebody else made there is not used");
        drop(preload);
        assert!(!third.exists());
        assert!(second.exists(), "nor removed");
    }
}
