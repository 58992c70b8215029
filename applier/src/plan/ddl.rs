//! DDL statements: each a step of its own, given out once it is known whether more of its transaction follows.

use common::{Seq, codec};

use super::choice::{Selected, selected};
use super::planner::Planner;
use super::step::{DdlStep, Step};
use crate::error::{ApplyError, Result};
use crate::target::Progress;

impl Planner {
    pub(super) fn ddl(&mut self, seq: Seq, payload: &[u8]) -> Result<()> {
        let choice = selected(&self.selection, &codec::decode(payload)?)?;
        self.release_ddl(None);
        self.flush();
        let open = self.open(seq)?;
        if open.streamed || !open.actions.is_empty() {
            return Err(ApplyError::refused(
                format!("seq {seq} changes rows and then runs DDL; DDL commits, so the two cannot stay together"),
                "report this with the output of `logweir store dump` for this seq",
            ));
        }
        open.ddl = Some(payload.to_vec());
        open.ddl_selected = choice;
        Ok(())
    }

    /// Gives out a DDL statement that waited for what comes after it.
    pub(super) fn release_ddl(&mut self, close: Option<Progress>) {
        let Some(open) = self.open.as_mut() else { return };
        let Some(payload) = open.ddl.take() else { return };
        let part = open.ddl_parts;
        open.ddl_parts += 1;
        let (apply, only) = match std::mem::replace(&mut open.ddl_selected, Selected::None) {
            Selected::All => (true, None),
            Selected::None => (false, None),
            Selected::Some(objects) => (true, Some(objects)),
        };
        let step = DdlStep {
            apply,
            only,
            place: open.place.clone(),
            part,
            payload,
            source: self.source.clone(),
            close,
            before: self.seen,
        };
        self.ready.push_back(Step::Ddl(Box::new(step)));
    }
}
