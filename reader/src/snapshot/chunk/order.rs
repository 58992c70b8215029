//! The conditions that cut a chunk out of a key's order.
//!
//! A key (a, b) behind (x, y) is written as `a >= x AND (a > x OR (a = x AND (b > y)))`: the server's range optimizer takes the first comparison for the
//! start of its range, which it does not do for the row comparison `(a, b) > (x, y)`. The order is always the server's: the values stand as literals and are
//! never compared by us. A place may name only the first columns of the key; it then stands for all rows that have these values.

use common::literal::quote::name;

/// A column of the key that a table is copied by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// Name.
    pub name: String,
    /// The index holds it in falling order (MySQL 8.0 and later).
    pub descending: bool,
}

/// The index that a table is copied by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name, for FORCE INDEX.
    pub index: String,
    /// Its columns, in order.
    pub columns: Vec<KeyColumn>,
}

impl Order {
    /// ` ORDER BY a, b DESC`
    pub fn order_by(&self, sql: &mut Vec<u8>) {
        for (index, column) in self.columns.iter().enumerate() {
            sql.extend_from_slice(if index == 0 { b" ORDER BY " } else { b", " });
            name(&column.name, sql);
            if column.descending {
                sql.extend_from_slice(b" DESC");
            }
        }
    }

    /// `` FORCE INDEX (`PRIMARY`)``
    pub fn force(&self, sql: &mut Vec<u8>) {
        sql.extend_from_slice(b" FORCE INDEX (");
        name(&self.index, sql);
        sql.push(b')');
    }

    /// ` WHERE …` for rows behind `after` and up to and with `until`; nothing where both are empty.
    pub fn between(&self, after: &[Vec<u8>], until: &[Vec<u8>], sql: &mut Vec<u8>) {
        let mut word: &[u8] = b" WHERE ";
        for (place, side) in [(after, Side::Behind), (until, Side::UpTo)] {
            if !place.is_empty() {
                sql.extend_from_slice(word);
                self.compare(0, place, side, sql);
                word = b" AND ";
            }
        }
    }

    fn compare(&self, from: usize, place: &[Vec<u8>], side: Side, sql: &mut Vec<u8>) {
        let (Some(column), Some(value)) = (self.columns.get(from), place.get(from)) else { return };
        let operator = |strict: bool| -> &'static [u8] {
            match ((side == Side::Behind) != column.descending, strict) {
                (true, true) => b" > ",
                (true, false) => b" >= ",
                (false, true) => b" < ",
                (false, false) => b" <= ",
            }
        };
        let part = |operator: &[u8], sql: &mut Vec<u8>| {
            name(&column.name, sql);
            sql.extend_from_slice(operator);
            sql.extend_from_slice(value);
        };
        if from + 1 >= place.len().min(self.columns.len()) {
            part(operator(side == Side::Behind), sql);
            return;
        }
        part(operator(false), sql);
        sql.extend_from_slice(b" AND (");
        part(operator(true), sql);
        sql.extend_from_slice(b" OR (");
        part(b" = ", sql);
        sql.extend_from_slice(b" AND ");
        self.compare(from + 1, place, side, sql);
        sql.extend_from_slice(b"))");
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Behind,
    UpTo,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(columns: &[(&str, bool)]) -> Order {
        let columns = columns.iter().map(|&(name, descending)| KeyColumn { name: name.into(), descending }).collect();
        Order { index: "PRIMARY".into(), columns }
    }

    fn place(values: &[i64]) -> Vec<Vec<u8>> {
        values.iter().map(|value| value.to_string().into_bytes()).collect()
    }

    fn between(order: &Order, after: &[i64], until: &[i64]) -> String {
        let mut sql = Vec::new();
        order.between(&place(after), &place(until), &mut sql);
        String::from_utf8(sql).unwrap()
    }

    /// Reads a condition of the form that is written here, for one row.
    fn holds(sql: &str, row: &[(&str, i64)]) -> bool {
        fn any(text: &mut &str, row: &[(&str, i64)]) -> bool {
            let mut value = all(text, row);
            while let Some(rest) = text.strip_prefix(" OR ") {
                *text = rest;
                value |= all(text, row);
            }
            value
        }
        fn all(text: &mut &str, row: &[(&str, i64)]) -> bool {
            let mut value = one(text, row);
            while let Some(rest) = text.strip_prefix(" AND ") {
                *text = rest;
                value &= one(text, row);
            }
            value
        }
        fn one(text: &mut &str, row: &[(&str, i64)]) -> bool {
            if let Some(rest) = text.strip_prefix('(') {
                *text = rest;
                let value = any(text, row);
                *text = text.strip_prefix(')').unwrap();
                return value;
            }
            let mut words = text.splitn(3, ' ');
            let (name, operator, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let end = rest.find([' ', ')']).unwrap_or(rest.len());
            let value: i64 = rest[..end].parse().unwrap();
            *text = &rest[end..];
            let have = row.iter().find(|(column, _)| format!("`{column}`") == name).unwrap().1;
            match operator {
                ">" => have > value,
                ">=" => have >= value,
                "<" => have < value,
                "<=" => have <= value,
                "=" => have == value,
                other => panic!("{other}"),
            }
        }
        let mut text = sql.strip_prefix(" WHERE ").unwrap_or("");
        text.is_empty() || any(&mut text, row)
    }

    #[test]
    fn a_range_is_written_so_that_the_server_can_start_at_it() {
        let order = order(&[("a", false), ("b", false), ("c", true)]);
        assert_eq!(
            between(&order, &[1, 2, 3], &[9]),
            " WHERE `a` >= 1 AND (`a` > 1 OR (`a` = 1 AND `b` >= 2 AND (`b` > 2 OR (`b` = 2 AND `c` < 3)))) AND `a` <= 9"
        );
        assert_eq!(between(&order, &[], &[]), "");
        let mut sql = Vec::new();
        order.force(&mut sql);
        order.order_by(&mut sql);
        assert_eq!(String::from_utf8(sql).unwrap(), " FORCE INDEX (`PRIMARY`) ORDER BY `a`, `b`, `c` DESC");
    }

    #[test]
    fn conditions_cut_every_row_into_exactly_one_of_two_neighbouring_ranges() {
        for descending in 0..8 {
            let flag = |bit: u32| descending >> bit & 1 == 1;
            let order = order(&[("a", flag(0)), ("b", flag(1)), ("c", flag(2))]);
            for len in 1..=3 {
                for cut in 0..27_i64 {
                    let all = [cut / 9, cut / 3 % 3, cut % 3];
                    let cut = &all[..len];
                    let (low, high) = (between(&order, &[], cut), between(&order, cut, &[]));
                    let mut low_rows = Vec::new();
                    let mut high_rows = Vec::new();
                    for row in 0..27_i64 {
                        let values = [row / 9, row / 3 % 3, row % 3];
                        let row = [("a", values[0]), ("b", values[1]), ("c", values[2])];
                        let in_order: Vec<i64> =
                            (0..3).map(|i| if flag(i) { -values[i as usize] } else { values[i as usize] }).collect();
                        match (holds(&low, &row), holds(&high, &row)) {
                            (true, false) => low_rows.push(in_order),
                            (false, true) => high_rows.push(in_order),
                            both => panic!("{both:?} for {row:?}: {low} / {high}"),
                        }
                    }
                    // All of the first range stand before all of the second, in the order of the index.
                    assert!(
                        low_rows.iter().max() < high_rows.iter().min() || high_rows.is_empty() || low_rows.is_empty()
                    );
                }
            }
        }
    }
}
