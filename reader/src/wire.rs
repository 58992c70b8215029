//! The replication connection: a MySQL client of our own that only logs in, sets session variables and receives binlog events.
//!
//! Queries go through mysql_async. The event stream does not, because its stream decompresses a whole TRANSACTION_PAYLOAD in memory and
//! swallows what goes wrong in it, does not check checksums, cannot set dump flags, and copies each event twice. Here an event is borrowed from
//! the receive buffer. The packets of the handshake are mysql_common's.

mod auth;
mod dump;
mod query;
mod tls;
mod transport;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use common::config::{Host, Server};

pub use dump::{DumpFrom, DumpRequest};
pub use query::{ResultColumn, TextRow};
use transport::{Payload, Transport};

/// What can go wrong on the connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The server cannot be reached, or the connection broke.
    #[error("connection to {host}: {source}")]
    Io {
        /// `host:port`
        host: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The server answered with an error.
    #[error("{message} (error {code})")]
    Server {
        /// MySQL's error number.
        code: u16,
        /// The server's text.
        message: String,
    },
    /// The server sent what it should not.
    #[error("{host} broke the protocol: {detail}")]
    Protocol {
        /// `host:port`
        host: String,
        /// What was seen.
        detail: String,
    },
    /// TLS cannot be set up.
    #[error("TLS to {host}: {detail}")]
    Tls {
        /// `host:port`
        host: String,
        /// What is wrong.
        detail: String,
    },
}

/// What the stream holds now.
#[derive(Debug)]
pub enum Next<'a> {
    /// An event, whole, with its checksum.
    Event(&'a [u8]),
    /// Nothing has arrived; [`Wire::wait`] waits for more.
    Idle,
    /// The server ended the stream in order (it is shutting down).
    End,
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Wire {
    transport: Transport,
    host: String,
    /// Sequence number of the next packet.
    sequence: u8,
    /// The server's version, as its greeting says it.
    version: String,
    /// How long the server may be silent while an answer is awaited.
    patience: Duration,
    /// The prepared statement whose rows are being read.
    statement: Option<u32>,
}

/// For answers that come at once; slow queries need more ([`Wire::set_patience`]).
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest payload of one packet; longer ones go on in the next.
const PACKET_BYTES_MAX: usize = 0xff_ffff;

impl Wire {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Any [`WireError`].
    pub fn connect(server: &Server, timeout: Duration) -> Result<Self, WireError> {
        let host = match &server.url.host {
            Host::Tcp(name, port) => format!("{name}:{port}"),
            Host::Unix(path) => path.display().to_string(),
        };
        let transport = Transport::connect(&server.url.host, timeout)
            .map_err(|source| WireError::Io { host: host.clone(), source })?;
        let mut wire =
            Self { transport, host, sequence: 0, version: String::new(), patience: PATIENCE, statement: None };
        auth::login(&mut wire, server)?;
        Ok(wire)
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Runs a statement that answers with OK.
    ///
    /// # Errors
    /// Any [`WireError`]; a statement with a result set is a protocol error.
    pub fn execute(&mut self, statement: &str) -> Result<(), WireError> {
        self.command(0x03, statement.as_bytes())?;
        self.expect_ok()
    }

    fn command(&mut self, command: u8, payload: &[u8]) -> Result<(), WireError> {
        self.sequence = 0;
        let mut packet = vec![command];
        packet.extend_from_slice(payload);
        self.write_packet(&packet)
    }

    fn expect_ok(&mut self) -> Result<(), WireError> {
        let packet = self.read_packet()?;
        match packet.first() {
            Some(0) => Ok(()),
            Some(0xff) => Err(server_error(&packet)),
            other => Err(self.protocol(format!("an answer that starts with {other:?} instead of OK"))),
        }
    }

    fn protocol(&self, detail: impl Into<String>) -> WireError {
        WireError::Protocol { host: self.host.clone(), detail: detail.into() }
    }

    fn io(&self, source: std::io::Error) -> WireError {
        WireError::Io { host: self.host.clone(), source }
    }

    /// Writes one packet; only for payloads below 16 MiB, as all of ours are but a GTID set of a million intervals, which is refused.
    fn write_packet(&mut self, payload: &[u8]) -> Result<(), WireError> {
        if payload.len() >= PACKET_BYTES_MAX {
            return Err(self.protocol(format!("a request of {} bytes is too large", payload.len())));
        }
        let len = (payload.len() as u32).to_le_bytes();
        let mut packet = Vec::with_capacity(payload.len() + 4);
        packet.extend_from_slice(&[len[0], len[1], len[2], self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.transport.write_all(&packet).map_err(|source| self.io(source))
    }

    /// Reads one packet, waiting for it; for the handshake and answers.
    fn read_packet(&mut self) -> Result<Vec<u8>, WireError> {
        let payload = self.await_payload()?;
        let (sequence, packet) = self.transport.take(payload);
        let packet = packet.to_vec();
        self.sequence = sequence.wrapping_add(1);
        Ok(packet)
    }

    /// Waits for a packet, as long as the server is not silent for longer than our patience.
    fn await_payload(&mut self) -> Result<Payload, WireError> {
        let mut deadline = Instant::now() + self.patience;
        loop {
            match self.transport.packet() {
                Ok(Some(payload)) => return Ok(payload),
                Ok(None) => {
                    if Instant::now() > deadline {
                        return Err(self.io(std::io::ErrorKind::TimedOut.into()));
                    }
                    if self.transport.wait(Duration::from_secs(1), None).map_err(|source| self.io(source))? {
                        deadline = Instant::now() + self.patience;
                    }
                }
                Err(source) => return Err(self.io(source)),
            }
        }
    }

    /// The next event, if one has arrived.
    ///
    /// # Errors
    /// Any [`WireError`]
    #[inline]
    pub fn next_event(&mut self) -> Result<Next<'_>, WireError> {
        let range = match self.transport.packet() {
            Ok(Some(range)) => range,
            Ok(None) => return Ok(Next::Idle),
            Err(source) => return Err(self.io(source)),
        };
        let host = &self.host;
        let (_, packet) = self.transport.take(range);
        match packet {
            [0, event @ ..] => Ok(Next::Event(event)),
            [0xff, ..] => Err(server_error(packet)),
            [0xfe, ..] if packet.len() < 9 => Ok(Next::End),
            _ => Err(WireError::Protocol {
                host: host.clone(),
                detail: format!("a packet of the event stream starts with {:?}", packet.first()),
            }),
        }
    }

    /// Waits until something arrives or `timeout` passes; says whether something did.
    ///
    /// # Errors
    /// [`WireError::Io`]
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, WireError> {
        self.wait_or(timeout, None)
    }

    /// The same, until `bell` can be read.
    ///
    /// # Errors
    /// [`WireError::Io`]
    pub fn wait_or(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> Result<bool, WireError> {
        self.transport.wait(timeout, bell).map_err(|source| self.io(source))
    }
}

/// Reads an error packet: 0xff, code, '#' and state, text.
fn server_error(packet: &[u8]) -> WireError {
    let code = match packet {
        [_, low, high, ..] => u16::from_le_bytes([*low, *high]),
        _ => 0,
    };
    let text = packet.get(3..).unwrap_or_default();
    let text = if text.first() == Some(&b'#') { text.get(6..).unwrap_or_default() } else { text };
    WireError::Server { code, message: String::from_utf8_lossy(text).into_owned() }
}
