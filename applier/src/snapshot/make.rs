//! The steps of a run other than chunks: its begin, objects, tables' ends and begins anew, its end.
//!
//! Definitions commit by themselves, so each step does its work in a way that comes to the same when it is repeated, and then moves the position,
//! together with what is remembered ([`states`]), in one transaction.

use common::config::{Definer, OnExisting, OnObjectError};
use common::record::SessionContext;
use common::snapshot::{ObjectKind, ObjectName, SnapshotObject, SnapshotStep, TableName};

use super::states::{self, Existed, ObjectState};
use super::{Stand, existing, indexes};
use crate::advice::next_step;
use crate::ddl::{context, definer, guard, replica_word, rewrite};
use crate::error::{ApplyError, Result, passes};
use crate::plan::SnapshotWork;
use crate::target::{ROW_SQL_MODE, Session, ident, quote};
use crate::worker::{Outcome, Worker};

/// utf8mb4_general_ci: definitions come in UTF-8.
const UTF8MB4: u16 = 45;
/// The definer of an object does not exist (ER_NO_SUCH_USER).
const NO_SUCH_USER: u16 = 1449;

impl Worker {
    /// A run begins: looks at what the destination has already, and remembers what is to come.
    ///
    /// # Errors
    /// [`ApplyError::Refused`] with `on_existing = "stop"` when tables are there: it names them and their row counts.
    pub async fn begin_run(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let result = self.try_begin_run(work).await;
        result.map_err(|e| e.at(&work.place))
    }

    async fn try_begin_run(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let SnapshotStep::Begin(begin) = &work.step else { return Err(wrong_step("the beginning of a run")) };
        let id = self.positions().identity;
        let policy = self.snapshot_options().on_existing;
        let objects = existing::look(self.session(), &id, begin, policy).await?;
        let sql = states::begin_sql(&id, begin.run, &objects);
        self.finish(work, sql).await
    }

    /// Makes an object.
    ///
    /// # Errors
    /// What the destination refuses, with the object, unless `on_error` says skip: [`Outcome::Again`] then for a table.
    pub async fn make_object(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let result = self.try_make(work).await;
        if result.is_err() {
            self.drop_ddl_session().await;
        }
        result.map_err(|e| e.at(&work.place))
    }

    async fn try_make(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let SnapshotStep::Object(object) = &work.step else { return Err(wrong_step("an object")) };
        let id = self.positions().identity;
        let name = &object.object;
        let table = name.kind == ObjectKind::Table;
        let found = states::find(self.session(), &id, name).await?;
        if found.as_ref().is_some_and(|state| state.stand == Stand::Skipped && state.run == object.run) {
            return self.finish(work, Vec::new()).await;
        }
        let kept = found.as_ref().is_some_and(|state| state.existed == Existed::Keep);
        let mut state = found.unwrap_or(ObjectState {
            run: object.run,
            stand: Stand::Pending,
            existed: Existed::No,
            making: false,
            keyed: object.keyed,
            indexes: Vec::new(),
        });
        state.run = object.run;
        state.keyed = object.keyed;
        if kept {
            tracing::info!(object = %full_name(name), "kept as it is (on_existing = append)");
            state.stand = after_object(object);
            let sql = vec![states::put_sql(&id, name, &state, object.rows_estimate, "", "")];
            return self.finish(work, sql).await;
        }
        let made = match &object.problem {
            Some(problem) => Err(ApplyError::refused(
                format!("{} cannot be copied: {problem}", described(name)),
                "grant what is missing at the source and take the snapshot of it again, or exclude it, or set [snapshot] on_error = \"skip\"",
            )),
            None => self.make(work, object, &mut state).await,
        };
        match made {
            Ok(different) => {
                self.forget_definitions();
                state.making = false;
                state.stand = after_object(object);
                // Of other objects only what the cut-over needs is kept.
                let mut sql = Vec::new();
                if table || different {
                    let definition = if different { object.statement.as_str() } else { "" };
                    sql.push(states::put_sql(&id, name, &state, object.rows_estimate, definition, ""));
                }
                if table {
                    sql.push(states::nothing_brought_sql(&id, name));
                    *self.deferred_mut() = None;
                }
                self.finish(work, sql).await
            }
            Err(error) => {
                let refused = matches!(error, ApplyError::Refused { .. })
                    || error.server_code().is_some_and(|code| !passes(code));
                if !refused || self.snapshot_options().on_error != OnObjectError::Skip {
                    return Err(match error {
                        ApplyError::Server { doing, source } if refused => ApplyError::refused(
                            format!("while {doing}: {source}{}", next_step(&source)),
                            "or exclude it for this destination, or set [snapshot] on_error = \"skip\" to go on without it",
                        ),
                        other => other,
                    });
                }
                let why = error.to_string();
                tracing::warn!(object = %full_name(name), %why, "left out (on_error = skip)");
                self.drop_ddl_session().await;
                state.making = false;
                state.stand = Stand::Skipped;
                state.indexes.clear();
                let sql = vec![states::put_sql(&id, name, &state, object.rows_estimate, &object.statement, &why)];
                self.finish_noting(work, sql, Some(("object skipped", full_name(name), why))).await?;
                Ok(if table { Outcome::Again(None) } else { Outcome::Done })
            }
        }
    }

