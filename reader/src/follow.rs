//! From events to records: the state machine that knows where a transaction begins and ends.
//!
//! It does no I/O but handing frames over. It never resumes inside a transaction: after a broken connection the unfinished transaction is dropped
//! ([`Follower::reconnect`]) and comes again whole. A GTID joins the set when its transaction ends, not when it is announced.

mod attend;
mod chunk;
mod output;
mod positions;
mod rows;
mod statement;
mod tables;

#[cfg(test)]
mod tests;

use common::record::{Begin, Commit, CommitKind};
use common::record::{RecordKind, SegmentStart};
use common::snapshot::SnapshotState;
use common::{BinlogPosition, Flavor, Gtid, GtidSet, codec};

use crate::error::ReaderError;
use crate::event::format::FormatDescription;
use crate::event::gtid::{self, Opening};
use crate::event::payload::PayloadEvents;
use crate::event::query::Query;
use crate::event::rows::RowsEvent;
use crate::event::xa::XaPrepare;
use crate::event::{Checksum, Event, EventError, FLAG_IGNORABLE, Header, kind};
use attend::Attending;
pub use output::{Identity, Message, Output, Progress};
use positions::parse_heartbeat_v2;
pub use tables::{Entry, Layouts, Tables};

/// Counts of what was seen since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Bytes of events.
    pub bytes: u64,
    /// Transactions that were stored.
    pub transactions: u64,
    /// Transactions of which nothing was selected.
    pub skipped_transactions: u64,
    /// Rows stored.
    pub rows: u64,
    /// DDL statements stored.
    pub statements: u64,
    /// Administrative and temporary statements passed over.
    pub skipped_statements: u64,
    /// Unknown events that declare themselves ignorable.
    pub ignorable_events: u64,
}

/// A transaction that is begun.
#[derive(Debug, Default)]
struct Group {
    opening: Opening,
    server_id: u32,
    timestamp: u32,
    /// A Begin record was written: it holds something selected.
    begun: bool,
    /// BEGIN was seen (or MariaDB's GTID said so): it ends with a commit, not with its first statement.
    transaction: bool,
    rows: u64,
}

/// Where following stands between two transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// After the last transaction.
    pub position: BinlogPosition,
    /// All transactions so far.
    pub gtids: GtidSet,
    /// Commit time of the last one, microseconds since 1970; 0 if none.
    pub committed_us: u64,
}

/// The state machine.
#[derive(Debug)]
pub struct Follower {
    flavor: Flavor,
    format: Option<FormatDescription>,
    checksum: Checksum,
    /// The end of the last event.
    at: BinlogPosition,
    /// Bytes of the file below this were stored before and are passed over: a file beyond 4 GiB is asked for from its start.
    skip_below: u64,
    place: Place,
    /// `place` moved without anything stored.
    place_moved: bool,
    group: Option<Group>,
    tables: Tables,
    output: Output,
    counts: Counts,
    /// Following by GTID, the source begins with the file that holds the oldest transaction that we lack, which may be one that we have read in part:
    /// until the first transaction comes, what the source says of positions is behind `place`.
    catching_up: bool,
    /// `at` is known, and not only counted on from the head of a file of which the source does not say how long it is.
    at_is_exact: bool,
    /// Reused, so that a commit allocates nothing.
    commit: Commit,
    /// The threads that copy, and what they wait for.
    attending: Attending,
}

/// What a caller should know about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Inside a transaction, or nothing happened.
    Inside,
    /// A transaction ended with this event.
    Committed,
    /// The place moved for another reason (rotation, heartbeat).
    Moved,
}

impl Follower {
    /// A follower that goes on at `place`.
    #[must_use]
    pub fn new(flavor: Flavor, place: Place, tables: Tables, output: Output) -> Self {
        let desk = output.desk().clone();
        let commit = Commit { end: BinlogPosition::default(), kind: CommitKind::Commit, row_count: 0 };
        Self {
            flavor,
            format: None,
            checksum: Checksum::Off,
            at: place.position.clone(),
            skip_below: 0,
            place,
            place_moved: false,
            group: None,
            tables,
            output,
            counts: Counts::default(),
            catching_up: false,
            at_is_exact: false,
            commit,
            attending: Attending::new(desk),
        }
    }

    /// Drops an unfinished transaction.
    ///
    /// # Errors
    /// [`ReaderError::WriterGone`]
    pub fn drop_unfinished(&mut self) -> Result<(), ReaderError> {
        self.group = None;
        self.output.abort(&self.place)
    }

