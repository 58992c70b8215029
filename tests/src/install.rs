//! Data folder templates: initialising a server takes seconds, copying an initialised folder a tenth of one.
//!
//! A template is made once per kind, version and options that are fixed at initialisation, under a file lock, and appears under its
//! final name by one rename; so that any number of test processes may ask for it at the same time.

use crate::kind::{Programs, ServerKind, servers_dir};
use crate::spawn::tail;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Options that a server fixes for good when its data folder is initialised.
pub(crate) const INIT_OPTIONS: [&str; 2] = ["lower_case_table_names", "innodb_page_size"];

/// Raised when the way templates are made changes, so that old ones are not used any more.
const TEMPLATE_EDITION: u32 = 1;

/// Copies an initialised data folder to `into`, which must not exist. Blocks; the first call for a kind takes some seconds.
pub(crate) fn copy_template(programs: &Programs, init: &[(String, String)], into: &Path) -> Result<()> {
    let template = template(programs, init)?;
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(into).status();
    if !status.context("while starting cp")?.success() {
        bail!("could not copy {} to {}", template.display(), into.display());
    }
    Ok(())
}

fn template(programs: &Programs, init: &[(String, String)]) -> Result<PathBuf> {
    let mut name = format!("{}-{}-e{TEMPLATE_EDITION}", programs.kind.name(), programs.version()?);
    for (option, value) in init {
        name.push_str(&format!("-{option}={value}"));
    }
    let folder = servers_dir().join("templates");
    let path = folder.join(&name);
    if path.is_dir() {
        return Ok(path);
    }
    fs::create_dir_all(&folder).with_context(|| format!("while creating {}", folder.display()))?;
    let lock = File::create(folder.join(format!("{name}.lock"))).context("while creating a template's lock file")?;
    lock.lock().context("while waiting for a template's lock")?;
    if path.is_dir() {
        return Ok(path); // another process made it while we waited
    }
    let fresh = folder.join(format!("{name}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).context("while removing an unfinished template")?;
    }
    let log = folder.join(format!("{name}.log"));
    initialise(programs, init, &fresh, &log).with_context(|| {
        format!("while initialising {}; the end of {}:\n{}", programs.kind.name(), log.display(), tail(&log, 15))
    })?;
    // Holds the server_uuid; each copy is to make its own.
    let _ = fs::remove_file(fresh.join("auto.cnf"));
    fs::rename(&fresh, &path).context("while putting a template in its place")?;
    Ok(path)
}

fn initialise(programs: &Programs, init: &[(String, String)], data: &Path, log: &Path) -> Result<()> {
    let mut command = Command::new(&programs.server);
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    command.args(crate::options::location_options(programs));
    command.args(init.iter().map(|(option, value)| format!("--{option}={value}")));
    command.arg("--skip-log-bin").stdout(Stdio::null()).stderr(File::create(log)?);
    let sql = match programs.kind {
        ServerKind::Mysql9 => {
            let file = data.with_extension("sql");
            fs::write(&file, MYSQL9_USERS)?;
            command.args(["--initialize-insecure", "--innodb-redo-log-capacity=8M", "--mysqlx=OFF"]);
            command.arg(format!("--init-file={}", file.display()));
            Vec::new()
        }
        ServerKind::Mysql56 => {
            fs::create_dir_all(data.join("mysql"))?;
            command.args(["--bootstrap", "--innodb-log-file-size=16M"]);
            bootstrap_sql(programs, "use mysql;\n", &MYSQL56_FILES, MYSQL56_USERS)?
        }
        ServerKind::Mariadb10 | ServerKind::Mariadb11 => {
            fs::create_dir_all(data)?;
            command.args(["--bootstrap", "--innodb-log-file-size=16M"]);
            let begin = "create database mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n";
            bootstrap_sql(programs, begin, &MARIADB_FILES, MARIADB_USERS)?
        }
    };
    let mut child = command.stdin(Stdio::piped()).spawn().context("while starting the server")?;
    if let Some(mut stdin) = child.stdin.take() {
        // A server that stops early closes the pipe; its exit status and log then tell more than this error.
        let _ = stdin.write_all(&sql);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the server ended with {status}");
    }
    Ok(())
}

/// The SQL for a server that is initialised by `--bootstrap`: our beginning, the files of its share folder, our users.
fn bootstrap_sql(programs: &Programs, begin: &str, files: &[&[&str]], end: &str) -> Result<Vec<u8>> {
    let mut sql = begin.as_bytes().to_vec();
    for names in files {
        let found = names.iter().map(|n| programs.share.join(n)).find(|p| p.is_file());
        let path = found.with_context(|| format!("{} holds none of {names:?}", programs.share.display()))?;
        let text = fs::read(&path).with_context(|| format!("while reading {}", path.display()))?;
        // As the servers' own install scripts do: accounts for this machine's host name are left out.
        for line in text.split_inclusive(|b| *b == b'\n') {
            if !line.windows(17).any(|w| w == b"@current_hostname") {
                sql.extend_from_slice(line);
            }
        }
        sql.push(b'\n');
    }
    sql.extend_from_slice(end.as_bytes());
    Ok(sql)
}

const MYSQL56_FILES: [&[&str]; 3] =
    [&["mysql_system_tables.sql"], &["mysql_system_tables_data.sql"], &["fill_help_tables.sql"]];
const MARIADB_FILES: [&[&str]; 3] = [
    &["mariadb_system_tables.sql", "mysql_system_tables.sql"],
    &["mariadb_system_tables_data.sql", "mysql_system_tables_data.sql"],
    &["fill_help_tables.sql"],
];

// In each template root has an empty password, on the socket and over TCP, and there are no anonymous accounts: those would hide
// `user@'%'` from connections that come from localhost.
const MYSQL9_USERS: &str = "CREATE USER root@'%' IDENTIFIED BY '';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n\
    GRANT PROXY ON ''@'' TO root@'%' WITH GRANT OPTION;\n";
const MYSQL56_USERS: &str = "\nDELETE FROM mysql.user WHERE User = '';\n\
    DELETE FROM mysql.user WHERE User = 'root' AND Host NOT IN ('localhost', '127.0.0.1');\n\
    UPDATE mysql.user SET Host = '%' WHERE User = 'root' AND Host = '127.0.0.1';\nDELETE FROM mysql.db;\n";
const MARIADB_USERS: &str = "\nDELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');\n\
    INSERT INTO mysql.global_priv SELECT '%', User, Priv FROM mysql.global_priv WHERE User = 'root';\nDELETE FROM mysql.db;\n";
