//! Unix sockets whose path may be longer than the 107 bytes that the system allows.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// `sun_path` holds 108 bytes with the closing zero.
const PATH_BYTES_MAX: usize = 107;

/// Makes the folder (0700) and the socket (0600). A socket file in the way is replaced: the caller knows that nobody answers on it.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    let dir = path.parent().ok_or_else(|| io::Error::other("the socket has no folder"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    std::fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let short = Short::of(path)?;
    // Nobody else can reach it between bind and the change of mode: the folder is closed to them.
    let listener = UnixListener::bind(&short.path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

pub(super) async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = Short::of(path)?;
    UnixStream::connect(&short.path).await
}

/// A path to the same place that is short enough; it works as long as this lives.
struct Short {
    path: PathBuf,
    _dir: Option<File>,
}

impl Short {
    fn of(path: &Path) -> io::Result<Short> {
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(Short { path: path.to_owned(), _dir: None });
        }
        let name = path.file_name().ok_or_else(|| io::Error::other("the socket has no name"))?;
        let dir = File::open(path.parent().unwrap_or(Path::new(".")))?;
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
        Ok(Short { path, _dir: Some(dir) })
    }
}
