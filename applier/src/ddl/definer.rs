//! Whose rights an object has: the `DEFINER=` of a statement that makes a view, routine, trigger or event.
//!
//! The statement is cut into tokens, so that a body or comment that holds the same words stays as it is.

use common::config::Definer;
use common::sql::{Dialect, Token, TokenKind, Tokens};

use crate::target::quote_text;

/// The tokens of a statement; None if it cannot be cut.
pub(crate) fn tokens(statement: &[u8], dialect: Dialect) -> Option<Vec<Token>> {
    let mut reader = Tokens::new(statement, dialect);
    let mut out = Vec::new();
    while let Some(token) = reader.next_token().ok()? {
        out.push(token);
    }
    Some(out)
}

/// Whether a token is this keyword.
pub(crate) fn is_word(statement: &[u8], token: Option<&Token>, word: &str) -> bool {
    token.is_some_and(|token| {
        token.kind == TokenKind::Word
            && statement.get(token.start..token.end).is_some_and(|text| text.eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// Where `DEFINER=account` stands in the head of a statement.
fn clause(statement: &[u8], tokens: &[Token]) -> Option<(usize, usize)> {
    const OBJECTS: &[&str] = &["VIEW", "FUNCTION", "PROCEDURE", "TRIGGER", "EVENT", "PACKAGE"];
    let sign = |token: Option<&Token>, byte: u8| token.is_some_and(|token| token.kind == TokenKind::Sign(byte));
    for (i, token) in tokens.iter().enumerate() {
        if OBJECTS.iter().any(|word| is_word(statement, Some(token), word)) {
            return None;
        }
        if is_word(statement, Some(token), "DEFINER") && sign(tokens.get(i + 1), b'=') {
            let user = tokens.get(i + 2)?;
            let mut end = user.end;
            let host = sign(tokens.get(i + 3), b'@');
            let call = sign(tokens.get(i + 3), b'(') && sign(tokens.get(i + 4), b')');
            if host || call {
                end = tokens.get(i + 4)?.end;
            }
            return Some((token.start, end));
        }
    }
    None
}

/// The statement with the definer that the configuration wants. What SQL SECURITY a view has stands in its head and is changed too; routines are
/// altered after they are made.
pub(crate) fn with_definer(statement: &[u8], dialect: Dialect, definer: &Definer) -> Option<Vec<u8>> {
    let instead = match definer {
        Definer::Keep => return None,
        Definer::Invoker => Vec::new(),
        Definer::As { user, host } => {
            format!("DEFINER={}@{}", quote_text(user, dialect), quote_text(host, dialect)).into_bytes()
        }
    };
    let tokens = tokens(statement, dialect)?;
    let mut cuts = Vec::new();
    if let Some((start, end)) = clause(statement, &tokens) {
        cuts.push((start, end, instead));
    }
    if *definer == Definer::Invoker {
        for (i, token) in tokens.iter().enumerate() {
            if is_word(statement, Some(token), "VIEW") {
                break;
            }
            if is_word(statement, Some(token), "SECURITY")
                && let Some(whose) = tokens.get(i + 1)
                && is_word(statement, tokens.get(i + 2), "VIEW")
            {
                cuts.push((whose.start, whose.end, b"INVOKER".to_vec()));
            }
        }
    }
    Some(replaced(statement, &cuts))
}

/// The statement with parts of it replaced; the parts in their order.
pub(crate) fn replaced(statement: &[u8], cuts: &[(usize, usize, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(statement.len() + 64);
    let mut at = 0;
    for (start, end, instead) in cuts {
        out.extend_from_slice(statement.get(at..*start).unwrap_or_default());
        out.extend_from_slice(instead);
        at = *end;
    }
    out.extend_from_slice(statement.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(statement: &str, definer: &Definer) -> String {
        let out = with_definer(statement.as_bytes(), Dialect::default(), definer);
        String::from_utf8(out.unwrap_or_else(|| statement.into())).unwrap()
    }

    #[test]
    fn only_the_clause_in_the_head_changes() {
        let owner = Definer::As { user: "o'n".into(), host: "%".into() };
        let view = "CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`local``host` SQL SECURITY DEFINER VIEW `v` AS select 'DEFINER=`x`@`y`' AS `a`";
        assert_eq!(changed(view, &Definer::Keep), view);
        assert_eq!(
            changed(view, &owner),
            "CREATE ALGORITHM=UNDEFINED DEFINER='o''n'@'%' SQL SECURITY DEFINER VIEW `v` AS select 'DEFINER=`x`@`y`' AS `a`"
        );
        assert_eq!(
            changed(view, &Definer::Invoker),
            "CREATE ALGORITHM=UNDEFINED  SQL SECURITY INVOKER VIEW `v` AS select 'DEFINER=`x`@`y`' AS `a`"
        );
        let trigger = "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @a = 'DEFINER=x@y'";
        assert_eq!(changed(trigger, &owner), trigger);
        assert_eq!(
            changed("CREATE /*!50017 DEFINER=CURRENT_USER() */ TRIGGER t BEFORE", &owner),
            "CREATE /*!50017 DEFINER='o''n'@'%' */ TRIGGER t BEFORE"
        );
    }
}
