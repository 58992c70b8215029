//! Why a reader stops, or pauses.

use common::BinlogPosition;
use common::codec::CodecError;
use common::connect::ConnectError;
use common::row::RowError;
use store::StoreError;

use crate::event::EventError;
use crate::wire::WireError;

/// An error of the reader. [`ReaderError::is_transient`] says whether another connection may mend it.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The replication connection.
    #[error("the source: {0}")]
    Wire(#[from] WireError),
    /// The source lets us not in for queries.
    #[error("the source: {0}")]
    Connect(#[source] Box<ConnectError>),
    /// A query to the source.
    #[error("the source: {what}: {source}")]
    Query {
        /// What was asked.
        what: &'static str,
        /// What went wrong.
        #[source]
        source: mysql_async::Error,
    },
    /// An event that cannot be read.
    #[error("event {kind} before {position}: {source}")]
    Event {
        /// Name of its type.
        kind: &'static str,
        /// The end of the event, or of the last one of which it is known.
        position: BinlogPosition,
        /// Why.
        #[source]
        source: EventError,
    },
    /// Rows that cannot be read.
    #[error("rows before {position}: {source}")]
    Rows {
        /// As above.
        position: BinlogPosition,
        /// Why.
        #[source]
        source: RowError,
    },
    /// Rows of a SELECT that cannot be packed.
    #[error("the source's table {table}: {source}")]
    Pack {
        /// `database.table`
        table: String,
        /// Why.
        #[source]
        source: common::pack::PackError,
    },
    /// The stream holds what must not be passed over in silence, or comes in an order that makes no sense.
    #[error("{position}: {detail}")]
    Stream {
        /// Where.
        position: BinlogPosition,
        /// What, and what to do.
        detail: String,
    },
    /// The source, or what it still has, does not fit the store. Says the next step.
    #[error("{0}")]
    Source(String),
    /// Nothing came from the source for longer than two heartbeats.
    #[error("the source: nothing came for {seconds} s although heartbeats were asked for")]
    Silent {
        /// For how long.
        seconds: u64,
    },
    /// The source ended the stream, as it does when it shuts down.
    #[error("the source ended the stream")]
    Ended,
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// A record that cannot be written.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The thread that writes the store has ended; it has the reason.
    #[error("the store's writer has stopped")]
    WriterGone,
}

impl ReaderError {
    /// Whether the same may work with another connection, or later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            ReaderError::Wire(error) => match error {
                WireError::Io { .. } => true,
                WireError::Server { code, message } => passes(*code, message),
                WireError::Protocol { .. } | WireError::Tls { .. } => false,
            },
            ReaderError::Connect(error) => error.is_transient(),
            ReaderError::Query { source, .. } => match source {
                mysql_async::Error::Io(mysql_async::IoError::Tls(_)) => false,
                mysql_async::Error::Io(_) => true,
                mysql_async::Error::Driver(error) => matches!(
                    error,
                    mysql_async::DriverError::ConnectionClosed | mysql_async::DriverError::PoolDisconnected
                ),
                mysql_async::Error::Server(error) => passes(error.code, &error.message),
                _ => false,
            },
            // A damaged event may have been damaged on its way: asked for again, it is whole or the error stays and is counted.
            ReaderError::Event { source: EventError::Checksum { .. }, .. } => true,
            ReaderError::Silent { .. } | ReaderError::Ended => true,
            _ => false,
        }
    }

    /// The number of the server's error, if a server refused a query.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            ReaderError::Query { source: mysql_async::Error::Server(error), .. } => Some(error.code),
            _ => None,
        }
    }

    /// What the server says, without what was asked; else all of it.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            ReaderError::Query { source: mysql_async::Error::Server(error), .. } => {
                format!("error {}: {}", error.code, error.message)
            }
            other => other.to_string(),
        }
    }

    /// Whether another server of the topology may do better.
    #[must_use]
    pub fn concerns_one_server(&self) -> bool {
        matches!(
            self,
            ReaderError::Connect(_) | ReaderError::Wire(_) | ReaderError::Query { .. } | ReaderError::Source(_)
        )
    }
}

/// Errors that pass by themselves: a server that starts, stops or has no room for another connection.
pub(crate) fn passes(code: u16, message: &str) -> bool {
    match code {
        // too many connections; host blocked for the moment is not (it wants FLUSH HOSTS)
        1040 | 1203 | 1226 => true,
        // shutdown in progress, connection killed, aborted, new connections not allowed
        1053 | 1152 | 1317 | 1927 | 3159 | 3168 => true,
        // lost, gone
        2006 | 2013 => true,
        // 1236 means many things; only a read error of a binlog that is being written passes.
        1236 => {
            let message = message.to_ascii_lowercase();
            message.contains("binlog truncated in the middle of event") || message.contains("i/o error reading")
        }
        _ => false,
    }
}
