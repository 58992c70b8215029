//! DDL, which commits by itself and so cannot share a transaction with the position.
//!
//! 1. An intent row is committed: the statement, and what its objects look like now (`fingerprint`).
//! 2. The statement runs on a connection of its own, in the session that it had at the source (`context`).
//! 3. The position moves on and the intent row goes, in one transaction.
//!
//! After a crash or a lost connection an intent row is found. If the objects still look as they did, the statement has not run: 2. If
//! not, it has: 3. A statement that a lost connection left running is waited for first, by a named lock that its connection holds.

pub(crate) mod context;
pub(crate) mod definer;
mod fingerprint;
pub mod guard;
mod mode;
pub(crate) mod rewrite;

use common::codec;
use common::record::{Ddl, DdlKind};
use common::sql::excerpt;

use crate::counters::Counters;
use crate::error::{ApplyError, Result};
use crate::plan::DdlStep;
use crate::snapshot::states;
use crate::target::{ServerFacts, Session, hex, quote};
use crate::worker::Worker;
use fingerprint::{Fingerprint, changed};

/// How long the next statement waits for one that a lost connection left running, before it is tried again.
const WAIT_S: u32 = 20;

impl Worker {
    /// Runs one statement, once.
    ///
    /// # Errors
    /// What the destination refuses, with the statement.
    pub async fn run_ddl(&mut self, step: &DdlStep) -> Result<()> {
        let result = self.try_ddl(step).await;
        if result.is_err() {
            // Its settings and locks go with it.
            self.drop_ddl_session().await;
        }
        result.map_err(|e| e.at(&step.place))
    }

    async fn try_ddl(&mut self, step: &DdlStep) -> Result<()> {
        let ddl: Ddl<'_> = codec::decode(&step.payload)?;
        let text = excerpt(ddl.statement);
        if !step.apply {
            return self.finish_ddl(step).await;
        }
        self.build_indexes_of(&ddl).await?;
        let mut session = self.ddl_session().await?;
        let before = self.intent(step, &ddl, &mut session).await?;
        let now = Fingerprint::take(&mut session, &ddl).await?;
        let result = match before {
            None => self.execute_ddl(step, &ddl, &mut session, None).await,
            Some(before) if before == now => {
                tracing::info!(seq = step.place.seq.0, statement = %text, "the statement had not run before the interruption; running it");
                self.execute_ddl(step, &ddl, &mut session, None).await
            }
            Some(before) => {
                tracing::info!(seq = step.place.seq.0, statement = %text, "the statement had run before the interruption");
                // Some servers drop several tables one by one.
                let rest: Vec<_> = changed(&ddl)
                    .zip(before.0.iter().zip(&now.0))
                    .filter(|(_, (before, now))| before == now && *now != "absent")
                    .map(|(object, _)| (object.database.as_str(), object.name.as_str()))
                    .collect();
                match drop_word(ddl.kind) {
                    Some(what) if !rest.is_empty() => {
                        let statement = rewrite::drop_only(what, &rest);
                        self.execute_ddl(step, &ddl, &mut session, Some(statement)).await
                    }
                    _ => Ok(()),
                }
            }
        };
        result?;
        self.keep_ddl_session(session);
        self.forget_definitions();
        self.finish_ddl(step).await?;
        Counters::add(&self.counters().ddl, 1);
        Ok(())
    }

    /// What the objects looked like before the statement, if its intent row is there; else writes that row.
    async fn intent(&mut self, step: &DdlStep, ddl: &Ddl<'_>, session: &mut Session) -> Result<Option<Fingerprint>> {
        let id = self.positions().identity.clone();
        let (table, whose) = (id.table("intent"), id.condition());
        let place = format!("{whose} AND seq={} AND part={}", step.place.seq, step.part);
        let reading = || "reading the intent of a DDL statement".to_owned();
        let found = format!("SELECT fingerprint FROM {table} WHERE {place}");
        if let Some(text) = self.session().first::<Vec<u8>>(found, reading).await? {
            return Ok(Some(Fingerprint::from_text(&String::from_utf8_lossy(&text))));
        }
        let fingerprint = Fingerprint::take(session, ddl).await?;
        let sql = format!(
            "INSERT INTO {table} (pipeline, destination, seq, part, statement, fingerprint) VALUES ({}, {}, {}, {}, {}, {})",
            quote(&id.pipeline),
            quote(&id.destination),
            step.place.seq,
            step.part,
            hex(ddl.statement),
            hex(fingerprint.to_text().as_bytes())
        );
        self.session().run(sql, || "writing the intent of a DDL statement".into()).await?;
        Ok(None)
    }

