//! A hold: the follower stands still.

use common::BinlogPosition;
use common::snapshot::SnapshotStep;

use super::{Again, Appended, Ask, ChunkRows, Desk, Opened, Stand, Stopped, What};
use crate::follow::Place;

/// The follower stands still as long as this lives, but for [`Hold::go_to`].
///
/// [`Again::Lost`] is the answer to everything once the connection broke on the way: the hold is over then, and must be begun anew.
#[derive(Debug)]
pub struct Hold {
    desk: Desk,
    id: u64,
    place: Place,
}

impl Hold {
    pub(super) fn new(desk: Desk, opened: Opened) -> Self {
        Self { desk, id: opened.id, place: opened.place }
    }

    /// Where the follower stands. As [`super::Window::place`].
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Lets the follower go on to the first place between two transactions at or behind `to`, where it stands again.
    /// Tells whether the tables were touched since the hold began.
    ///
    /// # Errors
    /// [`Stopped`] and [`Again::Lost`].
    pub fn go_to(&mut self, to: &BinlogPosition) -> Result<Result<Stand, Again>, Stopped> {
        let (hold, to) = (self.id, to.clone());
        let stand = self.desk.exchange(|answer| Ask::GoTo { hold, to, answer })?;
        if let Ok(stand) = &stand {
            self.place = stand.place.clone();
        }
        Ok(stand)
    }

    /// Appends rows where the follower stands, all of them.
    ///
    /// # Errors
    /// [`Stopped`] and [`Again::Lost`].
    pub fn append_chunk(&self, chunk: ChunkRows) -> Result<Result<Appended, Again>, Stopped> {
        self.desk.put(Some(self.id), What::Chunk(Box::new(chunk)))
    }

    /// Appends a step where the follower stands.
    ///
    /// # Errors
    /// [`Stopped`] and [`Again::Lost`].
    pub fn append_step(&self, step: SnapshotStep) -> Result<Result<(), Again>, Stopped> {
        Ok(self.desk.put(Some(self.id), What::Step(Box::new(step)))?.map(|_| ()))
    }

    /// Lets the follower go on.
    pub fn release(self) {}
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Where the reader stops nobody stands.
        let _ = self.desk.ask(Ask::Release { hold: self.id });
    }
}
