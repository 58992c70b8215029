use std::path::Path;
use std::time::Duration;

use super::*;

mod snapshot;

const MINIMAL: &str = r#"
name = "shop"
[source]
url = "mysql://repl@db1.internal:3306"
[store]
dir = "/var/lib/logweir/shop"
[[destination]]
name = "replica"
url = "mysql://sync@db2.internal:3306"
"#;

fn parse(text: &str) -> Result<Pipeline, ConfigErrors> {
    let env = |name: &str| (name == "SHOP_PASSWORD").then(|| "hunter2".to_owned());
    Pipeline::parse(text, Path::new("/etc/logweir/shop.toml"), &env)
}

/// The errors as `line: key: problem`.
fn errors(text: &str) -> Vec<String> {
    let all = parse(text).unwrap_err().errors;
    all.into_iter().map(|e| format!("{}: {}: {}", e.line, e.key, e.problem)).collect()
}

/// Checks that `MINIMAL` with `extra` in its first table or `from` replaced by `to` has just one error, of this line and with these words.
fn one_error(from: &str, to: &str, wanted: &str) {
    let text = MINIMAL.replacen(from, to, 1);
    assert_ne!(text, MINIMAL, "{from} is not in it");
    let found = errors(&text);
    assert!(
        found.len() == 1 && found.iter().all(|e| e.contains(wanted)),
        "wanted one with '{wanted}', found {found:#?}"
    );
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let p = parse(MINIMAL).unwrap();
    assert_eq!(p.source.include, ["*.*"]);
    assert_eq!(p.source.retry_for, Duration::from_secs(12 * 3600));
    assert_eq!(p.snapshot.mode, SnapshotMode::Full);
    assert_eq!((p.store.segment_bytes, p.store.max_size), (64 << 20, None));
    assert_eq!(p.store.retain, Duration::from_secs(86_400));
    let d = p.destination("replica").unwrap();
    assert_eq!((d.position_database.as_str(), d.write, d.on_divergence), ("logweir", Write::Auto, OnDivergence::Stop));
    assert_eq!((d.group_rows, d.group_bytes, d.group_time), (5000, 4 << 20, Duration::from_millis(50)));
    assert_eq!(d.server.tls, Tls::default());
    assert!(p.metrics.is_none() && p.warnings.is_empty() && p.source.server_id >= 1 << 30);
}

