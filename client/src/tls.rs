//! Who vouches for servers: the system's certificate authorities, read when the first server is to be judged.
//!
//! They lie in hundreds of files on some systems, which would take longer to read than a refresh over http takes; and
//! where there are none, http goes on working. What a certificate is worth is decided by rustls, as ever.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// What is negotiated within TLS (RFC 7301).
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The system's authorities, once they are needed.
pub(crate) struct SystemAuthorities {
    provider: Arc<CryptoProvider>,
    verifier: OnceLock<Result<Verifier, Error>>,
}

impl SystemAuthorities {
    /// Nothing is read yet.
    pub(crate) fn new() -> Arc<SystemAuthorities> {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        Arc::new(SystemAuthorities { provider, verifier: OnceLock::new() })
    }

    /// TLS with servers for which they vouch.
    pub(crate) fn config(self: &Arc<SystemAuthorities>) -> Result<ClientConfig, Error> {
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&self.provider)).with_safe_default_protocol_versions()?;
        // The verifier is the system's own: only when it is made is another matter.
        let verified = builder.dangerous().with_custom_certificate_verifier(Arc::<SystemAuthorities>::clone(self));
        let mut config = verified.with_no_client_auth();
        config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).into();
        Ok(config)
    }

    /// Reads them while the server's first answer is on its way.
    pub(crate) fn expect_use(self: &Arc<SystemAuthorities>) {
        if self.verifier.get().is_none() {
            let authorities = Arc::clone(self);
            // Where no thread can be had, whoever needs them first reads them.
            drop(thread::Builder::new().spawn(move || authorities.verifier().map(drop)));
        }
    }

    fn verifier(&self) -> Result<&Verifier, Error> {
        self.verifier.get_or_init(|| Verifier::new(Arc::clone(&self.provider))).as_ref().map_err(Error::clone)
    }
}

impl fmt::Debug for SystemAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemAuthorities").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for SystemAuthorities {
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
