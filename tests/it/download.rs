//! Spec 5.7: fetching a target.

use lastmile_client::{Error as ClientError, FetchError, Refusal};
use lastmile_metadata::FileError;
use lastmile_testkit::{Device, Fault, Repository, hash, road_error};
use serde_json::json;

fn repository(path: &str, content: &[u8]) -> Repository {
    let mut repository = Repository::new();
    repository.add_target("targets", path, content);
    repository.publish(&["targets"]);
    repository
}

/// How the bytes of a target differ from what is listed.
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
fn w_5_7_2_a_target_that_nobody_lists_is_an_error_of_its_own() {
    let repository = repository("a", b"a");
    let device = Device::new(&repository);
    assert!(matches!(device.get("b"), Err(ClientError::NoSuchTarget(path)) if path.as_str() == "b"));
    assert!(!repository.road().requests().iter().any(|path| path.starts_with("targets/")));
}

#[test]
fn w_5_7_3_1_a_target_has_its_length_and_its_hashes() {
    let repository = repository("a", b"content");
    let device = Device::new(&repository);
    assert_eq!(device.get("a").unwrap(), b"content");
    assert_eq!(device.output(), ["a"]);
}

#[test]
fn w_5_7_3_1_other_bytes_are_refused_and_leave_nothing_behind() {
    let content = b"content";
    for body in [b"c0ntent".to_vec(), b"conten".to_vec(), b"contents".to_vec(), Vec::new()] {
        let repository = repository("a", content);
        repository.road().put(&location("a", content), body.clone());
        let device = Device::new(&repository);
        match device.get("a") {
            Err(ClientError::Refused(_) | ClientError::Network(_)) => {}
            other => panic!("{body:?}: {other:?}"),
        }
        assert_eq!(device.output(), [""; 0], "{body:?}");
    }
}

#[test]
fn w_5_7_3_1_a_target_of_the_right_length_and_another_content_names_both_hashes() {
    let repository = repository("a", b"content");
    repository.road().put(&location("a", b"content"), b"CONTENT".to_vec());
    let mismatch = FileError::Hash { algorithm: "sha256", expected: hash(b"content"), found: hash(b"CONTENT") };
    assert_eq!(refused_bytes(Device::new(&repository).get("a")), mismatch);
}

#[test]
fn w_5_7_3_1_every_known_hash_has_to_match() {
    let mut repository = repository("a", b"content");
    repository.signed("targets")["targets"]["a"]["hashes"]["sha512"] = json!("00".repeat(64));
    repository.publish(&["targets"]);
    assert!(matches!(refused_bytes(Device::new(&repository).get("a")), FileError::Hash { algorithm: "sha512", .. }));
}

#[test]
fn w_5_7_3_1_an_endless_target_ends_at_its_length() {
    let repository = repository("a", b"content");
    repository.road().fault(&location("a", b"content"), Fault::Endless);
    let device = Device::new(&repository);
    assert!(device.get("a").is_err());
    assert_eq!(device.output(), [""; 0]);
}

#[test]
fn w_5_7_3_1_an_empty_target_is_a_target() {
    assert_eq!(Device::new(&repository("a", b"")).get("a").unwrap(), b"");
}

#[test]
fn w_5_7_3_2_the_hash_stands_in_the_last_segment_of_the_name() {
    let repository = repository("dir/sub/a.txt", b"content");
    Device::new(&repository).get("dir/sub/a.txt").unwrap();
    let asked = repository.road().requests();
    assert_eq!(asked.last().unwrap(), &format!("targets/dir/sub/{}.a.txt", hash(b"content")));
}

#[test]
fn w_5_7_3_2_without_consistent_snapshots_there_is_no_hash_in_the_name() {
    let mut repository = Repository::without_consistent_snapshots();
    repository.add_target("targets", "dir/a.txt", b"content");
    repository.publish(&["targets"]);
    Device::new(&repository).get("dir/a.txt").unwrap();
    assert_eq!(repository.road().requests().last().unwrap(), "targets/dir/a.txt");
}

#[test]
fn g_3_1_1_a_setting_leaves_the_hash_out_of_target_names() {
    let repository = repository("dir/a.txt", b"content");
    repository.road().put("targets/dir/a.txt", b"content".to_vec());
    let mut device = Device::new(&repository);
    device.hash_prefixes = false;
    assert_eq!(device.get("dir/a.txt").unwrap(), b"content");
    assert_eq!(repository.road().requests().last().unwrap(), "targets/dir/a.txt");
}

#[test]
fn w_5_7_3_3_the_target_is_stored_under_its_own_name() {
    let repository = repository("dir/sub/a.txt", b"content");
    let device = Device::new(&repository);
    device.get("dir/sub/a.txt").unwrap();
    assert_eq!(device.output(), ["dir/sub/a.txt"]);
}

