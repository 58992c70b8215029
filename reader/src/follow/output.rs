//! Records into frames, frames to the thread that writes the store.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, Instant};

use bincode::Encode;
use common::record::{PositionMark, RecordKind, SourceInfo};
use common::snapshot::SnapshotState;
use common::{Flavor, SchemaId, codec};
use store::FrameBuilder;

use super::{Place, segment_start};
use crate::error::ReaderError;
use crate::event::format::FormatDescription;
use crate::fill::{Fill, Sent};
use crate::snapshot::desk::Desk;

/// A frame is handed over at this size.
const FRAME_BYTES: usize = 1 << 20;
/// And after this time, even if more is coming.
const FRAME_AGE: Duration = Duration::from_millis(5);

/// What the writer is told.
#[derive(Debug)]
pub enum Message {
    /// Append these records.
    Frame(FrameBuilder, Progress),
    /// Begin a new segment with this header.
    Roll(Vec<u8>),
    /// Cut the seq that is begun and not ended.
    Abort,
}

/// What is reached once a frame is durable.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// The place after the last whole transaction in the frame.
    pub place: Place,
    /// Whole transactions in the frame.
    pub transactions: u64,
}

/// Who the source is, for [`SourceInfo`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `@@version`
    pub version: String,
    /// `@@server_uuid`; empty for MariaDB.
    pub server_uuid: String,
    /// `@@server_id`
    pub server_id: u32,
    /// Incarnation.
    pub epoch: u64,
}

/// The output side of a follower.
#[derive(Debug)]
pub struct Output {
    frame: FrameBuilder,
    /// When the first record of `frame` was pushed.
    since: Option<Instant>,
    transactions: u64,
    to: SyncSender<Message>,
    /// Builders that the writer has emptied.
    free: Receiver<FrameBuilder>,
    fill: Arc<Fill>,
    sent: Sent,
    /// A new segment must begin for a reason of our own.
    force: bool,
    /// A part of the open seq was handed over.
    handed_over: bool,
    /// A segment was begun inside the open seq.
    rolled_inside: bool,
    /// Layouts that this segment holds,
    schemas: HashSet<SchemaId>,
    /// and the one that was asked for last.
    last_schema: Option<SchemaId>,
    /// This segment says who the source is.
    told: bool,
    identity: Identity,
    flavor: Flavor,
    format_description: Vec<u8>,
    /// Has the state of snapshots, for the headers of segments.
    desk: Desk,
}

impl Output {
    /// An output that sends to `to` and takes emptied builders from `free`; `fill` says when a new segment begins.
    #[must_use]
    pub fn new(to: SyncSender<Message>, free: Receiver<FrameBuilder>, fill: Arc<Fill>, identity: Identity) -> Self {
        Self {
            frame: FrameBuilder::new(),
            since: None,
            transactions: 0,
            to,
            free,
            fill,
            sent: Sent::default(),
            force: false,
            handed_over: false,
            rolled_inside: false,
            schemas: HashSet::new(),
            last_schema: None,
            told: false,
            identity,
            flavor: Flavor::MySql,
            format_description: Vec::new(),
            desk: Desk::new(SnapshotState::default()),
        }
    }

    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    pub(super) fn set_desk(&mut self, desk: Desk) {
        self.desk = desk;
    }

    /// The next seq begins a segment.
    pub(super) fn begin_segment(&mut self) {
        self.force = true;
    }

    /// Who the source is from now on. Another incarnation begins a segment of its own.
    pub fn set_identity(&mut self, identity: Identity) {
        if self.identity != identity {
            if self.identity.epoch != identity.epoch {
                self.force = true;
            }
            self.identity = identity;
            self.told = false;
        }
    }

    pub(super) fn set_format(&mut self, format: &FormatDescription) {
        if self.format_description != format.without_checksums {
            self.format_description.clone_from(&format.without_checksums);
            self.told = false;
        }
        self.flavor = format.flavor;
    }

    /// To be called before the first record of a seq.
    pub(crate) fn start_seq(&mut self, place: &Place) -> Result<(), ReaderError> {
        if self.must_roll() {
            self.roll(place)?;
        }
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
        Ok(())
    }

    fn must_roll(&self) -> bool {
        self.force || self.fill.is_full(&self.sent)
    }

    /// Begins a new segment, inside a seq too.
    fn roll(&mut self, place: &Place) -> Result<(), ReaderError> {
        self.hand_over(place)?;
        self.force = false;
        self.sent.rolls += 1;
        self.sent.at_roll = self.sent.bytes;
        let snapshots = self.desk.state();
        self.send(Message::Roll(segment_start(place, self.identity.epoch, snapshots)?))?;
        self.schemas.clear();
        self.last_schema = None;
        self.told = false;
        Ok(())
    }

