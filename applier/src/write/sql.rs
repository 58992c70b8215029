//! Rows as SQL.

/// What the session's variables are set to, as far as we know.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlState {
    /// `foreign_key_checks`; None = not known (row events change it).
    pub foreign_key_checks: Option<bool>,
}

impl SqlState {
    /// Something else may have changed them.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}
