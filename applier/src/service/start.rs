//! Where to begin.

use std::path::Path;

use common::record::{Begin, Commit, PositionMark, RecordKind};
use common::{LogPosition, Seq, codec};
use store::Tail;

use crate::error::{ApplyError, Result};
use crate::target::Position;

/// What the command line says beyond the configuration.
#[derive(Clone, Debug, Default)]
pub struct ServiceOptions {
    /// `--from`: where a destination without a position begins.
    pub from: Option<LogPosition>,
    /// `--override-position`: `--from` holds even if the destination has a position.
    pub override_position: bool,
    /// `--until`: apply up to and with this, then end.
    pub until: Option<LogPosition>,
}

/// What was found out before the first transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Everything up to here is applied, or is not wanted.
    pub position: Position,
    /// The last seq to apply, if there is one.
    pub until: Option<Seq>,
}

/// The first seq that a position means: the transaction with that GTID, the first that ends at or after that place or was committed at or
/// after that time, and so on.
///
/// # Errors
/// When the store does not hold it.
pub(super) fn find(dir: &Path, position: &LogPosition) -> Result<Seq> {
    let mut tail = Tail::open(dir)?;
    let (first, last) = (tail.first_seq(), tail.last_seq());
    match position {
        LogPosition::Seq(seq) => return Ok(*seq),
        LogPosition::Earliest => return Ok(first),
        LogPosition::Latest => return Ok(last.next()),
        LogPosition::Gtid(_) | LogPosition::Binlog(_) | LogPosition::TimeMicros(_) => {}
    }
    tail.seek_start()?;
    while let Some(frame) = tail.next()? {
        for record in frame.records() {
            let hit = match (RecordKind::from_byte(record.kind), position) {
                (Some(RecordKind::Begin), LogPosition::Gtid(gtid)) => {
                    codec::decode::<Begin>(record.payload)?.gtid.as_ref() == Some(gtid)
                }
                (Some(RecordKind::Begin), LogPosition::TimeMicros(us)) => {
                    i64::try_from(codec::decode::<Begin>(record.payload)?.committed_us).unwrap_or(i64::MAX) >= *us
                }
                (Some(RecordKind::Commit), LogPosition::Binlog(at)) => {
                    codec::decode::<Commit>(record.payload)?.end >= *at
                }
                (Some(RecordKind::PositionMark), LogPosition::Binlog(at)) => {
                    codec::decode::<PositionMark>(record.payload)?.position >= *at
                }
                _ => false,
            };
            if hit {
                return Ok(record.seq);
            }
        }
    }
    Err(ApplyError::refused(
        format!("{position} is not in the store (seq {first} to {last})"),
        "`logweir store find` shows what it holds",
    ))
}

/// The position to begin at, from what the destination says and the operator wants.
///
/// # Errors
/// When the two contradict each other, or the store has not got what comes next.
pub(super) fn decide(dir: &Path, found: Option<Position>, options: &ServiceOptions) -> Result<Start> {
    let tail = Tail::open(dir)?;
    let (first, last) = (tail.first_seq(), tail.last_seq());
    let until = options.until.as_ref().map(|until| match until {
        LogPosition::Latest => Ok(last),
        until => find(dir, until),
    });
    let until = until.transpose()?;
    let position = match (found, &options.from) {
        (Some(found), Some(from)) if !options.override_position => {
            return Err(ApplyError::refused(
                format!("--from {from}: the destination already stands at seq {}", found.seq),
                "leave --from away to go on there; to apply from elsewhere all the same add --override-position (rows may then be applied twice or be left out)",
            ));
        }
        (found, Some(from)) => {
            let seq = find(dir, from)?;
            let before = Seq(seq.0.saturating_sub(1));
            Position {
                seq: before,
                ..Position {
                    end: Default::default(),
                    gtid: String::new(),
                    beyond: Vec::new(),
                    ..found.unwrap_or_default()
                }
            }
        }
        (Some(found), None) => found,
        // Nothing applied and all there from the first transaction on: begin there.
        (None, None) if first <= Seq::FIRST => Position::default(),
        (None, None) => {
            return Err(ApplyError::refused(
                format!(
                    "the destination has no position, and the store begins at seq {first}: what was before it is gone"
                ),
                format!(
                    "take a new snapshot for this destination; if it already holds everything before, start with --from seq:{first}"
                ),
            ));
        }
    };
    if position.seq > last {
        return Err(ApplyError::refused(
            format!(
                "the destination has applied seq {}, but the store ends at seq {last}: it was rebuilt or restored",
                position.seq
            ),
            "restore the store that the destination followed, or take a new snapshot for this destination",
        ));
    }
    if position.seq.next() < first {
        return Err(ApplyError::refused(
            format!(
                "the destination needs seq {}, but the store begins at seq {first}: retention took what it needed",
                position.seq.next()
            ),
            "take a new snapshot for this destination",
        ));
    }
    Ok(Start { position, until })
}
