//! Tests `lastmile-repo push` and `pull` with an S3 server.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::child::text;
use super::ran::{self, Ran};
use super::s3::Bucket;
use super::site::Site;
use super::wire::{encoded, get};
use crate::cli::program;

/// A secret that must not appear in any output.
const SECRET: &str = "wJalrXUtnFEMI-K7MDENG";

fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("lastmile-repo"));
    command.env_clear().env("LASTMILE_REPO_CONFIG", site.path("config.toml")).env("HOME", site.path(""));
    command.env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE1").env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.current_dir(site.path("packages")).arg("--json").args(arguments);
    command
}

fn run(command: Command) -> Ran {
    ran::run(command, &[SECRET, "AKIDEXAMPLE1"])
}

fn push(site: &Site, bucket: &Bucket, more: &[&str]) -> Ran {
    let endpoint = format!("http://127.0.0.1:{}", bucket.port);
    let to = ["push", "--to", "s3://packages/it", "--endpoint", &endpoint, "--region", "us-east-1"];
    run(command(site, &[&to[..], more].concat()))
}

/// Returns the number of requests with `method` for objects below the prefix, except for the lock.
fn requests(site: &Site, method: &str) -> usize {
    let printed = text(&site.path("s3-printed"));
    let start = format!("\"{method} /packages/it/");
    printed.lines().filter(|line| line.contains(&start) && !line.contains(".lastmile-lock")).count()
}

#[test]
fn a_repository_is_pushed_to_s3_and_pulled_from_there() {
    let mut site = Site::new(&[]);
    let large: Vec<u8> = (0..9_000_000_u32).map(|number| (number % 251) as u8).collect();
    site.release(&[("large~1", &large)]);
    let bucket = Bucket::new(&site);
    let public = format!("{}it/", bucket.url());
    let ran = push(&site, &bucket, &["--public-url", &public, "--public-wait", "5"]).done();
    assert_eq!(ran.json["public"]["state"], "current");
    site.trust("first", &public);
    site.fetch_all("first");
    for name in ["repo.toml", "keys/root-1.pem"] {
        assert_eq!(get(bucket.port, &format!("/packages/it/{name}"), &[]).status, 404, "{name}");
    }
    let timestamp = get(bucket.port, "/packages/it/metadata/timestamp.json", &[]);
    assert_eq!(timestamp.header("content-type"), "application/json");
    assert_eq!(timestamp.header("cache-control"), "max-age=60");
    let target = get(bucket.port, &encoded(&format!("packages/it/{}", site.target("index.html"))), &[]);
    assert_eq!((target.header("content-type"), target.header("cache-control")), ("application/octet-stream", ""));

    // A release uploads only new files: the package, and the files of targets, snapshot and timestamp, each with two
    // compressed copies.
    site.release(&[("docs/news.txt", b"There is news.".as_slice())]);
    let before = requests(&site, "PUT");
    let ran = run(command(&site, &["push"])).done();
    assert_eq!(ran.json["sent"].as_array().unwrap().len(), 4, "{ran:?}");
    assert_eq!(requests(&site, "PUT") - before, 1 + 3 * 3, "{}", text(&site.path("s3-printed")));
    site.fetch_all("first");
    let before = requests(&site, "PUT");
    assert_eq!(run(command(&site, &["push"])).done().json["outcome"], "nothing");
    assert_eq!(requests(&site, "PUT"), before);

    let endpoint = format!("http://127.0.0.1:{}", bucket.port);
    let config = site.path("other.toml");
    let mut pull =
        command(&site, &["pull", "--from", "s3://packages/it", "--endpoint", &endpoint, "--region", "us-east-1"]);
    pull.env("LASTMILE_REPO_CONFIG", &config).args(["--root", "metadata/1.root.json", "-C", "../copy"]);
    run(pull).done();
    let mut verify = command(&site, &["verify", "-C", "../copy"]);
    verify.env("LASTMILE_REPO_CONFIG", &config);
    run(verify).done();
}

#[test]
fn a_push_to_s3_is_refused_if_another_machine_was_first() {
    let mut site = Site::empty(&[]);
    let bucket = Bucket::new(&site);
    push(&site, &bucket, &[]).done();
    let copy = site.path("copy");
    let copied = Command::new("cp").arg("-a").arg(site.path("packages")).arg(&copy).status().unwrap();
    assert!(copied.success());
    site.release(&[("a", b"1".as_slice())]);
    run(command(&site, &["push"])).done();
    let before = requests(&site, "PUT");
    let other = |arguments: &[&str]| {
        let mut command = command(&site, arguments);
        command.current_dir(&copy);
        run(command)
    };
    other(&["push"]).failed("behind", "nothing was uploaded");
    fs::write(site.path("b"), "2").unwrap();
    other(&["add", "../b"]).done();
    other(&["push"]).failed("behind", "was not published from this folder");
    assert_eq!(requests(&site, "PUT"), before);
}

