//! Connections to sources and destinations: TLS modes, limits and time-outs in one place.

use std::time::Duration;

use mysql_async::{ClientIdentity, Conn, DriverError, IoError, Opts, OptsBuilder, SslOpts};

use crate::config::{Host, Server, Tls, TlsMode};

/// How long a server may take to let us in.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is probed after this, so that a dead peer is noticed where nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// See [`ssl`].
const NAME_OVERLOOKED: &str = "NotValidForName";
/// The protocol's own limit for one packet's payload.
const PACKET_BYTES_MAX: usize = 1 << 30;

/// Why a server let us not in.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer in time.
    #[error("{server} did not answer in {CONNECT_TIMEOUT:?}; is it running, and reachable from here?")]
    TimedOut {
        /// The server's url, without a password.
        server: String,
    },
    /// Refused, not found, broken off.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// The server's url, without a password.
        server: String,
        /// What the connection says.
        reason: String,
    },
    /// The server wants another user or password. Trying again does not help.
    #[error("{server} does not let this user in ({source}); check the user, its host part and its password")]
    Denied {
        /// The server's url, without a password.
        server: String,
        /// What the server says.
        #[source]
        source: Box<mysql_async::Error>,
    },
    /// TLS is asked for, and the server has none. Trying again does not help.
    #[error("{server} offers no TLS; set tls mode \"preferred\" or \"disabled\", or switch it on at the server")]
    NoTls {
        /// The server's url, without a password.
        server: String,
    },
    /// The two sides could not agree on TLS, or the certificate is not trusted. Trying again does not help.
    #[error("no TLS connection to {server}: {reason}; check the certificate, and tls ca and mode")]
    Tls {
        /// The server's url, without a password.
        server: String,
        /// What is wrong.
        reason: String,
    },
}

impl ConnectError {
    /// Whether the same attempt can succeed later without anyone's help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, ConnectError::TimedOut { .. } | ConnectError::Unreachable { .. })
    }
}

/// Opens a connection. With TLS mode `preferred` a server without TLS, or with one that we cannot speak, is reached without.
///
/// # Errors
/// [`ConnectError`], of which some are worth another attempt: [`ConnectError::is_transient`].
pub async fn open(server: &Server) -> Result<Conn, ConnectError> {
    open_with(server, |opts| opts).await
}

/// As [`open`], with a last word on the options (found rows, set-up statements).
///
/// # Errors
/// As [`open`].
pub async fn open_with(server: &Server, change: impl Fn(OptsBuilder) -> OptsBuilder) -> Result<Conn, ConnectError> {
    let first = attempt(server, change(opts(server))).await;
    match first {
        Err(ConnectError::NoTls { .. } | ConnectError::Tls { .. }) if server.tls.mode == TlsMode::Preferred => {
            attempt(server, change(opts(server).ssl_opts(None))).await
        }
        other => other,
    }
}

async fn attempt(server: &Server, opts: OptsBuilder) -> Result<Conn, ConnectError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(Opts::from(opts))).await {
        Ok(Ok(conn)) => Ok(conn),
        Ok(Err(error)) => Err(classify(server, error)),
        Err(_) => Err(ConnectError::TimedOut { server: server.url.to_string() }),
    }
}

/// The options of a connection, TLS included where the mode is not `disabled`; [`open`] adds the fall-back of `preferred`.
#[must_use]
pub fn opts(server: &Server) -> OptsBuilder {
    let mut opts = OptsBuilder::default()
        .user(Some(server.url.user.clone()))
        .pass(server.password.as_ref().map(|p| p.reveal().to_owned()))
        // The library would move to the server's socket on its own, with paths of another machine's configuration.
        .prefer_socket(false)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .tcp_keepalive(Some(KEEPALIVE))
        .tcp_nodelay(true)
        .compression(None)
        .stmt_cache_size(256)
        .connect_attribute("program_name", "logweir");
    match &server.url.host {
        Host::Tcp(host, port) => opts = opts.ip_or_hostname(host.clone()).tcp_port(*port).ssl_opts(ssl(&server.tls)),
        Host::Unix(path) => opts = opts.ip_or_hostname("localhost").socket(path.to_str()),
    }
    opts
}

fn ssl(tls: &Tls) -> Option<SslOpts> {
    let mut ssl = SslOpts::default();
    match tls.mode {
        TlsMode::Disabled => return None,
        TlsMode::Preferred | TlsMode::Required => ssl = ssl.with_danger_accept_invalid_certs(true),
        // The library overlooks a wrong name if the text of rustls's error contains `NotValidForName`; since rustls says more in that
        // error, the text does so only if the name itself is that. The chain is verified before the name.
        TlsMode::VerifyCa => {
            ssl = ssl.with_danger_skip_domain_validation(true).with_danger_tls_hostname_override(Some(NAME_OVERLOOKED));
        }
        TlsMode::VerifyIdentity => {}
    }
    if let Some(ca) = &tls.ca {
        ssl = ssl.with_root_certs(vec![ca.clone().into()]).with_disable_built_in_roots(true);
    }
    if let Some((cert, key)) = &tls.identity {
        ssl = ssl.with_client_identity(Some(ClientIdentity::new(cert.clone().into(), key.clone().into())));
    }
    Some(ssl)
}

fn classify(server: &Server, error: mysql_async::Error) -> ConnectError {
    let server = server.url.to_string();
    match &error {
        mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => ConnectError::NoTls { server },
        mysql_async::Error::Io(IoError::Tls(tls)) => ConnectError::Tls { server, reason: tls.to_string() },
        // A certificate that is not accepted arrives as an I/O error with rustls's own inside.
        mysql_async::Error::Io(IoError::Io(io)) if io.kind() == std::io::ErrorKind::InvalidData => {
            ConnectError::Tls { server, reason: io.to_string() }
        }
        // ER_DBACCESS_DENIED, ER_ACCESS_DENIED, ER_HOST_NOT_PRIVILEGED, ER_NOT_SUPPORTED_AUTH_MODE, ER_MUST_CHANGE_PASSWORD,
        // ER_ACCESS_DENIED_NO_PASSWORD, ER_ACCOUNT_HAS_BEEN_LOCKED, ER_SECURE_TRANSPORT_REQUIRED.
        mysql_async::Error::Server(e)
            if [1044, 1045, 1130, 1251, 1820, 1862, 1698, 3118, 3159, 4151].contains(&e.code) =>
        {
            ConnectError::Denied { server, source: Box::new(error) }
        }
        mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { .. } | DriverError::CleartextPluginDisabled) => {
            ConnectError::Denied { server, source: Box::new(error) }
        }
        mysql_async::Error::Io(IoError::Io(io)) => ConnectError::Unreachable { server, reason: innermost(io) },
        other => ConnectError::Unreachable { server, reason: other.to_string() },
    }
}

/// The library wraps its errors in each other, and each says what the one inside says.
fn innermost(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    let mut inner: Option<&(dyn std::error::Error + 'static)> = error.get_ref().map(|e| e as _);
    while let Some(error) = inner {
        text = error.to_string();
        inner = error.source();
    }
    text
}
