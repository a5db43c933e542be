//! Checks those invariants in ARCHITECTURE.md that can be checked by searching the sources and manifests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns the paths and the contents of the source files of `package`, without tests and comments.
fn code(package: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![project().join(package).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let lines = shipped.lines().map(|line| line.split("//").next().unwrap_or_default());
                files.push((path.display().to_string(), lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    let is_shipped = |path: &str| path.ends_with(".rs") && !path.ends_with("tests.rs") && !path.contains("/test_");
    files.retain(|(path, _)| is_shipped(path));
    files
}

/// Searches the source files of `package` for `text`. Returns the path of the file for each occurrence.
fn places(package: &str, text: &str) -> Vec<String> {
    let count = |(path, code): (String, String)| vec![path; code.matches(text).count()];
    code(package).into_iter().flat_map(count).collect()
}

fn manifest(package: &str) -> String {
    fs::read_to_string(project().join(package).join("Cargo.toml")).unwrap()
}

/// A `no_std` crate cannot use std to access files, the network or the clock. Clippy forbids the functions of chrono
/// that read the clock.
#[test]
fn keys_and_metadata_use_no_files_no_network_and_no_clock() {
    for package in ["keys", "metadata"] {
        assert_eq!(places(package, "#![no_std]").len(), 1, "{package}");
    }
}

#[test]
fn only_keys_depends_on_signature_libraries() {
    for package in ["metadata", "attest", "client", "repo-tool", "xtask"] {
        for library in ["ed25519", "p256", "p384", "rsa", "ring", "aws-lc", "ecdsa"] {
            let manifest = manifest(package);
            // Some features of the client are named after TLS libraries, so the section `features` is not searched.
            let sections = manifest.split("\n[").filter(|section| !section.starts_with("features]"));
            let named = sections.flat_map(str::lines).any(|line| {
                let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
                name == library || name.starts_with(&format!("{library}-"))
            });
            assert!(!named, "{package} names {library}");
        }
    }
}

/// The Sigstore library depends on other signature libraries and reads the clock, so only one module may use it.
#[test]
fn only_one_module_uses_the_library_for_sigstore() {
    let users = places("attest", "sigstore_");
    assert!(!users.is_empty() && users.iter().all(|path| path.ends_with("attest/src/sigstore.rs")), "{users:?}");
    for package in ["keys", "metadata", "client", "repo-tool"] {
        assert_eq!(places(package, "sigstore_"), [""; 0], "{package}");
        assert!(!manifest(package).contains("sigstore-"), "{package}");
    }
}

#[test]
fn the_client_contains_no_private_keys() {
    for package in ["metadata", "attest", "client"] {
        let mut manifest = manifest(package);
        if package == "attest" {
            // Only the repository tool enables the feature `sign`, with which the crate `lastmile-attest` can make
            // evidence.
            manifest = manifest.replace("\nsign = [\"lastmile-keys/sign\"]\n", "\n");
            assert!(!manifest.contains("\ndefault ="), "{package}");
        }
        let shipped = manifest.split("[dev-dependencies]").next().unwrap();
        assert!(!shipped.contains("\"sign\"") && !shipped.contains("keys/sign"), "{package}");
        assert!(!shipped.contains("attest/sign"), "{package}");
        assert_eq!(places(package, "PrivateKey"), [""; 0], "{package}");
    }
}

#[test]
fn verified_metadata_is_made_in_one_place() {
    // A struct with private fields can be constructed only in its own module and in the modules inside it.
    let defining: Vec<_> =
        code("metadata").into_iter().filter(|(_, code)| code.contains("pub struct Verified<R>")).collect();
    let [(path, code)] = &defining[..] else { panic!("{} files define `Verified`", defining.len()) };
    assert!(path.ends_with("metadata/src/verify.rs"), "{path}");
    let fields = code.split("pub struct Verified<R> {").nth(1).unwrap().split('}').next().unwrap();
    assert!(fields.contains("content: R") && !fields.contains("pub"), "the fields must be private: {fields}");
    assert!(!code.contains("mod "), "{path} must not contain other modules");
    let made = places("metadata", "Self { file, content }");
    assert_eq!(made, [path.as_str()], "only `Verified::of` may make a `Verified`");
    // Apart from `Verified::of`, only the implementation of `Clone` constructs a `Verified`.
    let constructed = code.matches("Self { file").count() + code.matches("Verified {").count();
    assert_eq!(constructed, 2, "{path}");
}

#[test]
fn signatures_are_counted_in_one_place() {
    let counted: Vec<_> = places("metadata", "SignatureChecks::default()");
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert!(counted[0].ends_with("key.rs"));
    for package in ["client", "repo-tool"] {
        assert_eq!(places(package, "SignatureChecks"), [""; 0], "{package}");
    }
}

#[test]
fn top_level_and_delegated_targets_are_judged_by_one_function() {
    let callers = places("metadata", "verify_targets(");
    assert_eq!(callers.len(), 4, "expected the definition and three callers: {callers:?}");
    assert_eq!(
        places("metadata", "Verified::of(").len(),
        2,
        "`Verified` must be made in two places only: for a role in memory, and for a role that is read from its file"
    );
}

#[test]
fn one_loop_fetches_metadata() {
    let loops = places("client", "stage.request()");
    assert_eq!(loops.len(), 1, "{loops:?}");
    assert!(loops[0].ends_with("driver.rs"));
    assert_eq!(places("repo-tool", "stage.request()"), [""; 0]);
}

/// In the client, the test searches for all calls of functions named `apply`. The repository tool also has an unrelated
/// function `apply` for its journal. Therefore, in the tool, the test searches only for `stage.apply`.
#[test]
fn only_one_module_passes_metadata_to_a_stage() {
    let callers: Vec<_> =
        [".apply(", "Stage::apply", "::apply)"].iter().flat_map(|call| places("client", call)).collect();
    assert!(!callers.is_empty() && callers.iter().all(|path| path.ends_with("client/src/driver.rs")), "{callers:?}");
    assert_eq!(places("repo-tool", "stage.apply("), [""; 0]);
}

#[test]
fn only_metadata_is_decompressed() {
    let ends = |places: Vec<String>, name: &str| places.len() == 1 && places[0].ends_with(name);
    assert!(ends(places("client", "decoded(coding, "), "http.rs"));
    assert!(ends(places("client", "= fetch.fetch_metadata("), "attempt.rs"));
    assert!(ends(places("client", "= fetch_metadata("), "driver.rs"));
}

/// Clippy forbids functions that change a disk, but does not check the flags of `open`. This test finds flags that
/// allow changes.
#[test]
fn one_file_changes_the_disk() {
    let flags = ["APPEND", "CREATE", "EXCL", "RDWR", "TMPFILE", "TRUNC", "WRONLY"];
    for flag in flags.map(|flag| format!("OFlags::{flag}")) {
        let places = [places("client", &flag), places("repo-tool", &flag), places("fs", &flag)].concat();
        assert!(places.iter().all(|path| path.ends_with("fs/src/disk.rs")), "{flag}: {places:?}");
    }
    assert!(!places("fs", "OFlags::CREATE").is_empty());
    // Each function that changes a disk must first call the function that injects faults.
    let disk = code("fs").into_iter().find(|(path, _)| path.ends_with("src/disk.rs")).unwrap().1;
    for call in [
        "MakeFolder",
        "Create",
        "Write",
        "Empty",
        "Sync",
        "SyncFolder",
        "SyncAll",
        "Rename",
        "Link",
        "Remove",
        "RemoveFolder",
        "Lock",
        "Share",
    ] {
        assert!(disk.contains(&format!("inject_fault(Syscall::{call},")), "{call}");
    }
}

#[test]
fn the_repository_tool_uses_the_client_without_http() {
    let manifest = manifest("repo-tool");
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let client = dependencies.lines().find(|line| line.starts_with("lastmile-client")).unwrap();
    assert!(!client.contains("http"), "{client}");
    assert!(!dependencies.contains("reqwest"));
}

/// docs/stability.md promises a minimum supported Rust version. A dependency with a higher minimum would break this
/// promise.
#[test]
fn no_dependency_declares_a_newer_rust_version_than_ours() {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output = cargo.args(["metadata", "--locked", "--format-version", "1"]).current_dir(project()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = |text: &str| text.split('.').map(|number| number.parse().unwrap()).collect::<Vec<u32>>();
    let ours = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    for package in packages {
        if let Some(needed) = package["rust_version"].as_str() {
            assert!(version(needed) <= [ours.as_slice(), &[u32::MAX]].concat(), "{}", package["name"]);
        }
    }
}
