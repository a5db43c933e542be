//! Tests the client over HTTPS with nginx: trusted authorities, redirects, and HTTP/2.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use lastmile_client::{CryptoProvider, Fetch as _, FetchError, HttpFetch, HttpSettings, ProxyChoice, TlsProblem};
use rustls::crypto::{aws_lc_rs, ring};

use super::nginx::{Nginx, server};
use super::site::{Site, succeed};

/// The start of the client's error for a certificate that it does not trust.
const NOT_SECURE: &str = "no secure connection: invalid peer certificate: ";

/// Returns a site with a certificate for `localhost`, which a test authority has signed.
pub(super) fn certified() -> Site {
    let site = Site::new(&[]);
    let own = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        succeed(command.args(["req", "-x509"]).args(own).args(arguments).current_dir(site.path("")));
    };
    openssl(&["-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem"]);
    openssl(&["-subj", "/CN=stranger", "-keyout", "stranger.key", "-out", "stranger.pem"]);
    let signer = ["-CA", "authority.pem", "-CAkey", "authority.key"];
    let name = "subjectAltName=DNS:localhost";
    let files = ["-subj", "/CN=localhost", "-keyout", "localhost.key", "-out", "localhost.pem"];
    let usage = ["-addext", name, "-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(&[&signer[..], &files, &usage].concat());
    site
}

/// Returns the server block from docs/serving.md with TLS on `port`. `listen` contains parameters of the `listen`
/// directive, and `first` contains additional settings.
fn over_tls(site: &Site, port: u16, listen: &str, first: &str) -> String {
    let path = |name| site.path(name).display().to_string();
    let certificate = path("localhost.pem");
    let key = path("localhost.key");
    let tls =
        format!("listen 127.0.0.1:{port} {listen};\nssl_certificate {certificate};\nssl_certificate_key {key};\n");
    server(site, &format!("{tls}{first}"))
}

fn secure(site: &Site) -> (Nginx, u16) {
    let (nginx, [port]) = Nginx::start(&site.path("nginx"), |[port]| over_tls(site, port, "ssl http2", ""));
    (nginx, port)
}

fn trust(site: &Site, scheme: &str, port: u16) {
    site.trust("it", &format!("{scheme}://localhost:{port}/"));
}

/// Returns the command `lastmile get` for all targets. The authorities in `bundle` replace the system's authorities.
fn with_authorities(site: &Site, bundle: &str) -> Command {
    let none = site.path("no-authorities");
    fs::create_dir_all(&none).unwrap();
    let mut command = site.get_all("it");
    command.env("SSL_CERT_FILE", site.path(bundle)).env("SSL_CERT_DIR", none);
    command
}

/// Runs a command that must fail with a network error, and returns its standard error.
fn refusal(mut command: Command) -> String {
    let output = command.args(["--retries", "0"]).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{printed}");
    printed
}

#[test]
fn the_system_authorities_are_trusted_and_http_2_is_used() {
    let site = certified();
    let (nginx, port) = secure(&site);
    trust(&site, "https", port);
    succeed(&mut with_authorities(&site, "authority.pem"));
    site.check_all("it");
    assert!(nginx.logged("/metadata/timestamp.json").starts_with("HTTP/2.0 200 "));
    assert!(nginx.logged("tool").starts_with("HTTP/2.0 200 "));
}

