//! TLS over a connection, and the settings of those who believe anybody.
//!
//! A probe asks its own pod, whose certificate is nobody's concern. Nothing is verified then, the handshake's signature
//! included: with a certificate that may be anybody's it proves nothing. Who verifies is in `trust.rs`.

use std::sync::{Arc, LazyLock};

use rustls::{
    AlertDescription, ClientConfig, ConfigBuilder, DigitallySignedStruct, InvalidMessage,
    SignatureScheme, WantsVerifier,
    client::{
        Resumption, WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio_rustls::TlsConnector;

use super::{Error, connection::Stream};

/// The cryptography of all our TLS.
pub(super) static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(ring::default_provider()));

/// The settings of every probe.
static BELIEVING: LazyLock<Result<Arc<ClientConfig>, rustls::Error>> = LazyLock::new(|| {
    let mut config = anybody(versions()?).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
});

/// The settings of every probe; an error never happens with what stands above.
pub(super) fn believing() -> Result<Arc<ClientConfig>, Error> {
    BELIEVING.clone().map_err(|error| Error::Tls(error.to_string()))
}

/// The beginning of all settings: the usual suites, TLS 1.2 and 1.3.
pub(super) fn versions() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions()
}

/// Settings by which any certificate is believed.
pub(super) fn anybody(
    versions: ConfigBuilder<ClientConfig, WantsVerifier>,
) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    versions.dangerous().with_custom_certificate_verifier(Arc::new(Anybody))
}

/// Speaks TLS over a connection.
pub(super) async fn wrap(
    stream: Box<dyn Stream>,
    host: &str,
    config: Arc<ClientConfig>,
) -> Result<Box<dyn Stream>, Error> {
    let name = || Error::Name { host: host.to_owned() };
    let server = ServerName::try_from(host.to_owned()).map_err(|_| name())?;
    match TlsConnector::from(config).connect(server, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            Err(cause.and_then(|cause| refusal(cause, host)).unwrap_or(Error::Handshake(error)))
        }
    }
}

/// What an error of TLS means to people, where it is a known one.
pub(super) fn refusal(error: &rustls::Error, host: &str) -> Option<Error> {
    let host = host.to_owned();
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Some(Error::NotTls),
        rustls::Error::InvalidCertificate(why) => {
            Some(Error::Certificate { host, problem: super::trust::problem(why) })
        }
        rustls::Error::AlertReceived(alert) => {
            let wants = matches!(
                alert,
                AlertDescription::CertificateRequired
                    | AlertDescription::BadCertificate
                    | AlertDescription::UnknownCA
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::AccessDenied
            );
            let remedy = if wants {
                "it wants a client certificate, or another one; name it in `client` of the host's hosts.toml"
            } else {
                "client and server have no version or cipher of TLS in common, or it knows no such name"
            };
            Some(Error::Tls(format!("{host} refuses us with the alert {alert:?}: {remedy}")))
        }
        _ => None,
    }
}

/// Believes anybody.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
        ]
    }
}
