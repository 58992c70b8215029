//! Definitions as text: their definer, and strings whose bytes are not those of the text around them.

use common::charset;
use common::sql::{Dialect, Token, TokenKind, Tokens};

use crate::error::ReaderError;
use crate::source::Session;

const ANSI_QUOTES: u64 = 1 << 2;
const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

fn dialect(sql_mode: u64) -> Dialect {
    Dialect {
        ansi_quotes: sql_mode & ANSI_QUOTES != 0,
        backslash_escapes: sql_mode & NO_BACKSLASH_ESCAPES == 0,
        ..Dialect::default()
    }
}

fn tokens(statement: &str, dialect: Dialect) -> Vec<Token> {
    let mut tokens = Tokens::new(statement.as_bytes(), dialect);
    let mut all = Vec::new();
    while let Ok(Some(token)) = tokens.next_token() {
        all.push(token);
    }
    all
}

/// `user@host` of ``CREATE DEFINER=`user`@`host` …``; only the name where it is a role.
pub(super) fn definer(statement: &str, sql_mode: u64) -> Option<String> {
    // Enough for OR REPLACE, ALGORITHM and AGGREGATE before it.
    let tokens: Vec<Token> = tokens(statement, dialect(sql_mode)).into_iter().take(16).collect();
    let at = tokens.windows(2).position(|pair| {
        matches!(pair, [word, sign] if sign.kind == TokenKind::Sign(b'=')
            && word.kind == TokenKind::Word
            && statement.get(word.start..word.end).is_some_and(|word| word.eq_ignore_ascii_case("DEFINER")))
    })?;
    let plain = |token: &Token| -> Option<String> {
        let text = statement.get(token.start..token.end)?;
        Some(match token.kind {
            TokenKind::Name | TokenKind::Text => {
                let quote = text.get(..1)?;
                text.get(1..text.len() - 1)?.replace(&quote.repeat(2), quote)
            }
            TokenKind::Word => text.to_owned(),
            TokenKind::Sign(_) => return None,
        })
    };
    let user = plain(tokens.get(at + 2)?)?;
    match (tokens.get(at + 3).map(|token| token.kind), tokens.get(at + 4).and_then(plain)) {
        (Some(TokenKind::Sign(b'@')), Some(host)) => Some(format!("{user}@{host}")),
        _ => Some(user),
    }
}

/// Whether a table is made `WITH SYSTEM VERSIONING`. MariaDB's partitions BY SYSTEM_TIME need that too.
pub(super) fn keeps_history(statement: &str) -> bool {
    let tokens = tokens(statement, Dialect::default());
    let words: Vec<&str> = tokens
        .iter()
        .map(|t| if t.kind == TokenKind::Word { statement.get(t.start..t.end).unwrap_or("") } else { "" })
        .collect();
    words.windows(3).any(|three| {
        three.iter().zip(["WITH", "SYSTEM", "VERSIONING"]).all(|(found, wanted)| found.eq_ignore_ascii_case(wanted))
    })
}

