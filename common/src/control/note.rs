//! The last word of a service that stopped: why, for `logweir status` to show when nobody answers any more.
//!
//! It lies beside the socket and may be deleted at any time; no service reads it.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why a service stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopNote {
    /// The process's exit code: 0 done, 1 failed, 2 configuration, 3 the store is damaged, 4 source and destination differ, 5 timed out.
    pub exit_code: i32,
    /// In words, with the next step; empty after a clean stop.
    pub reason: String,
    /// Microseconds since 1970 UTC.
    pub at_us: u64,
}

/// Where the note of the service with this socket lies.
#[must_use]
pub fn note_path(socket: &Path) -> PathBuf {
    socket.with_extension("stopped.json")
}

/// Leaves a note; replaces the one before.
///
/// # Errors
/// If the file cannot be written. The service's exit code and log say the same, so a caller may go on.
pub fn leave_note(socket: &Path, note: &StopNote) -> io::Result<()> {
    let path = note_path(socket);
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, serde_json::to_vec(note).map_err(io::Error::other)?)?;
    std::fs::rename(&temporary, &path)
}

/// The note of the service with this socket; None if there is none that can be read.
#[must_use]
pub fn read_note(socket: &Path) -> Option<StopNote> {
    serde_json::from_slice(&std::fs::read(note_path(socket)).ok()?).ok()
}
