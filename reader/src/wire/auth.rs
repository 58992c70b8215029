//! Logging in: greeting, TLS, and the authentication plugins that mysql_async knows too.

use common::config::{Host, Server, TlsMode};
use mysql_common::constants::CapabilityFlags;
use mysql_common::crypto;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, AuthSwitchRequest, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;

use super::{Wire, WireError, server_error, tls};

/// Answered in the greeting; the server's own limit of packets does not matter to what it may send us.
const PACKET_BYTES_MAX: u32 = 1 << 30;
const UTF8MB4_GENERAL_CI: u8 = 45;

pub(super) fn login(wire: &mut Wire, server: &Server) -> Result<(), WireError> {
    let greeting = wire.read_packet()?;
    if greeting.first() == Some(&0xff) {
        return Err(server_error(&greeting));
    }
    let greeting: HandshakePacket<'_> =
        ParseBuf(&greeting).parse(()).map_err(|error| wire.protocol(format!("its greeting: {error}")))?;
    wire.version = greeting.server_version_str().into_owned();
    let mut capabilities = (CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PLUGIN_AUTH)
        & greeting.capabilities();

    let offered = greeting.capabilities().contains(CapabilityFlags::CLIENT_SSL);
    let wanted = match server.tls.mode {
        TlsMode::Disabled => false,
        TlsMode::Preferred => offered && matches!(server.url.host, Host::Tcp(..)),
        TlsMode::Required | TlsMode::VerifyCa | TlsMode::VerifyIdentity => true,
    };
    if wanted {
        let host = wire.host.clone();
        let tls_error = |detail: String| WireError::Tls { host: host.clone(), detail };
        if !offered {
            return Err(tls_error(
                "the server offers none; enable TLS at the server, or set tls.mode to preferred".into(),
            ));
        }
        let name = match &server.url.host {
            Host::Tcp(name, _) => name.as_str(),
            Host::Unix(_) => "localhost",
        };
        let session = tls::client(&server.tls, name).map_err(tls_error)?;
        capabilities.insert(CapabilityFlags::CLIENT_SSL);
        let mut request = Vec::new();
        SslRequest::new(capabilities, PACKET_BYTES_MAX, UTF8MB4_GENERAL_CI).serialize(&mut request);
        wire.write_packet(&request)?;
        wire.transport.start_tls(session).map_err(|error| tls_error(error.to_string()))?;
    }

    let plugin = greeting.auth_plugin().map_or(AuthPlugin::MysqlNativePassword, AuthPlugin::into_owned);
    // A plugin that is not known is answered in the default's way; the server then asks for another one.
    let plugin = if matches!(plugin, AuthPlugin::Other(_)) { AuthPlugin::MysqlNativePassword } else { plugin };
    let nonce = trim_nul(greeting.nonce());
    let data = scramble(wire, &plugin, server, &nonce)?;
    let mut response = Vec::new();
    HandshakeResponse::new(
        Some(data),
        (5, 5, 5),
        Some(server.url.user.as_bytes()),
        None::<&[u8]>,
        Some(plugin.clone()),
        capabilities,
        None,
        PACKET_BYTES_MAX,
    )
    .serialize(&mut response);
    wire.write_packet(&response)?;
    finish(wire, server, plugin, nonce)
}

/// Answers what the server asks until it says yes or no.
fn finish(
    wire: &mut Wire,
    server: &Server,
    mut plugin: AuthPlugin<'static>,
    mut nonce: Vec<u8>,
) -> Result<(), WireError> {
    loop {
        let packet = wire.read_packet()?;
        match packet.as_slice() {
            [0, ..] => return Ok(()),
            [0xff, ..] => return Err(server_error(&packet)),
            [0xfe, ..] if packet.len() > 1 => {
                let switch: AuthSwitchRequest<'_> =
                    ParseBuf(&packet).parse(()).map_err(|error| wire.protocol(format!("its request: {error}")))?;
                plugin = switch.auth_plugin().into_owned();
                nonce = trim_nul(switch.plugin_data().to_vec());
                let data = scramble(wire, &plugin, server, &nonce)?;
                wire.write_packet(&data)?;
            }
            // caching_sha2_password: 3 = the server knows the password's hash, 4 = it needs the password itself.
            [1, 3, ..] => {}
            [1, 4, ..] if plugin == AuthPlugin::CachingSha2Password => send_password(wire, server, &nonce)?,
            _ => return Err(wire.protocol(format!("{:?} during authentication", packet.first()))),
        }
    }
}

/// Sends the password as it is through TLS, else encrypted with the server's public key.
fn send_password(wire: &mut Wire, server: &Server, nonce: &[u8]) -> Result<(), WireError> {
    let mut password = password_of(server).as_bytes().to_vec();
    password.push(0);
    if wire.transport.is_private() {
        return wire.write_packet(&password);
    }
    wire.write_packet(&[2])?;
    let key = wire.read_packet()?;
    let key = match key.as_slice() {
        [1, key @ ..] if key.starts_with(b"-----BEGIN PUBLIC KEY-----") => key,
        [0xff, ..] => return Err(server_error(&key)),
        _ => return Err(wire.protocol("no public key came for the password")),
    };
    for (byte, mask) in password.iter_mut().zip(nonce.iter().cycle()) {
        *byte ^= mask;
    }
    let encrypted = crypto::encrypt(&password, key);
    wire.write_packet(&encrypted)
}

/// The answer to the server's nonce.
fn scramble(wire: &Wire, plugin: &AuthPlugin<'_>, server: &Server, nonce: &[u8]) -> Result<Vec<u8>, WireError> {
    match plugin {
        AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword => {
            Ok(plugin.gen_data(Some(password_of(server)), nonce).map_or_else(Vec::new, |data| data.to_vec()))
        }
        AuthPlugin::MysqlClearPassword if wire.transport.is_private() => {
            let mut password = password_of(server).as_bytes().to_vec();
            password.push(0);
            Ok(password)
        }
        other => Err(WireError::Server {
            code: 2059,
            message: format!(
                "the account's authentication plugin {} is not supported here; use caching_sha2_password or mysql_native_password",
                String::from_utf8_lossy(other.as_bytes())
            ),
        }),
    }
}

fn trim_nul(mut nonce: Vec<u8>) -> Vec<u8> {
    if nonce.last() == Some(&0) {
        nonce.pop();
    }
    nonce
}

fn password_of(server: &Server) -> &str {
    server.password.as_ref().map_or("", |password| password.reveal())
}
