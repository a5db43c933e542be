//! Tests of target downloads (TUF specification 5.7).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use lastmile_client::{BoxFuture, DirectoryStore, Error as ClientError, Fetch, FetchError, Refusal, Response};
use lastmile_metadata::{FileError, TargetNames};
use lastmile_testkit::{FakeNetwork, NetworkFault, Repository, TARGETS, TestClient, hash, network_error};
use serde_json::json;

/// A transport for a fake network. It supports range requests, and records the requests for targets and the number of
/// bytes that the client reads from the responses.
#[derive(Clone)]
struct Ranges {
    network: FakeNetwork,
    /// The offset of each request for a target.
    offsets: Arc<Mutex<Vec<u64>>>,
    /// The number of bytes that the client has read from responses with targets.
    read: Arc<AtomicUsize>,
}

impl Fetch for Ranges {
    fn fetch(&self, url: &str, offset: u64) -> BoxFuture<'_, Result<Response, FetchError>> {
        let is_target = url.contains(&format!("/{TARGETS}"));
        let whole = self.network.fetch(url, 0);
        Box::pin(async move {
            let response = whole.await?;
            if !is_target {
                return Ok(response);
            }
            self.offsets.lock().unwrap().push(offset);
            let read = Arc::clone(&self.read);
            let mut left_out = usize::try_from(offset).unwrap();
            let body = response.body.map(move |part| {
                let mut part = part?;
                let rest = part.split_off(left_out.min(part.len()));
                left_out -= part.len();
                read.fetch_add(rest.len(), Ordering::Relaxed);
                Ok(rest)
            });
            Ok(Response { offset, body: body.boxed() })
        })
    }
}

impl Ranges {
    fn of(repository: &Repository) -> Ranges {
        Ranges { network: repository.network().clone(), offsets: Arc::default(), read: Arc::default() }
    }

    /// Downloads the target `path`, with at most one retry after a failure.
    fn get(&self, client: &mut TestClient, path: &str) -> Result<Vec<u8>, ClientError> {
        client.retry_policy.retries = 1;
        let store = DirectoryStore::open(client.store_path()).unwrap();
        let updater = client.builder(store).fetch(self.clone()).build().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut session = updater.refresh_at(client.now).await?;
            let target = session.target(path).await?;
            session.download_below(&target, client.output_path()).await.map(|file| std::fs::read(file).unwrap())
        })
    }

    fn offsets(&self) -> Vec<u64> {
        self.offsets.lock().unwrap().clone()
    }
}

fn repository(path: &str, content: &[u8]) -> Repository {
    let mut repository = Repository::new();
    repository.add_target("targets", path, content);
    repository.publish(&["targets"]);
    repository
}

