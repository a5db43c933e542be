//! Tests of downloads over real sockets: the downloaded files, leftover files, and the requests sent.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastmile_metadata::{Algorithm, Hashes, Limits, TargetNames, TargetPath};

use super::*;
use crate::Unreachable;
use crate::error::RefusedError;
use crate::event::TracingSink;
use crate::net::base_url::BaseUrl;
use crate::net::http::{HttpFetch, HttpSettings};
use crate::net::mirrors::{Mirror, Mirrors};
use crate::net::proxy::ProxyChoice;
use crate::net::retry::RetryPolicy;
use crate::open_directory::CleanedDirs;
use crate::policies::Policies;
use crate::store::memory::MemoryStore;
use crate::store::shared::SharedStore;
use crate::test_server::{Server, ServerAction, offset, ok, partial, send, status};

fn target(path: &str, content: &[u8]) -> TargetFile {
    let hashes = Hashes::of(content, &[Algorithm::Sha256, Algorithm::Sha512]).unwrap();
    TargetFile::new(TargetPath::new(path).unwrap(), content.len() as u64, hashes)
}

fn context(servers: &[&Server]) -> UpdateContext {
    let mirror = |server: &&Server| {
        let base = BaseUrl::new(&server.url).unwrap();
        Mirror { metadata: base.clone(), targets: base }
    };
    let settings =
        HttpSettings { proxy: ProxyChoice::Direct, gap_timeout: Duration::from_secs(2), ..HttpSettings::default() };
    UpdateContext {
        mirrors: Mirrors::new(servers.iter().map(mirror).collect()),
        store: SharedStore::new(Box::new(MemoryStore::default()), Arc::new(TracingSink), Duration::ZERO),
        fetch: Box::new(HttpFetch::new(&settings).unwrap()),
        limits: Limits::default(),
        retry_policy: RetryPolicy { first_pause: Duration::from_millis(2), ..RetryPolicy::default() },
        events: Arc::new(TracingSink),
        unreachable: Unreachable::Refuse,
        target_names: TargetNames::HashPrefixed,
        sequential: true,
        cleaned_dirs: CleanedDirs::default(),
        policies: Policies::default(),
    }
}

async fn get(servers: &[&Server], target: &TargetFile, folder: &Path) -> Result<PathBuf, Error> {
    download(&context(servers), target, TargetNames::Plain, Destination::below(folder, target)?, &()).await
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn refused_target(error: &Error) -> &FileError {
    match error {
        Error::Refused(RefusedError { refusal: Refusal::Target { error, .. }, .. }) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_target_is_saved_under_its_own_path() {
    let server = Server::of_files(vec![("a/b%20c", b"hello".to_vec())]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = get(&[&server], &target("a/b c", b"hello"), dir.path()).await.unwrap();
    assert_eq!(path, dir.path().join("a/b c"));
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
    assert_eq!(files(&dir.path().join("a")), ["b c"]);
}

#[tokio::test]
async fn a_target_of_exactly_the_maximum_length_is_read_into_memory() {
    let server = Server::of_files(vec![("x", b"hello".to_vec())]).await;
    let context = context(&[&server]);
    let target = target("x", b"hello");
    assert_eq!(read(&context, &target, TargetNames::Plain, 5).await.unwrap(), b"hello");
    let error = read(&context, &target, TargetNames::Plain, 4).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { length: 5, max_length: 4, .. }), "{error:?}");
}

#[tokio::test]
async fn w_5_7_3_2_consistent_snapshots_put_the_hash_before_the_last_segment() {
    let server = Server::start(|_| ok(b"hello")).await;
    let dir = tempfile::tempdir().unwrap();
    let target = target("a/b", b"hello");
    let destination = || Destination::below(dir.path(), &target).unwrap();
    download(&context(&[&server]), &target, TargetNames::HashPrefixed, destination(), &()).await.unwrap();
    let expected = format!("/a/{}.b", target.hashes.prefixes().next().unwrap());
    assert_eq!(server.paths(), [expected]);
    std::fs::remove_file(dir.path().join("a/b")).unwrap();
    download(&context(&[&server]), &target, TargetNames::Plain, destination(), &()).await.unwrap();
    assert_eq!(server.paths()[1], "/a/b");
}

#[tokio::test]
async fn g_2_1_wrong_bytes_never_get_the_final_name() {
    for wrong in [&b"hellx"[..], b"hell", b"hello!", b""] {
        let server = Server::of_files(vec![("x", wrong.to_vec())]).await;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), b"before").unwrap();
        let error = get(&[&server], &target("x", b"hello"), dir.path()).await.unwrap_err();
        refused_target(&error);
        assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"before");
        assert_eq!(files(dir.path()), ["x"]);
    }
}

