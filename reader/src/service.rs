//! The service: open the store, follow the source, connect again, until told to stop.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::config::{Pipeline, Server, SnapshotMode};
use common::control::{ServerSeen, State};
use common::selection::Selection;
use common::snapshot::SnapshotState;
use sha2::{Digest, Sha256};
use store::{Consumer, Retention, StoreError, StoreOptions, Writer};

use crate::board::Board;
use crate::error::ReaderError;
use crate::fill::Fill;
use crate::follow::{Follower, Identity, Message, Output, Place, Tables};
use crate::layouts::InformationSchema;
use crate::resume::Resume;
use crate::snapshot::desk::Desk;
use crate::snapshot::run::{self, RunContext};
use crate::source::{Facts, Session, check};
use crate::wire::{DumpFrom, DumpRequest, Next, Wire, WireError};
use crate::writing::Writing;

/// Frames that wait for the writer: with one in each hand, the memory between source and store is bounded by six of them.
const QUEUE_FRAMES: usize = 4;
/// The first pause before connecting again; it doubles up to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// Events between two looks at the clock.
const LOOK_EVERY: u32 = 512;
/// At most this often a moved position is stored while nothing is captured.
const MARK_EVERY: Duration = Duration::from_millis(500);
/// How long the source may search for our place before the first event comes.
const SEARCH_MAX: Duration = Duration::from_secs(900);
/// How long a transaction in hand may take to arrive when we are told to stop.
const FINISH_MAX: Duration = Duration::from_secs(20);
/// An event with a wrong checksum is asked for this often.
const DAMAGED_MAX: u32 = 3;
/// How long a wait for the source is before other things are looked after.
const TICK: Duration = Duration::from_millis(100);

/// How a service ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Stopped,
}

/// Follows the source of `pipeline` until `board` says stop. Blocks; call it on a thread of its own.
///
/// # Errors
/// What ended it: nothing that another connection would have mended within `retry_for`.
pub fn run(pipeline: &Pipeline, board: &Arc<Board>) -> Result<Ended, ReaderError> {
    let options = StoreOptions {
        segment_bytes: pipeline.store.segment_bytes,
        max_size: pipeline.store.max_size,
        identity: pipeline.name.clone().into_bytes(),
        ..StoreOptions::default()
    };
    let (writer, found) = Writer::open(&pipeline.store.dir, options.clone())?;
    if found.identity != options.identity {
        return Err(ReaderError::Source(format!(
            "the store {} belongs to the pipeline '{}' and not to '{}'; set store.dir",
            pipeline.store.dir.display(),
            String::from_utf8_lossy(&found.identity),
            pipeline.name
        )));
    }
    register_destinations(pipeline)?;
    if let Some(cut) = &found.cut {
        tracing::info!(?cut, "cut an unfinished end off the log");
    }
    let resume = Resume::read(&pipeline.store.dir, &found.last_segment_header_blob)?;
    if let Some(place) = &resume.place {
        board.durable(resume.seq.0, &crate::follow::Progress { place: place.clone(), transactions: 0 });
        tracing::info!(seq = %resume.seq, position = %place.position, gtids = %place.gtids, "the store goes on");
    }

    let (to, from) = mpsc::sync_channel::<Message>(QUEUE_FRAMES);
    let (free_to, free_from) = mpsc::channel();
    let open = (!found.needs_roll).then(|| writer.segment_len());
    let fill = Arc::new(Fill::new(pipeline.store.segment_bytes, open));
    let retention = Retention { keep_for: pipeline.store.retain, max_size: pipeline.store.max_size, evict: false };
    let desk = Desk::new(snapshots(pipeline, &resume));
    let store_bytes = Arc::new(AtomicU64::new(0));
    let mut writing = Writing {
        dir: pipeline.store.dir.clone(),
        options,
        retention,
        from,
        free: free_to,
        fill: fill.clone(),
        board: board.clone(),
        desk: desk.clone(),
        store_bytes: store_bytes.clone(),
    };
    let thread = std::thread::Builder::new()
        .name("store".into())
        .spawn(move || writing.run(writer))
        .map_err(|source| ReaderError::Source(format!("this system gives no thread: {source}")))?;

    let output = Output::new(to, free_from, fill, Identity::default());
    let mut reader = Reader::new(pipeline, board, resume, output, desk.clone())?;
    let scheduler =
        run::start(RunContext { pipeline: pipeline.clone(), desk: desk.clone(), board: board.clone(), store_bytes });
    board.set_copying(desk.clone(), scheduler);
    let result = reader.run();
    desk.close();
    drop(reader); // hangs up: on those who copy, and on the writer, which finishes what it has
    if let Some(scheduler) = board.take_copying() {
        scheduler.stop();
    }
    match thread.join() {
        Ok(Ok(())) => result,
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(ReaderError::WriterGone),
    }
}

