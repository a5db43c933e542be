//! Tests every step from an empty folder to a published release. An object store serves the release, a service renews
//! the timestamp, and a monitoring system checks the repository.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::s3::Bucket;
use super::site::{Site, succeed};
use crate::cli::program;

const DAY: u64 = 86_400;

/// Returns the maintainer's command for `line`, whose first word is the name of the program.
fn command(site: &Site, line: &str) -> Command {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = Command::new(program(words[0]));
    command.env_clear().env("HOME", site.path("home")).env("LASTMILE_PASS_PHRASE", "correct horse");
    command.env("AWS_ACCESS_KEY_ID", "it").env("AWS_SECRET_ACCESS_KEY", "it");
    command.current_dir(site.path("maintainer")).args(&words[1..]);
    command
}

fn output(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code().unwrap(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn five_commands_lead_from_an_empty_folder_to_a_release_that_is_served_renewed_and_monitored() {
    let site = Site::empty(&[]);
    let bucket = Bucket::new(&site);
    fs::create_dir(site.path("maintainer")).unwrap();
    fs::write(site.path("maintainer/app-1.0.tar.gz"), "the first release").unwrap();
    let endpoint = format!("http://127.0.0.1:{}", bucket.port);
    let public = format!("{}first", bucket.url());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    // The first three commands ran four days ago, so the timestamp is due for renewal.
    let to = format!("--to s3://packages/first --endpoint {endpoint} --region us-east-1 --public-url {public}");
    for line in [
        "lastmile-repo init packages --unencrypted-online-keys".to_string(),
        "lastmile-repo add -C packages app-1.0.tar.gz".to_string(),
        format!("lastmile-repo push -C packages {to}"),
    ] {
        succeed(command(&site, &line).env("SOURCE_DATE_EPOCH", (now - 4 * DAY).to_string()));
    }

    // The fourth command runs as a service. It renews the timestamp and pushes it.
    let mut service = command(&site, "lastmile-repo renew --watch --push --json -C packages");
    let mut service = service.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(service.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let renewed = events.find(|event| event["event"] == "renewed" && event["role"] == "timestamp").unwrap();
    let pushed = events.find(|event| event["event"] == "pushed").unwrap();
    assert_eq!(renewed["version"], pushed["timestamp"]);
    service.kill().unwrap();
    service.wait().unwrap();

    // A monitoring system runs the fifth command.
    let monitor = format!("lastmile-repo status {public}/metadata/ --monitor --root packages/metadata/1.root.json");
    let (status, printed) = output(&mut command(&site, &monitor));
    assert_eq!(status, 0, "{printed}");
    assert!(printed.starts_with("OK: "), "{printed}");

    // A client that was shipped with the root gets the release.
    let trust = format!("lastmile trust add it --root packages/metadata/1.root.json --metadata-url {public}/metadata/");
    succeed(&mut command(&site, &trust));
    succeed(&mut command(&site, "lastmile get app-1.0.tar.gz --output downloads"));
    assert_eq!(fs::read(site.path("maintainer/downloads/app-1.0.tar.gz")).unwrap(), b"the first release");
}
