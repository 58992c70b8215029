//! `sql_mode` as a bitmap of the source, in the words of the destination.

use common::Flavor;
use common::sql_mode::{MARIADB, OLD, SHARED};

use crate::error::{ApplyError, Result};
use crate::target::ServerFacts;

/// Of MySQL 8.
const TIME_TRUNCATE_FRACTIONAL: u32 = 32;

/// The value for `SET sql_mode`.
///
/// # Errors
/// When a mode changes what statements mean and the destination has none like it.
pub(super) fn sql_mode(bits: u64, from: Flavor, to: &ServerFacts) -> Result<String> {
    let set = |bit: u32| bits & (1 << bit) != 0;
    let mut names: Vec<&str> = SHARED.iter().filter(|(bit, _)| set(*bit)).map(|(_, name)| *name).collect();
    let mariadb = from == Flavor::MariaDb;
    let old_words = to.flavor == Flavor::MariaDb || to.number < (8, 0, 0);
    if old_words {
        names.extend(OLD.iter().filter(|(bit, _)| set(*bit)).map(|(_, name)| *name));
    } else if mariadb && set(9) {
        return Err(ApplyError::refused(
            "a statement was written under MariaDB's sql_mode ORACLE, which the destination does not understand",
            "run the statement by hand in the destination's language, then skip it",
        ));
    }
    match (from, to.flavor) {
        (Flavor::MariaDb, Flavor::MariaDb) => {
            names.extend(MARIADB.iter().filter(|(bit, _)| set(*bit)).map(|(_, name)| *name))
        }
        (Flavor::MySql, Flavor::MySql) if set(TIME_TRUNCATE_FRACTIONAL) && !old_words => {
            names.push("TIME_TRUNCATE_FRACTIONAL")
        }
        // MySQL rounds fractions of a second unless told, MariaDB cuts them off unless told.
        (Flavor::MySql, Flavor::MariaDb) if !set(TIME_TRUNCATE_FRACTIONAL) && to.number >= (10, 4, 1) => {
            names.push("TIME_ROUND_FRACTIONAL")
        }
        (Flavor::MariaDb, Flavor::MySql) if !set(34) && !old_words => names.push("TIME_TRUNCATE_FRACTIONAL"),
        _ => {}
    }
    if mariadb && to.flavor == Flavor::MySql && set(32) {
        return Err(ApplyError::refused(
            "a statement was written under MariaDB's sql_mode EMPTY_STRING_IS_NULL, which the destination does not have",
            "run the statement by hand at the destination, then skip it",
        ));
    }
    Ok(names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::server_for_tests as server;

    #[test]
    fn modes_are_named_in_the_destinations_words() {
        let strict = (1 << 21) | (1 << 28);
        assert_eq!(sql_mode(strict, Flavor::MySql, &server("9.7.4")).unwrap(), "STRICT_TRANS_TABLES");
        assert_eq!(
            sql_mode(strict, Flavor::MariaDb, &server("10.11.2-MariaDB")).unwrap(),
            "STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER"
        );
        assert_eq!(
            sql_mode(strict, Flavor::MySql, &server("5.6.24")).unwrap(),
            "STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER"
        );
    }

    #[test]
    fn fractions_of_a_second_are_rounded_where_the_source_rounds() {
        assert_eq!(sql_mode(0, Flavor::MySql, &server("10.11.2-MariaDB")).unwrap(), "TIME_ROUND_FRACTIONAL");
        assert_eq!(sql_mode(0, Flavor::MariaDb, &server("9.7.4")).unwrap(), "TIME_TRUNCATE_FRACTIONAL");
        assert_eq!(sql_mode(1 << 34, Flavor::MariaDb, &server("9.7.4")).unwrap(), "");
    }

    #[test]
    fn a_mode_that_changes_the_language_and_has_no_like_stops() {
        assert!(sql_mode(1 << 9, Flavor::MariaDb, &server("9.7.4")).is_err());
        assert!(sql_mode(1 << 9, Flavor::MariaDb, &server("11.8.9-MariaDB")).is_ok());
    }
}
