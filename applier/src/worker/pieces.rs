//! Pieces of row changes: begin, write, move the position, commit.

use std::sync::Arc;

use super::prepared::Unfinished;
use super::rows::FOREIGN_KEY;
use super::{Outcome, Worker};
use crate::error::{ApplyError, Place, Result};
use crate::plan::{Action, Change, Close, Piece};
use crate::target::Progress;
use crate::write::{Route, Way, events};

/// Server errors of a row event that say: the rows here are not those of the source (no such row, duplicate key, foreign keys).
const ROWS_DIFFER: &[u16] = &[1032, 1062, 1022, 1586, 1169, 1216, 1217, 1451, 1452, 1761, 1762];
/// Missing privileges for `BINLOG` or `gtid_next`.
const NOT_ALLOWED: &[u16] = &[1227, 1142, 1044, 1143, 1370];
/// The table's definition does not fit the row event: unconvertible types, wrong definition.
const NOT_FITTING: &[u16] = &[1677, 1535, 1533, 1594, 1610, 1105, 3112];

impl Worker {
    /// Writes a piece. After an error the transaction is open or gone; the caller connects again or calls [`Worker::rollback`].
    ///
    /// # Errors
    /// What the destination refuses, and divergence.
    pub async fn execute(&mut self, piece: &Piece) -> Result<Outcome> {
        let result = self.try_execute(piece).await;
        let Err(error) = result else { return result };
        // Row events can fail where SQL can say more, or do it.
        let Some(code) = error.server_code().filter(|_| self.events_failed(&error)) else { return Err(error) };
        let until = match &piece.close {
            Close::Commit(progress) => progress.seq,
            Close::Open | Close::WasPrepare(..) => piece.first.seq,
        };
        if ROWS_DIFFER.contains(&code) && self.sql_until < until {
            let orphans = piece.actions.iter().any(|action| matches!(action, Action::Rows(change) if change.orphans));
            if orphans && FOREIGN_KEY.contains(&code) {
                tracing::info!(seq = until.0, "a row refers to one that is not copied yet; written as SQL");
            } else {
                tracing::warn!(%error, "row events were refused; looking for the row with SQL");
            }
            self.sql_until = until;
        } else if NOT_ALLOWED.contains(&code) {
            self.routes.give_up_events(&format!("the destination refuses row events: {error}"))?;
        } else if NOT_FITTING.contains(&code) {
            let tables = self.tables_of(piece).await?;
            let text = error.to_string();
            let named: Vec<_> = tables.iter().filter(|t| text.contains(t.as_str())).cloned().collect();
            for table in if named.is_empty() { tables } else { named } {
                self.routes.refuse_events(&table, &text)?;
            }
        } else {
            return Err(error);
        }
        self.rollback().await?;
        Ok(Outcome::Again(None))
    }

    /// Whether the error came from a `BINLOG` statement.
    fn events_failed(&self, error: &ApplyError) -> bool {
        match error {
            ApplyError::Server { doing, .. } => doing.contains("BINLOG"),
            ApplyError::At { error, .. } => self.events_failed(error),
            _ => false,
        }
    }

