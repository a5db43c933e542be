//! The commands of the page for S3, run by the AWS command line against a server that speaks S3.
//!
//! `cargo xtask setup` installs both below `target/interop/s3-venv`.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::METADATA;
use super::child::{Running, start, text};
use super::site::{Site, TARGETS, page, succeed};
use super::wire::{encoded, get};

/// Who may read: everybody, and also what is not there.
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::packages/*"},
    {"Effect": "Allow", "Principal": "*", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::packages"}
]}"#;

/// A file of the programs that Python packages brought.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/interop/s3-venv/bin").join(name);
    assert!(path.exists(), "{} is not there: run `cargo xtask setup` once", path.display());
    path
}

/// An S3 server with the empty bucket `packages`.
struct Bucket {
    _running: Running,
    port: u16,
}

impl Bucket {
    fn new(site: &Site) -> Bucket {
        let said = site.path("s3-said");
        let command = |[]: [u16; 0]| {
            let mut command = Command::new(installed("python"));
            // It takes a free port itself, and says which.
            command.args(["-u", "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]);
            command.current_dir(site.path("")).env("MOTO_ACCOUNT_ID", "123456789012");
            command
        };
        let (running, []) = start(&said, command, || announced(&said).is_some());
        let bucket = Bucket { _running: running, port: announced(&said).unwrap() };
        std::fs::write(site.path("policy.json"), POLICY).unwrap();
        // By hand: each start of the AWS command line takes the better part of a second.
        bucket.run(site, "curl -fsS -X PUT $AWS_ENDPOINT_URL/packages");
        bucket.run(site, "curl -fsS -T ../policy.json $AWS_ENDPOINT_URL/packages?policy");
        bucket
    }

    /// Runs command lines as they stand on the page, in the repository's folder.
    fn run(&self, site: &Site, lines: &str) {
        let mut command = site.shell(lines);
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = installed("aws").parent().unwrap().to_str().unwrap().to_owned();
        command.current_dir(site.path("packages")).env("PATH", format!("{programs}:{path}"));
        // Nothing of what the machine's user has set up is looked at.
        command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        command.env("AWS_ACCESS_KEY_ID", "it").env("AWS_SECRET_ACCESS_KEY", "it").env_remove("AWS_PROFILE");
        command.env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        succeed(&mut command);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/packages/", self.port)
    }

    /// Each metadata file is there: its coding, its type, how long caches keep it, and its bytes as they are stored.
    fn metadata(&self, site: &Site) -> Vec<(String, String, Vec<u8>)> {
        let answers = METADATA.map(|ending| {
            let path = site.file("metadata", ending);
            // It is no matter to S3 what is accepted.
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

/// The port that the server says it has.
fn announced(said: &Path) -> Option<u16> {
    let text = text(said);
    let (_, rest) = text.split_once("Running on http://127.0.0.1:")?;
    rest.split_once('\n')?.0.trim().parse().ok()
}

/// The commands of the page that copy to S3: of a block, the lines after the prompt, and what goes on below them.
fn commands(mark: &str) -> String {
    let block = page("console").into_iter().find(|block| block.contains("s3://packages") && block.contains(mark));
    let block = block.unwrap_or_else(|| panic!("no block of the page copies to S3 with {mark}"));
    block.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Targets have no coding, and can be asked for from any byte on.
fn targets_are_whole(site: &Site, bucket: &Bucket) {
    for target in TARGETS {
        let path = encoded(&format!("packages/{}", site.target(target)));
        let answer = get(bucket.port, &path, &["Accept-Encoding: gzip, zstd", "Range: bytes=10-"]);
        assert_eq!((answer.status, answer.header("content-encoding")), (206, ""), "{target}");
        assert!(answer.body == site.content(target)[10..], "{target} goes on otherwise");
    }
}

/// Copies twice, with a release between, as the block of the page with `mark` says.
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
fn s3_serves_metadata_that_was_copied_plain() {
    copied("s3 sync metadata", |site, bucket| {
        for (path, coding, body) in bucket.metadata(site) {
            assert!(coding.is_empty() && body == site.bytes(&path), "{path} is another file");
        }
    });
}

#[test]
fn s3_serves_metadata_that_was_copied_compressed_for_everybody() {
    copied("--content-encoding gzip", |site, bucket| {
        for (path, coding, body) in bucket.metadata(site) {
            assert_eq!(coding, "gzip", "{path}");
            assert!(body.starts_with(&[0x1f, 0x8b]), "{path} is not compressed");
        }
    });
}
