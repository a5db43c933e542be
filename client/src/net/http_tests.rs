//! Tests of HTTP over real sockets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;
use crate::test_repository::{TestRepository, now, root};
use crate::test_server::{Server, ServerAction, ok, partial, reply, send, status};
use crate::updater::Updater;

fn quick() -> HttpSettings {
    HttpSettings {
        gap_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(500),
        proxy: ProxyChoice::Direct,
        ..HttpSettings::default()
    }
}

async fn read(url: &str, max_length: u64) -> Result<Vec<u8>, FetchError> {
    HttpFetch::new(&quick()).unwrap().fetch(url, 0).await?.read_all(max_length).await
}

async fn answered(acts: Vec<ServerAction>) -> Result<Vec<u8>, FetchError> {
    let server = Server::start(move |_| acts.clone()).await;
    read(&server.at("x"), 100).await
}

#[tokio::test]
async fn the_request_uses_the_exact_url_and_asks_for_no_encoding() {
    let server = Server::start(|_| ok(b"hello")).await;
    assert_eq!(read(&server.at("%7Eme/a%2Fb.json"), 5).await.unwrap(), b"hello");
    let head = server.requests()[0].to_ascii_lowercase();
    assert!(head.starts_with("get /%7eme/a%2fb.json http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\naccept-encoding: identity\r\n"), "{head}");
    assert!(head.contains("\r\nuser-agent: lastmile/"), "{head}");
    assert!(!head.contains("cookie") && !head.contains("referer"), "{head}");
    assert_eq!(server.paths(), ["/%7Eme/a%2Fb.json"]);
}

#[cfg(any(feature = "aws-lc", feature = "ring"))]
#[test]
fn an_unusable_provider_is_a_configuration_error() {
    let mut provider = CryptoProvider::clone(&default_provider().unwrap());
    provider.cipher_suites.clear();
    let error = HttpFetch::with_provider(&quick(), Arc::new(provider)).unwrap_err();
    assert!(matches!(&error, Error::Config(problem) if problem.contains("cipher suites")), "{error:?}");
}

#[tokio::test]
async fn urls_that_a_parser_would_change_are_refused() {
    for url in [
        "http://h/a/%2e%2e/b",
        "http://h/a b",
        "http://h/a?b",
        "http://h/a#b",
        "http://h/ä",
        "http://h/./a",
        "http://h/a\\b",
        "ftp://h/a",
        "h/a",
        "http://h",
    ] {
        assert!(matches!(read(url, 9).await, Err(FetchError::Url(_))), "{url}");
    }
}

#[tokio::test]
async fn only_404_and_410_mean_that_a_file_is_absent() {
    assert_eq!(answered(status("404 Not Found")).await, Err(FetchError::NotFound));
    assert_eq!(answered(status("410 Gone")).await, Err(FetchError::NotFound));
    assert_eq!(answered(status("401 X")).await, Err(FetchError::Unauthorized));
    assert_eq!(answered(status("407 X")).await, Err(FetchError::ProxyUnauthorized { proxy: None }));
    assert_eq!(answered(status("511 X")).await, Err(FetchError::NetworkLogin));
    for code in [204, 304, 400, 403, 500, 502, 503] {
        assert_eq!(answered(status(&format!("{code} X"))).await, Err(FetchError::Status(code)));
    }
    assert_eq!(answered(vec![ServerAction::Send(partial(b"hello", 0))]).await, Err(FetchError::Status(206)));
}

#[tokio::test]
async fn d2_403_means_absent_if_so_configured() {
    let server = Server::start(|_| status("403 Forbidden")).await;
    let settings = HttpSettings { forbidden_means_absent: true, ..quick() };
    let answer = HttpFetch::new(&settings).unwrap().fetch(&server.at("x"), 0).await;
    assert_eq!(answer.unwrap_err(), FetchError::NotFound);
}

#[tokio::test]
async fn retry_after_may_be_a_date_and_counts_from_the_date_of_the_response() {
    let after = |date: &str, until: &str| {
        let header = format!("HTTP/1.1 503 Busy\r\n{date}Retry-After: {until}\r\nContent-Length: 0\r\n\r\n");
        async move { answered(vec![send(header)]).await.unwrap_err() }
    };
    let date = "Date: Fri, 31 Dec 1999 23:59:00 GMT\r\n";
    let later = |seconds| FetchError::RetryLater { status: 503, after: Duration::from_secs(seconds) };
    assert_eq!(after(date, "Fri, 31 Dec 1999 23:59:59 GMT").await, later(59));
    assert_eq!(after(date, "Fri, 31 Dec 1999 23:58:00 GMT").await, later(0));
    assert_eq!(after("", "Fri, 31 Dec 1999 23:59:59 GMT").await, FetchError::Status(503));
    assert_eq!(after(date, "tomorrow").await, FetchError::Status(503));
}