    async fn tables_of(&mut self, piece: &Piece) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for action in &piece.actions {
            if let Action::Rows(change) = action {
                let name = self.route(piece, change).await?.target.full_name();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// Rolls the open transaction back.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn rollback(&mut self) -> Result<()> {
        self.advanced = false;
        self.sql.forget();
        self.session.run("ROLLBACK", || "rolling back at the destination".into()).await?;
        Ok(())
    }

    async fn try_execute(&mut self, piece: &Piece) -> Result<Outcome> {
        if piece.opens {
            self.announce(piece).await?;
            self.begin(piece).await.map_err(|e| e.at(&piece.first))?;
        }
        self.write(piece).await?;
        match &piece.close {
            Close::Open => Ok(Outcome::Done),
            Close::WasPrepare(seq, xid) => {
                self.rollback().await?;
                Ok(Outcome::Again(Some((*seq, xid.clone()))))
            }
            Close::Commit(progress) => {
                self.commit(progress, piece).await.map_err(|e| e.at(&place_of(progress)))?;
                Ok(Outcome::Done)
            }
        }
    }

    /// Makes the source's event format known, if row events may be used and the source has changed.
    async fn announce(&mut self, piece: &Piece) -> Result<()> {
        if !self.routes.may_use_events()
            || piece.source.flavor != self.session.facts.flavor
            || self.announced == piece.source.format_description
        {
            return Ok(());
        }
        match events::announce(&mut self.session, &piece.source).await {
            Ok(()) => {
                self.announced.clone_from(&piece.source.format_description);
                Ok(())
            }
            Err(error) if error.server_code().is_some_and(|code| NOT_ALLOWED.contains(&code)) => {
                self.routes.give_up_events(&error.to_string())
            }
            Err(error @ ApplyError::Refused { .. }) => self.routes.give_up_events(&error.to_string()),
            Err(error) => Err(error.at(&piece.first)),
        }
    }

    async fn begin(&mut self, piece: &Piece) -> Result<()> {
        // The position row first: if another connection holds it, nothing is done before that one has ended.
        if let Close::Commit(progress) = &piece.close {
            let advance = self.advance_sql(progress);
            let moving = || "beginning a transaction and moving the position at the destination".to_owned();
            let found = self.session.run(format!("BEGIN; {advance}"), moving).await?;
            self.check_moved(found)?;
            self.advanced = true;
        } else {
            self.session.run("BEGIN", || "beginning a transaction at the destination".into()).await?;
            self.hold_position().await?;
            self.advanced = false;
        }
        Ok(())
    }

    async fn commit(&mut self, progress: &Progress, piece: &Piece) -> Result<()> {
        if !self.advanced {
            let sql = self.advance_sql(progress);
            let moving = || "moving the position at the destination".to_owned();
            let found = self.session.run(sql, moving).await?;
            self.check_moved(found)?;
        }
        if piece.clears_intent {
            self.clear_intent(progress.seq).await?;
        }
        self.advanced = false;
        self.session.run("COMMIT", || "committing at the destination".into()).await?;
        self.moved(progress);
        Ok(())
    }

    /// Removes the intent rows of DDL up to this seq, in the open transaction.
    pub(crate) async fn clear_intent(&mut self, seq: common::Seq) -> Result<()> {
        let id = &self.positions.identity;
        let sql = format!("DELETE FROM {} WHERE {} AND seq<={seq}", id.table("intent"), id.condition());
        self.session.run(sql, || "clearing the intent of a finished statement".into()).await?;
        Ok(())
    }

    async fn write(&mut self, piece: &Piece) -> Result<()> {
        let mut changes: Vec<&Change> = Vec::with_capacity(piece.actions.len());
        for action in &piece.actions {
            if let Action::Rows(change) = action {
                changes.push(change);
                continue;
            }
            self.write_changes(piece, &changes).await?;
            changes.clear();
            match action {
                Action::Rows(_) => {}
                Action::Prepare { xid, seq, changes } => self.keep_prepared(xid, *seq, changes).await?,
                Action::Outcome { place, xid, commit, pending, copying } => {
                    let unfinished = Unfinished { pending, copying };
                    self.finish_prepared(piece, place, xid, *commit, unfinished).await.map_err(|e| e.at(place))?;
                }
            }
        }
        self.write_changes(piece, &changes).await
    }

    pub(super) async fn route(&mut self, piece: &Piece, change: &Change) -> Result<Arc<Route>> {
        let found = self.routes.find(&mut self.session, &mut self.tables, &piece.source, &change.table).await;
        found.map_err(|e| e.at(&change.place))
    }

    /// Writes changes in their order, each in its table's way.
    pub(super) async fn write_changes(&mut self, piece: &Piece, changes: &[&Change]) -> Result<()> {
        let room = events::room(self.session.facts.max_allowed_packet);
        let mut pending = Vec::new();
        let mut first: Option<&Change> = None;
        let mut rest = changes;
        while let Some(&change) = rest.first() {
            if change.idempotent {
                self.send_events(&mut pending, first.take(), room).await?;
                let (run, after) = rest.split_at(rest.iter().take_while(|next| next.idempotent).count());
                self.put_changes(piece, run).await?;
                rest = after;
                continue;
            }
            let route = self.route(piece, change).await?;
            let way = self.routes.way(&route).map_err(|e| e.at(&change.place))?;
            if way == Way::Sql || change.place.seq <= self.sql_until {
                self.send_events(&mut pending, first.take(), room).await?;
                let run = rest.iter().take_while(|next| next.table.id == change.table.id && !next.idempotent).count();
                let (run, after) = rest.split_at(run);
                self.write_sql(&route, run).await?;
                rest = after;
                continue;
            }
            let mut bytes = change.bytes();
            let mut run = 1;
            while let Some(next) = rest.get(run)
                && bytes + next.bytes() <= room
                && next.place.seq > self.sql_until
                && !next.idempotent
                && events::joins(change, next, &route)
            {
                bytes += next.bytes();
                run += 1;
            }
            let (run, after) = rest.split_at(run);
            if !pending.is_empty() && pending.len() + bytes > room {
                self.send_events(&mut pending, first.take(), room).await?;
            }
            first.get_or_insert(change);
            events::append(run, &route, room, &mut pending).map_err(|e| e.at(&change.place))?;
            rest = after;
        }
        self.send_events(&mut pending, first, room).await
    }

    async fn send_events(&mut self, pending: &mut Vec<u8>, first: Option<&Change>, room: usize) -> Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        self.sql.forget();
        for part in events::cut(pending, room) {
            let statement = events::statement(part);
            if statement.len() > self.session.facts.max_allowed_packet {
                let place = first.map(|c| c.place.clone()).unwrap_or_default();
                return Err(ApplyError::refused(
                    format!(
                        "a row needs a statement of {} bytes, the destination takes {}",
                        statement.len(),
                        self.session.facts.max_allowed_packet
                    ),
                    "raise max_allowed_packet at the destination (1G is the most), then start the applier again",
                )
                .at(&place));
            }
            let writing = || "writing row events (BINLOG)".to_owned();
            let result = self.session.run(statement, writing).await;
            result.map_err(|e| match first {
                Some(change) => e.at(&change.place),
                None => e,
            })?;
        }
        pending.clear();
        Ok(())
    }
}

fn place_of(progress: &Progress) -> Place {
    Place { seq: progress.seq, gtid: progress.gtid.clone(), end: progress.end.clone().into() }
}
