//! TLS configuration: the cryptography provider, and the certificate authorities of the system and of the user. The
//! system's authorities are not read before the first HTTPS request.
//!
//! Reading the system's authorities early would have two disadvantages. First, some systems store them in hundreds of
//! files, and reading these files takes longer than a whole refresh over HTTP. Second, plain HTTP would not work on
//! systems without authorities. This module does not verify certificates itself: rustls and the system's verifier do.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::error;

/// The application protocols offered during the TLS handshake (ALPN, RFC 7301).
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The certificate authorities that the client trusts for TLS. The system's authorities are read when they are first
/// needed.
pub(crate) struct Authorities {
    provider: Arc<CryptoProvider>,
    /// Authorities that are trusted in addition to the system's.
    named: Vec<CertificateDer<'static>>,
    /// `None` until the system's authorities have been read. If reading fails, the next verification tries again.
    verifier: Mutex<Option<Arc<Verifier>>>,
    is_expected: AtomicBool,
}

impl Authorities {
    /// Creates a set of the system's authorities and the authorities in the PEM files `bundles`. This function does not
    /// read the system's authorities yet.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](error::Error::Config) if a bundle contains no certificate, or if one of its certificates
    /// cannot be used.
    pub(crate) fn new(bundles: &[Vec<u8>], provider: Arc<CryptoProvider>) -> Result<Arc<Authorities>, error::Error> {
        let mut named = Vec::new();
        for bundle in bundles {
            let before = named.len();
            for certificate in CertificateDer::pem_slice_iter(bundle) {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                RootCertStore::empty().add(certificate.clone()).map_err(|error| unusable(&error))?;
                named.push(certificate);
            }
            if named.len() == before {
                let message = "the file of certificate authorities contains no PEM certificate";
                return Err(error::Error::Config(message.to_owned()));
            }
        }
        let verifier = Mutex::new(None);
        let is_expected = AtomicBool::new(false);
        Ok(Arc::new(Authorities { provider, named, verifier, is_expected }))
    }

    pub(crate) fn config(self: &Arc<Authorities>) -> Result<ClientConfig, error::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error::Error::Config(format!("unusable TLS: {error}")))?;
        // rustls marks custom verifiers as dangerous. This custom verifier only calls the system's verifier, which is
        // created when it is first needed.
        let verified = builder.dangerous().with_custom_certificate_verifier(Arc::<Authorities>::clone(self));
        let mut config = verified.with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).into();
        Ok(config)
    }

    /// Starts a thread that reads the system's authorities while the client connects to the server.
    pub(crate) fn expect_use(self: &Arc<Authorities>) {
        if !self.is_expected.swap(true, Ordering::Relaxed) {
            let authorities = Arc::clone(self);
            // If no thread can be started, the first verification reads the authorities.
            drop(thread::Builder::new().spawn(move || authorities.verifier().map(drop)));
        }
    }

    fn verifier(&self) -> Result<Arc<Verifier>, Error> {
        let mut verifier = self.verifier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verifier) = verifier.as_ref() {
            return Ok(Arc::clone(verifier));
        }
        let made = Arc::new(Verifier::new_with_extra_roots(self.named.iter().cloned(), Arc::clone(&self.provider))?);
        Ok(Arc::clone(verifier.insert(made)))
    }
}

/// Returns the process default of rustls, or else the provider of an enabled feature.
pub(crate) fn default_provider() -> Result<Arc<CryptoProvider>, error::Error> {
    choose(CryptoProvider::get_default().cloned(), built_in())
}

/// Prefers the process default, because the application chose it. The feature of a provider may have been enabled by
/// any crate in the build.
fn choose(
    process_default: Option<Arc<CryptoProvider>>,
    built_in: Option<Arc<CryptoProvider>>,
) -> Result<Arc<CryptoProvider>, error::Error> {
    process_default.or(built_in).ok_or_else(|| {
        let problem = "TLS has no cryptography provider: enable the feature `aws-lc` or `ring` of `lastmile-client`, or \
                       pass a provider to `HttpFetch::with_provider`";
        error::Error::Config(problem.to_owned())
    })
}

#[cfg(feature = "aws-lc")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "aws-lc", feature = "ring")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}

fn unusable(error: &dyn fmt::Display) -> error::Error {
    error::Error::Config(format!("unusable file of certificate authorities: {error}"))
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier()?.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        // Do not read the authorities here. rustls calls this method before it verifies a certificate, and the
        // signature schemes depend only on the provider.
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[cfg(any(feature = "aws-lc", feature = "ring"))]
#[path = "tls_tests.rs"]
mod socket_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_provider_the_error_names_the_features_and_the_constructor() {
        let Err(error::Error::Config(problem)) = choose(None, None) else {
            panic!("expected an error without any provider")
        };
        for way_out in ["`aws-lc`", "`ring`", "`HttpFetch::with_provider`"] {
            assert!(problem.contains(way_out), "{problem}");
        }
    }

    #[cfg(any(feature = "aws-lc", feature = "ring"))]
    #[test]
    fn the_process_default_takes_precedence_over_the_provider_of_a_feature() {
        let process_default = Arc::new(CryptoProvider::clone(&built_in().unwrap()));
        let chosen = choose(Some(Arc::clone(&process_default)), built_in()).unwrap();
        assert!(Arc::ptr_eq(&chosen, &process_default));
        assert!(choose(None, built_in()).is_ok());
    }
}
