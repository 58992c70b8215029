//! Where in the source's binlog, and where in our log.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::{Gtid, Seq};

/// A place in the source's binary log. The offset is counted by us in 64 bits: the `log_pos` of an event wraps at 4 GiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
pub struct BinlogPosition {
    /// Base name of the binlog file, as the source names it.
    pub file: String,
    /// Byte offset in that file; the first event stands at 4.
    pub offset: u64,
}

impl BinlogPosition {
    /// The number at the end of the file's name; it grows beyond six digits (`binlog.999999`, `binlog.1000000`).
    fn file_number(&self) -> Option<u64> {
        self.file.rsplit_once('.').and_then(|(_, number)| number.parse().ok())
    }
}

/// The order of the binlogs of one server: by the number of the file, then by offset.
impl Ord for BinlogPosition {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = self.file_number().zip(other.file_number());
        let files = numbers.map_or(Ordering::Equal, |(a, b)| a.cmp(&b)).then_with(|| match numbers {
            Some(_) => Ordering::Equal,
            None => self.file.cmp(&other.file),
        });
        // Files of one number but different names are those of different servers; the names keep the order consistent with equality.
        files.then(self.offset.cmp(&other.offset)).then_with(|| self.file.cmp(&other.file))
    }
}

impl PartialOrd for BinlogPosition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for BinlogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

/// A position as users write it: `seq:N`, `gtid:…`, `binlog:FILE:OFFSET`, `time:2026-01-31T12:00:00Z`, `earliest`, `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPosition {
    /// Our own number.
    Seq(Seq),
    /// The transaction with this GTID.
    Gtid(Gtid),
    /// The source transaction that ends at or after this place.
    Binlog(BinlogPosition),
    /// Microseconds since 1970-01-01 UTC of the commit at the source.
    TimeMicros(i64),
    /// The first seq that the store still has.
    Earliest,
    /// The last durable seq at the moment of asking.
    Latest,
}

/// Why a text is not a position.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{text}' is not a position ({reason}); write seq:N, gtid:…, binlog:FILE:OFFSET, time:2026-01-31T12:00:00Z, earliest or latest"
)]
pub struct PositionError {
    text: String,
    reason: String,
}

impl FromStr for LogPosition {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let bad = |reason: String| PositionError { text: text.to_owned(), reason };
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "earliest" if rest.is_empty() => Ok(LogPosition::Earliest),
            "latest" if rest.is_empty() => Ok(LogPosition::Latest),
            "seq" => rest.parse().map(|n| LogPosition::Seq(Seq(n))).map_err(|e| bad(format!("seq: {e}"))),
            "gtid" => rest.parse().map(LogPosition::Gtid).map_err(|e| bad(format!("{e}"))),
            "binlog" => {
                let (file, offset) = rest.rsplit_once(':').ok_or_else(|| bad("the offset is missing".into()))?;
                let offset = offset.parse().map_err(|e| bad(format!("offset: {e}")))?;
                Ok(LogPosition::Binlog(BinlogPosition { file: file.to_owned(), offset }))
            }
            "time" => OffsetDateTime::parse(rest, &Rfc3339)
                .map(|t| LogPosition::TimeMicros((t.unix_timestamp_nanos() / 1000) as i64))
                .map_err(|e| bad(format!("time: {e}"))),
            _ => Err(bad("unknown kind".into())),
        }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogPosition::Seq(seq) => write!(f, "seq:{seq}"),
            LogPosition::Gtid(gtid) => write!(f, "gtid:{gtid}"),
            LogPosition::Binlog(at) => write!(f, "binlog:{at}"),
            LogPosition::TimeMicros(us) => {
                let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(*us) * 1000).map_err(|_| fmt::Error)?;
                write!(f, "time:{}", at.format(&Rfc3339).map_err(|_| fmt::Error)?)
            }
            LogPosition::Earliest => f.write_str("earliest"),
            LogPosition::Latest => f.write_str("latest"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in [
            "seq:17",
            "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:23",
            "gtid:0-11-10",
            "binlog:bin.000003:4711",
            "time:2026-01-31T12:00:00Z",
            "earliest",
            "latest",
        ] {
            assert_eq!(text.parse::<LogPosition>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn binlog_files_are_ordered_by_number_and_not_by_text() {
        let at = |file: &str, offset| BinlogPosition { file: file.into(), offset };
        assert!(at("bin.999999", 9) < at("bin.1000000", 4));
        assert!(at("bin.000002", 9) > at("bin.000002", 4));
        assert!(at("a", 9) < at("b", 4));
    }

    #[test]
    fn what_is_no_position_is_named() {
        for text in ["", "seq:", "seq:-1", "binlog:bin.1", "time:yesterday", "now", "gtid:x"] {
            let error = text.parse::<LogPosition>().unwrap_err().to_string();
            assert!(error.contains("is not a position"), "{error}");
        }
    }
}
