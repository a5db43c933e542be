//! Tests of proxies, logins and login pages over real sockets.

use std::ffi::OsString;

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::{Error, NetworkError};
use crate::net::fetch::{Fetch, FetchError};
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::proxy::{ProxyChoice, ProxyVariables};
use crate::net::retry::RetryPolicy;
use crate::store::memory::MemoryStore;
use crate::store::{Store, StoredFile};
use crate::test_repository::{TestRepository, expires, now, root, sign};
use crate::test_server::{Server, ServerAction, ok, reply, status};
use crate::updater::Updater;

fn through(url: &str) -> HttpFetch {
    let settings = HttpSettings { proxy: ProxyChoice::Url(url.to_owned()), ..HttpSettings::default() };
    HttpFetch::new(&settings).unwrap()
}

fn direct() -> HttpFetch {
    HttpFetch::new(&HttpSettings { proxy: ProxyChoice::Direct, ..HttpSettings::default() }).unwrap()
}

async fn read(fetch: &HttpFetch, url: &str) -> Result<Vec<u8>, FetchError> {
    fetch.fetch(url, 0).await?.read_all(99).await
}

/// Returns a URL with a user name, a password, and a port on which nothing listens. Also returns the form of this URL
/// that messages must show, without the user name and password.
fn nowhere() -> (String, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (format!("http://alice:secret@{address}"), format!("`http://***@{address}`"))
}

#[tokio::test]
async fn an_error_names_the_proxy_without_its_password() {
    let (url, shown) = nowhere();
    for repository in ["http://repository.invalid/x", "https://repository.invalid/x"] {
        let error = read(&through(&url), repository).await.unwrap_err();
        assert!(matches!(error, FetchError::Connect(_)) && error.may_pass(), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(&format!("through the proxy {shown}")) && !text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn a_proxy_without_its_password_is_an_error_and_with_it_is_used() {
    let proxy = Server::start(|head| {
        // "alice:secret" in base64.
        if head.contains("Basic YWxpY2U6c2VjcmV0") { ok(b"through") } else { status("407 Who are you?") }
    })
    .await;
    let address = proxy.url.trim_end_matches('/');
    for repository in ["http://repository.invalid/x", "https://repository.invalid/x"] {
        let error = read(&through(address), repository).await.unwrap_err();
        assert_eq!(error, FetchError::ProxyUnauthorized { proxy: Some(address.to_owned()) });
        assert!(!error.may_pass());
    }
    let with_password = address.replace("http://", "http://alice:secret@");
    assert_eq!(read(&through(&with_password), "http://repository.invalid/x").await.unwrap(), b"through");
}

#[tokio::test]
async fn the_variables_choose_the_proxy_for_each_server() {
    let proxy = Server::start(|_| ok(b"through")).await;
    let server = Server::start(|_| ok(b"direct")).await;
    let port = server.url.rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    let address = proxy.url.clone();
    let except = format!("127.0.0.1:{port}");
    let variable = move |name: &str| -> Option<OsString> {
        match name {
            "ALL_PROXY" => Some(address.clone().into()),
            "no_proxy" => Some(except.clone().into()),
            _ => None,
        }
    };
    let variables = ProxyChoice::Variables(ProxyVariables::read(variable).unwrap());
    let fetch = HttpFetch::new(&HttpSettings { proxy: variables, ..HttpSettings::default() }).unwrap();
    assert_eq!(read(&fetch, &server.at("x")).await.unwrap(), b"direct");
    assert_eq!(read(&fetch, "http://127.0.0.1:9/x").await.unwrap(), b"through");
}

#[tokio::test]
async fn a_socks_proxy_gets_the_name_of_the_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("socks5h://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Read the SOCKS5 greeting, which offers one authentication method, and then the request to connect to a domain
        // name (RFC 1928).
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 0]).await.unwrap();
        let mut request = [0; 5];
        stream.read_exact(&mut request).await.unwrap();
        let mut name = vec![0; usize::from(request[4]) + 2];
        stream.read_exact(&mut name).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nthrough").await.unwrap();
        name.truncate(name.len() - 2);
        String::from_utf8(name).unwrap()
    });
    assert_eq!(read(&through(&url), "http://repository.invalid/x").await.unwrap(), b"through");
    assert_eq!(asked.await.unwrap(), "repository.invalid");
}

