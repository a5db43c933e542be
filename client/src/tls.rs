//! Who vouches for servers: certificate authorities, the system's and those that are named. The system's are read when the
//! first server is to be judged.
//!
//! They lie in hundreds of files on some systems, which would take longer to read than a refresh over http takes; and
//! where there are none, http goes on working. What a certificate is worth is decided by rustls, as ever.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use crate::error;

/// What is negotiated within TLS (RFC 7301).
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The authorities, once they are needed.
pub(crate) struct Authorities {
    provider: Arc<CryptoProvider>,
    /// Those that were named, besides the system's.
    named: Vec<CertificateDer<'static>>,
    /// None before they were read, and where they could not be: then they are looked for again.
    verifier: Mutex<Option<Arc<Verifier>>>,
    is_expected: AtomicBool,
}

impl Authorities {
    /// The system's, of which nothing is read yet, and those in these PEM bundles.
    ///
    /// # Errors
    ///
    /// [`Error::Config`](error::Error::Config) for a bundle without a certificate, or with one that cannot be used.
    pub(crate) fn with(bundles: &[Vec<u8>]) -> Result<Arc<Authorities>, error::Error> {
        let mut named = Vec::new();
        for bundle in bundles {
            let before = named.len();
            for certificate in CertificateDer::pem_slice_iter(bundle) {
                let certificate = certificate.map_err(|error| unusable(&error))?;
                RootCertStore::empty().add(certificate.clone()).map_err(|error| unusable(&error))?;
                named.push(certificate);
            }
            if named.len() == before {
                let message = "the file of certificate authorities has no PEM certificate in it";
                return Err(error::Error::Config(message.to_owned()));
            }
        }
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let (verifier, is_expected) = (Mutex::new(None), AtomicBool::new(false));
        Ok(Arc::new(Authorities { provider, named, verifier, is_expected }))
    }

    /// TLS with servers for which they vouch.
    pub(crate) fn config(self: &Arc<Authorities>) -> Result<ClientConfig, error::Error> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(|error| error::Error::Config(format!("unusable TLS: {error}")))?;
        // The verifier is the system's own: only when it is made is another matter.
        let verified = builder.dangerous().with_custom_certificate_verifier(Arc::<Authorities>::clone(self));
        let mut config = verified.with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).into();
        Ok(config)
    }

    /// Reads them while the server's first answer is on its way.
    pub(crate) fn expect_use(self: &Arc<Authorities>) {
        if !self.is_expected.swap(true, Ordering::Relaxed) {
            let authorities = Arc::clone(self);
            // Where no thread can be had, whoever needs them first reads them.
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
        // Told before anything is read: it depends on the algorithms alone.
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