/// A statement, shown in UTF-8, that was written in the character set `client` and is not ASCII, as a text that means the same; and whether that holds in a session of
/// `client` (else it must be one of UTF-8). With `all` also strings without an introducer are written in hexadecimal.
pub(super) fn readable(
    session: &mut Session,
    client: &str,
    statement: &[u8],
    sql_mode: u64,
    all: bool,
) -> Result<Result<(String, bool), String>, ReaderError> {
    let Ok(statement) = String::from_utf8(statement.to_vec()) else {
        return Ok(Err(format!(
            "its definition was written in the character set {client} and holds bytes that are no text; make it anew at the source in a \
             session of SET NAMES utf8mb4"
        )));
    };
    if ["utf8mb4", "utf8mb3", "binary"].iter().any(|name| charset::same(name, client)) {
        return Ok(Ok((statement, true)));
    }
    // The bytes behind an introducer were never converted: `_latin1'ä'` is one byte here, and would be two in UTF-8.
    let mut out = String::new();
    let mut from = 0;
    let mut before: Option<Token> = None;
    for string in tokens(&statement, dialect(sql_mode)) {
        let word = before.replace(string).filter(|before| before.kind == TokenKind::Word);
        let quoted = statement.get(string.start..string.end).unwrap_or_default();
        if string.kind != TokenKind::Text || quoted.is_ascii() {
            continue;
        }
        let text = |token: Token| statement.get(token.start..token.end).unwrap_or_default();
        let (start, introducer) = match word.map(|word| (word, text(word))) {
            Some((word, name)) if name.starts_with('_') => (word.start, name.to_owned()),
            Some((word, name)) if name.eq_ignore_ascii_case("n") && word.end == string.start => {
                (word.start, "_utf8".to_owned())
            }
            _ if all => (string.start, format!("_{client}")),
            _ => continue,
        };
        let value = unquoted(quoted, sql_mode & NO_BACKSLASH_ESCAPES == 0);
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let query = format!("SELECT HEX(CAST(CONVERT(_utf8mb4 x'{hex}' USING {client}) AS BINARY))");
        let Some(hex) = session.text("converting a string of a definition", &query)? else {
            return Ok(Err(format!("a string in its definition cannot be written in the character set {client}")));
        };
        out.push_str(statement.get(from..start).unwrap_or_default());
        out.push_str(&introducer);
        out.push_str(" 0x");
        out.push_str(&hex);
        from = string.end;
    }
    out.push_str(statement.get(from..).unwrap_or_default());
    Ok(Ok((out, false)))
}

/// What a quoted string stands for (manual, String Literals).
fn unquoted(quoted: &str, backslash_escapes: bool) -> String {
    let mut chars = quoted.chars();
    let quote = chars.next();
    let mut out = String::with_capacity(quoted.len());
    while let Some(c) = chars.next() {
        if Some(c) == quote {
            // Doubled, or the closing one.
            match chars.next() {
                Some(c) => out.push(c),
                None => break,
            }
        } else if c == '\\' && backslash_escapes {
            match chars.next() {
                Some('0') => out.push('\0'),
                Some('b') => out.push('\x08'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some('Z') => out.push('\x1a'),
                Some(c @ ('%' | '_')) => out.extend(['\\', c]),
                Some(c) => out.push(c),
                None => break,
            }
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definer_is_found_whatever_its_name_is() {
        let of = |statement: &str| definer(statement, 0);
        assert_eq!(of("CREATE DEFINER=`root`@`localhost` PROCEDURE `p`() x"), Some("root@localhost".into()));
        assert_eq!(
            of("CREATE ALGORITHM=UNDEFINED DEFINER=`a``b c`@`%` SQL SECURITY DEFINER VIEW"),
            Some("a`b c@%".into())
        );
        assert_eq!(of("CREATE DEFINER=`admins` FUNCTION f() RETURNS int"), Some("admins".into()));
        assert_eq!(of("CREATE TABLE `t` (`definer` int)"), None);
        let ansi = "CREATE DEFINER=\"root\"@\"localhost\" PROCEDURE \"p\"()";
        assert_eq!(definer(ansi, ANSI_QUOTES), Some("root@localhost".into()));
    }

    #[test]
    fn strings_are_read_as_the_server_reads_them() {
        assert_eq!(unquoted("'a''b\\'c\\n\\%\\x\"'", true), "a'b'c\n\\%x\"");
        assert_eq!(unquoted("'a\\'", false), "a\\");
        assert_eq!(unquoted("\"ä\"\"'\"", true), "ä\"'");
    }

    #[test]
    fn history_is_seen_in_the_words_and_not_in_comments_or_names() {
        assert!(keeps_history("CREATE TABLE `t` (`a` int) ENGINE=InnoDB WITH SYSTEM VERSIONING"));
        assert!(!keeps_history("CREATE TABLE `t` (`with system versioning` int COMMENT 'with system versioning')"));
    }
}
