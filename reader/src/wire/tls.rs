//! TLS as the configuration asks for it.

use std::path::Path;
use std::sync::Arc;

use common::config::{Tls, TlsMode};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// A TLS session to `host`, not yet started.
pub(super) fn client(tls: &Tls, host: &str) -> Result<ClientConnection, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let verify = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyIdentity);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = if verify {
        let mut roots = RootCertStore::empty();
        match &tls.ca {
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
                }
            }
        }
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        Some(builder.build().map_err(|error| text(&error))?)
    } else {
        None
    };
    let verifier = Verifier {
        any_name: tls.mode == TlsMode::VerifyCa,
        schemes: provider.signature_verification_algorithms,
        verifier,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &tls.identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", key.display());
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(&error))?;
            config.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| text(&error))?
        }
    };
    // In the modes that do not look at the name, a host that is no name (a socket) must not fail.
    let name = ServerName::try_from(host.to_owned()).or_else(|error| match tls.mode {
        TlsMode::VerifyIdentity => Err(text(&error)),
        _ => ServerName::try_from("localhost").map_err(|error| text(&error)),
    })?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| text(&error))
}

/// The certificates of a PEM file, or the one of a DER file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = std::fs::read(path).map_err(|error| bad(&error))?;
    let list = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(|error| bad(&error))?;
    Ok(if list.is_empty() { vec![CertificateDer::from(bytes)] } else { list })
}

/// `preferred` and `required` accept any certificate, `verify-ca` any name, `verify-identity` neither.
#[derive(Debug)]
struct Verifier {
    any_name: bool,
    schemes: rustls::crypto::WebPkiSupportedAlgorithms,
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(verifier) = &self.verifier else { return Ok(ServerCertVerified::assertion()) };
        match verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.schemes)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.supported_schemes()
    }
}