    #[inline]
    pub(crate) fn record<T: Encode>(&mut self, kind: RecordKind, value: &T) -> Result<(), ReaderError> {
        Ok(self.frame.push_with(kind as u8, |buffer| codec::encode_into(value, buffer))?)
    }

    /// Makes sure that a record of this size does not make the frame much larger than it should be; `place` is the one before the open seq.
    pub(super) fn make_room(&mut self, bytes: usize, place: &Place) -> Result<(), ReaderError> {
        if self.frame.len_bytes() + bytes > FRAME_BYTES
            && !self.frame.is_empty()
            && self.frame.len_bytes() >= FRAME_BYTES / 2
        {
            self.hand_over(place)?;
            if self.must_roll() {
                self.rolled_inside = true;
                self.roll(place)?;
            }
            self.source_info()?;
        }
        Ok(())
    }

    /// Says who the source is, if this segment does not.
    pub(super) fn source_info(&mut self) -> Result<(), ReaderError> {
        if self.told {
            return Ok(());
        }
        self.told = true;
        let info = SourceInfo {
            flavor: self.flavor,
            version: self.identity.version.clone(),
            server_uuid: self.identity.server_uuid.clone(),
            server_id: self.identity.server_id,
            epoch: self.identity.epoch,
            format_description: self.format_description.clone(),
        };
        self.record(RecordKind::SourceInfo, &info)
    }

    /// Writes a layout, if this segment lacks it.
    #[inline]
    pub(super) fn schema(&mut self, id: SchemaId, encoded: &[u8]) -> Result<(), ReaderError> {
        if self.last_schema == Some(id) {
            return Ok(());
        }
        self.last_schema = Some(id);
        if self.schemas.insert(id) {
            self.frame.push(RecordKind::Schema as u8, encoded);
        }
        Ok(())
    }

    /// Ends the open seq; `place` is the one after it.
    pub(crate) fn end_seq(&mut self, place: &Place) -> Result<(), ReaderError> {
        self.frame.end_seq();
        self.handed_over = false;
        self.transactions += 1;
        if self.frame.len_bytes() >= FRAME_BYTES || self.transactions.is_multiple_of(32) && self.is_old() {
            self.hand_over(place)?;
        }
        if std::mem::take(&mut self.rolled_inside) {
            // The segment's header stands before this seq, and its beginning may be retained away first: without a mark the GTID would be forgotten
            // after a restart, and the transaction would come again.
            self.mark(place, place.committed_us)?;
        }
        Ok(())
    }

    fn is_old(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= FRAME_AGE)
    }

    pub(super) fn mark(&mut self, place: &Place, source_us: u64) -> Result<(), ReaderError> {
        self.start_seq(place)?;
        let mark = PositionMark { position: place.position.clone(), gtids: place.gtids.clone(), source_us };
        self.record(RecordKind::PositionMark, &mark)?;
        self.end_seq(place)
    }

    /// To be called when nothing more has come for the moment: what is whole goes out at once.
    ///
    /// # Errors
    /// [`ReaderError::WriterGone`]
    pub fn idle(&mut self, place: &Place) -> Result<(), ReaderError> {
        if self.frame.len_seqs() > 0 { self.hand_over(place) } else { Ok(()) }
    }

    /// Forgets the open seq, also what of it is in the store already.
    pub(super) fn abort(&mut self, place: &Place) -> Result<(), ReaderError> {
        self.frame.drop_pending();
        self.rolled_inside = false;
        self.idle(place)?;
        if self.handed_over {
            self.handed_over = false;
            self.send(Message::Abort)?;
            // The layouts written inside it are gone with it.
            self.schemas.clear();
            self.last_schema = None;
            self.told = false;
            self.force = true;
        }
        Ok(())
    }

    /// Sends the frame to the writer, and waits if the writer has enough for now.
    fn hand_over(&mut self, place: &Place) -> Result<(), ReaderError> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let next = match self.free.try_recv() {
            Ok(builder) => builder,
            Err(TryRecvError::Empty) => FrameBuilder::new(),
            Err(TryRecvError::Disconnected) => return Err(ReaderError::WriterGone),
        };
        let frame = std::mem::replace(&mut self.frame, next);
        self.handed_over = frame.pending();
        self.sent.bytes += frame.len_bytes() as u64;
        self.since = self.handed_over.then(Instant::now);
        let progress = Progress { place: place.clone(), transactions: std::mem::take(&mut self.transactions) };
        self.send(Message::Frame(frame, progress))
    }

    fn send(&self, message: Message) -> Result<(), ReaderError> {
        self.to.send(message).map_err(|_| ReaderError::WriterGone)
    }
}
