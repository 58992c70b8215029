//! A TCP proxy that breaks connections on command: what a bad network does, on one machine and without privileges.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Forward,
    /// Passes everything on, each piece this much later.
    Delay(Duration),
    /// Passes on at most so many bytes a second, in each direction.
    Throttle(u64),
    /// Keeps connections open and passes nothing on: the half-open connection behind a lost route.
    Stall,
    /// Closes all connections, and new ones at once (FIN).
    Close,
    /// The same with a reset (RST).
    Reset,
}

/// A proxy in front of one server. Dropping it closes all its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: watch::Sender<State>,
    shared: Arc<Shared>,
    accept: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// How often all open connections were cut; a connection that sees it change ends.
    cuts: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

#[derive(Debug, Default)]
struct Shared {
    /// Bytes from the server that may still pass before all connections are reset; [`u64::MAX`]: no limit.
    left: AtomicU64,
    passed: AtomicU64,
    accepted: AtomicU64,
}

impl Proxy {
    /// Begins to listen on a free port of 127.0.0.1, in front of `server_port` there.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(server_port: u16) -> Result<Proxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("while starting a proxy")?;
        let port = listener.local_addr()?.port();
        let (state, watched) = watch::channel(State { mode: Mode::Forward, cuts: 0 });
        let shared = Arc::new(Shared { left: AtomicU64::new(u64::MAX), ..Shared::default() });
        let server = SocketAddr::from(([127, 0, 0, 1], server_port));
        let accept = tokio::spawn(accept(listener, server, watched, shared.clone()));
        Ok(Proxy { port, state, shared, accept })
    }

    /// The port to connect to instead of the server's.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what happens from now on, to open connections too.
    pub fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    /// Resets all connections in the middle of whatever passes, after `bytes` more bytes from the server; new ones work again.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.left.store(bytes, Ordering::SeqCst);
    }

    /// Resets all open connections now; new ones work.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Bytes that have passed from the server.
    pub fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Connections end when the state's sender is gone.
        self.accept.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Receiver<State>, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(connection(client, server, state.clone(), shared.clone()));
    }
}

/// One connection: ends when either side closes, or the mode says so.
async fn connection(mut client: TcpStream, server: SocketAddr, state: watch::Receiver<State>, shared: Arc<Shared>) {
    let mode = state.borrow().mode;
    let server = if matches!(mode, Mode::Close | Mode::Reset) { None } else { TcpStream::connect(server).await.ok() };
    let Some(mut server) = server else {
        if mode != Mode::Close {
            reset(&client);
        }
        return;
    };
    // Delays are ours to make, not Nagle's; a connection without that option still works.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let end = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            end = copy(from_client, to_server, state.clone(), None) => end,
            end = copy(from_server, to_client, state.clone(), Some(&shared)) => end,
            end = ordered_end(state) => end,
        }
    };
    if end == End::Reset {
        reset(&client);
        reset(&server);
    }
}

/// Waits for an order that ends this connection.
async fn ordered_end(mut state: watch::Receiver<State>) -> End {
    let cuts = state.borrow().cuts;
    loop {
        let now = *state.borrow_and_update();
        match now.mode {
            Mode::Close => return End::Closed,
            Mode::Reset => return End::Reset,
            _ if now.cuts != cuts => return End::Reset,
            _ => {}
        }
        if state.changed().await.is_err() {
            return End::Closed;
        }
    }
}

/// Copies one direction until it is over.
async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    counted: Option<&Shared>,
) -> End {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = match from.read(&mut buffer).await {
            Ok(0) => return End::Closed,
            Ok(n) => n,
            Err(_) => return End::Reset,
        };
        while state.borrow_and_update().mode == Mode::Stall {
            if state.changed().await.is_err() {
                return End::Closed;
            }
        }
        let mode = state.borrow().mode;
        match mode {
            Mode::Delay(time) => tokio::time::sleep(time).await,
            Mode::Throttle(rate) => tokio::time::sleep(Duration::from_secs_f64(n as f64 / rate.max(1) as f64)).await,
            _ => {}
        }
        let allowed = counted.map_or(n, |shared| shared.allow(n));
        if to.write_all(&buffer[..allowed]).await.is_err() || allowed < n {
            return End::Reset;
        }
    }
}

impl Shared {
    /// How many of the next `n` bytes may pass before the connection is to be cut; all of them if none is.
    fn allow(&self, n: usize) -> usize {
        let left = self.left.load(Ordering::SeqCst);
        let allowed = n.min(usize::try_from(left).unwrap_or(n));
        if left != u64::MAX {
            let rest = left - allowed as u64;
            // The cut is done once; connections made after it work.
            self.left.store(if allowed < n { u64::MAX } else { rest }, Ordering::SeqCst);
        }
        self.passed.fetch_add(allowed as u64, Ordering::SeqCst);
        allowed
    }
}

/// The next close of this connection sends RST instead of FIN.
fn reset(stream: &TcpStream) {
    // On a connection that is gone already there is nothing to reset.
    let _ = stream.set_zero_linger();
}
