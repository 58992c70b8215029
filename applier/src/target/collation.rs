//! Collations between the families. Ids up to 254 mean the same in both; above that each has its own.
//!
//! MySQL's `utf8mb4_0900_*` (UCA 9.0, NO PAD) become MariaDB's `utf8mb4_uca1400_nopad_*` (UCA 14.0), and back: the nearest that the other
//! side has. They are not the same order for every string, so a key that is unique at the source might not be at the destination;
//! that shows as a conflict and never in silence.

use common::Flavor;

use super::server::ServerFacts;

/// What to write instead of a collation id of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// The same id.
    Id(u16),
    /// This name.
    Name(String),
}

impl Mapped {
    /// As the right side of a SET.
    #[must_use]
    pub fn to_sql(&self) -> String {
        match self {
            Mapped::Id(id) => id.to_string(),
            Mapped::Name(name) => format!("'{name}'"),
        }
    }
}

/// MariaDB packs character set, language and strength into the ids of its UCA 14.0.0 collations
/// (`my_uca1400_make_builtin_collation_id` in strings/ctype-uca1400.h).
const MARIADB_UCA1400: std::ops::RangeInclusive<u16> = 2048..=4095;

/// The name of a collation id of a MySQL source that MariaDB does not have.
fn mysql_name(id: u16) -> Option<&'static str> {
    // The plain ones by name; of the tailored ones (one per language) only the strength matters for the mapping.
    Some(match id {
        255..=277 | 306 | 310 | 312 | 314 | 316 | 318 | 320 | 322 => "utf8mb4_0900_ai_ci",
        305 => "utf8mb4_0900_as_ci",
        309 => "utf8mb4_0900_bin",
        278..=304 | 307 | 308 | 311 | 313 | 315 | 317 | 319 | 321 | 323 => "utf8mb4_0900_as_cs",
        _ => return None,
    })
}

/// The name of a collation id of a MariaDB source that MySQL does not have.
fn mariadb_name(id: u16) -> Option<String> {
    if !MARIADB_UCA1400.contains(&id) {
        return None;
    }
    let charset = ["utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32"].get(usize::from((id - 2048) >> 8))?;
    let nopad = if id & 4 == 4 { "nopad_" } else { "" };
    let strength = ["ai_ci", "ai_cs", "as_ci", "as_cs"].get(usize::from(id & 3))?;
    Some(format!("{charset}_uca1400_{nopad}{strength}"))
}

/// The collation to use at this destination for the source's id.
#[must_use]
pub fn collation_for(id: u16, from: Flavor, to: &ServerFacts) -> Mapped {
    let name = match (from, to.flavor) {
        (Flavor::MySql, Flavor::MySql) if to.number < (8, 0, 0) => mysql_name(id).map(str::to_owned),
        (Flavor::MySql, Flavor::MariaDb) => mysql_name(id).map(str::to_owned),
        (Flavor::MariaDb, Flavor::MySql) if (1024..2048).contains(&id) => return Mapped::Id(id - 1024),
        (Flavor::MariaDb, Flavor::MySql) => mariadb_name(id),
        (Flavor::MariaDb, Flavor::MariaDb) if to.number < (10, 10, 0) => mariadb_name(id),
        _ => None,
    };
    match name {
        Some(name) => Mapped::Name(collation_name(&name, to).unwrap_or(name)),
        None => Mapped::Id(id),
    }
}

/// The nearest collation at this destination for a name that it does not have; None if the name can stay.
#[must_use]
pub(crate) fn collation_name(name: &str, to: &ServerFacts) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if let Some((charset, rest)) = lower.split_once("_uca1400_") {
        if to.is(Flavor::MariaDb, (10, 10, 0)) {
            return None;
        }
        let insensitive = rest.ends_with("_ci");
        if charset == "utf8mb4" && to.is(Flavor::MySql, (8, 0, 0)) {
            let strength = if rest.ends_with("ai_ci") {
                "ai_ci"
            } else if insensitive {
                "as_ci"
            } else {
                "as_cs"
            };
            return Some(format!("utf8mb4_0900_{strength}"));
        }
        return Some(if insensitive { format!("{charset}_unicode_520_ci") } else { format!("{charset}_bin") });
    }
    if let Some(rest) = lower.strip_prefix("utf8mb4_")
        && let Some(at) = rest.find("0900_")
    {
        if to.is(Flavor::MySql, (8, 0, 0)) {
            return None;
        }
        let strength = rest.get(at + 5..).unwrap_or_default();
        let insensitive = strength.ends_with("_ci");
        if to.is(Flavor::MariaDb, (10, 10, 0)) && strength != "bin" {
            let strength = if strength == "as_cs_ks" { "as_cs" } else { strength };
            return Some(format!("utf8mb4_uca1400_nopad_{strength}"));
        }
        return Some(match insensitive {
            true => "utf8mb4_unicode_520_ci".to_owned(),
            false if to.is(Flavor::MariaDb, (10, 2, 0)) => "utf8mb4_nopad_bin".to_owned(),
            false => "utf8mb4_bin".to_owned(),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::server_for_tests as server;

    #[test]
    fn the_default_collation_of_each_family_has_a_nearest_one_in_the_other() {
        let (mysql, maria, old) = (server("9.7.4"), server("10.11.18-MariaDB"), server("5.7.44"));
        assert_eq!(collation_for(255, Flavor::MySql, &maria), Mapped::Name("utf8mb4_uca1400_nopad_ai_ci".into()));
        assert_eq!(collation_for(2304, Flavor::MariaDb, &mysql), Mapped::Name("utf8mb4_0900_ai_ci".into()));
        assert_eq!(collation_for(255, Flavor::MySql, &mysql), Mapped::Id(255));
        assert_eq!(collation_for(255, Flavor::MySql, &old), Mapped::Name("utf8mb4_unicode_520_ci".into()));
        assert_eq!(collation_for(2304, Flavor::MariaDb, &maria), Mapped::Id(2304));
        assert_eq!(collation_for(8, Flavor::MySql, &maria), Mapped::Id(8));
        assert_eq!(collation_name("utf8mb4_de_pb_0900_as_cs", &maria).as_deref(), Some("utf8mb4_uca1400_nopad_as_cs"));
        assert_eq!(collation_name("latin1_swedish_ci", &maria), None);
    }
}
