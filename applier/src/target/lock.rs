//! One applier per pipeline and destination: a named lock at the destination, held by the first worker's connection.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::position::Identity;
use super::session::{Session, hex};
use crate::error::{ApplyError, Result};

/// How long a starting applier waits for a predecessor whose connection is still ending.
const WAIT: Duration = Duration::from_secs(10);

/// The named lock. It goes with its connection, so it is taken again after each reconnect.
#[derive(Clone, Debug)]
pub struct OwnerLock {
    name: String,
    /// Our own earlier connections: one of them may still hold the lock after the network lost it, and may be ended.
    mine: Vec<u32>,
}

impl OwnerLock {
    /// The lock of this pipeline and destination.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self { name: Self::name(identity, "rows"), mine: Vec::new() }
    }

    /// The name of a lock of this pipeline and destination, for one purpose.
    #[must_use]
    pub fn name(identity: &Identity, purpose: &str) -> String {
        // Lock names end at 64 characters (MySQL manual, GET_LOCK): a digest fits always.
        let digest = Sha256::digest(format!("{}\0{}\0{}", identity.database, identity.pipeline, identity.destination));
        let digest = hex(digest.get(..16).unwrap_or_default());
        format!("logweir:{purpose}:{}", digest.trim_start_matches("x'").trim_end_matches('\''))
    }

    /// Takes the lock on this session.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] when another applier holds it.
    pub async fn take(&mut self, session: &mut Session) -> Result<()> {
        let taking = || "taking the applier's lock at the destination".to_owned();
        let get = format!("SELECT GET_LOCK('{}', {})", self.name, WAIT.as_secs());
        let holder = format!("SELECT IS_USED_LOCK('{}')", self.name);
        // A connection of ours that the server has not given up yet would make us wait for its timeout.
        if let Some(Some(id)) = session.first::<Option<u32>>(holder.as_str(), taking).await?
            && self.mine.contains(&id)
        {
            tracing::info!(connection = id, "ending our own earlier connection at the destination");
            // It may be gone by now; GET_LOCK tells.
            let _ = session.run(format!("KILL {id}"), taking).await;
        }
        if session.first::<Option<u8>>(get, taking).await?.flatten() == Some(1) {
            self.mine.push(session.connection_id());
            return Ok(());
        }
        let id = session.first::<Option<u32>>(holder, taking).await?.flatten();
        let by = id.map(|id| format!(" (connection {id} there)")).unwrap_or_default();
        Err(ApplyError::refused(
            format!("another applier of this pipeline is writing to this destination{by}"),
            "stop it first, or give this destination another name",
        ))
    }
}
