//! DDL statements: each a step of its own, given out once it is known whether more of its transaction follows.

use common::{Seq, codec};

use super::choice::{Selected, choose};
use super::planner::Planner;
use super::step::{DdlStep, Step};
use crate::error::{ApplyError, Result};
use crate::target::Progress;

impl Planner {
    pub(super) fn ddl(&mut self, seq: Seq, payload: &[u8]) -> Result<()> {
        self.release_ddl(None);
        self.flush();
        let choice = choose(&self.selection, &mut self.copies, &codec::decode(payload)?)?;
        let open = self.open(seq)?;
        if open.streamed || !open.actions.is_empty() {
            return Err(ApplyError::refused(
                format!("seq {seq} changes rows and then runs DDL; DDL commits, so the two cannot stay together"),
                "report this with the output of `logweir store dump` for this seq",
            ));
        }
        open.ddl = Some((payload.to_vec(), choice));
        Ok(())
    }

    /// Gives out a DDL statement that waited for what comes after it.
    pub(super) fn release_ddl(&mut self, close: Option<Progress>) {
        let Some(open) = self.open.as_mut() else { return };
        let Some((payload, choice)) = open.ddl.take() else { return };
        let part = open.ddl_parts;
        open.ddl_parts += 1;
        let (apply, only) = match choice.selected {
            Selected::All => (true, None),
            Selected::None => (false, None),
            Selected::Some(objects) => (true, Some(objects)),
        };
        let step = DdlStep {
            apply,
            only,
            moves: choice.moves,
            left_out: choice.left_out,
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
