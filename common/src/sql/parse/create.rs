//! CREATE, the statement with the most forms.

use super::super::token::TokenKind;
use super::super::{Class, SqlError};
use super::Parser;
use crate::record::{DdlKind, DdlRole};

impl Parser<'_> {
    pub(super) fn create(&mut self) -> Result<(Class, Option<(u32, u32)>), SqlError> {
        let start = self.at;
        self.at += 1;
        self.accept(&["OR", "REPLACE"]);
        self.definition_attributes();
        if self.is("TEMPORARY", 0) {
            return Ok((Class::Temporary, None));
        }
        while self.is_any(&["ONLINE", "OFFLINE", "UNIQUE", "FULLTEXT", "VECTOR", "AGGREGATE"], 0)
            || self.is("SPATIAL", 0) && self.is("INDEX", 1)
            || self.is("EXTERNAL", 0) && self.is("TABLE", 1)
        {
            self.at += 1;
        }
        let kind = match self.word(0).to_ascii_uppercase().as_str() {
            "DATABASE" | "SCHEMA" => DdlKind::CreateDatabase,
            "TABLE" => DdlKind::CreateTable,
            "INDEX" => DdlKind::CreateIndex,
            "VIEW" => DdlKind::CreateView,
            "PROCEDURE" | "FUNCTION" | "PACKAGE" | "LIBRARY" => DdlKind::CreateRoutine,
            "TRIGGER" => DdlKind::CreateTrigger,
            "EVENT" => DdlKind::CreateEvent,
            "SEQUENCE" => DdlKind::CreateSequence,
            _ => {
                self.at = start;
                if self.is("OR", 1) && self.is("REPLACE", 2) {
                    // MariaDB: CREATE OR REPLACE USER, ROLE, SERVER
                    self.tokens.drain(start + 1..start + 3);
                }
                return Ok((self.administrative()?, None));
            }
        };
        self.at += 1;
        self.accept(&["BODY"]);
        self.accept(&["IF", "NOT", "EXISTS"]);
        let mut start_transaction = None;
        match kind {
            DdlKind::CreateDatabase => self.database_object()?,
            DdlKind::CreateIndex => self.create_index()?,
            DdlKind::CreateTable => {
                self.object(DdlRole::Target)?;
                start_transaction = self.take_start_transaction();
                self.create_table()?;
            }
            DdlKind::CreateView => {
                self.object(DdlRole::Target)?;
                self.references();
            }
            DdlKind::CreateRoutine => {
                self.object_or_udf()?;
                if (self.at..self.tokens.len()).any(|at| self.is_at(at, "SONAME")) {
                    self.objects.clear();
                    return Ok((Class::Administrative, None)); // a function in a shared library
                }
            }
            DdlKind::CreateTrigger => {
                self.object(DdlRole::Target)?;
                while self.at < self.tokens.len() && !self.accept(&["ON"]) {
                    self.at += 1;
                }
                self.object(DdlRole::Reference)?;
            }
            _ => self.object(DdlRole::Target)?,
        }
        Ok((Class::Ddl(kind), start_transaction))
    }

    /// A function in a shared library belongs to no database; its name may be anything then.
    fn object_or_udf(&mut self) -> Result<(), SqlError> {
        match self.object(DdlRole::Target) {
            Err(SqlError::NoDatabase { .. }) if (self.at..self.tokens.len()).any(|at| self.is_at(at, "SONAME")) => {
                Ok(())
            }
            other => other,
        }
    }

    /// `ALGORITHM = x`, `DEFINER = user`, `SQL SECURITY x` in any order.
    pub(super) fn definition_attributes(&mut self) {
        loop {
            let algorithm = self.is("ALGORITHM", 0) && self.sign(1) == Some(b'=');
            if algorithm || self.is("SQL", 0) && self.is("SECURITY", 1) {
                self.at += 3;
            } else if self.is("DEFINER", 0) && self.sign(1) == Some(b'=') {
                self.at += 3;
                if self.sign(0) == Some(b'@') {
                    self.at += 2;
                    // A host that is not quoted: 10.0.0.%, my-host.example
                    while matches!(self.sign(0), Some(b'.' | b'%' | b'-')) {
                        self.at += 1;
                        let goes_on = self.tokens.get(self.at).zip(self.tokens.get(self.at.wrapping_sub(1)));
                        if goes_on.is_some_and(|(next, last)| next.kind == TokenKind::Word && next.start == last.end) {
                            self.at += 1;
                        }
                    }
                } else if self.sign(0) == Some(b'(') && self.sign(1) == Some(b')') {
                    self.at += 2;
                }
            } else {
                return;
            }
        }
    }

    fn create_index(&mut self) -> Result<(), SqlError> {
        self.name()?;
        // USING BTREE may stand before ON.
        while self.at < self.tokens.len() && !self.accept(&["ON"]) {
            self.at += 1;
        }
        self.object(DdlRole::Target)
    }

    /// Takes START TRANSACTION off the end. Nothing else ends so: both words can be names, but not these two in a row at the end.
    fn take_start_transaction(&mut self) -> Option<(u32, u32)> {
        let len = self.tokens.len();
        let first = len.checked_sub(2).filter(|&at| at >= self.at)?;
        if !(self.is_at(first, "START") && self.is_at(first + 1, "TRANSACTION")) {
            return None;
        }
        let (start, end) = (self.tokens.get(first)?.start, self.tokens.get(first + 1)?.end);
        self.tokens.truncate(first);
        Some((start as u32, end as u32))
    }

    fn create_table(&mut self) -> Result<(), SqlError> {
        let inner = usize::from(self.sign(0) == Some(b'('));
        if self.is("LIKE", inner) {
            self.at += inner + 1;
            return self.object(DdlRole::Reference);
        }
        while self.at < self.tokens.len() {
            if self.accept(&["REFERENCES"]) {
                self.object(DdlRole::Reference)?;
            } else if self.is("SELECT", 0) {
                self.references();
            } else {
                self.at += 1;
            }
        }
        Ok(())
    }

    /// The tables after FROM and JOIN, as far as they are plain names. Only to be shown and mapped: what is not found stays as it is.
    pub(super) fn references(&mut self) {
        while self.at < self.tokens.len() {
            if !(self.accept(&["FROM"]) || self.accept(&["JOIN"])) {
                self.at += 1;
                continue;
            }
            while self.sign(0) == Some(b'(') {
                self.at += 1;
            }
            // FROM is also part of EXTRACT(x FROM y), TRIM(x FROM y), SUBSTRING(x FROM y): a name there is taken for a table if it looks like one.
            while !self.is_any(&["SELECT", "LATERAL", "JSON_TABLE", "DUAL"], 0)
                && self.object(DdlRole::Reference).is_ok()
            {
                // alias, then perhaps the next of a list
                self.accept(&["AS"]);
                if self.sign(0) != Some(b',') && self.sign(1) == Some(b',') {
                    self.at += 1;
                }
                if self.sign(0) != Some(b',') {
                    break;
                }
                self.at += 1;
            }
        }
    }
}
