//! The scheduler of runs: what is copied when.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use common::config::Pipeline;
use common::control::{Answer, Request, SnapshotSeen};

use super::desk::Desk;
use crate::board::Board;

/// What a scheduler works with.
#[derive(Debug)]
pub struct RunContext {
    /// The configuration.
    pub pipeline: Pipeline,
    /// Where the follower is met.
    pub desk: Desk,
    /// Whether to pause.
    pub board: Arc<Board>,
    /// Bytes of the store's segments now.
    pub store_bytes: Arc<AtomicU64>,
}

/// A scheduler at work.
#[derive(Debug)]
pub struct Scheduler {}

/// Starts it.
#[must_use]
pub fn start(context: RunContext) -> Scheduler {
    if context.pipeline.snapshot.mode != common::config::SnapshotMode::None {
        context.desk.fail(crate::ReaderError::Source("this version cannot copy tables".into()));
    }
    Scheduler {}
}

impl Scheduler {
    /// Answers a request of [`Request::Snapshot`], [`Request::CancelSnapshot`] or [`Request::Tune`].
    #[must_use]
    pub fn request(&self, _request: Request) -> Answer {
        Answer::Refused { reason: "this version cannot copy tables".into() }
    }

    /// How far it is.
    #[must_use]
    pub fn seen(&self) -> Option<SnapshotSeen> {
        None
    }

    /// Ends it; the desk is closed already.
    pub fn stop(self) {}
}
