//! TLS that knows whom it believes: the system's authorities and those that the operator names for a host.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore,
    SignatureScheme,
    client::{
        ResolvesClientCert, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

use super::{
    Error,
    tls::{PROVIDER, anybody, versions},
};

/// Whom to believe, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// Files of authorities that are believed beside the system's.
    pub ca: Vec<PathBuf>,
    /// Our own certificates, each with its key; one file may hold both.
    pub client: Vec<(PathBuf, PathBuf)>,
    /// Whether anybody is believed.
    pub skip_verify: bool,
}

/// The settings for connections; the files are read now.
pub(super) fn config(
    trust: &Trust,
    system: &LazyLock<RootCertStore>,
) -> Result<Arc<ClientConfig>, Error> {
    let wrong = |error: rustls::Error| Error::Tls(error.to_string());
    let versions = versions().map_err(wrong)?;
    let verifier = if trust.skip_verify {
        anybody(versions)
    } else {
        let known = Known::read(&trust.ca, system)?;
        versions.dangerous().with_custom_certificate_verifier(Arc::new(known))
    };
    let mut ours = Vec::new();
    for (certificate, key) in &trust.client {
        ours.push(Arc::new(pair(certificate, key)?));
    }
    let mut config = verifier.with_client_cert_resolver(Arc::new(Ours(ours)));
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The system's authorities, where `SSL_CERT_FILE`, `SSL_CERT_DIR` or the distribution's usual place has them.
pub(super) fn system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is one that nobody is believed by; an empty store says so below.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Reads a certificate of ours and its key.
fn pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, Error> {
    let wrong = |path: &Path, problem: String| Error::File { path: path.to_owned(), problem };
    let chain = certificates(certificate)?;
    let bytes = fs::read(key).map_err(|error| wrong(key, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| wrong(key, "holds no private key in PEM without a password".into()))?;
    let signer = PROVIDER
        .key_provider
        .load_private_key(secret)
        .map_err(|error| wrong(key, format!("holds a key that cannot be used: {error}")))?;
    let pair = CertifiedKey::new(chain, signer);
    // Whether a certificate of an older form fits its key is for the server to say.
    if let Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = pair.keys_match() {
        return Err(wrong(key, format!("is not the key of {}", certificate.display())));
    }
    Ok(pair)
}

/// Reads the certificates of a file; none is an error.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = |problem: String| Error::File { path: path.to_owned(), problem };
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        _ => Err(wrong("holds no certificate in PEM".into())),
    }
}

/// What a certificate lacks, and what would mend it.
pub(super) fn problem(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "is signed by an unknown authority; name its CA certificate in `ca` of the host's hosts.toml"
                .into()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // They come as `DnsName("name")`.
            let name = |text: &String| {
                let inner = text.split_once('(').map_or(&**text, |(_, inner)| inner);
                inner.trim_matches([')', '"']).to_owned()
            };
            let names: Vec<String> = presented.iter().map(name).collect();
            let presented = if names.is_empty() {
                "it has no subject alternative names".to_owned()
            } else {
                format!("it is for {}", names.join(", "))
            };
            format!("is not for that name: {presented}; ask by a name that it has, or renew it")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired; renew it, or set this host's clock right".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet; is this host's clock right?".into()
        }
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "is an unknown authority's own; name it in `ca` of the host's hosts.toml".into()
        }
        other => format!("cannot be believed: {other}"),
    }
}

/// Believes whom the system believes and whom the operator named.
#[derive(Debug)]
struct Known {
    /// All of their keys.
    roots: RootCertStore,
    /// The certificates that the operator named, whole.
    named: Vec<CertificateDer<'static>>,
}

impl Known {
    /// Reads the operator's files.
    fn read(ca: &[PathBuf], system: &LazyLock<RootCertStore>) -> Result<Self, Error> {
        let mut roots = RootCertStore::clone(system);
        let mut named = Vec::new();
        for path in ca {
            for certificate in certificates(path)? {
                roots.add(certificate.clone()).map_err(|error| Error::File {
                    path: path.clone(),
                    problem: format!("holds a certificate that cannot be read: {error}"),
                })?;
                named.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(Error::Tls(
                "this host knows no certificate authority; install ca-certificates, or name one in `ca` \
                 of the host's hosts.toml"
                    .into(),
            ));
        }
        Ok(Self { roots, named })
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = PROVIDER.signature_verification_algorithms.all;
        let signed = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            algorithms,
        );
        if let Err(error) = signed {
            // A certificate that the operator names is believed as it is, also when it is an authority's own, as most
            // self-signed ones are. Its dates were checked before what these errors complain about.
            let apart = matches!(
                error,
                rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::Other(_)
                )
            );
            if !apart || !self.named.iter().any(|named| named == end_entity) {
                return Err(error);
            }
        }
        verify_server_name(&certificate, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &PROVIDER.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates that we may show.
#[derive(Debug)]
struct Ours(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Ours {
    /// One whose issuer the server names, or else the first whose key it understands.
    fn resolve(&self, issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = || self.0.iter().filter(|pair| pair.key.choose_scheme(schemes).is_some());
        // A name stands in a certificate byte by byte as the server writes it.
        let asked = usable().find(|pair| {
            pair.cert.iter().any(|certificate| {
                issuers.iter().any(|issuer| {
                    !issuer.is_empty()
                        && certificate.windows(issuer.len()).any(|part| part == *issuer)
                })
            })
        });
        asked.or_else(|| usable().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}
