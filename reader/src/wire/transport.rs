//! Bytes to and from the server, plain or through TLS, and the splitting of the incoming ones into packets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::config::Host;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ClientConnection, StreamOwned};

use super::PACKET_BYTES_MAX;

/// Receive buffer: events are borrowed from it. It grows to the largest packet (16 MiB) only if such a packet comes, and shrinks again.
const BUFFER_BYTES: usize = 1 << 20;
/// How long a write may block before the connection counts as broken. Requests are small; only a dead peer blocks them.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
    buffer: Vec<u8>,
    /// Unread bytes stand at `start..end` of the buffer.
    start: usize,
    end: usize,
    /// A payload of several packets so far.
    large: Vec<u8>,
    /// A payload of several packets that was handed out.
    taken: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// Between the two.
    Gone,
}

/// Where a payload stands, and the sequence number of its (last) packet.
#[derive(Debug)]
pub(super) enum Payload {
    Buffer(Range<usize>, u8),
    Large(u8),
}

impl Transport {
    pub(super) fn connect(host: &Host, timeout: Duration) -> io::Result<Self> {
        let stream = match host {
            Host::Tcp(name, port) => Stream::Plain(connect_tcp(name, *port, timeout)?),
            Host::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_nonblocking(true)?;
                Stream::Unix(stream)
            }
        };
        Ok(Self { stream, buffer: vec![0; BUFFER_BYTES], start: 0, end: 0, large: Vec::new(), taken: Vec::new() })
    }

    /// Goes on through TLS.
    pub(super) fn start_tls(&mut self, connection: ClientConnection) -> io::Result<()> {
        if self.start != self.end {
            return Err(io::Error::new(ErrorKind::InvalidData, "the server sent bytes before TLS was set up"));
        }
        match std::mem::replace(&mut self.stream, Stream::Gone) {
            Stream::Plain(stream) => {
                // The handshake is done in blocking mode, here, so that its errors are told apart from later ones.
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(WRITE_TIMEOUT))?;
                let mut tls = StreamOwned::new(connection, stream);
                while tls.conn.is_handshaking() {
                    tls.conn.complete_io(&mut tls.sock)?;
                }
                tls.sock.set_nonblocking(true)?;
                self.stream = Stream::Tls(Box::new(tls));
                Ok(())
            }
            other => {
                self.stream = other;
                Err(ErrorKind::AlreadyExists.into())
            }
        }
    }

    /// Nobody can listen: TLS, or a socket of this machine.
    pub(super) fn is_private(&self) -> bool {
        matches!(self.stream, Stream::Tls(_) | Stream::Unix(_))
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let done = match &mut self.stream {
                Stream::Plain(stream) => stream.write(bytes),
                Stream::Unix(stream) => stream.write(bytes),
                Stream::Tls(stream) => stream.write(bytes),
                Stream::Gone => Err(ErrorKind::NotConnected.into()),
            };
            match done {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.poll(PollFlags::POLLOUT, WRITE_TIMEOUT, None)?
                }
                Err(error) => return Err(error),
            }
        }
        loop {
            let flushed = match &mut self.stream {
                Stream::Tls(stream) => stream.flush(),
                _ => Ok(()),
            };
            match flushed {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.poll(PollFlags::POLLOUT, WRITE_TIMEOUT, None)?
                }
                other => return other,
            }
        }
    }

    fn poll(&self, flags: PollFlags, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let socket = match &self.stream {
            Stream::Plain(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
            Stream::Tls(stream) => stream.sock.as_fd(),
            Stream::Gone => return Err(ErrorKind::NotConnected.into()),
        };
        let millis = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut both = [PollFd::new(socket, flags), PollFd::new(bell.unwrap_or(socket), PollFlags::POLLIN)];
        let fds = if bell.is_some() { both.as_mut_slice() } else { both.split_at_mut(1).0 };
        match poll(fds, millis) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for bytes, or until `bell` can be read; says whether there are bytes.
    pub(super) fn wait(&mut self, timeout: Duration, bell: Option<BorrowedFd<'_>>) -> io::Result<bool> {
        if self.read_some()? {
            return Ok(true);
        }
        self.poll(PollFlags::POLLIN, timeout, bell)?;
        self.read_some()
    }

    /// The next whole payload, if it has arrived. It must be taken before the next call.
    #[inline]
    pub(super) fn packet(&mut self) -> io::Result<Option<Payload>> {
        if !self.taken.is_empty() {
            self.taken = Vec::new();
        }
        loop {
            let have = self.end - self.start;
            if have >= 4 {
                let head = self.buffer.get(self.start..self.start + 4).unwrap_or_default();
                let &[a, b, c, sequence] = head else { return Err(ErrorKind::InvalidData.into()) };
                let len = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
                if have >= 4 + len {
                    let range = self.start + 4..self.start + 4 + len;
                    self.start = range.end;
                    if len < PACKET_BYTES_MAX && self.large.is_empty() {
                        return Ok(Some(Payload::Buffer(range, sequence)));
                    }
                    self.large.extend_from_slice(self.buffer.get(range).unwrap_or_default());
                    if len < PACKET_BYTES_MAX {
                        return Ok(Some(Payload::Large(sequence)));
                    }
                    continue;
                }
                self.make_room(4 + len);
            } else {
                self.make_room(4);
            }
            if !self.read_some()? {
                return Ok(None);
            }
        }
    }

    /// The first byte of a payload that [`Transport::packet`] found.
    #[inline]
    pub(super) fn peek(&self, payload: &Payload) -> Option<u8> {
        match payload {
            Payload::Buffer(range, _) if range.is_empty() => None,
            Payload::Buffer(range, _) => self.buffer.get(range.start).copied(),
            Payload::Large(_) => self.large.first().copied(),
        }
    }

    /// The sequence number and the bytes of a payload that [`Transport::packet`] found.
    #[inline]
    pub(super) fn take(&mut self, payload: Payload) -> (u8, &[u8]) {
        match payload {
            Payload::Buffer(range, sequence) => (sequence, self.buffer.get(range).unwrap_or_default()),
            Payload::Large(sequence) => {
                self.taken = std::mem::take(&mut self.large);
                (sequence, &self.taken)
            }
        }
    }

    /// Makes sure that `count` bytes from `start` on fit into the buffer.
    fn make_room(&mut self, count: usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.buffer.len() > BUFFER_BYTES && count <= BUFFER_BYTES {
                self.buffer.truncate(BUFFER_BYTES);
                self.buffer.shrink_to_fit();
            }
        }
        if self.start + count > self.buffer.len() || self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if count > self.buffer.len() {
            self.buffer.resize(count, 0);
        }
    }

    /// Reads what is there; false if nothing is.
    fn read_some(&mut self) -> io::Result<bool> {
        if self.end == self.buffer.len() {
            return Ok(true); // full of unread bytes
        }
        let target = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            let done = match &mut self.stream {
                Stream::Plain(stream) => stream.read(target),
                Stream::Unix(stream) => stream.read(target),
                Stream::Tls(stream) => stream.read(target),
                Stream::Gone => Err(ErrorKind::NotConnected.into()),
            };
            return match done {
                Ok(0) => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")),
                Ok(count) => {
                    self.end += count;
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            };
        }
    }
}

fn connect_tcp(name: &str, port: u16, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (name, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
