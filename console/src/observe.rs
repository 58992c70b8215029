//! What a pipeline is doing: asked of its services, and read from the store where they do not run.

use std::path::Path;

use common::config::Pipeline;
use common::control::{self, Answer, ApplierStatus, ControlError, Lag, Place, ReaderStatus, Request, StopNote};
use serde::Serialize;
use store::Consumer;

use crate::part::Part;
use crate::place;

/// Everything about a pipeline, as `logweir status --json` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Observation {
    pub(crate) pipeline: String,
    pub(crate) store: StoreSeen,
    pub(crate) reader: ReaderSeen,
    pub(crate) destinations: Vec<ApplierSeen>,
}

/// The store as its files tell.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct StoreSeen {
    pub(crate) dir: String,
    /// First and last seq that are there; 0 for none.
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) segments: u64,
    pub(crate) bytes: u64,
    pub(crate) max_bytes: Option<u64>,
    /// Why it cannot be looked at.
    pub(crate) problem: Option<String>,
}

/// The reader.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ReaderSeen {
    pub(crate) running: bool,
    /// Its own words if it runs; else what the store says about its position.
    #[serde(flatten)]
    pub(crate) status: ReaderStatus,
    /// Why it does not run, if it said so.
    pub(crate) stopped: Option<StopNote>,
    /// Why it does not answer although it runs.
    pub(crate) problem: Option<String>,
}

/// An applier.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ApplierSeen {
    pub(crate) running: bool,
    /// Its own words if it runs; else what its consumer file says about its position.
    #[serde(flatten)]
    pub(crate) status: ApplierStatus,
    /// Why it does not run, if it said so.
    pub(crate) stopped: Option<StopNote>,
    /// Why it does not answer although it runs.
    pub(crate) problem: Option<String>,
}

/// Looks at everything. `deep` also reads a stopped reader's position from the store's last segment, which takes a moment.
pub(crate) async fn observe(pipeline: &Pipeline, deep: bool) -> Observation {
    let dir = &pipeline.store.dir;
    let mut store = look_at_store(dir);
    store.max_bytes = pipeline.store.max_size;
    let reader = observe_reader(pipeline, &store, deep).await;
    let last = store.last_seq.max(reader.status.position.seq);
    let mut destinations = Vec::new();
    for destination in &pipeline.destinations {
        destinations.push(observe_applier(pipeline, &destination.name, last).await);
    }
    Observation { pipeline: pipeline.name.clone(), store, reader, destinations }
}

fn look_at_store(dir: &Path) -> StoreSeen {
    let mut seen = StoreSeen { dir: dir.display().to_string(), ..StoreSeen::default() };
    match store::list_segments(dir) {
        Ok(segments) => {
            seen.segments = segments.len() as u64;
            seen.bytes = segments.iter().map(|s| s.bytes).sum();
        }
        Err(error) => seen.problem = Some(error.to_string()),
    }
    match store::Tail::open(dir) {
        Ok(tail) => (seen.first_seq, seen.last_seq) = (tail.first_seq().0, tail.last_seq().0),
        Err(error) => {
            seen.problem.get_or_insert(error.to_string());
        }
    }
    if seen.last_seq == 0 {
        seen.first_seq = 0;
    }
    seen
}

async fn observe_reader(pipeline: &Pipeline, store: &StoreSeen, deep: bool) -> ReaderSeen {
    let socket = Part::Reader.socket(&pipeline.store.dir);
    let mut seen = ReaderSeen::default();
    match control::request(&socket, Request::Status).await {
        Ok(Answer::Reader(status)) => {
            seen.running = true;
            seen.status = *status;
            return seen;
        }
        Ok(other) => (seen.running, seen.problem) = (true, Some(format!("unexpected answer {other:?}"))),
        Err(ControlError::NotRunning { .. }) => seen.stopped = control::read_note(&socket),
        Err(error) => (seen.running, seen.problem) = (true, Some(error.to_string())),
    }
    seen.status.pipeline.clone_from(&pipeline.name);
    seen.status.position.seq = store.last_seq;
    if deep && !seen.running {
        let dir = pipeline.store.dir.clone();
        match tokio::task::spawn_blocking(move || place::store_end(&dir)).await {
            Ok(Ok(Some(place))) => seen.status.position = place,
            Ok(Err(error)) => seen.problem = Some(error.to_string()),
            Ok(Ok(None)) | Err(_) => {}
        }
    }
    seen
}

async fn observe_applier(pipeline: &Pipeline, name: &str, last_seq: u64) -> ApplierSeen {
    let dir = &pipeline.store.dir;
    let socket = Part::Applier(name.to_owned()).socket(dir);
    let mut seen = ApplierSeen::default();
    match control::request(&socket, Request::Status).await {
        Ok(Answer::Applier(status)) => {
            seen.running = true;
            seen.status = *status;
            return seen;
        }
        Ok(other) => (seen.running, seen.problem) = (true, Some(format!("unexpected answer {other:?}"))),
        Err(ControlError::NotRunning { .. }) => seen.stopped = control::read_note(&socket),
        Err(error) => (seen.running, seen.problem) = (true, Some(error.to_string())),
    }
    seen.status.pipeline.clone_from(&pipeline.name);
    name.clone_into(&mut seen.status.destination);
    let known = Consumer::list(dir).ok().and_then(|all| all.into_iter().find(|c| c.name == name));
    if let Some(position) = known.and_then(|c| c.position) {
        seen.status.position = Place { seq: position.0, ..Place::default() };
        seen.status.lag = Lag { seqs: Some(last_seq.saturating_sub(position.0)), ..Lag::default() };
    }
    seen
}
