//! Views after the views that they read.

use std::collections::{BTreeSet, HashMap, HashSet};

use common::sql::{Dialect, TokenKind, Tokens};

/// Database, name and definition of views, in the order in which they can be made; where that does not matter, or the definition may not be seen, in the
/// given order.
///
/// A definition in information_schema names every table as `` `database`.`table` ``. Two names with a dot between them are taken for a table that way, also where they are an alias and
/// its column: at worst that orders more than is needed, and circles of such ties are cut.
pub(super) fn views(views: Vec<(String, String, String)>) -> Vec<(String, String)> {
    let places: HashMap<(&str, &str), usize> = views
        .iter()
        .enumerate()
        .map(|(place, (database, name, _))| ((database.as_str(), name.as_str()), place))
        .collect();
    let mut waits_for: Vec<HashSet<usize>> = Vec::with_capacity(views.len());
    let mut wanted_by: Vec<Vec<usize>> = vec![Vec::new(); views.len()];
    for (place, (_, _, definition)) in views.iter().enumerate() {
        let named = dotted(definition);
        let mut reads: HashSet<usize> =
            named.iter().filter_map(|(a, b)| places.get(&(a.as_str(), b.as_str())).copied()).collect();
        reads.remove(&place);
        for read in &reads {
            if let Some(wanted_by) = wanted_by.get_mut(*read) {
                wanted_by.push(place);
            }
        }
        waits_for.push(reads);
    }
    let mut ready: BTreeSet<usize> =
        waits_for.iter().enumerate().filter(|(_, reads)| reads.is_empty()).map(|(place, _)| place).collect();
    let mut left: BTreeSet<usize> = (0..views.len()).collect();
    let mut ordered = Vec::with_capacity(views.len());
    // In a circle the first one goes first: one of its ties is not real.
    while let Some(place) = ready.pop_first().or_else(|| left.first().copied()) {
        if !left.remove(&place) {
            continue;
        }
        for next in wanted_by.get(place).into_iter().flatten() {
            let Some(reads) = waits_for.get_mut(*next) else { continue };
            reads.remove(&place);
            if reads.is_empty() {
                ready.insert(*next);
            }
        }
        if let Some((database, name, _)) = views.get(place) {
            ordered.push((database.clone(), name.clone()));
        }
    }
    ordered
}

/// All pairs of quoted names with a dot between them.
fn dotted(definition: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut tokens = Tokens::new(definition.as_bytes(), Dialect::default());
    let mut last: [Option<String>; 2] = [None, None];
    // A text that is not understood further on has told what it has.
    while let Ok(Some(token)) = tokens.next_token() {
        let name = match token.kind {
            TokenKind::Name => definition.get(token.start + 1..token.end - 1).map(|name| name.replace("``", "`")),
            TokenKind::Sign(b'.') => {
                let [_, name] = last;
                last = [name, None];
                continue;
            }
            _ => None,
        };
        if let ([Some(before), None], Some(name)) = (&last, &name) {
            pairs.push((before.clone(), name.clone()));
        }
        last = [None, name];
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(given: &[(&str, &str)]) -> Vec<String> {
        let given = given.iter().map(|(name, text)| ("d".to_owned(), (*name).to_owned(), (*text).to_owned())).collect();
        views(given).into_iter().map(|(_, name)| name).collect()
    }

    #[test]
    fn a_view_comes_after_those_that_it_reads() {
        let given = [
            ("a", "select `d`.`c`.`x` AS `x` from `d`.`c`"),
            ("b", "select 1"),
            ("c", "select `x` from (`d`.`e``1` join `d`.`b`)"),
            ("e`1", "select '`d`.`a`' AS `x`"),
        ];
        assert_eq!(ordered(&given), ["b", "e`1", "c", "a"]);
    }

    #[test]
    fn views_in_a_circle_or_without_a_text_are_all_there() {
        let given = [("a", "select `d`.`b`.`x`"), ("b", "select `d`.`a`.`x`"), ("c", ""), ("f", "`d`.`f`.`d` '")];
        assert_eq!(ordered(&given), ["c", "f", "a", "b"]);
    }

    #[test]
    fn names_are_paired_over_dots_and_nothing_else() {
        let pairs = dotted("`a` . `b`.`c`, `d`,`e`");
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(pairs, [("a", "b"), ("b", "c")]);
    }
}
