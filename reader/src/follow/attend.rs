//! What the follower does for the threads that copy: it looks at the desk between two transactions, and answers there.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;

use common::BinlogPosition;
use common::record::{DdlKind, DdlObject};
use common::snapshot::TableName;

use super::{Follower, Place};
use crate::error::ReaderError;
use crate::snapshot::desk::{Again, Appended, Ask, DdlEvent, Desk, Opened, Stand, What};
use crate::snapshot::windows::{Windows, touches};

/// What the follower keeps for them.
#[derive(Debug)]
pub(super) struct Attending {
    pub(super) desk: Desk,
    pub(super) windows: Windows,
    /// What is to be appended further on.
    waiting: Vec<Waiting>,
    hold: Option<Held>,
    /// Those who want to hold after that.
    holds: VecDeque<(Vec<TableName>, SyncSender<Opened>)>,
}

#[derive(Debug)]
struct Waiting {
    window: u64,
    what: What,
    high: BinlogPosition,
    answer: SyncSender<Result<Appended, Again>>,
}

/// The hold that there is. It is a window too, without keys, which tells whether its tables are touched.
#[derive(Debug)]
struct Held {
    id: u64,
    /// Where to stand next, if not here.
    going: Option<(BinlogPosition, SyncSender<Result<Stand, Again>>)>,
}

impl Attending {
    pub(super) fn new(desk: Desk) -> Self {
        Self { desk, windows: Windows::default(), waiting: Vec::new(), hold: None, holds: VecDeque::new() }
    }

    /// Whether there is something to do between two transactions.
    #[inline]
    fn wanted(&self) -> bool {
        self.desk.asked() || !self.waiting.is_empty() || self.hold.is_some() || !self.holds.is_empty()
    }

    fn stands(&self) -> bool {
        self.hold.as_ref().is_some_and(|hold| hold.going.is_none())
    }

    /// Whether an answer is owed further on.
    #[cfg(test)]
    pub(super) fn waits(&self) -> bool {
        let going = self.hold.as_ref().is_some_and(|hold| hold.going.is_some());
        !self.waiting.is_empty() || !self.holds.is_empty() || going
    }

    /// Everything that is open is over: what comes next may leave something out, or come from another server.
    pub(super) fn lost(&mut self) {
        self.windows.close_all();
        for waiting in self.waiting.drain(..) {
            let _ = waiting.answer.send(Err(Again::Lost));
        }
        if let Some(Held { going: Some((_, answer)), .. }) = self.hold.take() {
            let _ = answer.send(Err(Again::Lost));
        }
    }

    /// A prepared branch was committed. Its rows stand in the log where it was prepared, perhaps before a window was opened in which a SELECT still
    /// finds the rows as they were.
    pub(super) fn branch_committed(&mut self) {
        self.windows.unknown_rows();
    }

    /// DDL came; `at` is its end.
    pub(super) fn ddl(&mut self, kind: DdlKind, objects: &[DdlObject], at: &BinlogPosition) {
        if !self.windows.is_empty() {
            self.windows.ddl(kind, objects);
        }
        let concerns = self.desk.with_state(|state| {
            state.runs.iter().any(|run| {
                let mut tables = run.begin.tables.iter();
                let mut others = run.begin.others.iter();
                tables.any(|table| touches(kind, objects, &table.database, &table.table))
                    || others.any(|other| touches(kind, objects, &other.database, &other.name))
            })
        });
        if concerns {
            self.desk.push_ddl(DdlEvent { kind, objects: objects.to_vec(), at: at.clone() });
        }
    }
}

impl Follower {
    /// Meets the threads that copy at this desk, and keeps its state.
    pub fn set_desk(&mut self, desk: Desk) {
        self.output.set_desk(desk.clone());
        self.attending = Attending::new(desk);
    }