/// Writes the lock object as if another process held the lock.
fn lock(site: &Site, bucket: &Bucket, milliseconds: u64) {
    let content = format!(r#"{{"holder":"other","milliseconds":{milliseconds},"renewals":1}}"#);
    fs::write(site.path("lock.json"), content).unwrap();
    bucket.run(site, "aws s3 cp --only-show-errors ../lock.json s3://packages/it/.lastmile-lock");
}

#[test]
fn a_lock_in_s3_is_respected_and_an_abandoned_one_is_taken_over() {
    let site = Site::empty(&[]);
    let bucket = Bucket::new(&site);
    lock(&site, &bucket, 600_000);
    push(&site, &bucket, &["--wait", "1"]).failed("busy", "another process is pushing");
    assert_eq!(requests(&site, "PUT"), 0);
    lock(&site, &bucket, 1500);
    push(&site, &bucket, &["--wait", "30"]).done();
    let lock = get(bucket.port, "/packages/it/.lastmile-lock", &[]);
    let content: Value = serde_json::from_slice(&lock.body).unwrap();
    assert_eq!(content["holder"], "", "the lock must be released");
}

#[test]
fn a_target_with_a_plain_name_is_sent_again_only_if_the_object_has_another_digest() {
    let mut site = Site::empty(&["--no-hash-prefix"]);
    let large = vec![7; 9_000_000];
    site.release(&[("small", b"1".as_slice()), ("large", &large)]);
    let bucket = Bucket::new(&site);
    push(&site, &bucket, &[]).done();
    // Publishes the targets again with other custom metadata but with the same content. Returns the targets that the
    // next push uploads.
    let sent = |channel: &str| {
        for (name, content) in [("small", b"1".as_slice()), ("large", &large)] {
            fs::write(site.path(name), content).unwrap();
            run(command(&site, &["add", &format!("../{name}"), "--custom", &format!("channel={channel}")])).done();
        }
        let ran = run(command(&site, &["push"])).done();
        let names = ran.json["sent"].as_array().unwrap().iter().map(|sent| sent["name"].as_str().unwrap().to_string());
        let mut targets: Vec<_> = names.filter(|name| name.starts_with("targets/")).collect();
        targets.sort();
        targets
    };
    assert_eq!(sent("beta"), [""; 0]);
    // Another program overwrites both objects: `small` without a digest, and `large` with a wrong digest.
    let copy = |name: &str| format!("aws s3 cp --only-show-errors ../{name} s3://packages/it/targets/{name}");
    bucket.run(&site, &copy("small"));
    bucket.run(&site, &format!("{} --metadata sha256={}", copy("large"), "0".repeat(64)));
    assert_eq!(sent("stable"), ["targets/large", "targets/small"]);
}

#[test]
fn an_unreachable_store_is_a_network_error_without_secrets() {
    let site = Site::empty(&[]);
    let to = ["push", "--to", "s3://packages/it", "--endpoint", "http://127.0.0.1:1", "--region", "us-east-1"];
    let ran = run(command(&site, &to));
    assert_eq!(ran.status, 4, "{ran:?}");
    assert!(ran.stderr.contains("s3://packages/it/"), "{ran:?}");
    let mut dry = command(&site, &to);
    dry.arg("--dry-run");
    assert_eq!(run(dry).status, 4);
    let stored = text(&site.path("config.toml"));
    assert!(!stored.contains(SECRET) && !Path::new(&site.path(".aws")).exists(), "{stored}");
}

#[test]
fn credentials_come_from_the_shared_file_of_aws_too() {
    let site = Site::empty(&[]);
    let bucket = Bucket::new(&site);
    fs::create_dir(site.path(".aws")).unwrap();
    let text = format!("[default]\naws_access_key_id = AKIDEXAMPLE1\naws_secret_access_key = {SECRET}\n");
    fs::write(site.path(".aws/credentials"), text).unwrap();
    let endpoint = format!("http://127.0.0.1:{}", bucket.port);
    let to = ["push", "--to", "s3://packages/it", "--endpoint", &endpoint, "--region", "us-east-1"];
    let mut command = command(&site, &to);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    run(command).done();
}

#[test]
fn a_bucket_that_does_not_exist_is_not_taken_for_a_locked_one() {
    let site = Site::empty(&[]);
    let bucket = Bucket::new(&site);
    let endpoint = format!("http://127.0.0.1:{}", bucket.port);
    let ran =
        run(command(&site, &["push", "--to", "s3://missing/it", "--endpoint", &endpoint, "--region", "us-east-1"]));
    assert_eq!(ran.status, 4, "{ran:?}");
    assert!(ran.stderr.contains("NoSuchBucket") || ran.stderr.contains("not found"), "{ran:?}");
}
