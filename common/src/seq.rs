//! The coordinate of the store.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Dense number of a source transaction, DDL statement or snapshot chunk in one store. The first is 1; 0 means "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// "Nothing yet": the position of a consumer that has applied no seq.
    pub const NONE: Seq = Seq(0);
    /// The first seq of a store.
    pub const FIRST: Seq = Seq(1);

    /// The seq after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
