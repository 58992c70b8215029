//! Cuts a statement into words, names, strings and signs, as the server's lexer does (sql/sql_lex.cc).

use super::{Dialect, SqlError};
use crate::Flavor;

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// Kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Keyword, unquoted name or number.
    Word,
    /// Name in backquotes, or in double quotes under `ANSI_QUOTES`.
    Name,
    /// String.
    Text,
    /// Any other byte.
    Sign(u8),
}

/// The tokens of a statement.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a [u8],
    dialect: Dialect,
    at: usize,
    /// Inside `/*! … */`, of which the content counts.
    conditional: bool,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

impl<'a> Tokens<'a> {
    /// The tokens of `text`.
    #[must_use]
    pub fn new(text: &'a [u8], dialect: Dialect) -> Self {
        Self { text, dialect, at: 0, conditional: false }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next token, or None at the end.
    ///
    /// # Errors
    /// [`SqlError::Unterminated`]
    pub fn next_token(&mut self) -> Result<Option<Token>, SqlError> {
        self.skip()?;
        let start = self.at;
        if start >= self.text.len() {
            return Ok(None);
        }
        let kind = match self.peek(0) {
            b'`' => self.quoted(b'`', false).map(|()| TokenKind::Name)?,
            b'"' if self.dialect.ansi_quotes => self.quoted(b'"', false).map(|()| TokenKind::Name)?,
            quote @ (b'"' | b'\'') => self.quoted(quote, self.dialect.backslash_escapes).map(|()| TokenKind::Text)?,
            byte if is_word(byte) => {
                while self.at < self.text.len() && is_word(self.peek(0)) {
                    self.at += self.width();
                }
                TokenKind::Word
            }
            byte => {
                self.at += 1;
                TokenKind::Sign(byte)
            }
        };
        Ok(Some(Token { kind, start, end: self.at.min(self.text.len()) }))
    }

    /// Bytes of the character here: 2 if it is the first byte of two in a set whose second bytes may look like ASCII.
    fn width(&self) -> usize {
        if self.dialect.double_byte && self.peek(0) >= 0x81 && self.peek(1) >= 0x30 { 2 } else { 1 }
    }

    fn quoted(&mut self, quote: u8, escapes: bool) -> Result<(), SqlError> {
        let start = self.at;
        self.at += 1;
        while self.at < self.text.len() {
            match self.peek(0) {
                byte if byte == quote => {
                    self.at += 1;
                    if self.peek(0) != quote || self.at >= self.text.len() {
                        return Ok(());
                    }
                    self.at += 1;
                }
                b'\\' if escapes => self.at += 2,
                _ => self.at += self.width(),
            }
        }
        Err(SqlError::Unterminated { at: start })
    }

    /// Passes over white space and comments.
    fn skip(&mut self) -> Result<(), SqlError> {
        loop {
            let rest = self.rest();
            match rest {
                [byte, ..] if byte.is_ascii_whitespace() || *byte == 0x0b => self.at += 1,
                [b'#', ..] => self.line(),
                [b'-', b'-'] => self.line(),
                [b'-', b'-', next, ..] if *next <= b' ' => self.line(),
                [b'*', b'/', ..] if self.conditional => {
                    self.conditional = false;
                    self.at += 2;
                }
                [b'/', b'*', inner @ ..] => {
                    if let Some(len) = self.condition(inner) {
                        self.at += 2 + len;
                        self.conditional = true;
                    } else {
                        let end = inner.windows(2).position(|pair| pair == b"*/");
                        let end = end.ok_or(SqlError::Unterminated { at: self.at })?;
                        self.at += 2 + end + 2;
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    fn line(&mut self) {
        let rest = self.rest();
        self.at += rest.iter().position(|&byte| byte == b'\n').map_or(rest.len(), |end| end + 1);
    }

    /// Length of the `!50100` or `M!100100` after `/*` if what follows is executed.
    fn condition(&self, inner: &[u8]) -> Option<usize> {
        let mariadb = self.dialect.flavor == Flavor::MariaDb;
        let (head, only_mariadb) = match inner {
            [b'!', ..] => (1, false),
            [b'M', b'!', ..] => (2, true),
            _ => return None,
        };
        if only_mariadb && !mariadb {
            return None;
        }
        let digits = inner.get(head..)?.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        // MySQL reads five digits, or six if there are six; fewer are no version.
        let digits = if digits >= 5 { digits } else { 0 };
        let version = inner.get(head..head + digits)?.iter().fold(0u32, |v, byte| v * 10 + u32::from(byte - b'0'));
        // MariaDB leaves out what is meant for MySQL 5.7 and later.
        let foreign = mariadb && !only_mariadb && (50_700..100_000).contains(&version);
        (!foreign).then_some(head + digits)
    }
}