#[test]
fn w_5_7_3_3_a_file_that_is_there_with_the_right_content_is_not_fetched_again() {
    let repository = repository("a", b"content");
    let device = Device::new(&repository);
    device.get("a").unwrap();
    repository.road().forget_requests();
    assert_eq!(device.get("a").unwrap(), b"content");
    assert_eq!(repository.road().requests(), ["metadata/2.root.json", "metadata/timestamp.json"]);
}

#[test]
fn w_5_7_3_3_a_file_that_was_altered_is_fetched_again() {
    let repository = repository("a", b"content");
    let device = Device::new(&repository);
    device.get("a").unwrap();
    for altered in [b"CONTENT".as_slice(), b"cont", b"content and more"] {
        device.put_output("a", altered);
        assert_eq!(device.get("a").unwrap(), b"content");
    }
}

#[test]
fn g_2_1_a_file_keeps_its_old_content_until_every_check_of_the_new_one_has_passed() {
    let mut repository = repository("a", b"old");
    let device = Device::new(&repository);
    device.get("a").unwrap();
    repository.add_target("targets", "a", b"new");
    repository.publish(&["targets"]);
    for fault in [Fault::Body(b"bad".to_vec()), Fault::Truncated(1), Fault::Endless, Fault::Status(404)] {
        repository.road().fault(&location("a", b"new"), fault.clone());
        assert!(device.get("a").is_err(), "{fault:?}");
        assert_eq!((device.output(), device.read_output("a")), (vec!["a".to_owned()], b"old".to_vec()), "{fault:?}");
        repository.road().mend();
    }
    assert_eq!(device.get("a").unwrap(), b"new");
}

#[test]
fn w_5_7_3_1_a_transfer_that_breaks_off_is_resumed_and_the_whole_is_verified() {
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let repository = repository("big", &content);
    repository.road().fault_times(&location("big", &content), Fault::Truncated(12_345), 2);
    let mut device = Device::new(&repository);
    device.patience.retries = 2;
    assert_eq!(device.get("big").unwrap(), content);
}

#[test]
fn w_5_7_3_1_a_target_that_cannot_be_fetched_is_the_roads_fault() {
    let repository = repository("a", b"content");
    repository.road().remove(&location("a", b"content"));
    assert_eq!(road_error(Device::new(&repository).get("a")), FetchError::NotFound);
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
        let device = Device::new(&repository);
        assert_eq!(device.get_as(path, "out").unwrap(), b"content", "{path}");
        assert_eq!(repository.road().requests().last().unwrap(), &format!("targets/{asked}"));
    }
}

#[test]
fn a12_target_paths_that_a_url_does_not_keep_are_refused_without_a_request() {
    for path in ["//host/x", "http://host/x", "/abs", "../x", "a/../../x", "a//b", "a/", ".", "a/./b"] {
        let mut repository = Repository::without_consistent_snapshots();
        repository.signed("targets")["targets"][path] = json!({"length": 0, "hashes": {"sha256": hash(b"")}});
        repository.publish(&["targets"]);
        let device = Device::new(&repository);
        match device.get_as(path, "out") {
            Err(ClientError::Refused(error)) => assert!(matches!(error.refusal, Refusal::Name(_)), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        assert!(!repository.road().requests().iter().any(|asked| !asked.starts_with("metadata/")));
    }
}

#[test]
fn d8_names_that_are_not_safe_as_files_are_refused_and_can_be_fetched_to_a_named_path() {
    for path in ["C:x", "con.txt", "a\\..\\b", "x.", "a\u{202e}b", "a:b"] {
        let repository = repository_without_hashes(path);
        let device = Device::new(&repository);
        match device.get(path) {
            Err(ClientError::Refused(error)) => assert!(matches!(error.refusal, Refusal::Name(_)), "{path}"),
            other => panic!("{path}: {other:?}"),
        }
        assert_eq!(device.output(), [""; 0], "{path}");
        assert_eq!(device.get_as(path, "out").unwrap(), b"content");
    }
}

fn repository_without_hashes(path: &str) -> Repository {
    let mut repository = Repository::without_consistent_snapshots();
    repository.add_target("targets", path, b"content");
    repository.publish(&["targets"]);
    repository
}

#[test]
fn d8_targets_go_below_the_output_folder_and_never_through_a_link_out_of_it() {
    let repository = repository("dir/a", b"content");
    let device = Device::new(&repository);
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), device.output_path().join("dir")).unwrap();
    assert!(matches!(device.get("dir/a"), Err(ClientError::Local(_))));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}
