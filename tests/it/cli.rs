//! Tests the command lines of `lastmile` and `lastmile-repo`. Each file in `cmd/` contains commands and their expected
//! output.
//!
//! The programs see the date 2030-01-01. Each file runs in a new folder that [`client_folder`] or [`repository_folder`]
//! prepares. `TRYCMD=overwrite cargo test -p lastmile-tests --test it cli::` writes the current output into `cmd/`.
//! Afterwards, replace the text that differs between runs, such as keys and ages, with `[..]` again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lastmile_testkit::{Delegation, FakeNetwork, NetworkFault, Repository, Server, TestKey, hash};
use serde_json::json;
use tempfile::TempDir;
use trycmd::TestCases;

const POLICY: &str = "\
version = 1

[signer.alice]
key = { keytype = \"ed25519\", scheme = \"ed25519\", keyval = { public = \"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\" } }

[[require]]
name = \"signed\"
kind = \"signature\"
paths = [\"*.zip\"]
by = [\"alice\"]
";

const METADATA: &str = "metadata/timestamp.json";

/// Cargo builds the programs in the same profile folder as the tests, such as `target/debug`.
pub(crate) fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(
        path.exists(),
        "`{name}` is not built; run `cargo build --workspace --bins --examples`, as `cargo xtask test` does, to build {}",
        path.display()
    );
    path
}

/// Returns the path of the library that fakes the clock when it is preloaded.
fn faketime() -> &'static str {
    static PRELOAD: OnceLock<String> = OnceLock::new();
    PRELOAD.get_or_init(|| {
        let output = Command::new("faketime").args(["-f", "2030-01-01 00:00:00", "env"]).output();
        let output = output.expect("`faketime` is missing; run `apt-get install faketime` or `cargo xtask setup`");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix("LD_PRELOAD="))
            .expect("`faketime` must set LD_PRELOAD")
            .to_owned()
    })
}

fn environment(proxy: Option<&Server>) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("LD_PRELOAD", faketime().to_owned()),
        ("FAKETIME", "2030-01-01 00:00:00".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("TZ", "UTC".to_owned()),
        ("HOME", "/nonexistent".to_owned()),
        ("NO_COLOR", "1".to_owned()),
        ("LASTMILE_STATE_DIR", "state".to_owned()),
        ("LASTMILE_REPO_CONFIG", "config.toml".to_owned()),
        ("LASTMILE_PASS_PHRASE", "correct horse battery staple".to_owned()),
    ];
    variables.extend(proxy.map(|server| ("http_proxy", server.url())));
    variables
}

/// Runs all files in `cmd/KIND`, each in a copy of the folder `prepared`.
fn run(kind: &str, prepared: &Path, proxy: Option<&Server>) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("cmd").join(kind);
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<PathBuf> = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
    for case in &cases {
        let copy = folder.path().join(case.file_name().unwrap());
        fs::copy(case, &copy).unwrap();
        if copy.extension().is_some_and(|extension| extension == "trycmd" || extension == "toml") {
            copy_folder(prepared, &copy.with_extension("in"));
            fs::create_dir(copy.with_extension("out")).unwrap();
        }
    }
    let tests = TestCases::new();
    for program_name in ["lastmile", "lastmile-repo"] {
        tests.register_bin(program_name, program(program_name));
    }
    for (name, value) in environment(proxy) {
        tests.env(name, value);
    }
    for extension in ["trycmd", "toml"] {
        if cases.iter().any(|case| case.extension().is_some_and(|found| found == extension)) {
            tests.case(folder.path().join(format!("*.{extension}")));
        }
    }
    let overwritten = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| tests.run()));
    if std::env::var_os("TRYCMD").is_some_and(|value| value == "overwrite") {
        for case in &cases {
            fs::copy(folder.path().join(case.file_name().unwrap()), case).unwrap();
        }
    }
    // `TestCases::run` panics if a case fails. The panic was caught above, so that the new output could be copied
    // first.
    drop(tests);
    if let Err(printed) = overwritten {
        std::panic::resume_unwind(printed);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let goal = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &goal);
        } else {
            fs::copy(entry.path(), goal).unwrap();
        }
    }
}

