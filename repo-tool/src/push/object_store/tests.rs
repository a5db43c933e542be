//! Tests with servers that answer a request with an error.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::push::clock::Clock;
use crate::push::credentials;
use crate::push::lease::Validity;

/// Returns false if the connection ends without a request.
fn answer(connection: TcpStream, status: &str) -> bool {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return false;
        }
    }
    let mut length = head.lines().filter_map(|line| line.split_once(": "));
    let length = length.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, length)| length.parse().unwrap());
    reader.read_exact(&mut vec![0; length]).unwrap();
    let reply = format!(
        "HTTP/1.1 {status}\r\nETag: \"1\"\r\nX-Goog-Generation: 1\r\nLast-Modified: Tue, 01 Jan 2030 00:00:00 GMT\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    reader.get_mut().write_all(reply.as_bytes()).unwrap();
    true
}

/// The environment variables for a store that does not check credentials.
fn variables(name: &str) -> Option<String> {
    let value = match name {
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_REGION" | "AZURE_STORAGE_ACCOUNT_NAME" => "none",
        "AZURE_STORAGE_ACCOUNT_KEY" => "bm9uZQ==",
        "GOOGLE_SERVICE_ACCOUNT_KEY" => {
            r#"{"disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}"#
        }
        _ => return None,
    };
    Some(value.to_string())
}

/// Calls `work` with a store whose server answers the first requests with `statuses`, and later requests with `200 OK`.
/// Before each answer, the server calls `before_answer`. Returns the result of `work`, and the number of requests.
fn with_failing_store<T>(
    (url, statuses): (&str, &[&str]),
    validity: Validity,
    before_answer: impl Fn() + Sync,
    work: impl FnOnce(&Store) -> T,
) -> (T, usize) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let options = StoreOptions { endpoint: Some(format!("http://{address}")), ..StoreOptions::default() };
    let store = credentials::open(&BaseUrl::new(url).unwrap(), &options, &variables).unwrap();
    store.inner.guard.require(Arc::new(validity));
    let server = || {
        let mut requests = 0;
        loop {
            let (connection, _) = listener.accept().unwrap();
            before_answer();
            if !answer(connection, statuses.get(requests).unwrap_or(&"200 OK")) {
                return requests;
            }
            requests += 1;
        }
    };
    std::thread::scope(|scope| {
        let server = scope.spawn(server);
        let result = work(&store);
        drop(TcpStream::connect(address).unwrap());
        (result, server.join().unwrap())
    })
}

const BUSY: &str = "503 Slow Down";

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the validity of a lock that expires one hour after time zero. The time on the lock's clock is `now`, in
/// seconds.
fn validity(now: &Arc<AtomicU64>) -> Validity {
    let now = Arc::clone(now);
    Validity::new(Clock::new(move || Duration::from_secs(now.load(Ordering::SeqCst))), HOUR, Duration::ZERO)
}

#[test]
fn a_failed_write_is_repeated_only_while_the_lock_is_valid() {
    let now = Arc::new(AtomicU64::new(0));
    let put = |before_answer: &(dyn Fn() + Sync)| {
        let put = |store: &Store| store.put("targets/package", b"1");
        with_failing_store(("s3://bucket/a", &[BUSY]), validity(&now), before_answer, put)
    };
    let (written, requests) = put(&|| ());
    written.unwrap();
    assert_eq!(requests, 2);
    let (written, requests) = put(&|| now.store(HOUR.as_secs(), Ordering::SeqCst));
    assert!(matches!(written, Err(Error::Push(PushError::LeaseLost { .. }))), "{written:?}");
    assert_eq!(requests, 1);
}

#[test]
fn the_lock_object_of_every_store_is_written_even_if_the_lock_has_expired() {
    let expired = Arc::new(AtomicU64::new(HOUR.as_secs()));
    for url in ["s3://bucket/a", "gs://bucket/a", "az://container/a"] {
        let create = |store: &Store| store.lock_object().create(b"1");
        let (written, requests) = with_failing_store((url, &[BUSY]), validity(&expired), || (), create);
        assert_eq!((written.unwrap(), requests), (Written::Done, 2), "{url}");
    }
}

#[test]
fn a_refused_write_counts_as_done_if_an_earlier_attempt_has_written_the_object() {
    let now = Arc::new(AtomicU64::new(0));
    // The server has created an empty object, but the reply was an error.
    for url in ["s3://bucket/a", "gs://bucket/a", "az://container/a"] {
        let create = |content: &'static [u8]| {
            let statuses = [BUSY, "412 Precondition Failed"];
            let create = |store: &Store| store.create("metadata/timestamp.json", content);
            with_failing_store((url, &statuses), validity(&now), || (), create)
        };
        let (written, requests) = create(b"");
        assert_eq!((written.unwrap(), requests), (Written::Done, 3), "{url}");
        let (written, requests) = create(b"other");
        assert_eq!((written.unwrap(), requests), (Written::Refused, 3), "{url}");
    }
}

#[test]
fn only_metadata_files_without_a_version_in_their_names_may_change() {
    let cached = |name: &str| attributes(name).get(&Attribute::CacheControl).map(|value| value.as_ref().to_string());
    for name in ["timestamp.json", "snapshot.json", "targets.json", "7.json", "team.x.json", "v1.json"] {
        assert_eq!(cached(&format!("metadata/{name}")).as_deref(), Some("max-age=60"), "{name}");
    }
    for name in ["metadata/7.root.json", "metadata/12.7.json", "metadata/timestamp.json.gz", "targets/7.json"] {
        assert_eq!(cached(name), None, "{name}");
    }
    assert_eq!(cached(LOCK).as_deref(), Some("no-store"));
}