    /// Drops an unfinished transaction and gets ready for a new connection that starts at [`Follower::place`].
    ///
    /// # Errors
    /// [`ReaderError::WriterGone`]
    pub fn reconnect(&mut self, flavor: Flavor, by_gtid: bool) -> Result<(), ReaderError> {
        self.flavor = flavor;
        self.drop_unfinished()?;
        self.lost();
        self.at = self.place.position.clone();
        self.at_is_exact = false;
        self.format = None;
        self.checksum = Checksum::Off;
        self.catching_up = by_gtid;
        self.skip_below = if !by_gtid && self.at.offset > u64::from(u32::MAX) { self.at.offset } else { 0 };
        self.tables.forget_ids();
        Ok(())
    }

    /// Where following would go on.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Replaces the place; only before the first event.
    pub fn set_place(&mut self, place: Place) {
        self.at = place.position.clone();
        self.place = place;
    }

    /// What was seen.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether a transaction is begun and not ended.
    #[must_use]
    pub fn inside(&self) -> bool {
        self.group.is_some()
    }

    /// Frames on their way to the store.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Tables and their layouts.
    pub fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn stream_error(&self, detail: impl Into<String>) -> ReaderError {
        ReaderError::Stream { position: self.at.clone(), detail: detail.into() }
    }

    /// Takes the bytes of one event as they came over the wire.
    ///
    /// # Errors
    /// Whatever must stop the reader; see [`ReaderError`].
    pub fn event(&mut self, bytes: &[u8]) -> Result<Step, ReaderError> {
        self.counts.events += 1;
        self.counts.bytes += bytes.len() as u64;
        let event = match Event::parse(bytes, self.checksum) {
            Ok(event) => event,
            Err(source) => {
                let kind = bytes.get(4).map_or("unknown", |&code| kind::name(code));
                return Err(ReaderError::Event { kind, position: self.at.clone(), source });
            }
        };
        let artificial = event.header.is_artificial()
            || event.header.kind == kind::HEARTBEAT
            || event.header.kind == kind::HEARTBEAT_V2;
        if !artificial {
            self.advance(&event.header);
            if self.catching_up
                && self.at.file == self.place.position.file
                && self.at.offset >= self.place.position.offset
            {
                self.catching_up = false;
            }
            if self.at.offset <= self.skip_below {
                return Ok(Step::Inside);
            }
        }
        self.dispatch(&event, false)
    }

    fn dispatch(&mut self, event: &Event<'_>, inner: bool) -> Result<Step, ReaderError> {
        let code = event.header.kind;
        match self.dispatch_kind(event, inner) {
            Err(Failure::Event(source)) => {
                Err(ReaderError::Event { kind: kind::name(code), position: self.at.clone(), source })
            }
            Err(Failure::Reader(error)) => Err(error),
            Ok(step) => Ok(step),
        }
    }

