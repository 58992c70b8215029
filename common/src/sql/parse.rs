//! From tokens to what a statement is.

mod create;

use super::token::{Token, TokenKind, Tokens};
use super::{Class, Dialect, SqlError, Statement};
use crate::record::{DdlKind, DdlObject, DdlRole};

pub(super) struct Parser<'a> {
    text: &'a [u8],
    database: &'a str,
    tokens: Vec<Token>,
    at: usize,
    objects: Vec<DdlObject>,
}

/// Statements that change nothing which is replicated.
const ADMINISTRATIVE: &[&str] = &[
    "ALTER INSTANCE",
    "ALTER LOGFILE",
    "ALTER RESOURCE",
    "ALTER ROLE",
    "ALTER SERVER",
    "ALTER TABLESPACE",
    "ALTER UNDO",
    "ALTER USER",
    "ANALYZE",
    "BINLOG",
    "CACHE",
    "CHANGE",
    "CHECK",
    "CHECKSUM",
    "CLONE",
    "CREATE CATALOG",
    "CREATE LOGFILE",
    "CREATE RESOURCE",
    "CREATE ROLE",
    "CREATE SERVER",
    "CREATE SPATIAL",
    "CREATE TABLESPACE",
    "CREATE UNDO",
    "CREATE USER",
    "DROP CATALOG",
    "DROP LOGFILE",
    "DROP PREPARE",
    "DROP RESOURCE",
    "DROP ROLE",
    "DROP SERVER",
    "DROP SPATIAL",
    "DROP TABLESPACE",
    "DROP UNDO",
    "DROP USER",
    "FLUSH",
    "GRANT",
    "IMPORT",
    "INSTALL",
    "KILL",
    "LOAD INDEX",
    "LOCK",
    "OPTIMIZE",
    "PURGE",
    "RENAME USER",
    "REPAIR",
    "RESET",
    "RESTART",
    "REVOKE",
    "SET",
    "SHUTDOWN",
    "START SLAVE",
    "START REPLICA",
    "STOP",
    "UNINSTALL",
    "UNLOCK",
    "USE",
];

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a [u8], database: &'a str, dialect: Dialect) -> Result<Self, SqlError> {
        let mut reader = Tokens::new(text, dialect);
        let mut tokens = Vec::new();
        while let Some(token) = reader.next_token()? {
            tokens.push(token);
        }
        while tokens.last().is_some_and(|token| token.kind == TokenKind::Sign(b';')) {
            tokens.pop();
        }
        Ok(Self { text, database, tokens, at: 0, objects: Vec::new() })
    }

    pub(super) fn statement(mut self) -> Result<Statement, SqlError> {
        let (class, start_transaction) = self.classify()?;
        Ok(Statement { class, objects: self.objects, start_transaction })
    }

    fn classify(&mut self) -> Result<(Class, Option<(u32, u32)>), SqlError> {
        if self.tokens.is_empty() {
            return Ok((Class::Administrative, None)); // nothing but comments
        }
        // MariaDB: SET STATEMENT name = value, … FOR statement
        if self.is_at(0, "SET") && self.is_at(1, "STATEMENT") {
            let inner = (2..self.tokens.len()).find(|&at| self.is_at(at, "FOR")).map(|at| at + 1);
            self.at = inner.ok_or_else(|| self.unknown())?;
        }
        let class = match self.word(0).to_ascii_uppercase().as_str() {
            "CREATE" => return self.create(),
            "ALTER" => self.alter()?,
            "DROP" => self.drop_statement()?,
            "RENAME" if self.is("TABLE", 1) || self.is("TABLES", 1) => self.rename()?,
            "TRUNCATE" => {
                self.at += if self.is("TABLE", 1) { 2 } else { 1 };
                self.object(DdlRole::Target)?;
                Class::Ddl(DdlKind::TruncateTable)
            }
            "INSERT" => self.dml("INSERT", &["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE", "INTO"]),
            "REPLACE" => self.dml("REPLACE", &["LOW_PRIORITY", "DELAYED", "INTO"]),
            "UPDATE" => self.dml("UPDATE", &["LOW_PRIORITY", "IGNORE"]),
            "DELETE" => self.dml("DELETE", &["LOW_PRIORITY", "QUICK", "IGNORE", "FROM"]),
            "LOAD" if !self.is("INDEX", 1) => Class::Dml("LOAD DATA"),
            "CALL" => Class::Dml("CALL"),
            "WITH" => Class::Dml("WITH"),
            "SELECT" => Class::Dml("SELECT"),
            "DO" => Class::Dml("DO"),
            "BEGIN" | "COMMIT" | "ROLLBACK" | "SAVEPOINT" | "RELEASE" | "XA" => Class::TransactionControl,
            "START" if self.is("TRANSACTION", 1) => Class::TransactionControl,
            _ => self.administrative()?,
        };
        Ok((class, None))
    }

    fn administrative(&self) -> Result<Class, SqlError> {
        let (first, second) = (self.word(0), self.word(1));
        let known = ADMINISTRATIVE.iter().any(|name| match name.split_once(' ') {
            None => first.eq_ignore_ascii_case(name),
            Some((one, two)) => first.eq_ignore_ascii_case(one) && second.eq_ignore_ascii_case(two),
        });
        if known { Ok(Class::Administrative) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> SqlError {
        let words: Vec<&str> = (0..3).map(|ahead| self.word(ahead)).filter(|word| !word.is_empty()).collect();
        SqlError::Unknown { words: words.join(" ") }
    }

    /// Token `ahead` of here as a keyword; empty if it is none.
    fn word(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |token| self.word_of(*token))
    }

    fn word_of(&self, token: Token) -> &'a str {
        match token.kind {
            TokenKind::Word => std::str::from_utf8(self.bytes(token)).unwrap_or(""),
            _ => "",
        }
    }

    fn bytes(&self, token: Token) -> &'a [u8] {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn is(&self, word: &str, ahead: usize) -> bool {
        self.word(ahead).eq_ignore_ascii_case(word)
    }

    fn is_any(&self, words: &[&str], ahead: usize) -> bool {
        words.iter().any(|word| self.is(word, ahead))
    }

    /// Whether the token at an absolute index is this keyword.
    fn is_at(&self, index: usize, word: &str) -> bool {
        self.tokens.get(index).is_some_and(|token| self.word_of(*token).eq_ignore_ascii_case(word))
    }

    fn sign(&self, ahead: usize) -> Option<u8> {
        match self.tokens.get(self.at + ahead)?.kind {
            TokenKind::Sign(byte) => Some(byte),
            _ => None,
        }
    }

    /// Passes over these keywords if they stand here in this order.
    fn accept(&mut self, words: &[&str]) -> bool {
        let all = words.iter().enumerate().all(|(ahead, word)| self.is(word, ahead));
        if all {
            self.at += words.len();
        }
        all
    }

    /// One identifier.
    fn name(&mut self) -> Result<(String, usize, usize), SqlError> {
        let end = self.tokens.last().map_or(0, |token| token.end);
        let token = *self.tokens.get(self.at).ok_or(SqlError::NoName { at: end })?;
        let bytes = self.bytes(token);
        let raw: Vec<u8> = match token.kind {
            TokenKind::Word => bytes.to_vec(),
            TokenKind::Name => {
                let quote = *bytes.first().unwrap_or(&b'`');
                let inner = bytes.get(1..bytes.len().saturating_sub(1)).unwrap_or_default();
                let mut name = Vec::with_capacity(inner.len());
                let mut inner = inner.iter().copied();
                while let Some(byte) = inner.next() {
                    name.push(byte);
                    if byte == quote {
                        inner.next(); // doubled
                    }
                }
                name
            }
            TokenKind::Text | TokenKind::Sign(_) => return Err(SqlError::NoName { at: token.start }),
        };
        let name = String::from_utf8(raw).map_err(|_| SqlError::Encoding { at: token.start })?;
        self.at += 1;
        Ok((name, token.start, token.end))
    }

    /// A perhaps qualified name; pushes it.
    fn object(&mut self, role: DdlRole) -> Result<(), SqlError> {
        let lead = self.tokens.get(self.at).filter(|token| token.kind == TokenKind::Sign(b'.')).copied();
        if lead.is_some() {
            self.at += 1; // ".t" is a table of the default database
        }
        let (mut name, mut start, mut end) = self.name()?;
        let mut database = None;
        if let Some(token) = lead {
            start = token.start;
        } else if self.sign(0) == Some(b'.') {
            self.at += 1;
            database = Some(name);
            (name, _, end) = self.name()?;
        }
        let database = match database {
            Some(database) => database,
            None if self.database.is_empty() => return Err(SqlError::NoDatabase { name }),
            None => self.database.to_owned(),
        };
        self.objects.push(DdlObject { database, name, span: (start as u32, end as u32), role });
        Ok(())
    }

    /// A database's name; pushes it.
    fn database_object(&mut self) -> Result<(), SqlError> {
        let (database, start, end) = self.name()?;
        self.objects.push(DdlObject {
            database,
            name: String::new(),
            span: (start as u32, end as u32),
            role: DdlRole::Target,
        });
        Ok(())
    }

    fn list(&mut self) -> Result<(), SqlError> {
        self.object(DdlRole::Target)?;
        while self.sign(0) == Some(b',') {
            self.at += 1;
            self.object(DdlRole::Target)?;
        }
        Ok(())
    }

    fn drop_statement(&mut self) -> Result<Class, SqlError> {
        let kind = match self.word(1).to_ascii_uppercase().as_str() {
            "TEMPORARY" => return Ok(Class::Temporary),
            "DATABASE" | "SCHEMA" => DdlKind::DropDatabase,
            "TABLE" | "TABLES" => DdlKind::DropTable,
            "VIEW" => DdlKind::DropView,
            "INDEX" => DdlKind::DropIndex,
            "PROCEDURE" | "FUNCTION" | "PACKAGE" | "LIBRARY" => DdlKind::DropRoutine,
            "TRIGGER" => DdlKind::DropTrigger,
            "EVENT" => DdlKind::DropEvent,
            "SEQUENCE" => DdlKind::DropSequence,
            _ => return self.administrative(),
        };
        self.at += 2;
        self.accept(&["BODY"]);
        self.accept(&["IF", "EXISTS"]);
        match kind {
            DdlKind::DropDatabase => self.database_object()?,
            DdlKind::DropTable | DdlKind::DropView | DdlKind::DropSequence => self.list()?,
            DdlKind::DropIndex => {
                self.name()?;
                if !self.accept(&["ON"]) {
                    return Err(self.unknown());
                }
                self.object(DdlRole::Target)?;
            }
            _ => self.object(DdlRole::Target)?,
        }
        Ok(Class::Ddl(kind))
    }

    fn rename(&mut self) -> Result<Class, SqlError> {
        self.at += 2;
        self.accept(&["IF", "EXISTS"]);
        loop {
            self.object(DdlRole::Target)?;
            // MariaDB: RENAME TABLE a [WAIT n | NOWAIT] TO b
            if !self.accept(&["NOWAIT"]) && self.accept(&["WAIT"]) {
                self.at += 1;
            }
            if !self.accept(&["TO"]) {
                return Err(self.unknown());
            }
            self.object(DdlRole::NewName)?;
            if self.sign(0) != Some(b',') {
                return Ok(Class::Ddl(DdlKind::RenameTable));
            }
            self.at += 1;
        }
    }

    fn alter(&mut self) -> Result<Class, SqlError> {
        let (start, mut ahead) = (self.at, 1);
        while self.is_any(&["ONLINE", "OFFLINE", "IGNORE"], ahead) {
            ahead += 1;
        }
        self.at += ahead;
        self.definition_attributes();
        let kind = match self.word(0).to_ascii_uppercase().as_str() {
            "DATABASE" | "SCHEMA" => DdlKind::AlterDatabase,
            "TABLE" => DdlKind::AlterTable,
            "VIEW" => DdlKind::AlterView,
            "PROCEDURE" | "FUNCTION" | "LIBRARY" => DdlKind::AlterRoutine,
            "EVENT" => DdlKind::AlterEvent,
            "SEQUENCE" => DdlKind::AlterSequence,
            _ => {
                self.at = start;
                return self.administrative();
            }
        };
        self.at += 1;
        if kind == DdlKind::AlterDatabase {
            return self.alter_database();
        }
        self.accept(&["IF", "EXISTS"]);
        self.object(DdlRole::Target)?;
        match kind {
            DdlKind::AlterTable => self.alter_table()?,
            DdlKind::AlterEvent => {
                // RENAME TO can only stand before DO, whose body is any statement.
                while self.at < self.tokens.len() && !self.is("DO", 0) {
                    if self.accept(&["RENAME", "TO"]) {
                        self.object(DdlRole::NewName)?;
                    } else {
                        self.at += 1;
                    }
                }
            }
            DdlKind::AlterView => self.references(),
            _ => {}
        }
        Ok(Class::Ddl(kind))
    }

    /// The name may be missing: then the default database is meant.
    fn alter_database(&mut self) -> Result<Class, SqlError> {
        const OPTIONS: &[&str] =
            &["CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "ENCRYPTION", "READ", "UPGRADE", "COMMENT"];
        if self.is_any(OPTIONS, 0) || self.at >= self.tokens.len() {
            let at = self.tokens.get(self.at).map_or(self.text.len(), |token| token.start) as u32;
            if self.database.is_empty() {
                return Err(SqlError::NoName { at: at as usize });
            }
            let (database, name) = (self.database.to_owned(), String::new());
            self.objects.push(DdlObject { database, name, span: (at, at), role: DdlRole::Target });
        } else {
            self.database_object()?;
        }
        Ok(Class::Ddl(DdlKind::AlterDatabase))
    }

    /// Finds `RENAME [TO]`, `EXCHANGE PARTITION … WITH TABLE` and REFERENCES outside parentheses and strings.
    fn alter_table(&mut self) -> Result<(), SqlError> {
        let mut depth = 0u32;
        while self.at < self.tokens.len() {
            match self.sign(0) {
                Some(b'(') => depth += 1,
                Some(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && self.is("RENAME", 0) && !self.is_any(&["COLUMN", "INDEX", "KEY", "CONSTRAINT"], 1) {
                self.at += 1;
                if !self.accept(&["TO"]) && !self.accept(&["AS"]) && self.sign(0) == Some(b'=') {
                    self.at += 1;
                }
                self.object(DdlRole::NewName)?;
            } else if depth == 0 && self.accept(&["WITH", "TABLE"]) {
                self.object(DdlRole::Target)?;
            } else if self.accept(&["REFERENCES"]) {
                self.object(DdlRole::Reference)?;
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// A statement that changes rows: its table where it is a single one.
    fn dml(&mut self, verb: &'static str, options: &[&str]) -> Class {
        self.at += 1;
        while self.is_any(options, 0) {
            self.at += 1;
        }
        let several = self.object(DdlRole::Target).is_err()
            || self.sign(0) == Some(b',')
            || verb == "DELETE" && self.is_any(&["USING", "FROM"], 0)
            || verb == "UPDATE" && !self.is("SET", 0);
        if several {
            self.objects.clear();
        }
        Class::Dml(verb)
    }
}
