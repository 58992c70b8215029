//! The few changes that a statement may need; everything else goes through byte for byte.

use common::Flavor;
use common::record::SessionContext;
use common::sql::{Dialect, TokenKind, Tokens};

use crate::target::{ServerFacts, collation_name, ident};

const MODE_ANSI_QUOTES: u64 = 1 << 2;
const MODE_NO_BACKSLASH_ESCAPES: u64 = 1 << 20;

/// How a statement's bytes are to be read.
pub(crate) fn dialect(context: &SessionContext, flavor: Flavor) -> Dialect {
    let mode = context.sql_mode.unwrap_or(0);
    let client = context.charsets.and_then(|(client, ..)| common::charset::of_collation(client));
    Dialect {
        flavor,
        ansi_quotes: mode & MODE_ANSI_QUOTES != 0,
        backslash_escapes: mode & MODE_NO_BACKSLASH_ESCAPES == 0,
        double_byte: matches!(client, Some("big5" | "cp932" | "gbk" | "gb18030" | "sjis")),
    }
}

/// The statement with collations that this destination does not have replaced by the nearest; None if there are none.
pub(crate) fn collations(statement: &[u8], dialect: Dialect, to: &ServerFacts) -> Option<Vec<u8>> {
    let mut tokens = Tokens::new(statement, dialect);
    let mut out = Vec::new();
    let mut copied = 0;
    // A statement that does not tokenize ran at the source all the same; the destination will say what it thinks of it.
    while let Ok(Some(token)) = tokens.next_token() {
        if !matches!(token.kind, TokenKind::Word) {
            continue;
        }
        let word = statement.get(token.start..token.end).and_then(|w| std::str::from_utf8(w).ok()).unwrap_or_default();
        if let Some(name) = collation_name(word, to) {
            out.extend_from_slice(statement.get(copied..token.start).unwrap_or_default());
            out.extend_from_slice(name.as_bytes());
            copied = token.end;
        }
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(statement.get(copied..).unwrap_or_default());
    Some(out)
}

/// A DROP of only these objects; those that are gone already do not matter.
pub(super) fn drop_only(what: &str, objects: &[(&str, &str)]) -> Vec<u8> {
    let names: Vec<String> =
        objects.iter().map(|(database, name)| format!("{}.{}", ident(database), ident(name))).collect();
    format!("DROP {what} IF EXISTS {}", names.join(", ")).into_bytes()
}

/// A RENAME of only these tables: old and new names in turn.
pub(super) fn rename_only(names: &[(String, String)]) -> Vec<u8> {
    let name = |(database, name): &(String, String)| format!("{}.{}", ident(database), ident(name));
    let pairs: Vec<String> = names
        .chunks_exact(2)
        .filter_map(|pair| Some(format!("{} TO {}", name(pair.first()?), name(pair.get(1)?))))
        .collect();
    format!("RENAME TABLE {}", pairs.join(", ")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::server_for_tests as server;

    #[test]
    fn unknown_collations_become_the_nearest_and_strings_stay() {
        let statement =
            b"CREATE TABLE t (a TEXT COLLATE utf8mb4_0900_ai_ci COMMENT 'utf8mb4_0900_ai_ci') /* utf8mb4_0900_ai_ci */";
        let text = collations(statement, Dialect::default(), &server("11.8.9-MariaDB")).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "CREATE TABLE t (a TEXT COLLATE utf8mb4_uca1400_nopad_ai_ci COMMENT 'utf8mb4_0900_ai_ci') /* utf8mb4_0900_ai_ci */"
        );
        assert_eq!(collations(statement, Dialect::default(), &server("9.7.4")), None);
    }
}