fn refused_bytes<T: std::fmt::Debug>(result: Result<T, ClientError>) -> FileError {
    match result {
        Err(ClientError::Refused(error)) => match error.refusal {
            Refusal::Target { error, .. } => error,
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

fn location(path: &str, content: &[u8]) -> String {
    let (folder, name) =
        path.rsplit_once('/').map_or((String::new(), path), |(folder, name)| (format!("{folder}/"), name));
    format!("targets/{folder}{}.{name}", hash(content))
}

#[test]
fn w_5_7_2_a_target_that_no_role_lists_has_its_own_error() {
    let repository = repository("a", b"a");
    let client = TestClient::new(&repository);
    assert!(matches!(client.get("b"), Err(ClientError::NoSuchTarget(path)) if path.as_str() == "b"));
    assert!(!repository.network().requests().iter().any(|path| path.starts_with("targets/")));
}

#[test]
fn w_5_7_3_1_a_target_must_match_its_length_and_hashes() {
    let repository = repository("a", b"content");
    let client = TestClient::new(&repository);
    assert_eq!(client.get("a").unwrap(), b"content");
    assert_eq!(client.output(), ["a"]);
}

#[test]
fn w_5_7_3_1_other_bytes_are_refused_and_leave_nothing_behind() {
    let content = b"content";
    let other = FileError::Hash { algorithm: "sha256", expected: hash(content), found: hash(b"c0ntent") };
    let cases: [(&[u8], Result<FileError, FetchError>); 4] = [
        (b"c0ntent", Ok(other)),
        (b"contents", Ok(FileError::Length { expected: 7, found: 8 })),
        (b"", Ok(FileError::Length { expected: 7, found: 0 })),
        // A file that ends too early counts as an interrupted transfer.
        (b"conten", Err(FetchError::Cut("after 6 of 7 bytes".into()))),
    ];
    for (body, expected) in cases {
        let repository = repository("a", content);
        repository.network().put(&location("a", content), body.to_vec());
        let client = TestClient::new(&repository);
        match expected {
            Ok(error) => assert_eq!(refused_bytes(client.get("a")), error),
            Err(error) => assert_eq!(network_error(client.get("a")), error),
        }
        assert_eq!(client.output(), [""; 0], "{body:?}");
    }
}

#[test]
fn w_5_7_3_1_the_error_for_wrong_content_names_both_hashes() {
    let repository = repository("a", b"content");
    repository.network().put(&location("a", b"content"), b"CONTENT".to_vec());
    let mismatch = FileError::Hash { algorithm: "sha256", expected: hash(b"content"), found: hash(b"CONTENT") };
    assert_eq!(refused_bytes(TestClient::new(&repository).get("a")), mismatch);
}

#[test]
fn w_5_7_3_1_every_known_hash_has_to_match() {
    let mut repository = repository("a", b"content");
    repository.signed("targets")["targets"]["a"]["hashes"]["sha512"] = json!("00".repeat(64));
    repository.publish(&["targets"]);
    assert!(matches!(
        refused_bytes(TestClient::new(&repository).get("a")),
        FileError::Hash { algorithm: "sha512", .. }
    ));
}

#[test]
fn w_5_7_3_1_an_endless_target_is_read_only_up_to_its_length() {
    let repository = repository("a", b"content");
    repository.network().fault(&location("a", b"content"), NetworkFault::Endless);
    let mut client = TestClient::new(&repository);
    let network = Ranges::of(&repository);
    assert_eq!(refused_bytes(network.get(&mut client, "a")), FileError::Length { expected: 7, found: 7 + 4096 });
    // After the content, the network sends an endless sequence of pieces of 4096 bytes. The client stops after the
    // first piece that exceeds the listed length.
    let read = network.read.load(Ordering::Relaxed);
    assert_eq!(read, b"content".len() + 4096);
    assert_eq!(client.output(), [""; 0]);
}

#[test]
fn w_5_7_3_1_an_empty_target_is_legal() {
    assert_eq!(TestClient::new(&repository("a", b"")).get("a").unwrap(), b"");
}

#[test]
fn w_5_7_3_2_the_hash_is_in_the_last_segment_of_the_name() {
    let repository = repository("dir/sub/a.txt", b"content");
    TestClient::new(&repository).get("dir/sub/a.txt").unwrap();
    let asked = repository.network().requests();
    assert_eq!(asked.last().unwrap(), &format!("targets/dir/sub/{}.a.txt", hash(b"content")));
}

#[test]
fn w_5_7_3_2_without_consistent_snapshots_there_is_no_hash_in_the_name() {
    let mut repository = Repository::without_consistent_snapshots();
    repository.add_target("targets", "dir/a.txt", b"content");
    repository.publish(&["targets"]);
    TestClient::new(&repository).get("dir/a.txt").unwrap();
    assert_eq!(repository.network().requests().last().unwrap(), "targets/dir/a.txt");
}

#[test]
fn g_3_1_1_a_setting_removes_the_hash_from_target_names() {
    let repository = repository("dir/a.txt", b"content");
    repository.network().put("targets/dir/a.txt", b"content".to_vec());
    let mut client = TestClient::new(&repository);
    client.target_names = TargetNames::Plain;
    assert_eq!(client.get("dir/a.txt").unwrap(), b"content");
    assert_eq!(repository.network().requests().last().unwrap(), "targets/dir/a.txt");
}

#[test]
fn w_5_7_3_3_the_target_is_stored_under_its_own_name() {
    let repository = repository("dir/sub/a.txt", b"content");
    let client = TestClient::new(&repository);
    client.get("dir/sub/a.txt").unwrap();
    assert_eq!(client.output(), ["dir/sub/a.txt"]);
}

#[test]
fn w_5_7_3_3_an_existing_file_with_the_right_content_is_not_fetched_again() {
    let repository = repository("a", b"content");
    let client = TestClient::new(&repository);
    client.get("a").unwrap();
    repository.network().forget_requests();
    assert_eq!(client.get("a").unwrap(), b"content");
    assert_eq!(repository.network().requests(), ["metadata/2.root.json", "metadata/timestamp.json"]);
}

#[test]
fn w_5_7_3_3_a_file_that_was_altered_is_fetched_again() {
    let repository = repository("a", b"content");
    let client = TestClient::new(&repository);
    client.get("a").unwrap();
    for altered in [b"CONTENT".as_slice(), b"cont", b"content and more"] {
        client.put_output("a", altered);
        assert_eq!(client.get("a").unwrap(), b"content");
    }
}

#[test]
fn g_2_1_a_file_is_replaced_only_after_the_new_one_passes_every_check() {
    let mut repository = repository("a", b"old");
    let client = TestClient::new(&repository);
    client.get("a").unwrap();
    repository.add_target("targets", "a", b"new");
    repository.publish(&["targets"]);
    for fault in [
        NetworkFault::Body(b"bad".to_vec()),
        NetworkFault::Truncated(1),
        NetworkFault::Endless,
        NetworkFault::Status(404),
    ] {
        repository.network().fault(&location("a", b"new"), fault.clone());
        assert!(client.get("a").is_err(), "{fault:?}");
        assert_eq!((client.output(), client.read_output("a")), (vec!["a".to_owned()], b"old".to_vec()), "{fault:?}");
        repository.network().clear_faults();
    }
    assert_eq!(client.get("a").unwrap(), b"new");
}

#[test]
fn w_5_7_3_1_an_interrupted_download_is_resumed_and_the_whole_file_is_verified() {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = location("big", &content);
    let repository = repository("big", &content);
    repository.network().fault_times(&path, NetworkFault::Truncated(12_345), 1);
    let network = Ranges::of(&repository);
    assert_eq!(network.get(&mut TestClient::new(&repository), "big").unwrap(), content);
    assert_eq!(network.offsets(), [0, 12_345]);
    assert_eq!(network.read.load(Ordering::Relaxed), content.len(), "no byte may be transferred twice");
    // If the part that was received before the interruption is wrong, the client must fetch the whole file again.
    repository.network().queue(&path, [vec![b'x'; content.len()]]);
    repository.network().fault_times(&path, NetworkFault::Truncated(12_345), 1);
    let network = Ranges::of(&repository);
    assert_eq!(network.get(&mut TestClient::new(&repository), "big").unwrap(), content);
    assert_eq!(network.offsets(), [0, 12_345, 0]);
}

#[test]
fn w_5_7_3_1_a_target_that_cannot_be_fetched_is_a_network_error() {
    let repository = repository("a", b"content");
    repository.network().remove(&location("a", b"content"));
    assert_eq!(network_error(TestClient::new(&repository).get("a")), FetchError::NotFound);
}

#[test]
fn a12_target_paths_are_escaped_in_urls_and_never_leave_the_base() {
    for (path, asked) in [
        ("a b", "a%20b"),
        ("a?b", "a%3Fb"),
        ("a#b", "a%23b"),
        ("a%2eb", "a%252eb"),
        ("é/ü", "%C3%A9/%C3%BC"),
        ("~x", "~x"),
        ("C:x", "C%3Ax"),
        ("a+b&c=d", "a%2Bb%26c%3Dd"),
        ("file:x", "file%3Ax"),
    ] {
        let mut repository = Repository::without_consistent_snapshots();
        repository.add_target("targets", path, b"content");
        repository.publish(&["targets"]);
        let client = TestClient::new(&repository);
        assert_eq!(client.get_as(path, "out").unwrap(), b"content", "{path}");
        assert_eq!(repository.network().requests().last().unwrap(), &format!("targets/{asked}"));
    }
}

#[test]
fn a12_target_paths_that_a_url_does_not_keep_are_refused_without_a_request() {
    for path in ["//host/x", "http://host/x", "/abs", "../x", "a/../../x", "a//b", "a/", ".", "a/./b"] {
        let mut repository = Repository::without_consistent_snapshots();
        repository.signed("targets")["targets"][path] = json!({"length": 0, "hashes": {"sha256": hash(b"")}});
        repository.publish(&["targets"]);
        let client = TestClient::new(&repository);
        match client.get_as(path, "out") {
            Err(ClientError::Refused(error)) => assert!(matches!(error.refusal, Refusal::Name(_)), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        assert!(!repository.network().requests().iter().any(|asked| !asked.starts_with("metadata/")));
    }
}

#[test]
fn d8_names_that_are_not_safe_as_files_are_refused_and_can_be_fetched_to_a_named_path() {
    for path in ["C:x", "con.txt", "a\\..\\b", "x.", "a\u{202e}b", "a:b"] {
        let repository = repository_without_hashes(path);
        let client = TestClient::new(&repository);
        match client.get(path) {
            Err(ClientError::Refused(error)) => assert!(matches!(error.refusal, Refusal::Name(_)), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(client.output(), [""; 0], "{path}");
        assert_eq!(client.get_as(path, "out").unwrap(), b"content");
    }
}

fn repository_without_hashes(path: &str) -> Repository {
    let mut repository = Repository::without_consistent_snapshots();
    repository.add_target("targets", path, b"content");
    repository.publish(&["targets"]);
    repository
}

#[test]
fn d8_targets_are_written_below_the_output_folder_and_never_through_a_link() {
    let repository = repository("dir/a", b"content");
    let client = TestClient::new(&repository);
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), client.output_path().join("dir")).unwrap();
    assert!(matches!(client.get("dir/a"), Err(ClientError::Local(_))));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}