/// How far snapshots are. A new store says at once what a configuration without snapshots means to have.
fn snapshots(pipeline: &Pipeline, resume: &Resume) -> SnapshotState {
    let mut state = resume.snapshots.clone();
    if resume.place.is_none() && pipeline.snapshot.mode == SnapshotMode::None {
        state.selection = Some((pipeline.source.include.clone(), pipeline.source.exclude.clone()));
        state.destinations = pipeline.destinations.iter().map(|destination| destination.name.clone()).collect();
    }
    state
}

/// Registers every destination of the configuration as a consumer, so that retention keeps what it needs even if its applier has never run yet.
fn register_destinations(pipeline: &Pipeline) -> Result<(), ReaderError> {
    let known = Consumer::list(&pipeline.store.dir)?;
    for destination in &pipeline.destinations {
        if !known.iter().any(|consumer| consumer.name == destination.name) {
            Consumer::register(&pipeline.store.dir, &destination.name)?;
            tracing::info!(destination = %destination.name, "the log is kept for a new destination");
        }
    }
    Ok(())
}

struct Reader<'a> {
    pipeline: &'a Pipeline,
    board: &'a Board,
    resume: Resume,
    follower: Follower,
    /// Where those who copy are met.
    desk: Desk,
    /// The store has a place to go on at.
    placed: bool,
    /// Which of the servers is next.
    server: usize,
    /// Where the last damaged event was, and how often in a row.
    damaged: (common::BinlogPosition, u32),
}

impl<'a> Reader<'a> {
    fn new(
        pipeline: &'a Pipeline,
        board: &'a Board,
        mut resume: Resume,
        output: Output,
        desk: Desk,
    ) -> Result<Self, ReaderError> {
        let selection = Selection::new(&pipeline.source.include, &pipeline.source.exclude)
            .map_err(|error| ReaderError::Source(error.to_string()))?
            .without_databases(pipeline.position_databases());
        let layouts = InformationSchema::new(resume.layouts.clone());
        let flavor = resume.source.as_ref().map_or(common::Flavor::MySql, |source| source.flavor);
        let place = resume.place.clone();
        let placed = place.is_some();
        let mut follower =
            Follower::new(flavor, place.unwrap_or_default(), Tables::new(selection, Box::new(layouts)), output);
        follower.set_desk(desk.clone());
        for event in resume.ddl.drain(..) {
            desk.push_ddl(event);
        }
        Ok(Self { pipeline, board, resume, follower, desk, placed, server: 0, damaged: Default::default() })
    }

