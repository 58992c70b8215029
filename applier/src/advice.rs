//! The next step for what a destination refuses, by the server's error number (MySQL and MariaDB server error references).

/// What to do about a server error that does not pass by itself; empty for those that do, which are tried again.
pub(crate) fn next_step(error: &mysql_async::Error) -> String {
    let mysql_async::Error::Server(error) = error else { return String::new() };
    if super::error::passes(error.code) {
        return String::new();
    }
    let step = match error.code {
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1419 => {
            "grant the account what it lacks (docs/OPERATIONS.md, Accounts)"
        }
        1049 | 1051 | 1146 | 1305 | 1360 | 1539 => {
            "create the missing object at the destination as it is at the source"
        }
        1054 | 1136 | 1072 => "make the table's columns those of the source",
        1115 | 1193 | 1273 | 1286 | 1253 => {
            "the destination does not know this name: use a server version that does, or change the definition at the source"
        }
        1785 | 1178 => {
            "rows of an engine without transactions cannot commit with their position: \
             ALTER TABLE … ENGINE=InnoDB at the destination, or exclude the table"
        }
        1153 | 1301 => "raise max_allowed_packet at the destination",
        1264 | 1265 | 1292 | 1366 | 1406 => {
            "make the column at the destination as wide, and of the same character set, as at the source"
        }
        _ => "mend it at the destination",
    };
    format!("; {step}, then start the applier again: it goes on with this transaction")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(code: u16) -> String {
        next_step(&mysql_async::Error::Server(mysql_async::ServerError {
            code,
            message: "said".into(),
            state: "HY000".into(),
        }))
    }

    #[test]
    fn an_error_that_stops_names_the_next_step_and_one_that_passes_does_not() {
        assert!(step(1142).contains("grant"), "{}", step(1142));
        assert!(step(1785).contains("ENGINE=InnoDB"), "{}", step(1785));
        assert!(step(1478).contains("mend it"), "{}", step(1478));
        assert_eq!(step(1213), "");
    }
}
