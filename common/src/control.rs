//! How operators talk to running services: a Unix socket in `<store>/run/`, one JSON line for the request and one for the answer.
//!
//! The folder has mode 0700 and the socket 0600, so that only the owner can connect; there is no other check. A socket file that
//! nobody answers on was left by a killed process and is replaced; one that answers belongs to a running service.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

mod note;
mod socket;
mod status;

pub use note::{StopNote, leave_note, note_path, read_note};
pub use status::{
    ApplierStatus, ErrorSeen, Lag, Place, ReaderStatus, ServerSeen, SnapshotSeen, State, TableSeen, Totals, WriteSeen,
    now_us,
};

/// The longest request or answer, in bytes: an answer may name tens of thousands of tables.
const LINE_BYTES_MAX: u64 = 16 << 20;
/// How long either side may take over its line.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take for which the source must be asked what it has, which with many tables takes a while.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(120);
/// Requests that are answered at a time; the next wait.
const CONNECTIONS_MAX: usize = 32;

/// What can be asked of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// How are you? Answered with [`Answer::Reader`] or [`Answer::Applier`].
    Status,
    /// Finish the transaction in hand and wait, connected, until told to go on.
    Pause,
    /// Go on.
    Resume,
    /// As SIGTERM: finish the transaction in hand and exit.
    Stop,
    /// To the reader: copy (again) what these patterns select of what the source includes; empty = everything. Answered with [`Answer::Begun`].
    Snapshot {
        /// Patterns as in `include`.
        tables: Vec<String>,
        /// For this destination only; None = for all.
        destination: Option<String>,
    },
    /// To the reader: end the runs that are under way; tables that are not done stay as they are.
    CancelSnapshot,
    /// To the reader: change a setting of `[snapshot]` that spares the source (`threads`, `max_rows_per_second`, `max_bytes_per_second`, `max_threads_running`,
    /// `max_replica_lag`, `pause_query`) until the next start. An empty value takes the limit away.
    Tune {
        /// The key in `[snapshot]`.
        key: String,
        /// The value, as it would stand in the file, without quotes.
        value: String,
    },
}

impl Request {
    /// How long a service may take over it.
    fn time_max(&self) -> Duration {
        match self {
            Request::Snapshot { .. } => SOURCE_TIMEOUT,
            _ => LINE_TIMEOUT,
        }
    }
}

/// What a service says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "answer")]
pub enum Answer {
    /// The reader's state.
    Reader(Box<ReaderStatus>),
    /// An applier's state.
    Applier(Box<ApplierStatus>),
    /// It is done, or will be as soon as the transaction in hand is.
    Done,
    /// A run is begun.
    Begun {
        /// Its tables, `database.table`.
        tables: Vec<String>,
    },
    /// It cannot be done.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Why a service did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens: the service is not running.
    #[error("not running (nobody answers at {path})")]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// Another process of the same service does.
    #[error("{path} is answered by a running service; stop that one first")]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// It is there and says nothing.
    #[error("the service at {path} did not answer in time")]
    TimedOut {
        /// The socket.
        path: PathBuf,
    },
    /// The bytes that came are no answer.
    #[error("the service at {path} answered with something else: {reason}; is it of another version?")]
    Garbled {
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The system refuses.
    #[error("control socket {path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The folder of the sockets of a store.
#[must_use]
pub fn run_dir(store: &Path) -> PathBuf {
    store.join("run")
}

/// The reader's socket.
#[must_use]
pub fn reader_socket(store: &Path) -> PathBuf {
    run_dir(store).join("reader.sock")
}

/// The socket of a destination's applier.
#[must_use]
pub fn applier_socket(store: &Path, destination: &str) -> PathBuf {
    run_dir(store).join(format!("applier-{destination}.sock"))
}

/// A socket that is being served; dropping it ends that and removes the file.
#[derive(Debug)]
pub struct Served {
    path: PathBuf,
    listener: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.listener.abort();
        // Left behind it would do no harm: the next start replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers requests at `path` (its folder is made if missing) with `handler`, each in a tokio task of its own.
///
/// # Errors
/// [`ControlError::Taken`] if another process answers there; [`ControlError::Io`] if the socket cannot be made.
pub async fn serve<H, F>(path: &Path, handler: H) -> Result<Served, ControlError>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    if socket::connect(path).await.is_ok() {
        return Err(ControlError::Taken { path: path.to_owned() });
    }
    let listener = socket::bind(path).map_err(|source| ControlError::Io { path: path.to_owned(), source })?;
    let listener = tokio::spawn(accept(listener, Arc::new(handler)));
    Ok(Served { path: path.to_owned(), listener })
}

async fn accept<H, F>(listener: UnixListener, handler: Arc<H>)
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let handler = handler.clone();
                tokio::spawn(async move {
                    // A client that goes away or talks nonsense is its own problem.
                    let _ = answer(stream, &*handler).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a request on the control socket is lost");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer<H, F>(stream: UnixStream, handler: &H) -> io::Result<()>
where
    H: Fn(Request) -> F,
    F: Future<Output = Answer>,
{
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(LINE_BYTES_MAX));
    tokio::time::timeout(LINE_TIMEOUT, read.read_line(&mut line)).await??;
    if line.is_empty() {
        // Somebody looked whether we are here.
        return Ok(());
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => tokio::time::timeout(request.time_max(), handler(request)).await?,
        Err(error) => Answer::Refused { reason: format!("not a request: {error}") },
    };
    let mut out = serde_json::to_vec(&answer).map_err(io::Error::other)?;
    out.push(b'\n');
    tokio::time::timeout(LINE_TIMEOUT, write.write_all(&out)).await?
}

/// Asks the service at `path`.
///
/// # Errors
/// [`ControlError::NotRunning`] if nobody listens there, and the others if the answer does not come or cannot be read.
pub async fn request(path: &Path, request: Request) -> Result<Answer, ControlError> {
    let stream = match socket::connect(path).await {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(ControlError::NotRunning { path: path.to_owned() });
        }
        Err(source) => return Err(ControlError::Io { path: path.to_owned(), source }),
    };
    match tokio::time::timeout(request.time_max() + LINE_TIMEOUT, exchange(stream, request)).await {
        Ok(Ok(line)) => serde_json::from_str(&line)
            .map_err(|error| ControlError::Garbled { path: path.to_owned(), reason: error.to_string() }),
        Ok(Err(source)) => Err(ControlError::Io { path: path.to_owned(), source }),
        Err(_) => Err(ControlError::TimedOut { path: path.to_owned() }),
    }
}

async fn exchange(stream: UnixStream, request: Request) -> io::Result<String> {
    let (read, mut write) = stream.into_split();
    let mut line = serde_json::to_vec(&request).map_err(io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await?;
    let mut answer = String::new();
    BufReader::new(read.take(LINE_BYTES_MAX)).read_line(&mut answer).await?;
    Ok(answer)
}

#[cfg(test)]
mod tests;