    /// Connects and follows, again and again.
    fn run(&mut self) -> Result<Ended, ReaderError> {
        let mut failing_since: Option<Instant> = None;
        let mut pause = BACKOFF.0;
        loop {
            let servers = &self.pipeline.source.servers;
            let server = servers.get(self.server % servers.len().max(1)).cloned();
            let Some(server) = server else { return Err(ReaderError::Source("[source] url is empty".into())) };
            let before = self.follower.place().clone();
            let error = match self.follow(&server) {
                Ok(ended) => return Ok(ended),
                Err(error) => error,
            };
            self.desk.set_server(None);
            self.follower.lost();
            if let Some(error) = self.desk.failure() {
                return Err(error);
            }
            if self.board.stopping() {
                return Ok(Ended::Stopped);
            }
            // Another host is worth a look even where this one's answer is final: it may be the one that failed.
            let others = servers.len() > 1 && error.concerns_one_server();
            if !error.is_transient() && !others {
                return Err(error);
            }
            if let ReaderError::Event { position, .. } = &error {
                let again = if self.damaged.0 == *position { self.damaged.1 + 1 } else { 1 };
                self.damaged = (position.clone(), again);
                if again >= DAMAGED_MAX {
                    return Err(error); // damaged at the source, and not on its way
                }
            }
            // Progress starts the clock anew.
            if *self.follower.place() != before {
                failing_since = None;
                pause = BACKOFF.0;
            }
            let since = *failing_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.pipeline.source.retry_for {
                return Err(error);
            }
            let shown = error.to_string();
            tracing::warn!(server = %server.url, retry_in = ?pause, "{shown}");
            self.board.failed(&shown);
            self.board.set_state(State::Retrying);
            self.board.update(|status| status.totals.reconnects += 1);
            metrics::counter!("logweir_reconnects_total").increment(1);
            self.server += 1;
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if self.board.stopping() {
                    return Ok(Ended::Stopped);
                }
                if let Some(error) = self.desk.failure() {
                    return Err(error);
                }
                std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    /// One connection: ask, check, follow.
    fn follow(&mut self, server: &Server) -> Result<Ended, ReaderError> {
        self.follower.drop_unfinished()?;
        let mut session = Session::open(server)?;
        let facts = session.facts()?;
        check(&facts)?;
        if !self.placed {
            let source = &self.pipeline.source;
            let place = session.first_place(&facts, &source.start)?;
            self.follower.set_place(place);
        }
        let place = self.follower.place().clone();
        let by_gtid = session.check_place(&facts, &place, &self.resume)?;
        self.note_source(server, &facts);
        if !facts.full_metadata {
            tracing::info!(
                "the source logs no column names (binlog_row_metadata is not FULL): layouts come from its information_schema; SET GLOBAL binlog_row_metadata=FULL \
                 makes them exact"
            );
        }
        self.follower.tables().layouts().connected(session, server, &facts.version);
        let mut wire = Wire::connect(server, common::connect::CONNECT_TIMEOUT)?;
        let from =
            if by_gtid { DumpFrom::Gtid(place.gtids.clone()) } else { DumpFrom::Position(place.position.clone()) };
        let request = DumpRequest {
            server_id: self.pipeline.source.server_id,
            uuid: replica_uuid(&self.pipeline.name),
            heartbeat: self.pipeline.source.heartbeat,
            flavor: facts.flavor,
            from,
        };
        wire.dump(&request).map_err(|error| match error {
            // Logged in, yet refused: only the privilege can be missing.
            WireError::Server { code: 1045 | 1227, message } => ReaderError::Source(format!(
                "the source does not let this user follow its binlog ({message}); run there: GRANT REPLICATION SLAVE ON *.* TO {}",
                server.url.user
            )),
            other => other.into(),
        })?;
        self.follower.reconnect(facts.flavor, by_gtid)?;
        if !self.placed {
            // So that the store remembers where it began, even if nothing ever happens there.
            self.follower.first_mark()?;
            self.placed = true;
        }
        tracing::info!(server = %server.url, version = facts.version, position = %place.position, gtids = %place.gtids, by_gtid, "following");
        self.board.set_state(State::Running);
        self.desk.set_server(Some(Arc::new(server.clone())));
        self.stream(&mut wire).map_err(|error| match error {
            ReaderError::Wire(WireError::Server { code: 1236, message }) if !crate::error::passes(1236, &message) => {
                ReaderError::Source(format!("the source stopped sending: {message}; {}", next_step(&message)))
            }
            other => other,
        })
    }

    /// A source of another identity begins another epoch.
    fn note_source(&mut self, server: &Server, facts: &Facts) {
        if let Some(before) = &self.resume.source
            && (before.server_uuid != facts.server_uuid || before.server_id != facts.server_id)
        {
            self.resume.epoch += 1;
            tracing::warn!(
                before = before.server_uuid,
                now = facts.server_uuid,
                epoch = self.resume.epoch,
                "the source is another server than before"
            );
        }
        let identity = Identity {
            version: facts.version.clone(),
            server_uuid: facts.server_uuid.clone(),
            server_id: facts.server_id,
            epoch: self.resume.epoch,
        };
        self.resume.source = Some(common::record::SourceInfo {
            flavor: facts.flavor,
            version: facts.version.clone(),
            server_uuid: facts.server_uuid.clone(),
            server_id: facts.server_id,
            epoch: self.resume.epoch,
            format_description: Vec::new(),
        });
        self.follower.output().set_identity(identity);
        self.board.update(|status| {
            status.epoch = self.resume.epoch;
            status.source = Some(ServerSeen {
                url: server.url.to_string(),
                flavor: facts.flavor,
                version: facts.version.clone(),
                server_uuid: facts.server_uuid.clone(),
                server_id: facts.server_id,
            });
        });
    }

    fn stream(&mut self, wire: &mut Wire) -> Result<Ended, ReaderError> {
        let heartbeat = self.pipeline.source.heartbeat;
        let silence_max = heartbeat * 2 + Duration::from_secs(10);
        let mut clock = Clock { heard: Instant::now(), marked: Instant::now(), stop: None, events: 0 };
        let mut found = false;
        loop {
            match wire.next_event()? {
                Next::Event(bytes) => {
                    // The first three events (rotate, format, previous GTIDs) may come before a long search.
                    self.follower.event(bytes)?;
                    clock.events += 1;
                    if self.follower.wanted() && self.attend(&mut clock)? {
                        return Ok(Ended::Stopped);
                    }
                    if clock.events.is_multiple_of(LOOK_EVERY) {
                        found = true;
                        clock.heard = Instant::now();
                        self.board.seen(self.follower.counts(), false);
                        if self.look(&mut clock)? {
                            return Ok(Ended::Stopped);
                        }
                    }
                }
                Next::End => return Err(ReaderError::Ended),
                Next::Idle => {
                    if self.follower.wanted() && self.attend(&mut clock)? {
                        return Ok(Ended::Stopped);
                    }
                    let place = self.follower.place().clone();
                    self.follower.output().idle(&place)?;
                    self.board.seen(self.follower.counts(), true);
                    if self.look(&mut clock)? {
                        return Ok(Ended::Stopped);
                    }
                    // Inside a transaction nobody is answered, and the bell would go on ringing.
                    let bell = if self.follower.inside() { None } else { self.desk.bell() };
                    if wire.wait_or(TICK, bell)? {
                        clock.heard = Instant::now();
                        found |= clock.events > 8;
                    } else if clock.heard.elapsed() > if found { silence_max } else { SEARCH_MAX } {
                        return Err(ReaderError::Silent { seconds: clock.heard.elapsed().as_secs() });
                    }
                }
            }
        }
    }

    /// Answers those who copy, and stands still as long as they want; true if it is time to end.
    fn attend(&mut self, clock: &mut Clock) -> Result<bool, ReaderError> {
        loop {
            if self.desk.has_failed() {
                return Err(ReaderError::Ended); // what they say comes instead
            }
            // A pause is theirs too.
            let stands = !self.board.pausing() && self.follower.attend()?;
            if !stands {
                return Ok(false);
            }
            let place = self.follower.place().clone();
            self.follower.output().idle(&place)?;
            if self.look(clock)? {
                return Ok(true);
            }
            self.desk.wait(TICK);
            clock.heard = Instant::now(); // nobody listened
        }
    }

    /// What is looked after now and then; true if it is time to end.
    fn look(&mut self, clock: &mut Clock) -> Result<bool, ReaderError> {
        if self.follower.place_moved() && clock.marked.elapsed() >= MARK_EVERY && !self.follower.inside() {
            clock.marked = Instant::now();
            self.follower.mark(common::control::now_us())?;
            let place = self.follower.place().clone();
            self.follower.output().idle(&place)?;
        }
        while self.board.pausing() && !self.board.stopping() && !self.follower.inside() {
            let place = self.follower.place().clone();
            self.follower.output().idle(&place)?;
            self.board.set_state(State::Paused);
            std::thread::sleep(TICK);
            if !self.board.pausing() {
                self.board.set_state(State::Running);
            }
        }
        if !self.board.stopping() {
            return Ok(false);
        }
        let since = *clock.stop.get_or_insert_with(Instant::now);
        if self.follower.inside() && since.elapsed() < FINISH_MAX {
            return Ok(false);
        }
        self.follower.drop_unfinished()?;
        self.follower.mark(common::control::now_us())?;
        let place = self.follower.place().clone();
        self.follower.output().idle(&place)?;
        Ok(true)
    }
}

struct Clock {
    /// When something last came from the source.
    heard: Instant,
    /// When the place was last stored by itself.
    marked: Instant,
    /// When we were told to stop.
    stop: Option<Instant>,
    events: u32,
}

/// What to do about an error 1236, which means many things (`sql/rpl_binlog_sender.cc`, MariaDB's `sql/sql_repl.cc`).
fn next_step(message: &str) -> &'static str {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["same server_uuid", "same server_id"]) {
        "another reader of this pipeline, or a replica with our id, follows it too: stop that one, or set [source] server_id"
    } else if has(&["purged", "too old", "could not find first log"]) {
        "it has deleted binlogs that we still need: add a server that has them to [source] url, or begin a new store and copy the data anew"
    } else if has(&["which is not in the master's binlog", "more gtids", "diverged"]) {
        "it lacks transactions that the store holds: it was reset or is another server; begin a new store and copy the data anew"
    } else if has(&["max_allowed_packet", "event too big"]) {
        "run there: SET GLOBAL max_allowed_packet=1073741824"
    } else if has(&["anonymous"]) {
        "its binlogs hold transactions without GTIDs after our place: finish the switch of gtid_mode only when the reader is level"
    } else {
        "look into its error log"
    }
}

/// Our uuid among the source's replicas, made from the pipeline's name: the same after each start, another for each pipeline.
fn replica_uuid(pipeline: &str) -> String {
    let digest = Sha256::digest(format!("logweir reader {pipeline}"));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0..8), part(8..12), part(13..16), part(17..20), part(20..32))
}

/// The exit code of an error: 3 where the store is damaged, else 1.
#[must_use]
pub fn exit_code(error: &ReaderError) -> i32 {
    match error {
        ReaderError::Store(StoreError::Corrupt { .. }) => 3,
        _ => 1,
    }
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("place", self.follower.place() as &Place).finish_non_exhaustive()
    }
}
