//! What a configuration leans on outside its text: a folder, files and the environment.
//!
//! In:  names and paths that the configuration gives; relative paths start at `gateway.toml`'s
//!      folder, so that a configuration means the same wherever the process is started.
//! Out: paths, texts, and faults that name the path and the reason.
//!
//! Only regular files are opened: opening a pipe waits for its other end.

use std::{
    fs, io,
    io::Read,
    path::{self, Path, PathBuf},
};

/// More than any secret; keeps a mistaken path from filling the memory.
const SMALL_FILE_BYTES: u64 = 64 * 1024;

/// The folder of `gateway.toml` and the process's environment.
pub(super) struct Surroundings<'a> {
    folder: &'a Path,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Why a path is of no use. Names the path.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error("the path is empty")]
    EmptyPath,
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{} is no file", .0.display())]
    NoFile(PathBuf),
    #[error("{} is a folder: give the path of a file", .0.display())]
    Folder(PathBuf),
    #[error("the folder {} is not there", .0.display())]
    NoFolder(PathBuf),
    #[error("{} is no folder that is there", .0.display())]
    NoSuchFolder(PathBuf),
    #[error("{} has more than {most} bytes", path.display())]
    Large { path: PathBuf, most: u64 },
    #[error("{} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
}

impl<'a> Surroundings<'a> {
    /// `variable` looks up one variable of the environment.
    pub(super) fn new(folder: &'a Path, variable: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { folder, variable }
    }

    /// An environment variable's value, where it is set and is text.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name)
    }

    /// `path`, seen from `gateway.toml`'s folder.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A file that is there and can be opened for reading.
    pub(super) fn readable_file(&self, path: &str) -> Result<PathBuf, FileFault> {
        self.open(path).map(|(path, _)| path)
    }

    /// The text of a file that is not large.
    pub(super) fn read_small_file(&self, path: &str) -> Result<String, FileFault> {
        self.read_text_file(path, SMALL_FILE_BYTES)
    }

    /// The text of a file of at most `most` bytes.
    pub(super) fn read_text_file(&self, path: &str, most: u64) -> Result<String, FileFault> {
        let (path, file) = self.open(path)?;
        let mut bytes = Vec::new();
        match file.take(most + 1).read_to_end(&mut bytes) {
            Err(error) => Err(unreadable(path, &error)),
            Ok(read) if read as u64 > most => Err(FileFault::Large { path, most }),
            Ok(_) => String::from_utf8(bytes).map_err(|_| FileFault::NotText(path)),
        }
    }

    /// A path that a file can be made at: its folder is there, and it is not one itself.
    pub(super) fn writable_place(&self, path: &str) -> Result<PathBuf, FileFault> {
        if path.is_empty() {
            return Err(FileFault::EmptyPath);
        }
        let path = self.resolve(path);
        if path.is_dir() {
            return Err(FileFault::Folder(path));
        }
        match path.parent() {
            // A bare file name seen from the folder `""` stands in the working directory.
            Some(parent) if parent.as_os_str().is_empty() || parent.is_dir() => Ok(path),
            Some(parent) => Err(FileFault::NoFolder(parent.to_owned())),
            None => Err(FileFault::Folder(path)),
        }
    }

    /// A folder that is there, as an absolute path: what is started in it must find it, wherever
    /// the gateway itself was started.
    pub(super) fn folder(&self, path: &str) -> Result<PathBuf, FileFault> {
        if path.is_empty() {
            return Err(FileFault::EmptyPath);
        }
        let path = self.resolve(path);
        match path::absolute(&path) {
            Ok(absolute) if absolute.is_dir() => Ok(absolute),
            Ok(_) => Err(FileFault::NoSuchFolder(path)),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn open(&self, path: &str) -> Result<(PathBuf, fs::File), FileFault> {
        if path.is_empty() {
            return Err(FileFault::EmptyPath);
        }
        let path = self.resolve(path);
        match fs::metadata(&path) {
            Err(error) => return Err(unreadable(path, &error)),
            Ok(metadata) if metadata.is_dir() => return Err(FileFault::Folder(path)),
            Ok(metadata) if !metadata.is_file() => return Err(FileFault::NoFile(path)),
            Ok(_) => {}
        }
        match fs::File::open(&path) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(unreadable(path, &error)),
        }
    }
}

fn unreadable(path: PathBuf, error: &io::Error) -> FileFault {
    FileFault::Unreadable { path, reason: plain_reason(error) }
}

/// An operating system's reason in this project's style: no capital, no error number.
pub(super) fn plain_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}
