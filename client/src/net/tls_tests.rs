//! Tests of TLS over real sockets. One test key is used for the certificate authority and for all servers.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::net::fetch::{Fetch as _, FetchError, TlsProblem};
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::proxy::ProxyChoice;
use crate::net::tls::default_provider;

/// Starts a server that accepts one connection, and answers one HTTPS request if the TLS handshake succeeds. Returns
/// its port.
fn serve(certificate: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(default_provider().unwrap());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        // The client ends the connection if it refuses the certificate.
        if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    port
}

async fn read(certificate: &str, authority: &str) -> Result<Vec<u8>, FetchError> {
    let port = serve(certificate);
    let extra_ca = vec![authority.as_bytes().to_vec()];
    let settings = HttpSettings { proxy: ProxyChoice::Direct, extra_ca, ..HttpSettings::default() };
    let url = format!("https://localhost:{port}/x");
    HttpFetch::new(&settings).unwrap().fetch(&url, 0).await?.read_all(9).await
}

#[tokio::test]
async fn an_error_says_what_is_wrong_with_a_certificate() {
    assert_eq!(read(VALID, AUTHORITY).await.unwrap(), b"ok");
    for (certificate, authority, expected) in [
        (EXPIRED, AUTHORITY, TlsProblem::Expired),
        (NOT_YET_VALID, AUTHORITY, TlsProblem::NotYetValid),
        (OTHER_NAME, AUTHORITY, TlsProblem::OtherName),
        (VALID, OTHER_NAME, TlsProblem::UnknownIssuer),
    ] {
        let error = read(certificate, authority).await.unwrap_err();
        let FetchError::Tls { problem, text } = &error else { panic!("{error:?}") };
        assert_eq!(*problem, expected, "{text}");
        assert!(!error.may_pass());
    }
}

const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBSzCB8aADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMMCWF1dGhvcml0
eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UEAwwJ
YXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED4aLa16dER+gStK7
tDFHhurZ6VXgeQlsE2HVM/Nsei86mav3XsPX5JRGMU5JI0f4NEpd7am8Smy6VPl6
rOKzvKMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUe9tzG92lRwFCY9WJ
VpmxIy/l/h8wCgYIKoZIzj0EAwIDSQAwRgIhAJyTSJPepGnVQUeGZeT+jUAGuji1
KFXBTNGeLa1hJHfuAiEAm4E9CeX+FF3eDYqHIf/1k8syVAqiPbubINYR2hUTlww=
-----END CERTIFICATE-----
";

const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBXDCCAQKgAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhdXRob3Jp
dHkwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAUMRIwEAYDVQQDDAls
b2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQPhotrXp0RH6BK0ru0
MUeG6tnpVeB5CWwTYdUz82x6LzqZq/dew9fklEYxTkkjR/g0Sl3tqbxKbLpU+Xqs
4rO8o0UwQzAMBgNVHRMBAf8EAjAAMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAdBgNV
HQ4EFgQUe9tzG92lRwFCY9WJVpmxIy/l/h8wCgYIKoZIzj0EAwIDSAAwRQIgJNkH
3TsWic4EACimqh3kUtBSeGkWXGEUG5wEitn3OukCIQC7EhzZGnd6+umSogol3Qy1
6ljlYhPvYCZWIcFlPVIAJg==
-----END CERTIFICATE-----
";

const NOT_YET_VALID: &str = "\
-----BEGIN CERTIFICATE-----
MIIBYDCCAQagAwIBAgIBAzAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhdXRob3Jp
dHkwIhgPMjEwMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFDESMBAGA1UE
AwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAED4aLa16dER+g
StK7tDFHhurZ6VXgeQlsE2HVM/Nsei86mav3XsPX5JRGMU5JI0f4NEpd7am8Smy6
VPl6rOKzvKNFMEMwDAYDVR0TAQH/BAIwADAUBgNVHREEDTALgglsb2NhbGhvc3Qw
HQYDVR0OBBYEFHvbcxvdpUcBQmPViVaZsSMv5f4fMAoGCCqGSM49BAMCA0gAMEUC
IFNdfrA59niOt/j2QQOZMe3gfNfXQSgmZgrrGlE7Oc3hAiEAtuRk2KpF/gEnJlVc
eBx+VDl0VgpfP5cTgy/L/bTqU2k=
-----END CERTIFICATE-----
";

const OTHER_NAME: &str = "\
-----BEGIN CERTIFICATE-----
MIIBYjCCAQigAwIBAgIBBDAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhdXRob3Jp
dHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA+Gi2tenREfoErS
u7QxR4bq2elV4HkJbBNh1TPzbHovOpmr917D1+SURjFOSSNH+DRKXe2pvEpsulT5
eqzis7yjSTBHMAwGA1UdEwEB/wQCMAAwGAYDVR0RBBEwD4INb3RoZXIuaW52YWxp
ZDAdBgNVHQ4EFgQUe9tzG92lRwFCY9WJVpmxIy/l/h8wCgYIKoZIzj0EAwIDSAAw
RQIgFbERuMgeISvDMGMKFRGPX8xwKg7ck0TCSThwExE1HC0CIQD7nkN6s/4QDf6c
qqQm5PAVi7Vjxjpd/1CPvkOUY2dhVA==
-----END CERTIFICATE-----
";

const VALID: &str = "\
-----BEGIN CERTIFICATE-----
MIIBXjCCAQSgAwIBAgIBBTAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlhdXRob3Jp
dHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQxEjAQBgNVBAMM
CWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA+Gi2tenREfoErS
u7QxR4bq2elV4HkJbBNh1TPzbHovOpmr917D1+SURjFOSSNH+DRKXe2pvEpsulT5
eqzis7yjRTBDMAwGA1UdEwEB/wQCMAAwFAYDVR0RBA0wC4IJbG9jYWxob3N0MB0G
A1UdDgQWBBR723Mb3aVHAUJj1YlWmbEjL+X+HzAKBggqhkjOPQQDAgNIADBFAiAM
DDMa6HonHh5XZrnC01VPT3yfIVI3mWnmhR/uqK+P6gIhANI259uTnpAmQapIyeG/
YBJ15dub4hG7OW644NdOE/pi
-----END CERTIFICATE-----
";

const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgipTKNcr8p+/h6fV1
U1XxckTv9fswXKltG2WFyk8LMa2hRANCAAQPhotrXp0RH6BK0ru0MUeG6tnpVeB5
CWwTYdUz82x6LzqZq/dew9fklEYxTkkjR/g0Sl3tqbxKbLpU+Xqs4rO8
-----END PRIVATE KEY-----
";
