//! Tests with an SFTP server that needs no SSH connection, and with hostile SFTP servers.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::*;
use crate::NetworkError;

/// The paths where the SFTP server of OpenSSH may be installed.
const SERVERS: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/lib/ssh/sftp-server", "/usr/libexec/openssh/sftp-server"];

/// Creates a program to run instead of `ssh`.
fn program(folder: &Path, script: &str) -> PathBuf {
    let program = folder.join("ssh");
    if !program.exists() {
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    program
}

/// Returns a program that runs the SFTP server of OpenSSH, or `None` if it is not installed.
pub(super) fn sftp_server(folder: &Path) -> Option<PathBuf> {
    let Some(server) = SERVERS.iter().find(|server| Path::new(server).exists()) else {
        // Do not use `eprintln!`, because the test runner hides its output for tests that pass.
        std::io::stderr().write_all(b"NOT CHECKED: no sftp-server is installed\n").unwrap();
        return None;
    };
    Some(program(folder, &format!("exec {server}")))
}

#[test]
fn a_process_that_has_lost_the_lock_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = sftp_server(folder.path()) else { return };
    let url = BaseUrl::new(&format!("ssh://h{}", folder.path().join("www").display())).unwrap();
    let variables = |name: &str| (name == PROGRAM).then(|| program.to_str().unwrap().to_string());
    let new = || Ssh::new(&url, Duration::from_secs(60), &variables).unwrap();
    let slow = new();
    let lease = slow.lock(&LockWait::none()).unwrap();
    slow.put("metadata/1.snapshot.json", b"1").unwrap();
    slow.remove("metadata/1.snapshot.json").unwrap();
    assert_eq!(slow.length("metadata/1.snapshot.json").unwrap(), None);
    slow.remove("metadata/1.snapshot.json").unwrap();

    let other = new();
    // The other process removes these folders after it has taken the lock.
    other.clear_working(&other.session().unwrap()).unwrap();
    fs::write(folder.path().join("www/metadata/1.snapshot.json"), "of the other process").unwrap();
    let removed = slow.remove("metadata/1.snapshot.json");
    assert!(matches!(removed, Err(Error::Push(PushError::LeaseLost { .. }))), "{removed:?}");
    assert_eq!(other.length("metadata/1.snapshot.json").unwrap(), Some(20));
    drop(lease);
}

fn packet(kind: u8, content: &[u8]) -> Vec<u8> {
    [&u32::try_from(content.len() + 1).unwrap().to_be_bytes(), &[kind][..], content].concat()
}

/// A reply with the ID 0. The test server replaces this ID with that of the request.
fn reply(kind: u8, content: &[u8]) -> Vec<u8> {
    packet(kind, &[&[0; 4], content].concat())
}

/// A string in a packet: its length and its bytes.
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
/// More time than a test server needs for a reply.
const LONG: Duration = Duration::from_secs(30);

/// A server that answers each request with the next prepared reply and the ID of the request. After
/// the last reply, it receives requests and sends nothing.
const SERVER: &str = r#"
take() { dd bs=1 count="$1" 2>/dev/null; }
exec 3>&1
cd "$(dirname "$0")"
cat version
take 9 >/dev/null
for reply in reply-*; do
    test -e "$reply" || continue
    set -- $(take 4 | od -An -tu1)
    take 1 >/dev/null
    take 4 >id
    take $(($3 * 256 + $4 - 5)) >/dev/null
    head -c 5 "$reply"
    cat id
    tail -c +10 "$reply"
done
exec cat >/dev/null
"#;

/// Connects to a server that sends these replies and then nothing.
fn connect(folder: &Path, replies: &[Vec<u8>], silence: Duration) -> Session {
    let folder = folder.join(lease::random_name().unwrap());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("version"), packet(2, &3_u32.to_be_bytes())).unwrap();
    for (number, reply) in replies.iter().enumerate() {
        fs::write(folder.join(format!("reply-{number:02}")), reply).unwrap();
    }
    let program = program(&folder, SERVER);
    let address = Address::parse(&BaseUrl::new("ssh://h/a").unwrap()).unwrap();
    Session::connect(program.as_os_str(), &address, silence).unwrap()
}

fn is_silent(error: &Error) -> bool {
    matches!(error, Error::Network(NetworkError::SftpSilent { .. }))
}

#[test]
fn a_request_that_is_never_answered_fails_and_later_requests_fail_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let silence = Duration::from_secs(1);
    for replies in [vec![], vec![reply(HANDLE, &string(b"h"))]] {
        let session = connect(folder.path(), &replies, silence);
        let error = session.read("/file", 10).unwrap_err();
        assert!(is_silent(&error), "{error}");
        assert_eq!(error.to_string(), "cannot read /file at h: the server has sent nothing for 1 seconds");
        let start = Instant::now();
        assert!(is_silent(&session.make_folder("/folder", FOLDER_MODE).unwrap_err()));
        assert!(start.elapsed() < silence, "a second request must not wait");
    }
}

#[test]
fn a_fetch_from_a_server_that_never_answers_fails() {
    let folder = tempfile::tempdir().unwrap();
    let session = Arc::new(connect(folder.path(), &[], Duration::from_millis(200)));
    let url = BaseUrl::new("ssh://h/a").unwrap();
    let fetch = SshFetch { session, address: Address::parse(&url).unwrap(), url };
    // The runtime of a client need not have a timer.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fetched = runtime.block_on(fetch.fetch("ssh://h/a/metadata/timestamp.json", 0));
    let Err(FetchError::Io(text)) = fetched else { panic!("the fetch must fail") };
    assert!(text.contains("the server has sent nothing"), "{text}");
}

#[test]
fn replies_that_would_exhaust_the_memory_or_never_end_are_refused() {
    let handle = reply(HANDLE, &string(b"h"));
    let names = [&5000_u32.to_be_bytes()[..], &[&string(b"a")[..], &[0; 8]].concat().repeat(5000)].concat();
    let read: fn(&Session) -> Error = |session| session.read("/file", 1 << 20).unwrap_err();
    let list: fn(&Session) -> Error = |session| session.list("/folder").unwrap_err();
    let data = |length: usize| reply(DATA, &string(&vec![7; length]));
    let cases = [
        (vec![u32::MAX.to_be_bytes().to_vec(), vec![DATA; 16]], read, "invalid length 4294967295"),
        (
            vec![handle.clone(), data(files::CHUNK_SIZE), data(files::CHUNK_SIZE + 1)],
            read,
            "more of the file than requested",
        ),
        (vec![handle.clone(), data(1), data(0)], read, "an empty part"),
        (vec![handle.clone(), packet(DATA, &[0; 4])], read, "invalid length 5"),
        ([vec![handle], vec![reply(NAME, &names); 3]].concat(), list, "more than 10000 names"),
    ];
    for (replies, request, text) in cases {
        let folder = tempfile::tempdir().unwrap();
        let session = connect(folder.path(), &replies, LONG);
        let error = request(&session);
        assert!(matches!(error, Error::Network(NetworkError::Sftp { .. })), "{error}");
        assert!(error.to_string().contains(text), "{text}: {error}");
    }
}
