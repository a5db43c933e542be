//! Several `lastmile-repo attest` processes that write to the same evidence file at the same time.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lastmile_attest::Evidence;
use lastmile_keys::{PrivateKey, Scheme};

const PROCESSES: usize = 16;

/// Starts a process that makes provenance for `app`, with `number` as the commit.
fn attest(folder: &Path, number: usize) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
    command.current_dir(folder).env_clear().env("LASTMILE_REPO_CONFIG", "config.toml");
    command.args(["attest", "app", "--key", "key.pem", "--kind", "provenance", "--commit", &number.to_string()]);
    command.args(["--builder", "https://ci.example.com/release", "--source", "git+https://github.com/acme/app"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let key = PrivateKey::from_seed(Scheme::Ed25519, &[1; 32]).unwrap();
    fs::write(folder.path().join("key.pem"), key.to_pem().unwrap().as_bytes()).unwrap();
    fs::set_permissions(folder.path().join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(folder.path().join("app"), "app").unwrap();
    for round in 0..3 {
        let children: Vec<_> = (0..PROCESSES).map(|number| attest(folder.path(), 100 * round + number)).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let content = fs::read_to_string(folder.path().join("app.intoto.jsonl")).unwrap();
        let lines: BTreeSet<&str> = content.lines().collect();
        assert_eq!(lines.len(), (round + 1) * PROCESSES, "each process added its line");
        assert_eq!(Evidence::parse(content.as_bytes()).unwrap().items().len(), lines.len());
    }
    let names: BTreeSet<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["app", "app.intoto.jsonl", "key.pem"].map(str::to_owned).into(), "no other file is left");
}