    /// Runs the statements of an object on the connection for DDL. True if what stands there differs from the source's statement.
    async fn make(&mut self, work: &SnapshotWork, object: &SnapshotObject, state: &mut ObjectState) -> Result<bool> {
        let name = &object.object;
        let mut session = self.ddl_session().await?;
        if name.kind == ObjectKind::Table {
            self.before_table(&mut session, object, state).await?;
        }
        let options = self.snapshot_options();
        let context = session_of(object);
        let mut variables = context::variables(&context, &work.source, &session.facts)?;
        for (variable, value) in &mut variables {
            match *variable {
                "foreign_key_checks" => "0".clone_into(value),
                // SHOW CREATE says all, and the server must not say less in silence.
                "sql_mode" if name.kind <= ObjectKind::Table => *value = format!("'{ROW_SQL_MODE}'"),
                _ => {}
            }
        }
        let database = if name.kind == ObjectKind::Database { "" } else { name.database.as_str() };
        context::enter(&mut session, &variables, database.as_bytes()).await?;
        let mut dialect = rewrite::dialect(&context, work.source.flavor);
        if name.kind <= ObjectKind::Table {
            // Printed in a session of the reader's.
            dialect.ansi_quotes = false;
            dialect.backslash_escapes = true;
        }
        let mut statement = object.statement.clone().into_bytes();
        if let Some(changed) = rewrite::collations(&statement, dialect, &session.facts) {
            statement = changed;
        }
        if let Some(changed) = definer::with_definer(&statement, dialect, &options.definer) {
            statement = changed;
        }
        let quiet = match name.kind {
            ObjectKind::Trigger => Some(guard::guarded(&statement, dialect)),
            ObjectKind::Event => Some(guard::resting(&statement, dialect, replica_word(&session.facts))),
            _ => None,
        };
        let different = quiet.is_some();
        match quiet {
            Some(Some(changed)) => statement = changed,
            Some(None) => {
                return Err(ApplyError::refused(
                    format!(
                        "the statement of {} is not understood, and it must not act here by itself",
                        described(name)
                    ),
                    "make it at the destination by hand at the cut-over, and exclude it or set [snapshot] on_error = \"skip\"",
                ));
            }
            None => {}
        }
        let making = || format!("making {}", described(name));
        if name.kind == ObjectKind::Database {
            self.make_database(&mut session, object, &statement).await?;
        } else {
            session.run(drop_statement(name), making).await?;
            session.run(statement.clone(), making).await?;
            if object.definer.is_some()
                && options.definer == Definer::Keep
                && session.warnings() > 0
                && self.report_definer(&mut session, work, object).await?
                && name.kind == ObjectKind::Trigger
                && let Some(ours) = definer::with_definer(&statement, dialect, &Definer::Invoker)
            {
                // Guarded or not, the server lets nobody write to a table of which a trigger's definer is missing: it is the applier's own account
                // until the cut-over, for which the source's statement is kept.
                session.run(drop_statement(name), making).await?;
                session.run(ours, making).await?;
            }
        }
        if options.definer == Definer::Invoker && matches!(name.kind, ObjectKind::Function | ObjectKind::Procedure) {
            let word = states::kind_name(name.kind).to_uppercase();
            let sql = format!("ALTER {word} {}.{} SQL SECURITY INVOKER", ident(&name.database), ident(&name.name));
            session.run(sql, making).await?;
        }
        for more in &object.more {
            session.run(more.as_bytes(), making).await?;
        }
        if name.kind == ObjectKind::Table && indexes::worth(options.defer_indexes, object) {
            self.defer(&mut session, name, state).await?;
        }
        self.keep_ddl_session(session);
        Ok(different)
    }

