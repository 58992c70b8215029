//! Triggers that do not fire on what we write, and events that rest.
//!
//! The source's triggers have done their work: what they changed stands in the log as rows. Row events fire none at the destination, SQL does. So
//! each trigger's body is put into `IF @logweir_apply IS NULL THEN … END IF`, and our sessions set that variable. The text between is the
//! original, byte for byte; [`original`] takes it out again for the cut-over.

use common::sql::{Dialect, TokenKind};

use super::definer::{is_word, replaced, tokens};

/// Set to 1 in each session that writes rows here.
pub(crate) const VARIABLE: &str = "@logweir_apply";
/// What stands before a guarded body.
pub(crate) const BEFORE: &str = "IF @logweir_apply IS NULL THEN ";
/// What stands after it: on a line of its own, for the body may end in a comment to the end of the line.
const AFTER: &str = "\n; END IF";

/// CREATE TRIGGER with its body guarded; None if it has no body where one should be.
pub(crate) fn guarded(statement: &[u8], dialect: Dialect) -> Option<Vec<u8>> {
    let tokens = tokens(statement, dialect)?;
    let is = |at: usize, word: &str| is_word(statement, tokens.get(at), word);
    let each = (0..tokens.len()).find(|&at| is(at, "FOR") && is(at + 1, "EACH") && is(at + 2, "ROW"))?;
    let mut body = each + 3;
    if is(body, "FOLLOWS") || is(body, "PRECEDES") {
        body += 2;
        if tokens.get(body)?.kind == TokenKind::Sign(b'.') {
            body += 2;
        }
    }
    let start = tokens.get(body)?.start;
    let last = tokens.iter().rposition(|token| token.kind != TokenKind::Sign(b';'))?;
    let end = tokens.get(last).filter(|_| last >= body)?.end;
    let text = statement.get(start..end)?;
    if original(text).is_some() {
        return Some(statement.to_vec());
    }
    let mut instead = BEFORE.as_bytes().to_vec();
    instead.extend_from_slice(text);
    instead.extend_from_slice(AFTER.as_bytes());
    // What follows the body's last word: the end of a `/*!50003 … */`, or comments; but no ';', which would stand behind END IF alone.
    let rest: Vec<u8> = statement.get(end..)?.iter().copied().filter(|&b| b != b';').collect();
    instead.extend_from_slice(&rest);
    Some(replaced(statement, &[(start, statement.len(), instead)]))
}

/// The body that was guarded, if this is a guarded one (`ACTION_STATEMENT` of information_schema.triggers).
#[must_use]
pub fn original(body: &[u8]) -> Option<&[u8]> {
    body.strip_prefix(BEFORE.as_bytes())?.strip_suffix(AFTER.as_bytes())
}

/// CREATE EVENT that makes it disabled; `word` is what the server calls a replica.
pub(crate) fn resting(statement: &[u8], dialect: Dialect, word: &str) -> Option<Vec<u8>> {
    let tokens = tokens(statement, dialect)?;
    let is = |at: usize, word: &str| is_word(statement, tokens.get(at), word);
    let schedule = (0..tokens.len()).find(|&at| is(at, "ON") && is(at + 1, "SCHEDULE"))?;
    let mut depth = 0;
    let mut comment = None;
    for at in schedule + 2..tokens.len() {
        let token = tokens.get(at)?;
        match token.kind {
            TokenKind::Sign(b'(') => depth += 1,
            TokenKind::Sign(b')') => depth -= 1,
            _ if depth > 0 => {}
            _ if is(at, "ENABLE") => {
                return Some(replaced(
                    statement,
                    &[(token.start, token.end, format!("DISABLE ON {word}").into_bytes())],
                ));
            }
            _ if is(at, "DISABLE") => {
                let end = if is(at + 1, "ON") { tokens.get(at + 2)?.end } else { token.end };
                return Some(replaced(statement, &[(token.start, end, format!("DISABLE ON {word}").into_bytes())]));
            }
            _ if is(at, "COMMENT") => comment = comment.or(Some(token.start)),
            _ if is(at, "DO") => {
                let place = comment.unwrap_or(token.start);
                return Some(replaced(statement, &[(place, place, format!("DISABLE ON {word} ").into_bytes())]));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: Option<Vec<u8>>) -> String {
        String::from_utf8(out.unwrap()).unwrap()
    }

    #[test]
    fn a_guarded_body_is_the_original_inside_an_if() {
        let dialect = Dialect::default();
        let one =
            b"CREATE DEFINER=`a`@`b` TRIGGER `t` BEFORE INSERT ON `x` FOR EACH ROW SET NEW.a = 'FOR EACH ROW' -- so\n;";
        assert_eq!(
            text(guarded(one, dialect)),
            "CREATE DEFINER=`a`@`b` TRIGGER `t` BEFORE INSERT ON `x` FOR EACH ROW \
             IF @logweir_apply IS NULL THEN SET NEW.a = 'FOR EACH ROW'\n; END IF -- so\n"
        );
        let block = b"CREATE TRIGGER t AFTER DELETE ON x FOR EACH ROW FOLLOWS d.u BEGIN DELETE FROM y; END";
        let out = guarded(block, dialect).unwrap();
        assert!(
            text(Some(out.clone()))
                .contains("FOLLOWS d.u IF @logweir_apply IS NULL THEN BEGIN DELETE FROM y; END\n; END IF")
        );
        assert_eq!(guarded(&out, dialect).unwrap(), out, "guarded once only");
        let body = b"IF @logweir_apply IS NULL THEN BEGIN DELETE FROM y; END\n; END IF";
        assert_eq!(original(body).unwrap(), b"BEGIN DELETE FROM y; END");
        let dumped = b"CREATE /*!50003 TRIGGER t BEFORE INSERT ON x FOR EACH ROW SET @a=1 */";
        assert!(text(guarded(dumped, dialect)).ends_with("THEN SET @a=1\n; END IF */"));
    }

    #[test]
    fn events_are_made_disabled() {
        let dialect = Dialect::default();
        let rest = |sql: &str| text(resting(sql.as_bytes(), dialect, "REPLICA"));
        assert_eq!(
            rest(
                "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY STARTS '2024-01-01' ON COMPLETION NOT PRESERVE ENABLE COMMENT 'DO' DO DELETE FROM t"
            ),
            "CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY STARTS '2024-01-01' ON COMPLETION NOT PRESERVE DISABLE ON REPLICA COMMENT 'DO' DO DELETE FROM t"
        );
        assert!(
            rest("CREATE EVENT e ON SCHEDULE AT NOW() DISABLE ON SLAVE DO SET @a=1")
                .contains("NOW() DISABLE ON REPLICA DO")
        );
        assert!(
            rest("CREATE EVENT e ON SCHEDULE AT NOW() COMMENT 'x' DO SET @a=1").contains("DISABLE ON REPLICA COMMENT")
        );
    }
}
