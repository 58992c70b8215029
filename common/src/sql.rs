//! What a statement in the binlog is, which objects it names and where the names stand.
//!
//! A tokenizer and no grammar: enough to apply selections and to map names, while everything else goes through verbatim, comments and version
//! conditions and all. A statement of which the kind cannot be told is an error; nothing is guessed.
//!
//! ```
//! use common::sql::{self, Class, Dialect};
//! use common::record::DdlKind;
//! let statement = b"/* nightly */ DROP TABLE IF EXISTS `a`, crm . b";
//! let parsed = sql::parse(statement, "shop", Dialect::default()).unwrap();
//! assert_eq!(parsed.class, Class::Ddl(DdlKind::DropTable));
//! let names: Vec<_> = parsed.objects.iter().map(|o| (o.database.as_str(), o.name.as_str())).collect();
//! assert_eq!(names, [("shop", "a"), ("crm", "b")]);
//! let (start, end) = parsed.objects[1].span;
//! assert_eq!(&statement[start as usize..end as usize], b"crm . b");
//! ```

mod parse;
mod token;

#[cfg(test)]
mod tests;

use crate::Flavor;
use crate::record::{DdlKind, DdlObject};
pub use token::{Token, TokenKind, Tokens};

/// What the session that ran a statement makes of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Family: the two read version conditions differently.
    pub flavor: Flavor,
    /// `ANSI_QUOTES` is in `sql_mode`: `"x"` is a name.
    pub ansi_quotes: bool,
    /// `NO_BACKSLASH_ESCAPES` is not: `\` escapes in strings.
    pub backslash_escapes: bool,
    /// `character_set_client` is one whose second bytes may be ASCII (big5, cp932, gbk, gb18030, sjis).
    pub double_byte: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Dialect { flavor: Flavor::MySql, ansi_quotes: false, backslash_escapes: true, double_byte: false }
    }
}

/// What to do with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Changes definitions.
    Ddl(DdlKind),
    /// Accounts, grants, maintenance: nothing that is replicated.
    Administrative,
    /// About temporary tables, which only their session sees.
    Temporary,
    /// Part of how a transaction is delimited.
    TransactionControl,
    /// Changes rows, logged as text.
    Dml(&'static str),
}

/// A statement that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What it is.
    pub class: Class,
    /// What it names, in the order of the text.
    pub objects: Vec<DdlObject>,
    /// Where `START TRANSACTION` stands at the end of a CREATE TABLE: MySQL's way to log CREATE TABLE … SELECT as one transaction.
    pub start_transaction: Option<(u32, u32)>,
}

/// A statement that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// It begins with words that are no statement that we know.
    #[error("unknown statement {words}")]
    Unknown {
        /// The first words.
        words: String,
    },
    /// A name was expected here.
    #[error("a name is expected at byte {at}")]
    NoName {
        /// Byte offset.
        at: usize,
    },
    /// A quote or comment that does not end.
    #[error("the quote or comment at byte {at} does not end")]
    Unterminated {
        /// Byte offset.
        at: usize,
    },
    /// A name that is not UTF-8.
    #[error("the name at byte {at} is not UTF-8")]
    Encoding {
        /// Byte offset.
        at: usize,
    },
    /// An object without a database, in a session without one.
    #[error("{name} names no database and the session has none")]
    NoDatabase {
        /// The name.
        name: String,
    },
    /// Longer than 4 GiB.
    #[error("the statement is longer than 4 GiB")]
    TooLong,
}

/// Looks at one statement; `database` is the session's default, empty if none.
///
/// # Errors
/// [`SqlError`]: what it is cannot be told.
pub fn parse(statement: &[u8], database: &str, dialect: Dialect) -> Result<Statement, SqlError> {
    if u32::try_from(statement.len()).is_err() {
        return Err(SqlError::TooLong);
    }
    parse::Parser::new(statement, database, dialect)?.statement()
}

/// The beginning of a statement for a message. Statements about accounts may hold passwords: of them only the first words are shown.
#[must_use]
pub fn excerpt(statement: &[u8]) -> String {
    const CHARS_MAX: usize = 120;
    let text = String::from_utf8_lossy(statement);
    let secret = ["identified", "password", "auth_string"]
        .iter()
        .any(|word| text.as_bytes().windows(word.len()).any(|window| window.eq_ignore_ascii_case(word.as_bytes())));
    if secret {
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        return format!("{} …", words.join(" "));
    }
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}
