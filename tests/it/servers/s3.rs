//! Runs the S3 commands in docs/serving.md with the AWS command line and a local S3 server.
//!
//! `cargo xtask setup` installs the command line and the server below `target/interop/s3-venv`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::METADATA;
use super::child::{Running, announced, start};
use super::site::{Site, TARGETS, page, succeed};
use super::wire::{encoded, get};

/// The bucket policy, which allows everyone to read and list the bucket.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::packages/*"},
    {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::packages"}
]}"#;

fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/s3-venv/bin").join(name);
    assert!(path.exists(), "{} is missing; run `cargo xtask setup`", path.display());
    path
}

/// The text that the server prints before its address.
const STARTED: &str = "Running on ";

/// An S3 server with the empty bucket `packages`.
pub(crate) struct Bucket {
    _running: Running,
    pub(crate) port: u16,
}

impl Bucket {
    pub(crate) fn new(site: &Site) -> Bucket {
        let printed = site.path("s3-printed");
        let command = |[]: [u16; 0]| {
            let mut command = Command::new(installed("python"));
            // The server chooses a free port and prints it.
            command.args(["-u", "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]);
            command.current_dir(site.path("")).env("MOTO_ACCOUNT_ID", "123456789012");
            command
        };
        let (running, []) = start(&printed, command, || announced(&printed, STARTED).is_some());
        let bucket = Bucket { _running: running, port: announced(&printed, STARTED).unwrap() };
        std::fs::write(site.path("policy.json"), POLICY).unwrap();
        // curl is used here because the AWS command line takes almost a second to start.
        bucket.run(site, "curl -fsS -X PUT $AWS_ENDPOINT_URL/packages");
        bucket.run(site, "curl -fsS -T ../policy.json $AWS_ENDPOINT_URL/packages?policy");
        bucket
    }

    /// Runs command lines in the repository's folder. `aws` is in `PATH`, and uses this server.
    pub(super) fn run(&self, site: &Site, lines: &str) {
        let mut command = site.shell(lines);
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = installed("aws").parent().unwrap().to_str().unwrap().to_owned();
        command.current_dir(site.path("packages")).env("PATH", format!("{programs}:{path}"));
        // The command must ignore the AWS settings of the user.
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.env("AWS_ACCESS_KEY_ID", "it").env("AWS_SECRET_ACCESS_KEY", "it").env_remove("AWS_PROFILE");
        command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        succeed(&mut command);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/packages/", self.port)
    }

    /// For each metadata file, checks the type and the cache lifetime, and that the bucket has no compressed copy.
    /// Returns the path, the content encoding and the stored bytes of each file.
    fn metadata(&self, site: &Site) -> Vec<(String, String, Vec<u8>)> {
        let answers = METADATA.map(|ending| {
            let path = site.metadata(ending);
            // S3 ignores `Accept-Encoding` and always sends the stored bytes.
            let answer = get(self.port, &encoded(&format!("packages/{path}")), &["Accept-Encoding: gzip, zstd"]);
            assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"), "{path}");
            let caches = if ending == "timestamp.json" { "max-age=60" } else { "" };
            assert_eq!(answer.header("cache-control"), caches, "{path}");
            for copy in ["gz", "zst"].map(|ending| encoded(&format!("packages/{path}.{ending}"))) {
                assert_eq!(get(self.port, &copy, &[]).status, 404, "{copy}");
            }
            (path, answer.header("content-encoding").to_owned(), answer.body)
        });
        answers.into()
    }
}

/// Returns the commands of a block in docs/serving.md, without the prompts. The block contains `mark`, and its commands
/// copy files to S3.
fn commands(mark: &str) -> String {
    let block = page("console").into_iter().find(|block| block.contains("s3://packages") && block.contains(mark));
    let block = block.unwrap_or_else(|| panic!("no block of the page copies to S3 with {mark}"));
    block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Checks that targets have no content encoding, and that ranges can be requested.
fn targets_are_whole(site: &Site, bucket: &Bucket) {
    for target in TARGETS {
        let path = encoded(&format!("packages/{}", site.target(target)));
        let answer = get(bucket.port, &path, &["Accept-Encoding: gzip, zstd", "Range: bytes=10-"]);
        assert_eq!((answer.status, answer.header("content-encoding")), (206, ""), "{target}");
        assert!(answer.body == site.content(target)[10..], "{target}: wrong content in the range");
    }
}

/// Runs the commands of the block with `mark` (see [`commands`]), publishes a release, and runs them again. Calls
/// `check` after each run.
fn copied(mark: &str, check: impl Fn(&Site, &Bucket)) {
    let mut site = Site::new(&[]);
    let bucket = Bucket::new(&site);
    let commands = commands(mark);
    bucket.run(&site, &commands);
    site.trust("first", &bucket.url());
    site.fetch_all("first");
    check(&site, &bucket);
    targets_are_whole(&site, &bucket);
    site.release(&[("docs/news.txt", b"There is news.".as_slice())]);
    bucket.run(&site, &commands);
    site.fetch_all("first");
    site.trust("second", &bucket.url());
    site.fetch_all("second");
    check(&site, &bucket);
    for secret in ["keys/root-1.pem", "repo.toml"] {
        assert_eq!(get(bucket.port, &format!("/packages/{secret}"), &[]).status, 404, "{secret}");
    }
}

#[test]
fn s3_serves_uncompressed_metadata() {
    copied("s3 sync metadata", |site, bucket| {
        for (path, coding, body) in bucket.metadata(site) {
            assert!(coding.is_empty() && body == site.bytes(&path), "{path}: wrong content");
        }
    });
}

#[test]
fn s3_serves_compressed_metadata() {
    copied("--content-encoding gzip", |site, bucket| {
        for (path, coding, body) in bucket.metadata(site) {
            assert_eq!(coding, "gzip", "{path}");
            assert!(body.starts_with(&[0x1f, 0x8b]), "{path} is not compressed");
        }
    });
}