#[tokio::test]
async fn a_web_page_is_not_metadata() {
    for (body, expected) in [
        (&b"<!DOCTYPE html>"[..], Err(FetchError::NotMetadata { is_page: true })),
        (b"\n\n <html>", Err(FetchError::NotMetadata { is_page: true })),
        (b" \n{\"a\": <", Ok(b" \n{\"a\": <".to_vec())),
    ] {
        let server = Server::start(move |_| ok(body)).await;
        let fetch = direct();
        let url = server.at("timestamp.json");
        let read = async { fetch.fetch_metadata(&url, 99).await?.read_all(99).await };
        assert_eq!(read.await, expected);
        assert_eq!(fetch.fetch(&url, 0).await.unwrap().read_all(99).await.unwrap(), body, "a web page can be a target");
    }
}

/// Refreshes from a server that answers the request for the next root with `next_root`.
async fn refresh(next_root: Vec<ServerAction>) -> (Result<(), Error>, MemoryStore) {
    let repository = TestRepository::new();
    let files = repository.files();
    let server = Server::start(move |head| {
        let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        match files.get(path) {
            Some(file) => ok(file),
            None if path == "2.root.json" => next_root.clone(),
            None => status("404 Not Found"),
        }
    })
    .await;
    let store = MemoryStore::default();
    let retry_policy = RetryPolicy { retries: 0, ..RetryPolicy::default() };
    let builder = Updater::builder(root(1, "root", "online")).fetch(direct()).store(store.clone());
    let updater = builder.retry_policy(retry_policy).mirror(&server.url, &server.url).build().unwrap();
    (updater.refresh_at(now()).await.map(drop), store)
}

#[tokio::test]
async fn a_login_page_never_counts_as_a_missing_root() {
    assert!(refresh(status("404 Not Found")).await.0.is_ok());
    let page = |body: &[u8]| vec![ServerAction::Send(reply("200 OK", "Content-Type: text/html\r\n", body))];
    for (answer, expected) in [
        (status("401 Unauthorized"), FetchError::Unauthorized),
        (status("407 Proxy Authentication Required"), FetchError::ProxyUnauthorized { proxy: None }),
        (status("511 Network Authentication Required"), FetchError::NetworkLogin),
        (page(b"<html>Welcome to the hotel"), FetchError::NotMetadata { is_page: true }),
        (page(&b"<".repeat(1_000_000)), FetchError::NotMetadata { is_page: true }),
        (page(b"Welcome to the hotel"), FetchError::NotMetadata { is_page: false }),
        (page(b""), FetchError::NotMetadata { is_page: false }),
    ] {
        let (result, store) = refresh(answer).await;
        let Err(Error::Network(NetworkError { cause, .. })) = result else { panic!("{result:?}") };
        assert_eq!(cause, expected);
        let timestamp = StoredFile::Role(lastmile_metadata::RoleName::TIMESTAMP);
        assert_eq!(store.read(&timestamp, 99_999).unwrap(), None);
    }
}

#[tokio::test]
async fn a_login_page_in_place_of_a_file_of_listed_length_and_hash_is_no_metadata() {
    let repository = TestRepository::new();
    let snapshot = repository.file("1.snapshot.json");
    let page = b"Welcome to the hotel";
    repository.put("1.snapshot.json", page);
    for length in [snapshot.len(), page.len()] {
        let hashes = json!({ "sha256": hex::encode(Sha256::digest(&snapshot)) });
        let timestamp = json!({
            "_type": "timestamp", "spec_version": "1.0.34", "version": 1, "expires": expires(),
            "meta": { "snapshot.json": { "version": 1, "length": length, "hashes": hashes } },
        });
        repository.put("timestamp.json", &sign(&timestamp, &["online"]));
        let refreshed = repository.updater().build().unwrap().refresh_at(now()).await.map(drop);
        let Err(Error::Network(NetworkError { cause, .. })) = refreshed else { panic!("{length}: {refreshed:?}") };
        assert_eq!(cause, FetchError::NotMetadata { is_page: false });
    }
}
