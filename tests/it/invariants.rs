//! The invariants of ARCHITECTURE.md that sources and manifests can show, beside those that `cargo xtask test` looks at.

use std::fs;
use std::path::{Path, PathBuf};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The sources of `package` without its tests, by path, and without comments.
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

/// The files of `package` that contain `text`, as often as they do.
fn places(package: &str, text: &str) -> Vec<String> {
    let count = |(path, code): (String, String)| vec![path; code.matches(text).count()];
    code(package).into_iter().flat_map(count).collect()
}

fn manifest(package: &str) -> String {
    fs::read_to_string(project().join(package).join("Cargo.toml")).unwrap()
}

#[test]
fn keys_and_metadata_reach_no_file_no_network_and_no_clock() {
    for package in ["keys", "metadata"] {
        assert_eq!(places(package, "#![no_std]").len(), 1, "{package}");
        for way in [
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::io",
            "SystemTime",
            "Instant",
            "Utc::now",
            "Local::now",
        ] {
            assert_eq!(places(package, way), [""; 0], "{package}: {way}");
        }
    }
}

#[test]
fn keys_alone_names_signature_libraries() {
    for package in ["metadata", "client", "repo-tool", "xtask"] {
        for library in ["ed25519", "p256", "p384", "rsa", "ring", "aws-lc", "ecdsa"] {
            let named = manifest(package).lines().any(|line| {
                let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
                name == library || name.starts_with(&format!("{library}-"))
            });
            assert!(!named, "{package} names {library}");
        }
    }
}

#[test]
fn the_client_compiles_no_private_keys() {
    for package in ["metadata", "client"] {
        let manifest = manifest(package);
        let shipped = manifest.split("[dev-dependencies]").next().unwrap();
        assert!(!shipped.contains("\"sign\"") && !shipped.contains("keys/sign"), "{package}");
        assert_eq!(places(package, "PrivateKey"), [""; 0], "{package}");
    }
}

#[test]
fn verified_metadata_is_made_in_one_place() {
    let made = places("metadata", "Verified(self)");
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].ends_with("envelope.rs"));
}

#[test]
fn signatures_are_counted_in_one_place() {
    let counted: Vec<_> = places("metadata", ".verify(signed, ");
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert!(counted[0].ends_with("key.rs"));
    for package in ["client", "repo-tool"] {
        assert_eq!(places(package, "verify(signed, "), [""; 0], "{package}");
    }
}

#[test]
fn top_level_and_delegated_targets_are_judged_by_one_function() {
    let callers = places("metadata", "verify_targets(");
    assert_eq!(callers.len(), 3, "its definition and two callers: {callers:?}");
    assert_eq!(places("metadata", "Envelope::<Targets>::parse").len(), 1);
}

#[test]
fn one_loop_fetches_metadata() {
    let loops = places("client", "stage.request()");
    assert_eq!(loops.len(), 1, "{loops:?}");
    assert!(loops[0].ends_with("driver.rs"));
    assert_eq!(places("repo-tool", "stage.request()"), [""; 0]);
}

/// A journal of the repository tool has an `apply` of its own.
#[test]
fn one_module_lets_a_stage_judge() {
    let judged: Vec<_> =
        [".apply(", "Stage::apply", "::apply)"].iter().flat_map(|call| places("client", call)).collect();
    assert!(!judged.is_empty() && judged.iter().all(|path| path.ends_with("client/src/driver.rs")), "{judged:?}");
    assert_eq!(places("repo-tool", "stage.apply("), [""; 0]);
}

#[test]
fn metadata_alone_is_decoded() {
    let ends = |places: Vec<String>, name: &str| places.len() == 1 && places[0].ends_with(name);
    assert!(ends(places("client", "decoded(coding, "), "http.rs"));
    assert!(ends(places("client", ".fetch.fetch_metadata("), "road.rs"));
    assert!(ends(places("client", "road.fetch_metadata("), "driver.rs"));
}

/// Whatever changes a disk goes through one file, where tests let it fail.
#[test]
fn one_file_changes_the_disk() {
    let ways = [
        "fs::write(",
        "fs::rename(",
        "fs::copy(",
        "fs::hard_link(",
        "fs::remove_",
        "fs::create_dir",
        "fs::set_permissions(",
        "fs::soft_link(",
        "unix::fs::symlink",
        "DirBuilder",
        "File::create",
        "File::options",
        ".create(true)",
        ".create_new(",
        ".truncate(true)",
        ".append(true)",
        ".write(true)",
        ".set_len(",
        ".set_permissions(",
        ".set_modified(",
        ".sync_all(",
        ".sync_data(",
        ".write_all_at(",
        ".write_at(",
        "OFlags::CREATE",
        "OFlags::TMPFILE",
        "OFlags::RDWR",
        "OFlags::WRONLY",
        "mkdirat",
        "mknodat",
        "mkfifoat",
        "renameat",
        "linkat",
        "symlinkat",
        "ftruncate",
        "fallocate",
        "fsync",
        "fdatasync",
        "syncfs",
        "flock(",
        "chmodat",
        "fchmod",
        "fchown",
        "chownat",
        "tempfile::",
        "NamedTempFile",
        "tempdir",
    ];
    // The demo plays an attacker in a folder of its own; `verify` fetches what is at a URL into one.
    let is_exempt = |path: &str| path.contains("/cli/demo/") || path.ends_with("repo-tool/src/verify.rs");
    let mut seam = 0;
    for package in ["client", "repo-tool"] {
        for way in ways {
            let places = places(package, way);
            let (inside, outside): (Vec<_>, Vec<_>) = places
                .into_iter()
                .filter(|path| !is_exempt(path))
                .partition(|path| path.ends_with("client/src/disk.rs") || path.ends_with("client/src/faults.rs"));
            assert_eq!(outside, [""; 0], "{way}");
            seam += inside.len();
        }
    }
    assert!(seam >= 15, "{seam}");
    // Each of its functions that changes something asks first.
    let disk = code("client").into_iter().find(|(path, _)| path.ends_with("src/disk.rs")).unwrap().1;
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
        assert!(disk.contains(&format!("meet(Call::{call},")), "{call}");
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
