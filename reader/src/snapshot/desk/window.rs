//! A window: reading goes on outside, and the follower remembers what changes.

use common::BinlogPosition;
use common::snapshot::{SnapshotObject, SnapshotStep};

use super::{Again, Appended, Ask, ChunkRows, Desk, Opened, Stopped, What};
use crate::follow::Place;

/// An open window. Dropped, it is closed.
#[derive(Debug)]
pub struct Window {
    desk: Desk,
    id: u64,
    place: Place,
    closed: bool,
}

impl Window {
    pub(super) fn new(desk: Desk, opened: Opened) -> Self {
        Self { desk, id: opened.id, place: opened.place, closed: false }
    }

    /// Up to where the binlog is decoded. What is read must include all of it. Directly after a reconnect to another server the position is empty: then
    /// all that was decoded is older than the connection.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Appends the rows at the first place between two transactions at or behind `high`, which must not lie before what the SELECT has seen. Rows that
    /// changed since the window was opened are left out.
    ///
    /// # Errors
    /// [`Stopped`]; and [`Again`] where it must be read anew.
    pub fn append(self, chunk: ChunkRows, high: &BinlogPosition) -> Result<Result<Appended, Again>, Stopped> {
        self.send(What::Chunk(Box::new(chunk)), high)
    }

    /// The same with a definition.
    ///
    /// # Errors
    /// As [`Window::append`].
    pub fn append_object(
        self,
        object: SnapshotObject,
        high: &BinlogPosition,
    ) -> Result<Result<Appended, Again>, Stopped> {
        self.send(What::Step(Box::new(SnapshotStep::Object(Box::new(object)))), high)
    }

    fn send(mut self, what: What, high: &BinlogPosition) -> Result<Result<Appended, Again>, Stopped> {
        self.closed = true; // by the follower, with its answer
        let (window, high) = (self.id, high.clone());
        self.desk.exchange(|answer| Ask::Append { window, what, high, answer })
    }

    /// Closes it: what was read is not wanted.
    pub fn close(self) {}
}

impl Drop for Window {
    fn drop(&mut self) {
        if !self.closed {
            // Where the reader stops there is nothing to close.
            let _ = self.desk.ask(Ask::Close { window: self.id });
        }
    }
}