    /// Remembers that the table is being made, and makes sure that what stands in its place may go.
    async fn before_table(
        &mut self,
        session: &mut Session,
        object: &SnapshotObject,
        state: &mut ObjectState,
    ) -> Result<()> {
        let id = self.positions().identity;
        let name = &object.object;
        // Nothing stood there when the run began, and we have made nothing since.
        let untouched = state.existed == Existed::No && !state.making && state.stand == Stand::Pending;
        if untouched {
            let sql = format!(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema={} AND table_name={}",
                quote(&name.database),
                quote(&name.name)
            );
            let looking = || format!("looking whether {} is there", full_name(name));
            if session.first::<u64>(sql, looking).await? != Some(0) {
                return Err(ApplyError::refused(
                    format!(
                        "{} was made at the destination by someone else while its copy was about to begin",
                        full_name(name)
                    ),
                    "drop it there, then start the applier again",
                ));
            }
        }
        state.making = true;
        state.stand = Stand::Pending;
        state.indexes.clear();
        let sql = states::put_sql(&id, name, state, object.rows_estimate, "", "");
        self.session().run(sql, || format!("remembering that {} is being made", full_name(name))).await?;
        Ok(())
    }

    async fn make_database(&mut self, session: &mut Session, object: &SnapshotObject, statement: &[u8]) -> Result<()> {
        let name = &object.object.database;
        let making = || format!("making {}", described(&object.object));
        let statement = String::from_utf8_lossy(statement).into_owned();
        let rest = statement.strip_prefix("CREATE DATABASE ").unwrap_or_default();
        let rest = rest.strip_prefix("IF NOT EXISTS ").unwrap_or(rest);
        let options = rest.strip_prefix(&ident(name)).ok_or_else(|| {
            ApplyError::refused(
                format!("the statement of {} is not understood: {statement}", described(&object.object)),
                "make the database at the destination by hand",
            )
        })?;
        let count = format!("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name={}", quote(name));
        if session.first::<u64>(count, making).await? == Some(0) {
            session.run(statement, making).await?;
            return Ok(());
        }
        // Its character set is what tables get that name none, later, by statements of the log.
        let tables = format!("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema={}", quote(name));
        let empty = session.first::<u64>(tables, making).await? == Some(0);
        if empty || self.snapshot_options().on_existing != OnExisting::Append {
            session.run(format!("ALTER DATABASE {}{options}", ident(name)), making).await?;
        }
        Ok(())
    }