/// Returns version 3 of a repository with three packages, one of them in a delegated role.
fn packages() -> Repository {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("team", &["team/*"]));
    repository.add_target("targets", "tool-1.0.tar", b"tool 1.0");
    repository.add_target("targets", "docs/größe.txt", b"a guide");
    repository.add_target("team", "team/plugin.zip", b"a plugin");
    repository.publish(&["team", "targets"]);
    repository.publish(&["targets"]);
    repository
}

fn changed(change: impl FnOnce(&mut Repository)) -> FakeNetwork {
    let mut repository = packages();
    change(&mut repository);
    repository.network().clone()
}

/// All repositories except `repository.test` are faulty or under attack. Each faulty repository is used by only one
/// test file, because its responses may depend on earlier requests.
fn hosts() -> BTreeMap<String, FakeNetwork> {
    let honest = packages();
    let hosts = [
        ("repository.test", honest.network().clone()),
        (
            "frozen.test",
            changed(|repository| {
                repository.signed("timestamp")["expires"] = json!("2029-12-31T00:00:00Z");
                repository.publish(&["timestamp"]);
            }),
        ),
        (
            "forged.test",
            changed(|repository| {
                repository.set_signers("timestamp", &[TestKey::new("stranger")]);
                repository.publish(&["timestamp"]);
            }),
        ),
        ("rollback.test", {
            let newer = changed(|repository| repository.publish(&["timestamp"]));
            // The first response is the newest timestamp. After that, the server replays an older one.
            newer.fault_times(METADATA, NetworkFault::Body(newer.file(METADATA).unwrap()), 1);
            newer.put(METADATA, honest.written("timestamp"));
            newer
        }),
        (
            "mixed.test",
            changed(|repository| {
                let old = repository.written("targets");
                repository.add_target("targets", "new.txt", b"new");
                repository.publish(&["targets"]);
                repository.network().put("metadata/4.targets.json", old);
            }),
        ),
        (
            "tampered.test",
            changed(|repository| {
                repository.network().put(&format!("targets/{}.tool-1.0.tar", hash(b"tool 1.0")), b"evil 1.0".to_vec());
            }),
        ),
        ("broken.test", changed(|repository| repository.network().fault(METADATA, NetworkFault::Status(500)))),
        (
            "forbidden.test",
            changed(|repository| repository.network().fault("metadata/2.root.json", NetworkFault::Status(403))),
        ),
        ("endless.test", changed(|repository| repository.network().fault(METADATA, NetworkFault::Endless))),
        ("html.test", changed(|repository| repository.network().put(METADATA, b"<html>Please log in".to_vec()))),
        ("nowhere.test", FakeNetwork::new()),
    ];
    hosts.into_iter().map(|(host, network)| (host.to_owned(), network)).collect()
}

fn client_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let first = packages().network().file("metadata/1.root.json").unwrap();
    fs::write(folder.path().join("root.json"), first).unwrap();
    fs::write(folder.path().join("not-a-root.json"), b"{}").unwrap();
    fs::write(folder.path().join("tool-1.0.tar"), b"tool 1.0").unwrap();
    fs::write(folder.path().join("altered.tar"), b"tool 1.1").unwrap();
    folder
}

#[test]
fn the_output_of_the_client_is_as_expected() {
    let server = Server::proxy(hosts());
    run("client", client_folder().path(), Some(&server));
}

