//! The folder that the authority is kept in.
//!
//! In:  the environment; a path.
//! Out: where to look; a folder that is the user's own, locked.
//!
//! Holds always: a file in it is written whole or not at all; between one process's lock and its
//! end no other that asks for the lock reads or writes there.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, Permissions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use tempfile::NamedTempFile;

use super::AuthorityError;

/// How long to wait for another process that has the folder; it needs it for some milliseconds.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Where the gateway may keep what outlives it, the best place first: `$XDG_STATE_HOME/tidegate`
/// and `$HOME/.local/state/tidegate`. `environment` gives the value of a variable. Relative paths
/// count for nothing (XDG Base Directory Specification).
pub fn state_folders(environment: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let path = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let mut folders = Vec::new();
    folders.extend(path("XDG_STATE_HOME").map(|state| state.join("tidegate")));
    folders.extend(path("HOME").map(|home| home.join(".local/state/tidegate")));
    folders.dedup();
    folders
}

/// A folder that nobody else can look into, while no other gateway changes it.
pub(super) struct Folder<'p> {
    path: &'p Path,
    _lock: File,
}

/// What a file held.
pub(super) struct Secret {
    pub(super) text: String,
    /// Its permissions admitted more than its owner.
    pub(super) others_could_read: bool,
}

impl<'p> Folder<'p> {
    /// Makes the folder if need be and waits for whoever else has it.
    pub(super) fn locked(path: &'p Path) -> Result<Self, AuthorityError> {
        let failed = |source| AuthorityError::File { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        // It may have been there, with more; only the owner can change that.
        fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    thread::sleep(LOCK_POLL);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(failed(io::Error::other("another process keeps it locked")));
                }
                Err(TryLockError::Error(err)) => return Err(failed(err)),
            }
        }
    }

    /// The text of a file; `None` if there is none.
    pub(super) fn read_secret(&self, name: &str) -> Result<Option<Secret>, AuthorityError> {
        let path = self.path.join(name);
        let read = fs::metadata(&path).and_then(|metadata| {
            let others_could_read = metadata.permissions().mode() & 0o077 != 0;
            Ok(Secret { text: fs::read_to_string(&path)?, others_could_read })
        });
        match read {
            Ok(secret) => Ok(Some(secret)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AuthorityError::File { path, source }),
        }
    }

    /// Replaces a file, for its owner only; leaves it alone if it is so already.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), AuthorityError> {
        let path = self.path.join(name);
        if fs::read(&path).is_ok_and(|found| found == text.as_bytes()) {
            return Ok(());
        }
        let written = NamedTempFile::new_in(self.path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|err| err.error)
        });
        written.map(drop).map_err(|source| AuthorityError::File { path, source })
    }
}