    /// Whether [`Follower::attend`] has something to do.
    #[inline]
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.attending.wanted()
    }

    /// Ends all windows and holds.
    pub fn lost(&mut self) {
        self.attending.lost();
    }

    /// Answers what can be answered here; nothing inside a transaction. True if the follower is to stand still.
    ///
    /// # Errors
    /// [`ReaderError::WriterGone`], and a chunk that is no rows.
    pub fn attend(&mut self) -> Result<bool, ReaderError> {
        if self.inside() {
            return Ok(false);
        }
        if self.attending.desk.asked() {
            for ask in self.attending.desk.take() {
                self.answer(ask)?;
            }
        }
        self.append_waiting()?;
        if let Some(hold) = &self.attending.hold
            && let Some((to, _)) = &hold.going
            && self.is_behind(to)
        {
            let stand = Stand { place: self.window_place(), touched: self.attending.windows.touched(hold.id) };
            if let Some(Held { going, .. }) = &mut self.attending.hold
                && let Some((_, answer)) = going.take()
                && answer.send(Ok(stand)).is_err()
            {
                self.release();
            }
        }
        while self.attending.hold.is_none()
            && let Some((tables, answer)) = self.attending.holds.pop_front()
        {
            let id = self.attending.windows.open(tables.into_iter().map(|table| (table, Vec::new())).collect());
            self.attending.hold = Some(Held { id, going: None });
            if answer.send(Opened { id, place: self.window_place() }).is_err() {
                self.release();
            }
        }
        Ok(self.attending.stands())
    }

    fn answer(&mut self, ask: Ask) -> Result<(), ReaderError> {
        match ask {
            Ask::Open { tables, answer } => {
                let id = self.attending.windows.open(tables);
                if answer.send(Opened { id, place: self.window_place() }).is_err() {
                    self.attending.windows.close(id);
                }
            }
            Ask::Append { window, what, high, answer } => {
                self.attending.waiting.push(Waiting { window, what, high, answer });
            }
            Ask::Close { window } => self.attending.windows.close(window),
            Ask::Hold { tables, answer } => self.attending.holds.push_back((tables, answer)),
            Ask::GoTo { hold, to, answer } => match &mut self.attending.hold {
                Some(held) if held.id == hold => held.going = Some((to, answer)),
                _ => {
                    let _ = answer.send(Err(Again::Lost));
                }
            },
            Ask::Put { hold: Some(hold), answer, .. }
                if self.attending.hold.as_ref().is_none_or(|held| held.id != hold || held.going.is_some()) =>
            {
                let _ = answer.send(Err(Again::Lost));
            }
            Ask::Put { what, answer, .. } => {
                let appended = self.put(what, None)?;
                // What is in the log stays there, whether or not somebody still wants to know.
                let _ = answer.send(Ok(appended));
            }
            Ask::Release { hold } => {
                if self.attending.hold.as_ref().is_some_and(|held| held.id == hold) {
                    self.release();
                }
            }
        }
        Ok(())
    }

    fn release(&mut self) {
        if let Some(hold) = self.attending.hold.take() {
            self.attending.windows.close(hold.id);
        }
    }

    /// Appends what is due here.
    fn append_waiting(&mut self) -> Result<(), ReaderError> {
        let mut index = 0;
        while let Some(waiting) = self.attending.waiting.get(index) {
            let checked = self.attending.windows.check(waiting.window);
            if checked.is_ok() && !self.is_behind(&waiting.high) {
                index += 1;
                continue;
            }
            let waiting = self.attending.waiting.remove(index);
            let answer = match checked {
                Ok(()) => Ok(self.put(waiting.what, Some(waiting.window))?),
                Err(again) => Err(again),
            };
            self.attending.windows.close(waiting.window);
            let _ = waiting.answer.send(answer);
        }
        Ok(())
    }

    /// Whether everything before this place of the binlog was decoded, or is held since earlier.
    fn is_behind(&self, high: &BinlogPosition) -> bool {
        let reaches = |at: &BinlogPosition| if at.file == high.file { at.offset >= high.offset } else { at >= high };
        // While it is found out where a source that we follow by GTID goes on, our position may be one of another server.
        !self.catching_up && reaches(&self.place.position) || self.at_is_exact && reaches(&self.at)
    }

    /// The place for one who reads now.
    fn window_place(&self) -> Place {
        let mut place = self.place.clone();
        if self.catching_up {
            place.position = BinlogPosition::default();
        }
        place
    }
}
