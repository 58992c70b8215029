//! The ids of a source's collations, which it tells by name.

use std::collections::HashMap;

use super::{Session, text};
use crate::error::ReaderError;

/// ER_BAD_FIELD_ERROR.
const UNKNOWN_COLUMN: u16 = 1054;

/// Ids by name.
#[derive(Debug, Default)]
pub struct Collations(HashMap<String, u16>);

impl Collations {
    /// Asks once; later calls do nothing.
    ///
    /// # Errors
    /// Failed queries.
    pub fn know(&mut self, session: &mut Session) -> Result<(), ReaderError> {
        if !self.0.is_empty() {
            return Ok(());
        }
        // MariaDB from 10.10 on has collations for several character sets, which only together with one of them have an id and their whole name.
        let whole = "SELECT full_collation_name, id FROM information_schema.collation_character_set_applicability";
        let plain = "SELECT collation_name, id FROM information_schema.collations WHERE id IS NOT NULL";
        let rows = match session.rows("reading its collations", whole) {
            Err(ReaderError::Query { source: mysql_async::Error::Server(error), .. })
                if error.code == UNKNOWN_COLUMN =>
            {
                session.rows("reading its collations", plain)?
            }
            other => other?,
        };
        self.0.extend(
            rows.iter().filter_map(|row| Some((text(row, 0)?.to_ascii_lowercase(), text(row, 1)?.parse().ok()?))),
        );
        Ok(())
    }

    /// The id of a collation.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<u16> {
        self.0.get(&name.to_ascii_lowercase()).copied()
    }
}