#[test]
fn the_designs_own_example_is_read_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\n").unwrap();
    std::fs::write(dir.path().join("password"), "from a file\n").unwrap();
    let text = format!(
        r#"
        name = "shop"
        [source]
        url = ["mysql://repl@db1:3306", "mysql://repl@db2"]
        password_env = "SHOP_PASSWORD"
        tls = {{ mode = "verify-identity", ca = "{}" }}
        include = ["shop.*", "crm.users", "/x_[0-9]+\\.y/"]
        exclude = ["shop.audit_*"]
        start = "gtid:3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
        server_id = 77
        [snapshot]
        mode = "none"
        [store]
        dir = "store"
        retain = "7d"
        max_size = "200GiB"
        [metrics]
        listen = "127.0.0.1:9104"
        [log]
        format = "json"
        level = "info,reader=debug"
        [[destination]]
        name = "replica"
        url = "mysql://sync@db3"
        password_file = "password"
        write = "row-events"
        on_divergence = "overwrite"
        [[destination]]
        name = "crm"
        url = "mysql://sync:p%40ss@[::1]:3307"
        include = ["crm.*"]
        "#,
        ca.display()
    );
    let p = Pipeline::parse(&text, &dir.path().join("shop.toml"), &|_| Some("hunter2".into())).unwrap();
    assert_eq!(p.source.servers.len(), 2);
    assert!(p.source.servers.iter().all(|s| s.password == Some(Secret::new("hunter2"))));
    assert_eq!(p.source.servers[1].tls.mode, TlsMode::VerifyIdentity);
    assert_eq!(p.source.server_id, 77);
    assert!(matches!(p.source.start, Start::Gtid(_)));
    assert_eq!(p.store.dir, dir.path().join("store"));
    assert_eq!(p.destinations[0].server.password, Some(Secret::new("from a file")));
    assert_eq!(p.destinations[1].server.password, Some(Secret::new("p@ss")));
    assert!(p.warnings.len() == 1 && !p.warnings[0].contains("ss@["), "{:?}", p.warnings);
    assert_eq!(p.metrics_address(None).unwrap().port(), 9104);
    assert_eq!(p.metrics_address(Some("crm")).unwrap().port(), 9106);

    // What is printed reads back as the same, and shows no password.
    let printed = p.to_toml();
    for secret in ["hunter2", "from a file", "p@ss", "p%40ss"] {
        assert!(!printed.contains(secret) && !format!("{p:?}").contains(secret), "{printed}");
    }
    assert_eq!(printed.matches("***").count(), 3);
    let again = Pipeline::parse(&printed, &dir.path().join("shop.toml"), &|_| None).unwrap();
    assert_eq!(again.to_toml(), printed.replace("# password = \"***\"\n", ""));
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_file() {
    let found = errors(
        r#"name = "shop/1"
        [source]
        url = "db1"
        inclde = ["shop.*"]
        retry_for = "soon"
        tls = { mode = "verify" }
        [snapshot]
        mode = "ful"
        [store]
        retain = 7
        max_size = "1MiB"
        [[destination]]
        url = "mysql://sync@db2"
        password_env = "NOT_SET"
        [[destination]]
        name = "a b"
        group_rows = 0
        "#,
    );
    let wanted = [
        "1: name: 'shop/1' does not serve",
        "3: source.url: is not a url",
        "4: source.inclde: is not a key of [source]; did you mean 'include'?",
        "5: source.retry_for: 'soon' is not a duration",
        "6: source.tls.mode: 'verify' is not one of disabled, preferred",
        "8: snapshot.mode: 'ful' is not one of full, schema, none; did you mean 'full'?",
        "store.dir: is missing",
        "10: store.retain: is a number; write a text",
        "11: store.max_size: 1MiB is out of range: at least 256MiB",
        "destination[0].name: is missing",
        "14: destination[0].password_env: the environment variable NOT_SET is not set",
        "destination[1].url: is missing",
        "16: destination[1].name: 'a b' does not serve",
        "17: destination[1].group_rows: 0 is out of range",
    ];
    for (i, wanted) in wanted.iter().enumerate() {
        assert!(found.iter().any(|e| e.contains(wanted)), "no '{wanted}' ({i}) in {found:#?}");
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
}

#[test]
fn every_single_mistake_is_reported_alone_and_at_its_line() {
    for (from, to, wanted) in [
        ("name = \"shop\"", "nam = \"shop\"", "did you mean 'name'"),
        ("name = \"shop\"", "name = 5", "2: name: is a number"),
        ("name = \"replica\"", "name = \"../x\"", "8: destination[0].name: '../x'"),
        ("[source]\nurl", "[source]\npasword_env = \"X\"\nurl", "did you mean 'password_env'"),
        ("[source]\nurl", "[source]\ninclude = [\"shop\"]\nurl", "4: source.include: 'shop' is not a pattern"),
        ("[source]\nurl", "[source]\nexclude = [\"/(/\"]\nurl", "4: source.exclude: '/(/' is not a pattern"),
        ("[source]\nurl", "[source]\ninclude = [1]\nurl", "4: source.include[0]: is a number"),
        ("[source]\nurl", "[source]\nserver_id = -1\nurl", "4: source.server_id: -1 is out of range"),
        ("[source]\nurl", "[source]\nstart = \"earliest\"\nurl", "needs [snapshot] mode"),
        ("[source]\nurl", "[source]\npassword_file = \"/nowhere\"\nurl", "/nowhere cannot be read"),
        ("[source]\nurl", "[source]\ntls = { ca = \"/nowhere\" }\nurl", "4: source.tls.ca: /nowhere cannot be read"),
        ("[source]\nurl", "[source]\ntls = true\nurl", "is true or false; write a table"),
        ("url = \"mysql://repl@db1.internal:3306\"", "url = []", "empty list"),
        ("url = \"mysql://sync", "url = \"http://sync", "9: destination[0].url: begins with http"),
        ("[store]", "[stor]", "did you mean 'store'"),
        ("dir = \"/var/lib/logweir/shop\"", "dir = \"\"", "6: store.dir: is empty"),
        ("dir = ", "segment_size = \"1KiB\"\ndir = ", "segment_size: 1KiB is out of range"),
        (
            "[[destination]]",
            "[metrics]\nlisten = \"9104\"\n[[destination]]",
            "8: metrics.listen: '9104' is not an address",
        ),
        ("[[destination]]", "[metrics]\n[[destination]]", "metrics.listen: is missing"),
        ("[[destination]]", "[log]\nlevel = \"loud\"\n[[destination]]", "log.level: 'loud' is not a level"),
        ("[[destination]]", "[destination]", "write a list of tables"),
        ("[[destination]]", "[[destination]]\nposition_database = \"mysql\"", "position_database"),
        ("[[destination]]", "[[destination]]\nurl = \"x\"", "is not TOML: duplicate key"),
        ("[[destination]]", "[[destination]]\nwrite = \"sqll\"", "did you mean 'sql'"),
    ] {
        one_error(from, to, wanted);
    }
}

#[test]
fn a_mapping_is_refused_as_long_as_there_is_none() {
    let text = format!("{MINIMAL}[[destination.map]]\nfrom = \"crm.users\"\nto = \"people.customer\"\n");
    let found = errors(&text);
    assert!(found.len() == 1 && found[0].contains("destination[0].map: is not available yet"), "{found:?}");
}

#[test]
fn names_of_destinations_are_unique_whatever_their_case() {
    let text = format!("{MINIMAL}[[destination]]\nname = \"Replica\"\nurl = \"mysql://s@h\"\n");
    let found = errors(&text);
    assert!(
        found.len() == 1 && found[0].starts_with("10: destination[1].name: 'Replica' is the name of another"),
        "{found:?}"
    );
}

#[test]
fn two_passwords_for_one_server_are_one_too_many() {
    one_error(
        "[source]\nurl = \"mysql://repl@",
        "[source]\npassword_env = \"SHOP_PASSWORD\"\nurl = \"mysql://repl:x@",
        "keep only one",
    );
}

#[test]
fn a_syntax_error_is_reported_with_its_line_and_alone() {
    let found = errors("name = \"shop\"\n[source\nurl = 5\n");
    assert!(found.len() == 1 && found[0].starts_with("2: : is not TOML"), "{found:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Pipeline::load(Path::new("/nowhere/logweir.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/logweir.toml: cannot be read"), "{error}");
}

#[test]
fn an_empty_file_lacks_four_things() {
    let found = errors("");
    assert_eq!(found.len(), 4, "{found:#?}");
}