#[tokio::test]
async fn an_empty_target_is_fetched_and_a_longer_one_refused() {
    let server = Server::of_files(vec![("empty", Vec::new()), ("full", b"x".to_vec())]).await;
    let dir = tempfile::tempdir().unwrap();
    get(&[&server], &target("empty", b""), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("empty")).unwrap(), b"");
    let error = get(&[&server], &target("full", b""), dir.path()).await.unwrap_err();
    assert_eq!(*refused_target(&error), FileError::Length { expected: 0, found: 1 });
}

#[tokio::test]
async fn an_endless_target_is_refused_at_its_listed_length() {
    let endless = || vec![send("HTTP/1.0 200 OK\r\n\r\n"), ServerAction::Endless(b"xxxx".to_vec())];
    let server = Server::start(move |_| endless()).await;
    let dir = tempfile::tempdir().unwrap();
    let error = get(&[&server], &target("x", b"hello"), dir.path()).await.unwrap_err();
    assert!(matches!(refused_target(&error), FileError::Length { expected: 5, .. }));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_existing_correct_file_is_not_fetched_again() {
    let server = Server::start(|_| status("500 No")).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), b"hello").unwrap();
    get(&[&server], &target("x", b"hello"), dir.path()).await.unwrap();
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_existing_wrong_file_is_replaced() {
    let server = Server::of_files(vec![("x", b"hello".to_vec())]).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), b"hellx").unwrap();
    get(&[&server], &target("x", b"hello"), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"hello");
}

/// Returns a response that announces the length of the whole content, but contains only the first `cut` bytes.
fn cut(content: &[u8], cut: usize) -> Vec<ServerAction> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len());
    vec![send(head), send(&content[..cut])]
}

