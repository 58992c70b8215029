//! What SHOW GRANTS says.

/// Privileges of an account, as the server lists them.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    all: Vec<Grant>,
}

/// One privilege on one scope.
#[derive(Clone, Debug)]
struct Grant {
    /// In upper case.
    privilege: String,
    /// A pattern of databases, as LIKE has it; None for all.
    database: Option<String>,
    /// None for all tables of the database.
    table: Option<String>,
}

impl Grants {
    /// Reads `GRANT a, b ON scope TO …` lines. Lines of another form (roles, proxies, routines) grant nothing that we look for.
    pub(super) fn read(lines: &[String]) -> Grants {
        let mut all = Vec::new();
        for line in lines {
            let Some((privileges, rest)) = line.strip_prefix("GRANT ").and_then(|l| l.split_once(" ON ")) else {
                continue;
            };
            let Some((database, table)) = scope(rest) else { continue };
            // Columns are listed in parentheses, with commas of their own: less than the privilege.
            let mut depth = 0_i32;
            let split = |c: char| {
                depth += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                c == ',' && depth == 0
            };
            for privilege in privileges.split(split).filter(|p| !p.contains('(')) {
                let (database, table) = (database.clone(), table.clone());
                all.push(Grant { privilege: privilege.trim().to_ascii_uppercase(), database, table });
            }
        }
        Grants { all }
    }

    /// Whether one of these privileges is granted on everything.
    pub(super) fn global(&self, privileges: &[&str]) -> bool {
        self.all.iter().any(|grant| grant.database.is_none() && grant.is_one_of(privileges))
    }

    /// Whether the privilege is granted on everything, or on this database.
    pub(super) fn on_database(&self, privilege: &str, database: &str) -> bool {
        self.all.iter().any(|grant| {
            grant.is_one_of(&[privilege])
                && grant.table.is_none()
                && grant.database.as_ref().is_none_or(|pattern| like(pattern, database))
        })
    }

    /// Whether the privilege is granted on this table, or on more.
    pub(super) fn on_table(&self, privilege: &str, database: &str, table: &str) -> bool {
        self.on_database(privilege, database)
            || self.all.iter().any(|grant| {
                grant.is_one_of(&[privilege])
                    && grant.table.as_deref() == Some(table)
                    && grant.database.as_deref() == Some(database)
            })
    }

    /// Whether the privilege is granted on anything at all.
    pub(super) fn anywhere(&self, privilege: &str) -> bool {
        self.all.iter().any(|grant| grant.is_one_of(&[privilege]))
    }
}

impl Grant {
    fn is_one_of(&self, privileges: &[&str]) -> bool {
        self.privilege == "ALL PRIVILEGES" || privileges.contains(&self.privilege.as_str())
    }
}

/// The scope before ` TO `: `*.*`, `db`.*, `db`.`table`. None for routines.
fn scope(rest: &str) -> Option<(Option<String>, Option<String>)> {
    let (database, rest) = name(rest)?;
    let (table, _) = name(rest.strip_prefix('.')?)?;
    Some((database, table))
}

/// A name in backticks, or None for `*`, and what is behind it.
fn name(text: &str) -> Option<(Option<String>, &str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Some((None, rest));
    }
    let inner = text.strip_prefix('`')?;
    let mut out = String::new();
    let mut chars = inner.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c != '`' {
            out.push(c);
        } else if chars.next_if(|(_, next)| *next == '`').is_some() {
            out.push('`');
        } else {
            return Some((Some(out), inner.get(at + 1..)?));
        }
    }
    None
}

/// Whether the name matches a pattern with `%`, `_`, and `\\` before those that are meant as they stand.
fn like(pattern: &str, name: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return name.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    match first {
        '%' => name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| like(rest, &name[at..])),
        '_' => name.chars().next().is_some_and(|c| like(rest, &name[c.len_utf8()..])),
        '\\' if rest.starts_with(['%', '_', '\\']) => {
            let meant = rest.chars().next().unwrap_or_default();
            name.starts_with(meant) && like(&rest[1..], &name[1..])
        }
        other => name.starts_with(other) && like(rest, &name[other.len_utf8()..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_with_their_scope() {
        let lines = [
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `repl`@`%`",
            "GRANT SELECT (a, b), INSERT ON `shop`.`t` TO `repl`@`%`",
            "GRANT ALL PRIVILEGES ON `log\\_weir`.* TO `repl`@`%`",
            "GRANT TRIGGER ON `te%`.* TO 'repl'@'%' WITH GRANT OPTION",
            "GRANT EXECUTE ON PROCEDURE `shop`.`p` TO `repl`@`%`",
            "GRANT `role`@`%` TO `repl`@`%`",
            "GRANT DELETE ON `odd``.name`.`x.``y` TO `repl`@`%`",
        ];
        let grants = Grants::read(&lines.map(str::to_owned));
        assert!(grants.global(&["REPLICATION SLAVE"]) && !grants.global(&["SELECT"]));
        assert!(grants.on_database("CREATE", "log_weir") && !grants.on_database("CREATE", "shop"));
        assert!(!grants.on_database("CREATE", "logxweir"), "an escaped _ is no wildcard");
        assert!(grants.anywhere("INSERT") && !grants.on_database("EXECUTE", "shop"), "routines are no tables");
        assert!(grants.on_table("INSERT", "shop", "t") && !grants.on_table("INSERT", "shop", "u"));
        assert!(!grants.on_table("SELECT", "shop", "t"), "columns are not the table");
        assert!(grants.on_database("TRIGGER", "test") && !grants.on_database("TRIGGER", "shop"));
        assert!(grants.on_table("DELETE", "odd`.name", "x.`y"));
    }

    #[test]
    fn patterns_of_databases_are_those_of_like() {
        for (pattern, name, wanted) in [
            ("%", "", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("a\\_c", "a_c", true),
            ("a\\_c", "abc", false),
            ("%x%", "aüxü", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
