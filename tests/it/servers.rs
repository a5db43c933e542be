//! Tests the settings in docs/serving.md with nginx, Caddy, an S3 server and an emulator of Azure Blob Storage. The
//! tests read the settings from that page.
//!
//! `cargo xtask setup` installs the servers.

mod caddy;
mod child;
mod first_release;
mod nginx;
mod push_azure;
mod push_s3;
mod push_ssh;
mod push_web;
mod ran;
pub(crate) mod s3;
pub(crate) mod site;
mod ssh_faults;
pub(crate) mod sshd;
mod tls;
pub(crate) mod wire;

use site::{Site, TARGETS, replaced};
use wire::{encoded, get};

/// The endings of the metadata file names. The name of the role `team ö+` must be percent-encoded in URLs.
const METADATA: [&str; 5] = [".root.json", ".targets.json", ".snapshot.json", ".team ö+.json", "timestamp.json"];

/// A string that each private key file contains. No response of the server may contain it.
const SECRET: &str = "PRIVATE KEY";

/// Checks that the server serves metadata and targets as docs/serving.md says, and no other files.
fn is_served_as_the_page_says(site: &mut Site, port: u16, codings: &[(&str, &str)]) {
    site.trust("first", &format!("http://127.0.0.1:{port}/"));
    site.fetch_all("first");
    metadata_comes_as_it_is_accepted(site, port, codings);
    targets_come_as_they_are(site, port);
    nothing_else_is_served(site, port);
    // New clients and returning clients must see a release immediately.
    site.release(&[("docs/news.txt", b"There is news.".as_slice())]);
    site.fetch_all("first");
    metadata_comes_as_it_is_accepted(site, port, codings);
    site.trust("second", &format!("http://127.0.0.1:{port}/"));
    site.fetch_all("second");
}

/// Checks the responses for metadata. Each element of `codings` is the value of an `Accept-Encoding` header and the
/// content encoding of the expected response.
fn metadata_comes_as_it_is_accepted(site: &Site, port: u16, codings: &[(&str, &str)]) {
    for ending in METADATA {
        let path = site.metadata(ending);
        let url = encoded(&path);
        let caches = if ending == "timestamp.json" { "max-age=60" } else { "" };
        for headers in [&[][..], &["Accept-Encoding: identity"], &["Accept-Encoding: br"]] {
            let plain = get(port, &url, headers);
            assert_eq!((plain.status, plain.header("content-encoding")), (200, ""), "{path} {headers:?}");
            assert_eq!(plain.header("content-type"), "application/json", "{path}");
            assert_eq!(plain.header("cache-control"), caches, "{path}");
            assert!(plain.body == site.bytes(&path), "{path}: wrong content");
        }
        // The first root has no compressed copy, because it was published before compression was enabled.
        for (accepted, coding) in codings.iter().filter(|_| ending != ".root.json") {
            let encoded = get(port, &url, &[&format!("Accept-Encoding: {accepted}")]);
            let (name, copy) = if *coding == "gzip" { ("gzip", "gz") } else { ("zstd", "zst") };
            assert_eq!((encoded.status, encoded.header("content-encoding")), (200, name), "{path} {accepted}");
            assert_eq!(encoded.header("vary"), "Accept-Encoding", "{path}");
            assert_eq!(encoded.header("content-type"), "application/json", "{path}");
            assert_eq!(encoded.header("cache-control"), caches, "{path}");
            assert!(encoded.body == site.bytes(&format!("{path}.{copy}")), "{path}: wrong compressed copy");
        }
    }
}

/// Checks that the response for `path` is the unchanged content of `target`, even if the client accepts compression.
fn comes_whole(site: &Site, port: u16, path: &str, target: &str) {
    let whole = get(port, path, &["Accept-Encoding: gzip, zstd"]);
    assert_eq!((whole.status, whole.header("content-encoding")), (200, ""), "{path}");
    assert_eq!(whole.header("content-length"), site.content(target).len().to_string(), "{path}");
    assert!(whole.body == site.content(target), "{path}: wrong content");
}

/// Checks that the server never sends one target as the compressed copy of another. Without hash prefixes, two of the
/// targets have names that look like a file and its compressed copy.
fn no_target_is_taken_for_a_copy_of_another(site: &Site, port: u16) {
    TARGETS.iter().for_each(|target| comes_whole(site, port, &encoded(&format!("targets/{target}")), target));
}

fn targets_come_as_they_are(site: &Site, port: u16) {
    for target in TARGETS {
        let path = encoded(&site.target(target));
        comes_whole(site, port, &path, target);
        let rest = get(port, &path, &["Accept-Encoding: gzip, zstd", "Range: bytes=10-"]);
        assert_eq!((rest.status, rest.header("content-encoding")), (206, ""), "{path}");
        let length = site.content(target).len();
        assert_eq!(rest.header("content-range"), format!("bytes 10-{}/{length}", length - 1), "{path}");
        assert!(rest.body == site.content(target)[10..], "{path}: wrong content in the range");
    }
}

/// The server's root folder is the repository, which also contains private keys.
fn nothing_else_is_served(site: &Site, port: u16) {
    let key = "keys/root-1.pem";
    assert!(String::from_utf8(site.bytes(key)).unwrap().contains(SECRET));
    for path in
        ["", "repo.toml", "keys", "keys/", "metadata", "targets", "metadata/", "targets/", "metadata/9.root.json"]
    {
        let refused = get(port, &format!("/{path}"), &[]);
        assert!(matches!(refused.status, 301 | 308 | 403 | 404), "/{path}: {}", refused.status);
        assert!(
            !String::from_utf8_lossy(&refused.body).contains(".json\""),
            "the server must not list the files in /{path}"
        );
    }
    let prefixes = [
        "/",
        "//",
        "/./",
        "/metadata/../",
        "/targets/../",
        "/metadata/%2e%2e/",
        "/metadata/..%2f",
        "/targets/%2e%2e%2f",
    ];
    let others =
        ["/targets/..%5c", "/metadata/..;/", "/metadata//../", "/metadata/x/../../", "/metadata../", "/targets../"];
    for prefix in prefixes.iter().chain(&others) {
        for accepted in ["identity", "gzip, zstd"] {
            let refused = get(port, &format!("{prefix}{key}"), &[&format!("Accept-Encoding: {accepted}")]);
            assert!(matches!(refused.status, 400 | 404), "{prefix}{key}: {}", refused.status);
            assert!(!String::from_utf8_lossy(&refused.body).contains(SECRET), "{prefix}{key}");
        }
    }
    for path in ["/keys/root-1.pem", "/repo.toml", "/keys/", "/"] {
        assert_eq!(get(port, path, &[]).status, 404, "{path}");
    }
}

/// Runs the commands in the section *Check* of docs/serving.md.
fn the_checks_of_the_page_pass(site: &Site, url: &str) {
    let block = site::page("console").into_iter().find(|block| block.contains("curl")).unwrap();
    std::fs::copy(site.path("packages/metadata/1.root.json"), site.path("1.root.json")).unwrap();
    let commands = replaced(&block, "https://packages.example", url.trim_end_matches('/'));
    for command in commands.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let shown = site::succeed(&mut site.shell(command));
        assert!(!shown.stdout.is_empty() || !shown.stderr.is_empty(), "{command} printed nothing");
    }
}