    /// Whether the server has made the object although it does not know its definer; written down then.
    async fn report_definer(
        &mut self,
        session: &mut Session,
        work: &SnapshotWork,
        object: &SnapshotObject,
    ) -> Result<bool> {
        let rows: Vec<(String, u16, String)> =
            session.rows("SHOW WARNINGS", || "reading the warnings of a definition".into()).await?;
        if !rows.iter().any(|(_, code, _)| *code == NO_SUCH_USER) {
            return Ok(false);
        }
        let definer = object.definer.clone().unwrap_or_default();
        let detail = format!(
            "the account {definer} is not at the destination, and {} runs as it: create the account there before the cut-over, or set \
             [snapshot] definer = \"invoker\" or an account and take the snapshot of it again",
            described(&object.object)
        );
        tracing::warn!(object = %full_name(&object.object), %definer, "its definer is not at the destination");
        let positions = self.positions();
        positions
            .record(self.session(), work.place.seq, "definer missing", &full_name(&object.object), &detail)
            .await?;
        Ok(true)
    }

    async fn defer(&mut self, session: &mut Session, name: &ObjectName, state: &mut ObjectState) -> Result<()> {
        let table = TableName { database: name.database.clone(), table: name.name.clone() };
        let found = indexes::plain_indexes(&indexes::show_create(session, &table).await?);
        if !found.is_empty() && indexes::take_out(session, &table, &found).await? {
            state.indexes = found.into_iter().map(|(_, definition)| definition).collect();
        }
        Ok(())
    }

    /// A table is complete: builds its indexes.
    ///
    /// # Errors
    /// What the destination refuses.
    pub async fn end_table(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let result = self.try_end_table(work).await;
        result.map_err(|e| e.at(&work.place))
    }

    async fn try_end_table(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let SnapshotStep::TableEnd { table, .. } = &work.step else { return Err(wrong_step("the end of a table")) };
        let id = self.positions().identity;
        let object = states::table_object(table);
        let found = states::find(self.session(), &id, &object).await?;
        if found.is_some_and(|state| state.stand == Stand::Skipped) {
            return self.finish(work, Vec::new()).await;
        }
        self.build_indexes(table).await?;
        let set = format!("state='{}'", Stand::Done.name());
        self.finish(work, vec![states::update_sql(&id, &object, &set)]).await
    }

    /// What was copied of a table does not count: empties it; or nothing more comes for it.
    ///
    /// # Errors
    /// What the destination refuses; a table without a key that was kept with its own rows.
    pub async fn table_again(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let result = self.try_table_again(work).await;
        if result.is_err() {
            self.drop_ddl_session().await;
        }
        result.map_err(|e| e.at(&work.place))
    }

    async fn try_table_again(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let SnapshotStep::TableAgain { table, gone, .. } = &work.step else {
            return Err(wrong_step("the new beginning of a table"));
        };
        let id = self.positions().identity;
        let object = states::table_object(table);
        if *gone {
            let sql = format!("DELETE FROM {} WHERE {}", id.table("snapshot"), states::place(&id, &object));
            *self.deferred_mut() = None;
            return self.finish(work, vec![sql]).await;
        }
        let Some(state) = states::find(self.session(), &id, &object).await? else {
            return self.finish(work, Vec::new()).await;
        };
        if state.stand == Stand::Copying {
            self.empty(table, &state).await?;
        }
        let mut sql = vec![states::nothing_brought_sql(&id, &object)];
        // As in the order of the log (`Copies`): nothing of it counts before its next chunk.
        if matches!(state.stand, Stand::Copying | Stand::Done) {
            sql.push(states::update_sql(&id, &object, &format!("state='{}'", Stand::Made.name())));
        }
        self.finish(work, sql).await
    }