    fn dispatch_kind(&mut self, event: &Event<'_>, inner: bool) -> Result<Step, Failure> {
        let (header, body) = (&event.header, event.body);
        match header.kind {
            code if RowsEvent::is(code) => {
                self.rows(code, body)?;
                Ok(Step::Inside)
            }
            kind::TABLE_MAP => {
                let id_bytes = self.format()?.table_id_bytes();
                let position = &self.at;
                self.tables.map(self.flavor, body, id_bytes, header.timestamp, position)?;
                Ok(Step::Inside)
            }
            kind::GTID | kind::ANONYMOUS_GTID => {
                self.open_group(header, gtid::parse_gtid(body, header.kind == kind::ANONYMOUS_GTID)?)
            }
            kind::GTID_TAGGED => self.open_group(header, gtid::parse_tagged(body)?),
            kind::MARIADB_GTID => self.open_group(header, gtid::parse_mariadb(body, header.server_id)?),
            kind::XID => {
                self.end_group(header, CommitKind::Commit)?;
                Ok(Step::Committed)
            }
            kind::QUERY => {
                let query = Query::parse(body, self.format()?.post_header_bytes(kind::QUERY))?;
                self.query(header, &query)
            }
            kind::MARIADB_QUERY_COMPRESSED => {
                let (head, packed) = statement::split_compressed(body)?;
                let mut whole = head.to_vec();
                whole.extend_from_slice(&crate::event::rows::decompress(packed)?);
                let query = Query::parse(&whole, self.format()?.post_header_bytes(kind::QUERY))?;
                self.query(header, &query)
            }
            kind::TRANSACTION_PAYLOAD if !inner => {
                let mut events = PayloadEvents::open(body)?;
                let mut step = Step::Inside;
                while let Some(event) = events.next_event()? {
                    if let Step::Committed = self.dispatch(&event, true).map_err(Failure::Reader)? {
                        step = Step::Committed;
                    }
                }
                Ok(step)
            }
            kind::XA_PREPARE => {
                let prepare = XaPrepare::parse(body)?;
                let kind = if prepare.one_phase { CommitKind::Commit } else { CommitKind::XaPrepare { xid: prepare.xid } };
                self.end_group(header, kind)?;
                Ok(Step::Committed)
            }
            kind::ROTATE => self.rotate(header, body),
            kind::FORMAT_DESCRIPTION => {
                let format = FormatDescription::parse(header, body)?;
                self.flavor = format.flavor;
                self.checksum = format.checksum;
                self.output.set_format(&format);
                self.format = Some(format);
                Ok(Step::Inside)
            }
            kind::HEARTBEAT => self.heartbeat(u64::from(header.log_pos), body, false),
            kind::HEARTBEAT_V2 => {
                let (file, offset) = parse_heartbeat_v2(body)?;
                self.heartbeat(offset, file, true)
            }
            kind::INCIDENT => {
                let text = body.get(3..).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
                Err(self.reader_error(format!(
                    "the source reports an incident: its binlog lacks events ({text}); copy the data anew into a new store, or skip it by starting a new \
                     store with source.start"
                )))
            }
            kind::LOAD | kind::NEW_LOAD | kind::CREATE_FILE | kind::APPEND_BLOCK | kind::EXEC_LOAD | kind::DELETE_FILE
            | kind::BEGIN_LOAD_QUERY | kind::EXECUTE_LOAD_QUERY => Err(self.reader_error(format!(
                "LOAD DATA was logged as a statement (event {}), which cannot be replayed exactly; set binlog_format=ROW at the source, and \
                 in the session that ran it",
                kind::name(header.kind)
            ))),
            kind::PRE_GA_WRITE_ROWS | kind::PRE_GA_UPDATE_ROWS | kind::PRE_GA_DELETE_ROWS | kind::START_V3 | kind::SLAVE => {
                Err(self.reader_error(format!("event {} was written by a server before 5.1", kind::name(header.kind))))
            }
            kind::MARIADB_START_ENCRYPTION => Err(self.reader_error(
                "the source sends encrypted events (START_ENCRYPTION); MariaDB decrypts them for replicas, so this comes from a binlog server \
                 that does not: follow the MariaDB server itself",
            )),
            kind::MARIADB_PARTIAL_ROW_DATA => Err(self.reader_error(
                "the source splits row events (PARTIAL_ROW_DATA); raise max_allowed_packet and replica_max_allowed_packet at the source",
            )),
            // Each is known, and says nothing that a store needs: comments, what a statement-format event after it would need (that one stops us),
            // the position of others, group replication's certification, and the ends of files.
            kind::ROWS_QUERY | kind::MARIADB_ANNOTATE_ROWS | kind::INTVAR | kind::RAND | kind::USER_VAR
            | kind::PREVIOUS_GTIDS | kind::MARIADB_GTID_LIST | kind::MARIADB_BINLOG_CHECKPOINT
            | kind::TRANSACTION_CONTEXT | kind::VIEW_CHANGE | kind::STOP | kind::IGNORABLE => Ok(Step::Inside),
            _ if header.flags & FLAG_IGNORABLE != 0 => {
                self.counts.ignorable_events += 1;
                Ok(Step::Inside)
            }
            other => Err(self.reader_error(format!(
                "event type {other} is not known to this version of Logweir, and it is not marked as ignorable; use a newer version"
            ))),
        }
    }

    fn reader_error(&self, detail: impl Into<String>) -> Failure {
        Failure::Reader(self.stream_error(detail))
    }

    fn format(&self) -> Result<&FormatDescription, Failure> {
        self.format.as_ref().ok_or_else(|| self.reader_error("an event came before the format description"))
    }

    fn open_group(&mut self, header: &Header, opening: Opening) -> Result<Step, Failure> {
        if let Some(group) = &self.group {
            return Err(self.reader_error(format!("a transaction begins inside {}", group.name())));
        }
        self.catching_up = false;
        let transaction = opening.mariadb.as_ref().is_some_and(|flags| !flags.standalone);
        self.group = Some(Group {
            opening,
            server_id: header.server_id,
            timestamp: header.timestamp,
            transaction,
            ..Group::default()
        });
        Ok(Step::Inside)
    }