/// Returns a folder with files to add, and with the repositories `packages` and `split`, which are created at the faked
/// time.
fn repository_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("dist/linux/tool.tar", "for linux"), ("dist/tool.zip", "for all"), ("größe.txt", "wide")]
    {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let digest = hash(b"wide");
    let json =
        json!({ "path": "team/b.zip", "length": 4, "hashes": { "sha256": digest }, "custom": { "channel": "beta" } });
    let list = format!("# moved from the old place\n{digest}  4  team/a b.zip\n{json}\n");
    fs::write(folder.path().join("elsewhere.list"), &list).unwrap();
    fs::write(folder.path().join("twice.list"), format!("{list}\n{digest}  5  team/a b.zip\n")).unwrap();
    fs::write(folder.path().join("cut.list"), format!("{list}{digest}  4")).unwrap();
    fs::write(folder.path().join("policy.toml"), POLICY).unwrap();
    for name in ["packages", "split"] {
        let mut init = Command::new(program("lastmile-repo"));
        init.current_dir(folder.path()).envs(environment(None)).args(["init", name, "--unencrypted-keys"]);
        let output = init.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // The repository `split` does not have its targets key, as if the key were on another machine.
    fs::rename(folder.path().join("split/keys/targets-1.pem"), folder.path().join("targets.pem")).unwrap();
    folder
}

#[test]
fn the_output_of_the_repository_tool_is_as_expected() {
    run("repository", repository_folder().path(), None);
}

#[test]
fn only_data_is_written_to_standard_output() {
    let server = Server::proxy(hosts());
    let folder = client_folder();
    let lastmile = |arguments: &[&str]| {
        let mut command = Command::new(program("lastmile"));
        command.current_dir(folder.path()).envs(environment(Some(&server))).args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let trusted = "http://repository.test/metadata/";
    assert_eq!(lastmile(&["trust", "add", "example", "--root", "root.json", "--metadata-url", trusted]).0, Some(0));
    // Messages, progress and errors go to standard error.
    let (code, stdout, stderr) = lastmile(&["get", "tool-1.0.tar", "--output", "out"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "out/tool-1.0.tar\n"), "{stderr}");
    let (code, stdout, stderr) = lastmile(&["get", "no-such-thing"]);
    assert_eq!((code, stdout.as_str()), (Some(3), ""));
    assert!(stderr.starts_with("error: "));
    let (code, stdout, stderr) = lastmile(&["refresh", "--verbose"]);
    assert_eq!((code, stdout.lines().count()), (Some(0), 4));
    assert!(stderr.contains("http://repository.test/metadata/timestamp.json"));
    // With `--json`, standard output must always contain exactly one JSON document.
    for (arguments, expected) in [
        (&["refresh"][..], 0),
        (&["list"], 0),
        (&["status"], 0),
        (&["status", "--within", "4000"], 7),
        (&["trust", "list"], 0),
        (&["verify", "tool-1.0.tar", "--as", "tool-1.0.tar"], 0),
        (&["verify", "altered.tar", "--as", "tool-1.0.tar"], 5),
        (&["get", "no-such-thing"], 3),
        (&["get", "team/plugin.zip", "--output", "out"], 0),
        (&["--repository", "other", "refresh"], 2),
    ] {
        let (code, stdout, _) = lastmile(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(expected), "{arguments:?}");
        let document: serde_json::Value =
            serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{stdout}: {error}"));
        assert!(document.is_object(), "{arguments:?}");
    }
}

#[test]
fn a_process_that_may_open_only_a_few_files_ends_with_an_error() {
    let server = Server::proxy(hosts());
    let folder = client_folder();
    let run = |most: u32, name: &str, arguments: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-c", "ulimit -n $1; exec \"$2\" $3", "bash", &most.to_string()]);
        // The library that fakes the clock would open files too and change the result, so it is not loaded here.
        let variables = environment(Some(&server)).into_iter().filter(|(variable, _)| *variable != "LD_PRELOAD");
        bash.arg(program(name)).arg(arguments).current_dir(folder.path()).envs(variables);
        let output = bash.env("LASTMILE_REPOSITORY", "packages").output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), text)
    };
    let set_up = [
        ("lastmile", "trust add example --root root.json --metadata-url http://repository.test/metadata/"),
        ("lastmile-repo", "init packages --unencrypted-keys"),
    ];
    for (name, arguments) in set_up {
        assert_eq!(run(256, name, arguments).0, Some(0), "{arguments}");
    }
    for (name, arguments) in [("lastmile", "refresh"), ("lastmile", "status"), ("lastmile-repo", "verify")] {
        let (code, text) = run(256, name, arguments);
        assert_eq!(code, Some(0), "{name} {arguments}: {text}");
        for most in 4..20 {
            let (code, text) = run(most, name, arguments);
            assert!(!text.contains("panicked"), "{name} {arguments}, {most} files: {text}");
            // No command can succeed with at most eight open files. Some commands need more files than others, so above
            // this limit, both success and failure are allowed.
            if most <= 8 || code != Some(0) {
                assert!(matches!(code, Some(1..=5)), "{name} {arguments}, {most} files: {code:?}: {text}");
                assert!(text.contains("Too many open files"), "{name} {arguments}, {most} files: {text}");
            }
        }
    }
}
