//! What the demonstration's source holds before the pipeline is started: tables of every kind with rows, and objects on them.

use anyhow::{Context, Result};
use harness::Server;
use harness::load::{self, Options};

/// Rows of each of the load's seven large tables.
pub(super) const ROWS: u32 = 30_000;

/// A view, routines, a trigger that writes rows of its own, and an event. The trigger's rows come from the log: at a destination it must not fire.
const OBJECTS: [&str; 6] = [
    "CREATE TABLE audit (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, account BIGINT UNSIGNED NOT NULL, what VARCHAR(10) NOT NULL)",
    "CREATE TRIGGER account_made AFTER INSERT ON account FOR EACH ROW INSERT INTO audit (account, what) VALUES (NEW.id, 'made')",
    "CREATE VIEW visited AS SELECT id, owner, visits FROM account WHERE visits > 0",
    "CREATE FUNCTION gross(net DECIMAL(20,4)) RETURNS DECIMAL(20,4) DETERMINISTIC RETURN net * 1.19",
    "CREATE PROCEDURE tidy() DELETE FROM audit WHERE what = 'never'",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS CURRENT_TIMESTAMP + INTERVAL 1 DAY DO CALL tidy()",
];

/// Makes all of it.
pub(super) async fn fill(source: &Server, options: &Options) -> Result<()> {
    load::prepare(source, options).await.context("while preparing the load")?;
    load::fill(source, options, ROWS).await.context("while filling the source")?;
    for statement in OBJECTS {
        let sql = format!("USE `{}`; {statement}", options.database);
        source.exec(&sql).await.with_context(|| format!("while running {statement}"))?;
    }
    Ok(())
}