#[tokio::test]
async fn what_caches_report_is_recorded_and_caches_can_be_bypassed() {
    let cached = "HTTP/1.1 404 No\r\nAge: 7\r\nVia: 1.1 a\r\nVia: 1.1 b\r\nX-Cache: HIT\r\nContent-Length: 0\r\n\r\n";
    let server = Server::start(move |_| vec![send(cached)]).await;
    let reports = CacheReports::default();
    let settings = HttpSettings { bypass_caches: true, ..quick() };
    let fetch = HttpFetch::new(&settings).unwrap().cache_reports(reports.clone());
    assert_eq!(fetch.fetch_metadata(&server.at("x"), 9).await.unwrap_err(), FetchError::NotFound);
    let report = reports.of(&server.at("x")).unwrap();
    assert_eq!(report.headers().collect::<Vec<_>>(), [("Age", "7"), ("Via", "1.1 a, 1.1 b"), ("X-Cache", "HIT")]);
    assert_eq!(reports.of(&server.at("y")), None);
    let head = server.requests()[0].to_ascii_lowercase();
    assert!(head.contains("\r\ncache-control: no-cache\r\n") && head.contains("\r\npragma: no-cache\r\n"), "{head}");
}

#[tokio::test]
async fn a_server_may_ask_for_a_later_retry() {
    let busy = "HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let expected = FetchError::RetryLater { status: 429, after: Duration::from_secs(7) };
    assert_eq!(answered(vec![send(busy)]).await, Err(expected));
}

#[tokio::test]
async fn http_1_0_works_with_and_without_a_content_length() {
    assert_eq!(answered(vec![send("HTTP/1.0 200 OK\r\n\r\nbody")]).await.unwrap(), b"body");
    let with = "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody";
    let server = Server::start(move |_| vec![send(with)]).await;
    let fetch = HttpFetch::new(&quick()).unwrap();
    for _ in 0..3 {
        let response = fetch.fetch(&server.at("x"), 0).await.unwrap();
        assert_eq!(response.read_all(4).await.unwrap(), b"body");
    }
}