#[tokio::test]
async fn a_read_into_memory_starts_again_if_a_mirror_does_not_send_the_rest() {
    let attempts = Mutex::new(0);
    let server = Server::start(move |_| {
        let mut attempts = attempts.lock().unwrap();
        *attempts += 1;
        if *attempts == 1 { cut(b"hello", 2) } else { ok(b"hello") }
    })
    .await;
    assert_eq!(read(&context(&[&server]), &target("x", b"hello"), TargetNames::Plain, 5).await.unwrap(), b"hello");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_interrupted_transfer_is_resumed() {
    let server = Server::start(|head| match offset(head) {
        0 => cut(b"hello world", 4),
        4 => vec![ServerAction::Send(partial(b"hello world", 4))],
        _ => status("400 Unexpected"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = get(&[&server], &target("x", b"hello world"), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello world");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn an_interrupted_transfer_without_content_length_is_resumed() {
    let server = Server::start(|head| match offset(head) {
        0 => vec![send("HTTP/1.0 200 OK\r\n\r\nhell")],
        at => vec![ServerAction::Send(partial(b"hello world", at))],
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    get(&[&server], &target("x", b"hello world"), dir.path()).await.unwrap();
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_server_without_ranges_sends_the_file_from_the_start() {
    let first = Arc::new(Mutex::new(true));
    let server = Server::start(move |_| {
        if std::mem::take(&mut *first.lock().unwrap()) { cut(b"hello world", 4) } else { ok(b"hello world") }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = get(&[&server], &target("x", b"hello world"), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello world");
}

#[tokio::test]
async fn a_file_that_changed_between_two_parts_is_fetched_once_more_from_the_start() {
    let seen = Arc::new(Mutex::new(0));
    let server = Server::start(move |head| {
        let mut seen = seen.lock().unwrap();
        *seen += 1;
        match (*seen, offset(head)) {
            (1, 0) => cut(b"HELLO WORLD", 4),
            (_, 0) => ok(b"hello world"),
            (_, at) => vec![ServerAction::Send(partial(b"hello world", at))],
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = get(&[&server], &target("x", b"hello world"), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello world");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn d6_the_next_mirror_is_tried_after_a_refused_file_and_after_a_failure() {
    let lying = Server::start(|_| ok(b"hellx")).await;
    let broken = Server::start(|_| status("403 Forbidden")).await;
    let honest = Server::start(|_| ok(b"hello")).await;
    let dir = tempfile::tempdir().unwrap();
    let target = target("x", b"hello");
    get(&[&lying, &broken, &honest], &target, dir.path()).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"hello");
    std::fs::remove_file(dir.path().join("x")).unwrap();
    let error = get(&[&lying, &broken], &target, dir.path()).await.unwrap_err();
    let Error::Refused(RefusedError { mirrors, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(mirrors.len(), 2);
    assert_eq!(mirrors[1].reason, MirrorReason::Network(FetchError::Status(403)));
    assert!(files(dir.path()).is_empty());
}

#[tokio::test]
async fn another_mirror_can_complete_a_download() {
    let cutting = Server::start(|head| match offset(head) {
        0 => cut(b"hello world", 4),
        _ => status("403 Forbidden"),
    })
    .await;
    let other = Server::of_files(vec![("x", b"hello world".to_vec())]).await;
    let dir = tempfile::tempdir().unwrap();
    get(&[&cutting, &other], &target("x", b"hello world"), dir.path()).await.unwrap();
    assert!(other.requests()[0].to_ascii_lowercase().contains("range: bytes=4-"));
}

#[tokio::test]
async fn a_target_that_no_mirror_has_is_a_network_error() {
    let server = Server::of_files(Vec::new()).await;
    let dir = tempfile::tempdir().unwrap();
    let error = get(&[&server], &target("x", b"hello"), dir.path()).await.unwrap_err();
    assert!(matches!(&error, Error::Network(error) if error.cause == FetchError::NotFound), "{error:?}");
}

#[tokio::test]
async fn links_are_refused_as_destination_and_as_folder() {
    let server = Server::start(|_| ok(b"hello")).await;
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    let inside = dir.path().join("inside");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(outside.join("x"), b"mine").unwrap();
    symlink(&outside, inside.join("a")).unwrap();
    symlink(outside.join("x"), inside.join("x")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    for path in ["a/x", "x", "dangling"] {
        let error = get(&[&server], &target(path, b"hello"), &inside).await.unwrap_err();
        assert!(matches!(error, Error::Local(_)), "{path}: {error:?}");
    }
    assert_eq!(std::fs::read(outside.join("x")).unwrap(), b"mine");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn d8_paths_that_lead_out_of_the_folder_are_refused_before_any_request() {
    let server = Server::start(|_| ok(b"hello")).await;
    let dir = tempfile::tempdir().unwrap();
    for path in ["../x", "/etc/x", "a//b", "CON", "a\\b", "C:x", "a\nb"] {
        let error = get(&[&server], &target(path, b"hello"), dir.path()).await.unwrap_err();
        assert!(matches!(&error, Error::Refused(_)), "{path}: {error:?}");
    }
    assert!(server.requests().is_empty() && files(dir.path()).is_empty());
}

#[tokio::test]
async fn a_file_name_given_by_the_caller_is_used_unchanged() {
    let server = Server::start(|_| ok(b"hello")).await;
    let dir = tempfile::tempdir().unwrap();
    let destination = Destination::file(&dir.path().join("mine")).unwrap();
    download(&context(&[&server]), &target("CON", b"hello"), TargetNames::Plain, destination, &()).await.unwrap();
    assert_eq!(files(dir.path()), ["mine"]);
}

#[derive(Default)]
struct Watched(Mutex<Vec<Transfer>>);

impl Progress for Watched {
    fn report(&self, _target: &TargetFile, event: Transfer) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn progress_is_reported_from_start_to_end() {
    let server = Server::start(|_| ok(b"hello")).await;
    let dir = tempfile::tempdir().unwrap();
    let target = target("x", b"hello");
    let watched = Watched::default();
    let destination = Destination::below(dir.path(), &target).unwrap();
    download(&context(&[&server]), &target, TargetNames::Plain, destination, &watched).await.unwrap();
    let events = watched.0.into_inner().unwrap();
    assert_eq!(events, [Transfer::Started, Transfer::Advanced(5), Transfer::Finished]);
}

#[tokio::test]
async fn an_abandoned_download_leaves_nothing() {
    let server = Server::start(|_| vec![send("HTTP/1.0 200 OK\r\n\r\nhel"), ServerAction::Hang]).await;
    let dir = tempfile::tempdir().unwrap();
    let target = target("x", b"hello");
    let servers = [&server];
    let waiting = get(&servers, &target, dir.path());
    assert!(tokio::time::timeout(Duration::from_millis(200), waiting).await.is_err());
    for _ in 0..100 {
        if files(dir.path()).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", files(dir.path()));
}

#[tokio::test]
async fn a_bare_file_name_is_in_the_current_directory() {
    assert_eq!(Destination::file(Path::new("x")).unwrap().path(), Path::new("./x"));
}

#[tokio::test]
async fn only_a_mirror_that_failed_is_moved_to_the_end() {
    for (answer, first) in [("404 Not Found", 0), ("403 Forbidden", 1)] {
        let lacking = Server::start(move |_| status(answer)).await;
        let honest = Server::start(|_| ok(b"hello")).await;
        let dir = tempfile::tempdir().unwrap();
        let target = target("x", b"hello");
        let context = context(&[&lacking, &honest]);
        download(&context, &target, TargetNames::Plain, Destination::below(dir.path(), &target).unwrap(), &())
            .await
            .unwrap();
        let url = context.mirrors.in_order().next().unwrap().target("x");
        assert_eq!(url.as_str(), [&lacking, &honest][first].at("x"), "{answer}");
    }
}

#[tokio::test]
async fn a_transfer_that_makes_progress_gets_its_retries_back() {
    let content = b"hello world and more";
    let server = Server::start(|head| match offset(head) {
        0 => cut(content, 2),
        // Announce all remaining bytes of the file, but send only two.
        at => {
            let head = format!("HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n", content.len() - at);
            let range = format!("Content-Range: bytes {at}-{}/{}\r\n\r\n", content.len() - 1, content.len());
            vec![send(head + &range), send(&content[at..(at + 2).min(content.len())])]
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = get(&[&server], &target("x", content), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content);
    let broken = Server::start(|_| status("503 Unavailable")).await;
    get(&[&broken], &target("y", content), dir.path()).await.unwrap_err();
    assert_eq!(broken.requests().len(), 4);
}

#[tokio::test]
async fn a_body_that_ends_early_gets_its_retries_back() {
    let content = b"hello world and more";
    let server = Server::start(|head| match offset(head) {
        0 => vec![send("HTTP/1.0 200 OK\r\n\r\nhe")],
        // Send no `Content-Length`, so that the early end of the body is not a transport error.
        at => {
            let range = format!("Content-Range: bytes {at}-{}/{}\r\n\r\n", content.len() - 1, content.len());
            let head = format!("HTTP/1.0 206 Partial Content\r\n{range}");
            vec![send(head), send(&content[at..(at + 2).min(content.len())])]
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = get(&[&server], &target("x", content), dir.path()).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), content);
    assert_eq!(server.requests().len(), 10);
}

#[tokio::test]
async fn an_unsatisfiable_range_means_that_the_file_is_too_short() {
    let server = Server::start(|head| match offset(head) {
        0 => cut(b"hello world", 4),
        _ => status("416 Range Not Satisfiable"),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let error = get(&[&server], &target("x", b"hello world"), dir.path()).await.unwrap_err();
    assert_eq!(*refused_target(&error), FileError::Length { expected: 11, found: 4 });
    // A 416 response to a request without a range is an ordinary HTTP error.
    let server = Server::start(|_| status("416 Range Not Satisfiable")).await;
    let error = get(&[&server], &target("x", b"hello world"), dir.path()).await.unwrap_err();
    assert!(matches!(&error, Error::Network(error) if error.cause == FetchError::Status(416)), "{error:?}");
}

#[tokio::test]
async fn a_file_that_others_can_write_to_is_fetched_again_and_replaced() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

    let dir = tempfile::tempdir().unwrap();
    let target = target("x", b"hello");
    let path = dir.path().join("x");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::write(&path, b"hello").unwrap();
    mode(0o644);
    let server = Server::start(|_| ok(b"hello")).await;
    get(&[&server], &target, dir.path()).await.unwrap();
    assert_eq!(server.requests().len(), 0);

    mode(0o646);
    get(&[&server], &target, dir.path()).await.unwrap();
    assert_eq!(server.requests().len(), 1);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o002, 0);

    // Only the root user can change the owner of a file.
    if chown(&path, Some(65_534), None).is_ok() {
        get(&[&server], &target, dir.path()).await.unwrap();
        assert_eq!(server.requests().len(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), rustix::process::geteuid().as_raw());
    }
}

#[test]
fn a_target_cannot_have_the_name_of_a_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let name = ".lastmile-0123456789ab.part";
    let below = Destination::below(dir.path(), &target(&format!("docs/{name}"), b"hello")).unwrap_err();
    assert!(format!("{below:?}").contains("reserved for temporary files"), "{below:?}");
    let file = Destination::file(&dir.path().join(name)).unwrap_err();
    assert!(format!("{file:?}").contains("reserved for temporary files"), "{file:?}");
    assert_eq!(files(dir.path()), [""; 0]);
    assert!(Destination::below(dir.path(), &target(".lastmile-notes.part", b"hello")).is_ok());
}
