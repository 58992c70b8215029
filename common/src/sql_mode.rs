//! `sql_mode` as a bitmap, as the binlog has it, and as words, as SHOW CREATE has it.

use crate::Flavor;

/// Bits that both families share (sql/system_variables.h of MySQL, sql/sql_class.h of MariaDB), with their words.
pub const SHARED: &[(u32, &str)] = &[
    (0, "REAL_AS_FLOAT"),
    (1, "PIPES_AS_CONCAT"),
    (2, "ANSI_QUOTES"),
    (3, "IGNORE_SPACE"),
    (5, "ONLY_FULL_GROUP_BY"),
    (6, "NO_UNSIGNED_SUBTRACTION"),
    (7, "NO_DIR_IN_CREATE"),
    (18, "ANSI"),
    (19, "NO_AUTO_VALUE_ON_ZERO"),
    (20, "NO_BACKSLASH_ESCAPES"),
    (21, "STRICT_TRANS_TABLES"),
    (22, "STRICT_ALL_TABLES"),
    (23, "NO_ZERO_IN_DATE"),
    (24, "NO_ZERO_DATE"),
    (25, "ALLOW_INVALID_DATES"),
    (26, "ERROR_FOR_DIVISION_BY_ZERO"),
    (27, "TRADITIONAL"),
    (29, "HIGH_NOT_PRECEDENCE"),
    (30, "NO_ENGINE_SUBSTITUTION"),
    (31, "PAD_CHAR_TO_FULL_LENGTH"),
];

/// Bits that MySQL 8 dropped and MariaDB still has; those of other products only stand for shared ones, which are set beside them.
pub const OLD: &[(u32, &str)] = &[
    (8, "POSTGRESQL"),
    (9, "ORACLE"),
    (10, "MSSQL"),
    (11, "DB2"),
    (12, "MAXDB"),
    (13, "NO_KEY_OPTIONS"),
    (14, "NO_TABLE_OPTIONS"),
    (15, "NO_FIELD_OPTIONS"),
    (16, "MYSQL323"),
    (17, "MYSQL40"),
    (28, "NO_AUTO_CREATE_USER"),
];

/// Bits of MariaDB alone.
pub const MARIADB: &[(u32, &str)] = &[
    (4, "IGNORE_BAD_TABLE_OPTIONS"),
    (32, "EMPTY_STRING_IS_NULL"),
    (33, "SIMULTANEOUS_ASSIGNMENT"),
    (34, "TIME_ROUND_FRACTIONAL"),
];

/// Bits of MySQL 8 alone.
pub const MYSQL: &[(u32, &str)] = &[(32, "TIME_TRUNCATE_FRACTIONAL")];

/// The bitmap of such words with commas between them.
///
/// # Errors
/// The first word that this family has not.
pub fn bits(words: &str, flavor: Flavor) -> Result<u64, String> {
    let own = match flavor {
        Flavor::MySql => MYSQL,
        Flavor::MariaDb => MARIADB,
    };
    let mut bits = 0;
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let known = SHARED.iter().chain(OLD).chain(own).find(|(_, name)| name.eq_ignore_ascii_case(word));
        // Bits without a meaning have such words.
        match known {
            Some((bit, _)) => bits |= 1 << bit,
            None if word.to_ascii_uppercase().starts_with("NOT_USED") => {}
            None => return Err(word.to_owned()),
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_the_bits_of_their_family() {
        let words = "ANSI_QUOTES,STRICT_TRANS_TABLES,no_engine_substitution";
        assert_eq!(bits(words, Flavor::MySql), Ok(1 << 2 | 1 << 21 | 1 << 30));
        assert_eq!(bits("", Flavor::MySql), Ok(0));
        assert_eq!(bits("TIME_TRUNCATE_FRACTIONAL", Flavor::MySql), Ok(1 << 32));
        assert_eq!(bits("EMPTY_STRING_IS_NULL", Flavor::MariaDb), Ok(1 << 32));
        assert_eq!(bits("ANSI,EMPTY_STRING_IS_NULL", Flavor::MySql), Err("EMPTY_STRING_IS_NULL".to_owned()));
    }
}
