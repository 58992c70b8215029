//! The source transaction whose records are coming in.

use std::sync::Arc;

use common::Seq;
use common::record::{Begin, Xid};

use super::choice::Choice;
use super::step::Action;
use crate::error::Place;

/// The source transaction whose records are coming in.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) place: Arc<Place>,
    pub(super) begin: Begin,
    pub(super) actions: Vec<Action>,
    pub(super) rows: u64,
    pub(super) bytes: u64,
    /// A part of it was given out already.
    pub(super) streamed: bool,
    /// A DDL statement that waits for what comes after it, and what of it runs here.
    pub(super) ddl: Option<(Vec<u8>, Choice)>,
    pub(super) ddl_parts: u32,
    /// Rows of it were passed over and not kept.
    pub(super) passed_over: bool,
    /// Whether RowsMore records belong to a table that is not wanted.
    pub(super) skipping_more: bool,
}

impl Open {
    /// One of which nothing but the Begin is known.
    pub(super) fn new(seq: Seq, begin: Begin) -> Self {
        Self {
            place: Arc::new(Place { seq, gtid: begin.gtid.clone(), ..Place::default() }),
            begin,
            actions: Vec::new(),
            rows: 0,
            bytes: 0,
            streamed: false,
            ddl: None,
            ddl_parts: 0,
            passed_over: false,
            skipping_more: false,
        }
    }
}

/// The rows among the actions become rows to keep, if their transaction is a prepared branch; else those that are passed over are gone.
pub(super) fn as_prepare(mut actions: Vec<Action>, prepare: Option<Xid>, seq: Seq) -> Vec<Action> {
    let Some(xid) = prepare else {
        actions.retain(|action| !matches!(action, Action::Rows(change) if change.passed));
        return actions;
    };
    let mut changes = Vec::with_capacity(actions.len());
    let mut others = Vec::new();
    for action in actions {
        match action {
            Action::Rows(change) => changes.push(change),
            other => others.push(other),
        }
    }
    others.push(Action::Prepare { xid, seq, changes });
    others
}
