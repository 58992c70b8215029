//! Where a server is: `mysql://user@host:3306`, an IPv6 host in brackets, or a Unix socket.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::Secret;

/// The port where the url names none.
pub const DEFAULT_PORT: u16 = 3306;

/// Kept as they are when a user's name is written into a url.
const USER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The network or local end of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Name or address (an IPv6 address without its brackets), and port.
    Tcp(String, u16),
    /// A socket file of this machine: `mysql://user@localhost?socket=/run/mysqld/mysqld.sock`.
    Unix(PathBuf),
}

/// A server and who logs in there, without the password. Displayed as the url that it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerUrl {
    /// Account.
    pub user: String,
    /// Place.
    pub host: Host,
}

impl ServerUrl {
    /// Reads a url and the password in it, if there is one (percent-encoded: `p%40ss` is `p@ss`).
    ///
    /// # Errors
    /// What is wrong with it, in words that never hold a part of the url that may be a password.
    pub fn parse(text: &str) -> Result<(ServerUrl, Option<Secret>), String> {
        let example = "write it as mysql://user@host:3306";
        let url = Url::parse(text).map_err(|error| format!("is not a url ({error}); {example}"))?;
        if !matches!(url.scheme(), "mysql" | "mariadb") {
            return Err(format!("begins with {}://; {example}", url.scheme()));
        }
        let decode = |part: &str| {
            let bytes = percent_decode_str(part).decode_utf8();
            bytes.map(|text| text.into_owned()).map_err(|_| "holds a percent-encoding that is not UTF-8".to_owned())
        };
        let user = decode(url.username())?;
        if user.is_empty() {
            return Err(format!("names no user; {example}"));
        }
        let password = url.password().map(decode).transpose()?.map(Secret::new);
        if !matches!(url.path(), "" | "/") {
            return Err("names a database; what is replicated stands in include and exclude".to_owned());
        }
        if url.fragment().is_some() {
            return Err("holds a '#'; percent-encode it as %23".to_owned());
        }
        let mut socket = None;
        for (key, value) in url.query_pairs() {
            if key == "socket" && value.starts_with('/') {
                socket = Some(PathBuf::from(value.into_owned()));
            } else if key == "socket" {
                return Err("names a socket that is not an absolute path".to_owned());
            } else {
                return Err(format!(
                    "has the parameter '{key}'; only socket=/path is known, the rest has keys of its own"
                ));
            }
        }
        let host = match (socket, url.host_str()) {
            (Some(path), _) => Host::Unix(path),
            (None, Some(host)) if !host.is_empty() => {
                let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
                Host::Tcp(decode(host)?, url.port().unwrap_or(DEFAULT_PORT))
            }
            _ => return Err(format!("names no host; {example}")),
        };
        Ok((ServerUrl { user, host }, password))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Host::Tcp(host, port) => write!(f, "{host}:{port}"),
            Host::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = utf8_percent_encode(&self.user, USER);
        match &self.host {
            Host::Tcp(..) => write!(f, "mysql://{user}@{}", self.host),
            Host::Unix(path) => write!(f, "mysql://{user}@localhost?socket={}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_form_are_read_and_written_back_without_the_password() {
        for (text, shown, password) in [
            ("mysql://repl@db1.internal:3307", "mysql://repl@db1.internal:3307", None),
            ("mysql://repl@db1.internal", "mysql://repl@db1.internal:3306", None),
            ("mysql://re%40pl:p%40s%2Fs%3A%23@10.0.0.1:1/", "mysql://re%40pl@10.0.0.1:1", Some("p@s/s:#")),
            ("mysql://u:x@[2001:db8::1]:3306", "mysql://u@[2001:db8::1]:3306", Some("x")),
            ("mariadb://u@localhost?socket=/run/my.sock", "mysql://u@localhost?socket=/run/my.sock", None),
        ] {
            let (url, secret) = ServerUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(secret.as_ref().map(Secret::reveal), password);
            assert_eq!(ServerUrl::parse(shown).unwrap().0, url);
        }
    }

    #[test]
    fn a_bad_url_is_explained_without_showing_its_password() {
        for (text, wanted) in [
            ("db1:3306", "mysql://user@host"),
            ("postgres://u:hunter2@h/", "postgres://"),
            ("mysql://:hunter2@h", "names no user"),
            ("mysql://u:hunter2@", "host"),
            ("mysql://u:hunter2@h:99999", "not a url"),
            ("mysql://u:hunter2@h/shop", "database"),
            ("mysql://u:hunter2@h?ssl=true", "ssl"),
            ("mysql://u:hun#ter2@h", ""),
            ("mysql://u:%ff@h", "UTF-8"),
        ] {
            let error = ServerUrl::parse(text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("ter2"), "{text}: {error}");
        }
    }
}
