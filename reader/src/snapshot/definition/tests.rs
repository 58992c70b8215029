use super::*;
use crate::source::table::Part;

fn columns() -> Vec<ColumnDefinition> {
    let column = |name: &str, data_type: &str, nullable| ColumnDefinition {
        name: name.into(),
        data_type: data_type.into(),
        nullable,
        ..ColumnDefinition::default()
    };
    vec![
        column("id", "int", false),
        column("name", "varchar", false),
        column("maybe", "int", true),
        column("n", "bigint", false),
        column("weight", "float", false),
        column("named", "uuid", false),
    ]
}

/// Columns of a key; `?` nullable, `10` a prefix, `-` descending, `()` an expression.
fn key(name: &str, parts: &[&str]) -> Key {
    let part = |text: &&str| Part {
        column: (*text != "()").then(|| text.trim_end_matches(['?', '1', '0', '-']).to_owned()),
        prefix: if text.ends_with("10") { 10 } else { 0 },
        nullable: text.ends_with('?'),
        descending: text.ends_with('-'),
    };
    Key {
        name: name.into(),
        unique: true,
        kind: "BTREE".into(),
        visible: true,
        parts: parts.iter().map(part).collect(),
    }
}

fn chosen(keys: &[Key]) -> Option<(String, Vec<usize>)> {
    best(keys, &columns()).map(|key| (key.index, key.columns))
}

#[test]
fn the_primary_key_comes_before_others_if_it_serves() {
    let keys = [key("PRIMARY", &["name", "id"]), key("a", &["n"])];
    assert_eq!(chosen(&keys), Some(("PRIMARY".into(), vec![1, 0])));
    let keys = [key("PRIMARY", &["name10"]), key("a", &["n"])];
    assert_eq!(chosen(&keys), Some(("a".into(), vec![3])));
}

#[test]
fn integers_come_before_strings_and_short_keys_before_long_ones() {
    let keys = [key("a", &["name"]), key("b", &["id", "n"]), key("c", &["n"])];
    assert_eq!(chosen(&keys), Some(("c".into(), vec![3])));
    assert_eq!(chosen(&keys[..2]), Some(("b".into(), vec![0, 3])));
    assert_eq!(chosen(&keys[..1]), Some(("a".into(), vec![1])));
}

#[test]
fn keys_in_which_a_row_has_no_place_of_its_own_do_not_serve() {
    for parts in [&["maybe?"][..], &["id", "maybe?"], &["()"], &["id", "()"], &["name10"], &["weight"], &["named"]] {
        assert_eq!(chosen(&[key("a", parts)]), None, "{parts:?}");
    }
    let good = key("a", &["id"]);
    assert!(chosen(&[Key { unique: false, ..good.clone() }]).is_none());
    assert!(chosen(&[Key { visible: false, ..good.clone() }]).is_none());
    assert!(chosen(&[Key { kind: "HASH".into(), ..good.clone() }]).is_none());
    assert!(chosen(&[good]).is_some());
}

#[test]
fn a_falling_column_is_told() {
    let found = best(&[key("a", &["id-", "n"])], &columns()).unwrap();
    assert_eq!(found.descending, [true, false]);
}
