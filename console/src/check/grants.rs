//! What SHOW GRANTS says.

/// Privileges of an account, as the server lists them.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants {
    /// (privilege in upper case, scope as written: `*.*`, `shop`.*)
    all: Vec<(String, String)>,
}

impl Grants {
    /// Reads `GRANT a, b ON scope TO …` lines. Lines of another form (roles, proxies) grant nothing that we look for.
    pub(super) fn read(lines: &[String]) -> Grants {
        let mut all = Vec::new();
        for line in lines {
            let Some((privileges, rest)) = line.strip_prefix("GRANT ").and_then(|l| l.split_once(" ON ")) else {
                continue;
            };
            let scope = rest.split(" TO ").next().unwrap_or_default();
            for privilege in privileges.split(',') {
                // A list of columns, as in SELECT (a, b), is less than the privilege.
                if !privilege.contains(['(', ')']) {
                    all.push((privilege.trim().to_ascii_uppercase(), scope.to_owned()));
                }
            }
        }
        Grants { all }
    }

    /// Whether one of these privileges is granted on everything.
    pub(super) fn global(&self, privileges: &[&str]) -> bool {
        self.all.iter().any(|(privilege, scope)| {
            scope == "*.*" && (privilege == "ALL PRIVILEGES" || privileges.contains(&privilege.as_str()))
        })
    }

    /// Whether the privilege is granted on everything, or on this database.
    pub(super) fn on_database(&self, privilege: &str, database: &str) -> bool {
        let quoted = format!("`{}`.*", database.replace('`', "``"));
        // In a grant `_` is a wildcard unless it is escaped.
        let escaped = quoted.replace('_', "\\_");
        self.global(&[privilege])
            || self.all.iter().any(|(have, scope)| {
                (have == privilege || have == "ALL PRIVILEGES") && (*scope == quoted || *scope == escaped)
            })
    }

    /// Whether the privilege is granted on anything at all.
    pub(super) fn anywhere(&self, privilege: &str) -> bool {
        self.all.iter().any(|(have, _)| have == privilege || have == "ALL PRIVILEGES")
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
            "GRANT `role`@`%` TO `repl`@`%`",
        ];
        let grants = Grants::read(&lines.map(str::to_owned));
        assert!(grants.global(&["REPLICATION SLAVE"]) && !grants.global(&["SELECT"]));
        assert!(grants.on_database("CREATE", "log_weir") && !grants.on_database("CREATE", "shop"));
        assert!(grants.anywhere("INSERT"));
    }
}