    async fn empty(&mut self, table: &TableName, state: &ObjectState) -> Result<()> {
        if state.existed == Existed::Keep {
            if state.keyed {
                // Copied rows take the place of those that are there.
                return Ok(());
            }
            return Err(ApplyError::refused(
                format!(
                    "{table} has no key and its copy begins anew: copied rows cannot be told from those that were there (on_existing = append)"
                ),
                format!("give it a key, or empty it and run `logweir snapshot --tables '{table}'`"),
            ));
        }
        let mut session = self.ddl_session().await?;
        let emptying = || format!("emptying {table}, whose copy begins anew");
        session.run("SET SESSION foreign_key_checks=0, sql_mode=''", emptying).await?;
        let sql = format!("TRUNCATE TABLE {}.{}", ident(&table.database), ident(&table.table));
        match session.run(sql, emptying).await {
            // Dropped at the source, and here, before this step was written.
            Err(error) if error.server_code() == Some(1146) => {}
            other => {
                other?;
            }
        }
        self.keep_ddl_session(session);
        Ok(())
    }

    /// A run is over.
    ///
    /// # Errors
    /// What the destination refuses.
    pub async fn end_run(&mut self, work: &SnapshotWork) -> Result<Outcome> {
        let SnapshotStep::End { run, .. } = &work.step else { return Err(wrong_step("the end of a run")) };
        let id = self.positions().identity;
        let sql = format!(
            "DELETE FROM {} WHERE {} AND kind='run' AND of_database='' AND name='{run}'",
            id.table("snapshot"),
            id.condition()
        );
        self.finish(work, vec![sql]).await.map_err(|e| e.at(&work.place))
    }

    async fn finish(&mut self, work: &SnapshotWork, sql: Vec<String>) -> Result<Outcome> {
        self.finish_noting(work, sql, None).await
    }

    /// Moves the position and what is remembered, in one transaction.
    async fn finish_noting(
        &mut self,
        work: &SnapshotWork,
        sql: Vec<String>,
        note: Option<(&str, String, String)>,
    ) -> Result<Outcome> {
        let moving = || "finishing a step of a snapshot".to_owned();
        let advance = self.advance_sql(&work.progress);
        let found = self.session().run(format!("BEGIN; {advance}"), moving).await?;
        self.check_moved(found)?;
        for statement in sql {
            self.session().run(statement, moving).await?;
        }
        if let Some((kind, object, detail)) = note {
            let positions = self.positions();
            positions.record(self.session(), work.place.seq, kind, &object, &detail).await?;
        }
        self.session().run("COMMIT", moving).await?;
        self.moved(&work.progress);
        Ok(Outcome::Done)
    }
}

/// Where an object stands once it is made, as in the order of the log (`Copies`).
fn after_object(object: &SnapshotObject) -> Stand {
    match (object.object.kind, object.keyed) {
        (ObjectKind::Table, true) => Stand::Copying,
        (ObjectKind::Table, false) => Stand::Made,
        _ => Stand::Done,
    }
}

fn wrong_step(wanted: &str) -> ApplyError {
    ApplyError::refused(format!("a step of a snapshot is not {wanted}"), "run `logweir store verify`, and report this")
}

/// The context of an object, with a character set in which its UTF-8 statement is read right. One that holds only ASCII is read right in any.
fn session_of(object: &SnapshotObject) -> SessionContext {
    let mut context = object.context.clone();
    context.charsets = match context.charsets {
        Some(charsets) if object.statement.is_ascii() => Some(charsets),
        Some((_, connection, server)) => Some((UTF8MB4, connection, server)),
        None => Some((UTF8MB4, UTF8MB4, UTF8MB4)),
    };
    context
}

fn full_name(name: &ObjectName) -> String {
    if name.name.is_empty() { name.database.clone() } else { format!("{}.{}", name.database, name.name) }
}

fn described(name: &ObjectName) -> String {
    format!("{} {}", states::kind_name(name.kind), full_name(name))
}

/// Removes what stands in an object's place: what we may replace was settled before.
fn drop_statement(name: &ObjectName) -> String {
    let what = states::kind_name(name.kind).to_uppercase();
    let place = format!("{}.{}", ident(&name.database), ident(&name.name));
    format!("DROP {what} IF EXISTS {place}")
}