#[tokio::test]
async fn a_content_coding_describes_the_file_and_a_transfer_coding_is_refused() {
    for coding in ["identity", "gzip", "x-gzip", "br", "utf-8", "gzip, aws-chunked"] {
        let file = reply("200 OK", &format!("Content-Encoding: {coding}\r\n"), b"a .tar.gz");
        assert_eq!(answered(vec![ServerAction::Send(file)]).await.unwrap(), b"a .tar.gz", "{coding}");
    }
    for coding in ["gzip", "gzip, chunked"] {
        let text =
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        let answer = answered(vec![send(text)]).await;
        assert!(matches!(answer, Err(FetchError::Encoded(_) | FetchError::Cut(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = vec![send(head), ServerAction::Endless(b"4\r\nxxxx\r\n".to_vec())];
    assert_eq!(answered(endless).await, Err(FetchError::TooLong { max_length: 100 }));
    let head = "HTTP/1.0 200 OK\r\n\r\n";
    let endless = vec![send(head), ServerAction::Endless(vec![0; 65536])];
    assert_eq!(answered(endless).await, Err(FetchError::TooLong { max_length: 100 }));
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let endless = vec![send("HTTP/1.1 200 OK\r\n"), ServerAction::Endless(b"X-Y: z\r\n".to_vec())];
    assert!(answered(endless).await.is_err());
}

#[tokio::test]
async fn a_silent_server_times_out_before_and_within_a_body() {
    assert!(matches!(answered(vec![ServerAction::Hang]).await, Err(FetchError::Timeout(_))));
    let half = send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
    assert!(matches!(answered(vec![half, ServerAction::Hang]).await, Err(FetchError::Timeout(_))));
}

#[tokio::test]
async fn an_interrupted_body_is_an_error() {
    for head in [
        "Content-Length: 9\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhalf\r\n",
    ] {
        let answer = answered(vec![send(format!("HTTP/1.1 200 OK\r\n{head}"))]).await;
        assert!(matches!(answer, Err(FetchError::Cut(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_temporary_failure() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    drop(listener);
    let error = read(&url, 9).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect(_)) && error.may_pass(), "{error:?}");
}

#[tokio::test]
async fn a_range_is_requested_and_checked() {
    let server = Server::start(|head| match crate::test_server::offset(head) {
        2 => vec![ServerAction::Send(partial(b"hello", 2))],
        3 => vec![ServerAction::Send(partial(b"hello", 2))],
        4 => vec![send("HTTP/1.1 206 X\r\nContent-Length: 1\r\n\r\no")],
        _ => ok(b"hello"),
    })
    .await;
    let fetch = HttpFetch::new(&quick()).unwrap();
    assert_eq!(fetch.fetch(&server.at("x"), 2).await.unwrap().offset, 2);
    assert_eq!(fetch.fetch(&server.at("x"), 1).await.unwrap().offset, 0);
    for lie in [3, 4] {
        let answer = fetch.fetch(&server.at("x"), lie).await;
        assert!(matches!(answer, Err(FetchError::WrongRange(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn redirects_are_followed_up_to_a_limit() {
    let server = Server::start(|head| {
        let hop: usize = head.split([' ', '/']).nth(2).unwrap().parse().unwrap();
        let next = reply("302 Found", &format!("Location: /{}\r\n", hop.saturating_sub(1)), b"");
        if hop == 0 { ok(b"here") } else { vec![ServerAction::Send(next)] }
    })
    .await;
    assert_eq!(read(&server.at("5"), 9).await.unwrap(), b"here");
    assert!(matches!(read(&server.at("6"), 9).await, Err(FetchError::TooManyRedirects { redirects: 5 })));
}

#[tokio::test]
async fn redirects_are_followed_to_http_and_https_only() {
    for to in ["file:///etc/passwd", "ftp://h/x", "data:,x", "http://u:p@127.0.0.1/x"] {
        let location = format!("Location: {to}\r\n");
        let answer = answered(vec![ServerAction::Send(reply("302 Found", &location, b""))]).await;
        assert!(matches!(answer, Err(FetchError::Redirect(_) | FetchError::Status(302))), "{to}: {answer:?}");
    }
}

#[test]
fn unusable_settings_are_a_configuration_error() {
    let ca = |bundle: &[u8]| HttpSettings { extra_ca: vec![bundle.to_vec()], ..quick() };
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for settings in [
        ca(b""),
        ca(b"no certificate"),
        ca(broken),
        HttpSettings { proxy: ProxyChoice::Url("::".to_owned()), ..quick() },
    ] {
        assert!(matches!(HttpFetch::new(&settings), Err(Error::Config(_))), "{settings:?}");
    }
}

#[tokio::test]
async fn an_explicit_proxy_is_used() {
    let proxy = Server::start(|_| ok(b"through")).await;
    let settings = HttpSettings { proxy: ProxyChoice::Url(proxy.url.clone()), ..HttpSettings::default() };
    let fetch = HttpFetch::new(&settings).unwrap();
    let response = fetch.fetch("http://repository.invalid/%7Ex", 0).await.unwrap();
    assert_eq!(response.read_all(9).await.unwrap(), b"through");
    assert_eq!(proxy.paths(), ["http://repository.invalid/%7Ex"]);
}

#[test]
fn a_redirect_from_https_to_http_is_refused() {
    assert!(refusal(&["https://a/x"], "http://a/x").is_some());
    assert!(refusal(&["http://a/x", "https://a/x"], "http://a/x").is_some());
    assert_eq!(refusal(&["http://a/x"], "https://b/x"), None);
    assert_eq!(refusal(&["https://a/x"], "https://b/x"), None);
}

fn refusal(previous: &[&str], to: &str) -> Option<String> {
    let previous: Vec<Url> = previous.iter().map(|url| url.parse().unwrap()).collect();
    refusal_of(&to.parse().unwrap(), &previous)
}

#[tokio::test]
async fn a_failed_handshake_is_reported_as_a_permanent_failure() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Read the TLS ClientHello first; otherwise the client would report an interrupted connection instead of a
            // TLS error.
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 This is not TLS\r\n\r\n").await;
        }
    });
    let patient = HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() };
    let error = HttpFetch::new(&patient).unwrap().fetch(&url, 0).await.unwrap_err();
    assert!(matches!(error, FetchError::Tls { problem: TlsProblem::Other, .. }) && !error.may_pass(), "{error:?}");
}

/// Starts an HTTP/2 server that delays each answer by `delay`. Returns its URL and a counter of the connections to it.
async fn http2_server(files: BTreeMap<String, Vec<u8>>, delay: Duration) -> (String, Arc<AtomicUsize>) {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let files = Arc::new(files);
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let files = Arc::clone(&files);
            let service = hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let file = files.get(request.uri().path().trim_start_matches('/')).cloned();
                async move {
                    tokio::time::sleep(delay).await;
                    let status = if file.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
                    let body = String::from_utf8(file.unwrap_or_default()).unwrap();
                    hyper::Response::builder().status(status).body(body)
                }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    (url, connections)
}

#[tokio::test]
async fn over_http_2_a_refresh_takes_one_round_trip_on_one_connection() {
    let delay = Duration::from_millis(300);
    let (url, connections) = http2_server(TestRepository::new().files(), delay).await;
    // Without TLS, the protocol is not negotiated, so the client must be configured to use HTTP/2.
    let authorities = Authorities::new(&[], default_provider().unwrap()).unwrap();
    let builder = Client::builder().no_proxy().http2_prior_knowledge();
    let client = builder.tls_backend_preconfigured(authorities.config().unwrap()).build().unwrap();
    let builder = Updater::builder(root(1, "root", "online")).fetch(HttpFetch {
        client,
        authorities,
        proxies: Proxies::new(&ProxyChoice::Direct).unwrap(),
        forbidden_means_absent: false,
        date: Arc::default(),
        cache_reports: None,
    });
    let updater = builder.mirror(&url, &url).build().unwrap();
    updater.refresh_at(now()).await.unwrap();
    let before = Instant::now();
    updater.refresh_at(now()).await.unwrap();
    assert!(before.elapsed() >= delay && before.elapsed() < 2 * delay, "{:?}", before.elapsed());
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}