    async fn execute_ddl(
        &mut self,
        step: &DdlStep,
        ddl: &Ddl<'_>,
        session: &mut Session,
        instead: Option<Vec<u8>>,
    ) -> Result<()> {
        let text = excerpt(ddl.statement);
        let variables = context::variables(&ddl.context, &step.source, &session.facts)?;
        context::enter(session, &variables, ddl.database).await?;
        let dialect = rewrite::dialect(&ddl.context, step.source.flavor);
        let word = replica_word(&session.facts);
        let statement = match (instead, &step.only) {
            (Some(statement), _) => statement,
            (None, Some(pairs)) if ddl.kind == DdlKind::RenameTable => rewrite::rename_only(pairs),
            (None, Some(objects)) => {
                let objects: Vec<_> = objects.iter().map(|(d, n)| (d.as_str(), n.as_str())).collect();
                rewrite::drop_only(drop_word(ddl.kind).unwrap_or("TABLE"), &objects)
            }
            (None, None) => {
                let statement = rewrite::collations(ddl.statement, dialect, &session.facts);
                let statement = statement.unwrap_or_else(|| ddl.statement.to_vec());
                // Neither may do here what it has done at the source.
                let quiet = match ddl.kind {
                    DdlKind::CreateTrigger => guard::guarded(&statement, dialect),
                    DdlKind::CreateEvent => guard::resting(&statement, dialect, word),
                    _ => None,
                };
                quiet.unwrap_or(statement)
            }
        };
        let running = || format!("running the source's statement: {text}");
        tracing::debug!(seq = step.place.seq.0, statement = %text, "running DDL");
        session.run(statement, running).await?;
        if matches!(ddl.kind, DdlKind::CreateEvent | DdlKind::AlterEvent) {
            // Its work arrives as rows; `logweir cutover` switches it on.
            for object in changed(ddl) {
                let name = format!("{}.{}", crate::target::ident(&object.database), crate::target::ident(&object.name));
                session.run("SET SESSION sql_mode='', character_set_client=utf8mb4", running).await?;
                session
                    .run(format!("ALTER EVENT {name} DISABLE ON {word}"), || format!("disabling the event {name}"))
                    .await?;
            }
        }
        Ok(())
    }

    /// Moves the position past the statement and removes its intent, together.
    async fn finish_ddl(&mut self, step: &DdlStep) -> Result<()> {
        // With rows to come, their commit does both.
        let Some(progress) = &step.close else { return Ok(()) };
        self.session().run("BEGIN", || "finishing a DDL statement".into()).await?;
        self.move_position(progress).await?;
        let id = self.positions().identity;
        for sql in states::moved_sql(&id, &step.moves) {
            self.session().run(sql, || "taking along what is remembered of copies".into()).await?;
        }
        if let Some(why) = &step.left_out {
            let ddl: Ddl<'_> = codec::decode(&step.payload)?;
            let object = changed(&ddl).next().map(|o| format!("{}.{}", o.database, o.name)).unwrap_or_default();
            let detail = format!("{why}: {}", excerpt(ddl.statement));
            self.positions().record(self.session(), step.place.seq, "statement not run", &object, &detail).await?;
        }
        if !step.moves.is_empty() {
            *self.deferred_mut() = None;
        }
        self.clear_intent(progress.seq).await?;
        self.session().run("COMMIT", || "finishing a DDL statement".into()).await?;
        Ok(())
    }

    /// A connection for DDL, on which no earlier statement of ours is still running.
    pub(crate) async fn ddl_session(&mut self) -> Result<Session> {
        if let Some(session) = self.take_ddl_session() {
            return Ok(session);
        }
        let mut session = self.connector().plain().await?;
        let name = self.ddl_lock_name();
        let sql = format!("SELECT GET_LOCK('{name}', {WAIT_S})");
        let got = session.first::<Option<u8>>(sql, || "waiting for an earlier DDL statement to end".into()).await?;
        if got.flatten() != Some(1) {
            return Err(ApplyError::Busy {
                what: "an earlier DDL statement of this pipeline is still running at the destination".into(),
            });
        }
        Ok(session)
    }
}

/// What this server calls a replica in statements about events.
pub(crate) fn replica_word(facts: &ServerFacts) -> &'static str {
    if facts.is(common::Flavor::MySql, (8, 2, 0)) { "REPLICA" } else { "SLAVE" }
}

fn drop_word(kind: DdlKind) -> Option<&'static str> {
    match kind {
        DdlKind::DropTable => Some("TABLE"),
        DdlKind::DropView => Some("VIEW"),
        DdlKind::DropSequence => Some("SEQUENCE"),
        _ => None,
    }
}
