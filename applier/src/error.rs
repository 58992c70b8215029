//! What can stop an applier, and what it may try again.

use std::fmt;
use std::sync::OnceLock;

use common::codec::CodecError;
use common::connect::ConnectError;
use common::row::RowError;
use common::{BinlogPosition, Gtid, Seq};
use store::StoreError;

use crate::advice::next_step;

/// A source transaction, named in every way that an operator may know it by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Our own number.
    pub seq: Seq,
    /// Its GTID, where the source has them.
    pub gtid: Option<Gtid>,
    /// Its end in the source's binlog, once it has been read.
    pub end: OnceLock<BinlogPosition>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seq {}", self.seq)?;
        if let Some(gtid) = &self.gtid {
            write!(f, ", gtid {gtid}")?;
        }
        if let Some(end) = self.end.get() {
            write!(f, ", binlog end {end}")?;
        }
        Ok(())
    }
}

/// How the destination's rows contradict the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DivergenceKind {
    /// An updated or deleted row is not there.
    Missing,
    /// An inserted (or updated) row meets another one with the same key.
    Conflict,
    /// A foreign key of the destination refuses the change.
    ForeignKey,
}

impl fmt::Display for DivergenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DivergenceKind::Missing => "the row to change is not there",
            DivergenceKind::Conflict => "another row stands in its place",
            DivergenceKind::ForeignKey => "a foreign key refuses it",
        })
    }
}

/// One row at which source and destination contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// How.
    pub kind: DivergenceKind,
    /// `database.table` at the destination.
    pub table: String,
    /// INSERT, UPDATE or DELETE.
    pub op: &'static str,
    /// The condition that should find exactly one row, as SQL.
    pub key: String,
    /// What the log holds: the before and the after image.
    pub wanted: String,
    /// What stands at the destination under that key.
    pub found: String,
    /// What the server said, if it was an error.
    pub server: Option<String>,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "divergence in {}: {} {}: {}; the log holds {}; the destination holds {}",
            self.table, self.op, self.key, self.kind, self.wanted, self.found
        )?;
        if let Some(server) = &self.server {
            write!(f, "; the server says: {server}")?;
        }
        f.write_str(
            "; mend the row, or choose on_divergence = \"overwrite\" or \"skip\" for this destination, then start the applier again",
        )
    }
}

/// Every way in which applying fails.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The destination refused something or went away.
    #[error("while {doing}: {source}{}", next_step(.source))]
    Server {
        /// What was being done, with the object.
        doing: String,
        /// What the server or the connection says.
        #[source]
        source: mysql_async::Error,
    },
    /// The destination lets us not in.
    #[error("destination: {0}")]
    Connect(#[source] ConnectError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not decode: it was written by something else, or is damaged in a way that no checksum saw.
    #[error("a record of the store: {0}; run `logweir store verify`")]
    Codec(#[from] CodecError),
    /// Row images do not fit their layout.
    #[error("rows of {table}: {source}; run `logweir store verify`")]
    Row {
        /// `database.table` at the source.
        table: String,
        /// What is wrong with them.
        #[source]
        source: RowError,
    },
    /// Source and destination contradict each other.
    #[error("{0}")]
    Divergence(Box<Divergence>),
    /// The log asks for something that cannot or must not be done here.
    #[error("{what}; {next}")]
    Refused {
        /// What, with the object.
        what: String,
        /// What the operator can do.
        next: String,
    },
    /// Something of ours is still under way at the destination.
    #[error("{what}; waiting")]
    Busy {
        /// What.
        what: String,
    },
    /// Any of the above, with the transaction in which it happened.
    #[error("stopped at {place}: {error}")]
    At {
        /// The transaction.
        place: Box<Place>,
        /// What happened.
        #[source]
        error: Box<ApplyError>,
    },
}

/// Result with [`ApplyError`].
pub type Result<T> = std::result::Result<T, ApplyError>;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Connect again, read the position and go on from there.
    Retry,
    /// Stop: source and destination differ (exit code 4).
    Diverged,
    /// Stop: the store is damaged (exit code 3).
    Damaged,
    /// Stop (exit code 1).
    Stop,
}

/// Server errors that pass by themselves: deadlock, lock wait, read-only (a failover under way), shutdown, no room, killed session,
/// too many connections, group replication and Galera not ready (MySQL and MariaDB server error references).
const PASSING: &[u16] = &[
    1213, 1205, 1614, 1290, 1836, 1792, 1053, 1152, 1158, 1159, 1160, 1161, 1184, 1021, 1041, 1114, 1040, 1203, 1226,
    1317, 1927, 2006, 2013, 3024, 3101, 3169, 3100, 3168, 4031, 1047, 1969, 3572, 1180, 1030, 1129,
];

/// Whether a server error passes by itself.
pub(crate) fn passes(code: u16) -> bool {
    PASSING.contains(&code)
}

impl ApplyError {
    /// A refusal with its next step.
    pub fn refused(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), next: next.into() }
    }

    /// The same error with the transaction in which it happened; the innermost place stays.
    #[must_use]
    pub fn at(self, place: &Place) -> Self {
        match self {
            at @ Self::At { .. } => at,
            error => Self::At { place: Box::new(place.clone()), error: Box::new(error) },
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Server { source: mysql_async::Error::Server(error), .. } if !passes(error.code) => Verdict::Stop,
            Self::Server { source: mysql_async::Error::Url(_), .. } => Verdict::Stop,
            Self::Server { .. } | Self::Busy { .. } => Verdict::Retry,
            Self::Connect(error) if error.is_transient() => Verdict::Retry,
            Self::Divergence(_) => Verdict::Diverged,
            Self::Store(error) if error.is_damage() => Verdict::Damaged,
            Self::At { error, .. } => error.verdict(),
            Self::Connect(_) | Self::Store(_) | Self::Codec(_) | Self::Row { .. } | Self::Refused { .. } => {
                Verdict::Stop
            }
        }
    }

    /// The server's error number, if a server said no.
    #[must_use]
    pub fn server_code(&self) -> Option<u16> {
        match self {
            Self::Server { source: mysql_async::Error::Server(error), .. } => Some(error.code),
            Self::At { error, .. } => error.server_code(),
            _ => None,
        }
    }
}

/// Says what was being done when the server refused.
pub trait Doing<T> {
    /// Adds `doing` to the error.
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, mysql_async::Error> {
    fn doing(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| ApplyError::Server { doing: doing(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> ApplyError {
        let error = mysql_async::ServerError { code, message: "said".into(), state: "HY000".into() };
        ApplyError::Server { doing: "writing".into(), source: mysql_async::Error::Server(error) }
    }

    #[test]
    fn deadlocks_and_read_only_are_tried_again_and_unknown_columns_are_not() {
        for code in [1213, 1205, 1290, 1836] {
            assert_eq!(server(code).verdict(), Verdict::Retry, "{code}");
        }
        assert_eq!(server(1054).verdict(), Verdict::Stop);
        let place = Place { seq: Seq(7), ..Place::default() };
        assert_eq!(server(1213).at(&place).verdict(), Verdict::Retry);
    }

    #[test]
    fn the_innermost_place_is_reported() {
        let (inner, outer) = (Place { seq: Seq(7), ..Place::default() }, Place { seq: Seq(9), ..Place::default() });
        let text = server(1054).at(&inner).at(&outer).to_string();
        assert!(text.starts_with("stopped at seq 7: while writing"), "{text}");
    }
}