    /// The open transaction; opened here where the source has no GTIDs.
    fn group(&mut self, header: &Header) -> &mut Group {
        self.group.get_or_insert_with(|| Group {
            server_id: header.server_id,
            timestamp: header.timestamp,
            ..Group::default()
        })
    }

    /// Writes the Begin record before the first thing that is stored.
    fn begin(&mut self) -> Result<(), ReaderError> {
        let Some(group) = &mut self.group else { return Ok(()) };
        if group.begun {
            return Ok(());
        }
        if std::mem::take(&mut self.place_moved) {
            // Transactions of which nothing was captured stand before this one: the log's GTID set must not have a gap there, or a restart
            // (perhaps with another selection) would bring them after it.
            self.output.mark(&self.place, self.place.committed_us)?;
        }
        self.output.start_seq(&self.place)?;
        let opening = &mut group.opening;
        let header_us = u64::from(group.timestamp) * 1_000_000;
        let committed_us = opening.committed_us.unwrap_or(header_us);
        let begin = Begin {
            gtid: opening.gtid.clone(),
            server_id: group.server_id,
            committed_us,
            original_us: opening.original_us.unwrap_or(committed_us),
            last_committed: opening.last_committed,
            sequence_number: opening.sequence_number,
        };
        group.begun = true;
        self.output.record(RecordKind::Begin, &begin)?;
        self.output.source_info()
    }

    /// Ends the open transaction.
    fn end_group(&mut self, header: &Header, kind: CommitKind) -> Result<(), ReaderError> {
        self.group(header);
        let Some(group) = self.group.take() else { return Ok(()) };
        let header_us = u64::from(header.timestamp.max(group.timestamp)) * 1_000_000;
        self.place.committed_us = group.opening.committed_us.unwrap_or(header_us);
        self.place.position.offset = self.at.offset;
        if self.place.position.file != self.at.file {
            self.place.position.file.clone_from(&self.at.file);
        }
        if let Some(gtid) = &group.opening.gtid {
            self.place.gtids.insert(gtid);
        }
        if !group.begun {
            self.counts.skipped_transactions += 1;
            self.place_moved = true;
            return Ok(());
        }
        if self.commit.end.file != self.at.file {
            self.commit.end.file.clone_from(&self.at.file);
        }
        self.commit.end.offset = self.at.offset;
        self.commit.kind = kind;
        self.commit.row_count = group.rows;
        self.counts.transactions += 1;
        self.output.record(RecordKind::Commit, &self.commit)?;
        self.output.end_seq(&self.place)
    }

    /// Writes a mark if the place moved without anything stored since; nothing inside a transaction.
    ///
    /// # Errors
    /// [`ReaderError::WriterGone`]
    pub fn mark(&mut self, source_us: u64) -> Result<(), ReaderError> {
        if !self.place_moved || self.group.is_some() {
            return Ok(());
        }
        self.place_moved = false;
        self.output.mark(&self.place, source_us)
    }

    /// Writes a mark for a place that a new store begins at.
    ///
    /// # Errors
    /// [`ReaderError::WriterGone`]
    pub fn first_mark(&mut self) -> Result<(), ReaderError> {
        self.output.mark(&self.place, common::control::now_us())?;
        self.output.idle(&self.place)
    }

    /// Whether the place moved since the last thing that was stored.
    #[must_use]
    pub fn place_moved(&self) -> bool {
        self.place_moved
    }
}

impl Group {
    fn name(&self) -> String {
        match &self.opening.gtid {
            Some(gtid) => format!("transaction {gtid}"),
            None => "a transaction without a GTID".to_owned(),
        }
    }
}

/// Errors inside one event: those of its bytes get its name and place added.
enum Failure {
    Event(EventError),
    Reader(ReaderError),
}

impl From<EventError> for Failure {
    fn from(error: EventError) -> Self {
        Failure::Event(error)
    }
}

impl From<ReaderError> for Failure {
    fn from(error: ReaderError) -> Self {
        Failure::Reader(error)
    }
}

/// The state of the source for a segment's header.
fn segment_start(place: &Place, epoch: u64, snapshots: SnapshotState) -> Result<Vec<u8>, codec::CodecError> {
    codec::encode(&SegmentStart {
        epoch,
        position: place.position.clone(),
        gtids: place.gtids.clone(),
        committed_us: place.committed_us,
        snapshots,
    })
}

/// The GTID of the open transaction, for messages.
impl Follower {
    /// GTID of the transaction that is begun and not ended.
    #[must_use]
    pub fn open_gtid(&self) -> Option<&Gtid> {
        self.group.as_ref().and_then(|group| group.opening.gtid.as_ref())
    }
}
