//! What a QUERY event means: the ends of transactions, XA, DDL, and statements that must not be there.

use common::record::{CommitKind, Ddl, DdlRole, RecordKind, XaOutcome};
use common::sql::{self, Class, Dialect};

use super::{Failure, Follower, Step};
use crate::event::query::Query;
use crate::event::xa::{XaStatement, parse_statement};
use crate::event::{EventError, Header};

/// `MODE_ANSI_QUOTES` of both families.
const ANSI_QUOTES: u64 = 4;
/// `MODE_NO_BACKSLASH_ESCAPES`: MySQL's bit 20; MariaDB's the same.
const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

/// Collation ids of big5, sjis, gbk, cp932 and gb18030, whose second bytes may be ASCII.
fn is_double_byte(collation: u16) -> bool {
    matches!(collation, 1 | 84 | 13 | 88 | 28 | 87 | 95 | 96 | 248..=250)
}

/// The bytes of MariaDB's QUERY_COMPRESSED up to the statement, and the compressed statement.
pub(super) fn split_compressed(body: &[u8]) -> Result<(&[u8], &[u8]), EventError> {
    let short = EventError::Short { what: "the compressed query event" };
    let byte = |at: usize| body.get(at).map(|&byte| usize::from(byte)).ok_or_else(|| short.clone());
    let database = byte(8)?;
    let variables = byte(11)? | byte(12)? << 8;
    body.split_at_checked(13 + variables + database + 1).ok_or(short)
}

/// Whether `text` starts with this word and goes on with something else.
fn starts_with(text: &[u8], word: &str) -> bool {
    text.len() >= word.len()
        && text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
        && text.get(word.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
}

impl Follower {
    pub(super) fn query(&mut self, header: &Header, query: &Query<'_>) -> Result<Step, Failure> {
        let text = query.statement.trim_ascii();
        // The forms that the server itself writes; nothing else begins with these words.
        if text.eq_ignore_ascii_case(b"BEGIN") {
            self.group(header).transaction = true;
            return Ok(Step::Inside);
        }
        if text.eq_ignore_ascii_case(b"COMMIT") {
            self.end_group(header, CommitKind::Commit)?;
            return Ok(Step::Committed);
        }
        if text.eq_ignore_ascii_case(b"ROLLBACK") {
            self.end_group(header, CommitKind::Rollback)?;
            return Ok(Step::Committed);
        }
        if starts_with(text, "SAVEPOINT") || starts_with(text, "ROLLBACK") || starts_with(text, "RELEASE") {
            return Ok(Step::Inside);
        }
        if starts_with(text, "XA") {
            return self.xa(header, text);
        }
        self.statement(header, query)
    }

    fn xa(&mut self, header: &Header, text: &[u8]) -> Result<Step, Failure> {
        let (xid, commit) = match parse_statement(text)? {
            XaStatement::Start(_) => {
                self.group(header).transaction = true;
                return Ok(Step::Inside);
            }
            XaStatement::End(_) => return Ok(Step::Inside),
            XaStatement::Commit(xid) => (xid, true),
            XaStatement::Rollback(xid) => (xid, false),
        };
        if commit {
            self.attending.branch_committed();
        }
        self.group(header);
        self.begin()?;
        self.output.record(RecordKind::XaOutcome, &XaOutcome { xid, commit })?;
        self.end_group(header, CommitKind::Implicit)?;
        Ok(Step::Committed)
    }

    fn statement(&mut self, header: &Header, query: &Query<'_>) -> Result<Step, Failure> {
        let context = query.context(header, self.flavor)?;
        let mode = context.sql_mode.unwrap_or(0);
        let dialect = Dialect {
            flavor: self.flavor,
            ansi_quotes: mode & ANSI_QUOTES != 0,
            backslash_escapes: mode & NO_BACKSLASH_ESCAPES == 0,
            double_byte: context.charsets.is_some_and(|(client, _, _)| is_double_byte(client)),
        };
        let database = String::from_utf8_lossy(query.database);
        let parsed = sql::parse(query.statement, &database, dialect).map_err(|error| {
            self.reader_error(format!(
                "a statement of the source is not understood ({error}): {}; report it, and skip it by starting a new store behind it",
                sql::excerpt(query.statement)
            ))
        })?;
        let inside = self.group(header).transaction;
        let kind = match parsed.class {
            Class::Ddl(kind) => kind,
            Class::Administrative | Class::Temporary => {
                self.counts.skipped_statements += 1;
                return self.end_statement(header, inside);
            }
            Class::TransactionControl => return Ok(Step::Inside),
            Class::Dml(verb) => {
                let targets = parsed.objects.iter().filter(|object| object.role == DdlRole::Target);
                let mut named = false;
                let selection = self.tables.selection();
                let selected =
                    targets.inspect(|_| named = true).any(|object| selection.selects(&object.database, &object.name));
                if named && !selected {
                    return self.end_statement(header, inside);
                }
                return Err(self.reader_error(format!(
                    "the source logged {verb} as a statement, which cannot be replayed exactly: {}; run SET GLOBAL binlog_format=ROW at the source \
                     (and in the session or program that did this), then copy the tables that it changed anew",
                    sql::excerpt(query.statement)
                )));
            }
        };
        for object in &parsed.objects {
            if object.role != DdlRole::Reference {
                self.tables.changed(&object.database, &object.name, header.timestamp);
            }
        }
        self.attending.ddl(kind, &parsed.objects, &self.at);
        let selection = self.tables.selection();
        let selected = parsed.objects.iter().any(|object| {
            object.role != DdlRole::Reference
                && if object.name.is_empty() {
                    selection.selects_database(&object.database)
                } else {
                    selection.selects(&object.database, &object.name)
                }
        });
        if !selected {
            self.counts.skipped_statements += 1;
            return self.end_statement(header, inside);
        }
        if query.error_code != 0 {
            return Err(self.reader_error(format!(
                "a statement ended with error {} at the source after it may have changed something: {}",
                query.error_code,
                sql::excerpt(query.statement)
            )));
        }
        let stripped;
        let statement = match parsed.start_transaction {
            None => query.statement,
            Some((start, end)) => {
                let part = |range: std::ops::Range<usize>| query.statement.get(range).unwrap_or_default();
                stripped =
                    [part(0..start as usize).trim_ascii_end(), part(end as usize..query.statement.len())].concat();
                &stripped
            }
        };
        self.begin()?;
        self.counts.statements += 1;
        let ddl = Ddl {
            statement,
            database: query.database,
            kind,
            objects: parsed.objects,
            context,
            atomic_rows_follow: inside,
        };
        self.output.make_room(statement.len(), &self.place)?;
        self.output.record(RecordKind::Ddl, &ddl)?;
        self.end_statement(header, inside)
    }

    /// A statement outside BEGIN … COMMIT is a transaction of its own.
    fn end_statement(&mut self, header: &Header, inside: bool) -> Result<Step, Failure> {
        if inside {
            return Ok(Step::Inside);
        }
        self.end_group(header, CommitKind::Implicit)?;
        Ok(Step::Committed)
    }
}