#[test]
fn http_1_is_used_with_a_server_without_http_2() {
    let site = certified();
    let (nginx, [port]) = Nginx::start(&site.path("nginx"), |[port]| over_tls(&site, port, "ssl", ""));
    trust(&site, "https", port);
    succeed(&mut with_authorities(&site, "authority.pem"));
    site.check_all("it");
    assert!(nginx.logged("/metadata/timestamp.json").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_configured_authority_is_trusted() {
    let site = certified();
    let (_nginx, port) = secure(&site);
    trust(&site, "https", port);
    succeed(site.get_all("it").arg("--ca-file").arg(site.path("authority.pem")));
    site.check_all("it");
}

#[test]
fn a_certificate_of_an_unknown_authority_is_refused() {
    let site = certified();
    let (nginx, port) = secure(&site);
    trust(&site, "https", port);
    let mut named = with_authorities(&site, "stranger.pem");
    named.arg("--ca-file").arg(site.path("stranger.pem"));
    for command in [with_authorities(&site, "stranger.pem"), named] {
        let printed = refusal(command);
        assert!(printed.contains(NOT_SECURE), "{printed}");
    }
    assert_eq!(nginx.requests(), "");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let site = certified();
    let (nginx, port) = secure(&site);
    site.trust("it", &format!("https://127.0.0.1:{port}/"));
    let printed = refusal(with_authorities(&site, "authority.pem"));
    assert!(printed.contains(NOT_SECURE), "{printed}");
    assert_eq!(nginx.requests(), "");
}

/// Fetches `timestamp.json`. The file `bundle` contains the authorities to trust.
fn fetch_with(site: &Site, port: u16, bundle: &str, provider: CryptoProvider) -> Result<Vec<u8>, FetchError> {
    let extra_ca = vec![fs::read(site.path(bundle)).unwrap()];
    let settings = HttpSettings { extra_ca, proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    let http = HttpFetch::with_provider(&settings, Arc::new(provider)).unwrap();
    let url = format!("https://localhost:{port}/metadata/timestamp.json");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { http.fetch(&url, 0).await?.read_all(100_000).await })
}

#[test]
fn both_providers_of_cryptography_accept_the_right_server_and_refuse_the_wrong_one() {
    let site = certified();
    let (nginx, port) = secure(&site);
    let published = fs::read(site.path("packages/metadata/timestamp.json")).unwrap();
    for provider in [aws_lc_rs::default_provider, ring::default_provider] {
        assert_eq!(fetch_with(&site, port, "authority.pem", provider()), Ok(published.clone()));
        let refused = fetch_with(&site, port, "stranger.pem", provider());
        assert!(matches!(refused, Err(FetchError::Tls { problem: TlsProblem::UnknownIssuer, .. })), "{refused:?}");
    }
    assert_eq!(nginx.requests().lines().count(), 2, "{}", nginx.requests());
}

#[test]
fn the_provider_that_the_application_passes_is_used() {
    let site = certified();
    let (_nginx, port) = secure(&site);
    // The application passes a provider without signature algorithms, so the connection must fail. With the client's
    // default provider, the connection would succeed.
    let mut provider = ring::default_provider();
    provider.signature_verification_algorithms.mapping = &[];
    let refused = fetch_with(&site, port, "authority.pem", provider);
    assert!(matches!(refused, Err(FetchError::Tls { .. })), "{refused:?}");
}

#[test]
fn without_any_authority_https_is_refused_and_the_hint_names_the_next_step() {
    let site = certified();
    let (nginx, port) = secure(&site);
    trust(&site, "https", port);
    let mut command = with_authorities(&site, "authority.pem");
    command.env("SSL_CERT_FILE", "/dev/null");
    let printed = refusal(command);
    assert!(
        printed.contains("No CA certificates were loaded from the system") && printed.contains("--ca-file"),
        "{printed}"
    );
    assert_eq!(nginx.requests(), "");
}

#[test]
fn without_any_authority_http_still_works() {
    let site = Site::new(&[]);
    let servers = |[port]: [u16; 1]| server(&site, &format!("listen 127.0.0.1:{port};"));
    let (_nginx, [port]) = Nginx::start(&site.path("nginx"), servers);
    trust(&site, "http", port);
    succeed(with_authorities(&site, "authority.pem").env("SSL_CERT_FILE", "/dev/null"));
    site.check_all("it");
}

/// Starts two servers. The first one redirects each request to the second one, with `scheme` in the URL. `first` and
/// `second` are the parameters of the servers' `listen` directives.
fn redirected(site: &Site, first: &str, second: &str, scheme: &str) -> (Nginx, u16) {
    let servers = |[from, to]: [u16; 2]| {
        let away = format!("return 301 {scheme}://localhost:{to}$request_uri;\n");
        format!("{}\n{}", over_tls(site, from, first, &away), over_tls(site, to, second, ""))
    };
    let (nginx, [from, _]) = Nginx::start(&site.path("nginx"), servers);
    (nginx, from)
}

#[test]
fn a_redirect_from_http_to_https_is_followed() {
    let site = certified();
    let (nginx, port) = redirected(&site, "", "ssl http2", "https");
    trust(&site, "http", port);
    succeed(&mut with_authorities(&site, "authority.pem"));
    site.check_all("it");
    nginx.logged("HTTP/1.1 301 /metadata/timestamp.json");
    nginx.logged("HTTP/2.0 200 /metadata/timestamp.json");
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    let site = certified();
    let (nginx, port) = redirected(&site, "ssl http2", "", "http");
    trust(&site, "https", port);
    let printed = refusal(with_authorities(&site, "authority.pem"));
    assert!(printed.contains("from https to http"), "{printed}");
    assert!(nginx.logged(" 301 ").starts_with("HTTP/2.0 301 /metadata/"));
    assert!(!nginx.requests().contains(" 200 "), "{}", nginx.requests());
}
