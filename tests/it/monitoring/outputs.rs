//! Tests of the reports that `lastmile-repo status` writes for other programs. The tests read the reports with parsers
//! of these programs.
//!
//! `cargo xtask setup` installs the parsers below `target/interop/monitoring-venv`, and a browser from Debian.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lastmile_repo_tool::internal::cli::ExitStatus;
use lastmile_testkit::{Delegation, METADATA, Repository, Server};
use lastmile_tests::say;
use serde_json::{Value, json};

use super::site::{Ran, Site};

/// The name of a role that would inject text into each format if the name were not escaped.
const HOSTILE: &str = "\"><img src=x onerror=\"document.title='hacked'\">;BEGIN:VALARM,\\n&amp;'} 1";

/// Parses `file` with the Python parser for `kind`. Returns the content as JSON.
pub(super) fn parsed(kind: &str, file: &str) -> Value {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = project.join("../target/interop/monitoring-venv/bin/python");
    assert!(python.exists(), "{} is missing; run `cargo xtask setup`", python.display());
    let script = project.join("it/monitoring/parse.py");
    let output = Command::new(python).arg(script).args([kind, file]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(super) fn sample(metrics: &Value, name: &str, labels: &Value) -> Option<f64> {
    let samples = metrics["samples"].as_array().unwrap();
    let found = samples.iter().find(|sample| sample[0] == name && sample[1] == *labels);
    found.map(|sample| sample[2].as_f64().unwrap())
}

/// Runs `status` for a repository that delegates to a role named [`HOSTILE`].
fn hostile(site: &Site, options: &[&str]) -> Ran {
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths(HOSTILE, &["x/*"]));
    repository.publish(&[HOSTILE, "targets", "snapshot", "timestamp"]);
    status_of(site, &repository, options)
}

/// Runs `status` for `repository`, which `lastmile-repo` did not create.
fn status_of(site: &Site, repository: &Repository, options: &[&str]) -> Ran {
    let root = site.path("other-root.json");
    fs::write(&root, repository.first_root()).unwrap();
    let server = Server::start(repository.network());
    let url = format!("{}{METADATA}", server.url());
    site.run_elsewhere(&[&["status", &url, "--root", &root, "--delegated"][..], options].concat())
}

#[test]
fn a_url_that_is_given_twice_is_checked_once() {
    let site = Site::new();
    let file = site.path("lastmile.prom");
    let url = site.url();
    site.done(&["status", &url, url.trim_end_matches('/'), &url, "--quiet", "--prometheus", &file]);
    let metrics = parsed("prometheus", &file);
    let samples = metrics["samples"].as_array().unwrap().iter();
    assert_eq!(samples.filter(|sample| sample[0] == "lastmile_mirror_up").count(), 1, "{metrics}");
}

#[test]
fn metrics_are_read_by_the_parser_of_prometheus() {
    let mut site = Site::new();
    let file = site.path("lastmile.prom");
    site.done(&["status", &site.url(), "--quiet", "--prometheus", &file]);
    let metrics = parsed("prometheus", &file);
    let repository = json!({"repository": site.url()});
    let of = |role: &str| json!({"repository": site.url(), "role": role});
    assert_eq!(sample(&metrics, "lastmile_up", &repository), Some(1.0), "{metrics}");
    assert_eq!(sample(&metrics, "lastmile_state", &repository), Some(0.0));
    assert_eq!(sample(&metrics, "lastmile_last_check_timestamp_seconds", &repository), Some(1_893_499_200.0));
    let expires = sample(&metrics, "lastmile_role_expires_timestamp_seconds", &of("timestamp"));
    assert_eq!(expires, Some(f64::from(1_893_499_200 + 7 * 86_400)));
    assert_eq!(sample(&metrics, "lastmile_role_version", &of("root")), Some(1.0));
    assert_eq!(sample(&metrics, "lastmile_role_threshold", &of("root")), Some(2.0));
    assert_eq!(sample(&metrics, "lastmile_role_usable_keys", &of("root")), Some(3.0));
    let mirror = json!({"repository": site.url(), "url": site.url()});
    assert_eq!(sample(&metrics, "lastmile_mirror_up", &mirror), Some(1.0));
    assert!(metrics["types"].as_object().unwrap().values().all(|kind| kind == "gauge"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644 & !umask());
    site.days_pass(30);
    let expired = |kind: &str| json!({"repository": site.url(), "kind": kind});
    let ran = site.run(&["status", &site.url(), "--prometheus", "-"]);
    assert_eq!(ran.status, ExitStatus::Findings);
    fs::write(&file, ran.stdout).unwrap();
    let metrics = parsed("prometheus", &file);
    assert_eq!(sample(&metrics, "lastmile_problems", &expired("expired")), Some(2.0));
    assert_eq!(sample(&metrics, "lastmile_problems", &expired("went-back")), Some(0.0));
    // For a folder without a repository, the metrics say that the repository is down, and the command still fails.
    let ran = site.run_elsewhere(&["status", "--prometheus", &file]);
    assert_eq!(ran.status, ExitStatus::NoSuchName);
    let folder = site.folder.path().canonicalize().unwrap();
    assert_eq!(sample(&parsed("prometheus", &file), "lastmile_up", &json!({"repository": folder})), Some(0.0));
    assert_eq!(site.run(&["status", "--prometheus", "-", "--json"]).status, ExitStatus::Usage);
}

#[test]
fn neither_a_failed_output_nor_a_wrong_command_line_is_reported_as_a_state_of_the_repository() {
    let site = Site::new();
    let file = site.path("x.prom");
    let ran = site.run(&["status", "--prometheus", &file, "--html", "/nonexistent/page.html"]);
    assert_eq!(ran.status, ExitStatus::Failed, "{ran:?}");
    let repository = json!({"repository": site.dir().canonicalize().unwrap()});
    assert_eq!(sample(&parsed("prometheus", &file), "lastmile_up", &repository), Some(1.0));
    fs::remove_file(&file).unwrap();
    let ran = site.run(&["status", "ftp://example.org/", "--prometheus", &file]);
    assert_eq!(ran.status, ExitStatus::Usage, "{ran:?}");
    assert!(!fs::exists(&file).unwrap());
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(line.trim(), 8).unwrap()
}

#[test]
fn hostile_names_stay_inside_labels_and_events() {
    let site = Site::new();
    let (metrics, calendar) = (site.path("x.prom"), site.path("x.ics"));
    let ran = hostile(&site, &["--prometheus", &metrics, "--calendar", &calendar, "--json"]);
    let roles = ran.json()["roles"].clone();
    assert_eq!(roles[4]["role"], HOSTILE, "{ran:?}");
    let url = ran.json()["repository"].clone();
    let labels = json!({"repository": url, "role": HOSTILE});
    assert_eq!(sample(&parsed("prometheus", &metrics), "lastmile_role_version", &labels), Some(1.0));
    let calendar = parsed("calendar", &calendar);
    let events = calendar["events"].as_array().unwrap();
    assert_eq!(events.len(), 3, "{calendar}");
    let event = events.iter().find(|event| event["summary"].as_str().unwrap().contains("img")).unwrap();
    assert!(event["summary"].as_str().unwrap().starts_with(&format!("Renew {HOSTILE} of ")), "{event}");
    assert_eq!((&event["triggers"].as_array().unwrap().len(), &event["errors"]), (&2, &json!([])));
}

#[test]
fn a_role_with_two_delegating_roles_has_one_sample_and_one_event() {
    let site = Site::new();
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
    repository.delegate("targets", &Delegation::paths("b", &["b/*"]));
    repository.delegate("a", &Delegation::paths("b", &["a/*"]));
    repository.publish(&["b", "a", "targets", "snapshot", "timestamp"]);
    let (metrics, calendar) = (site.path("x.prom"), site.path("x.ics"));
    let ran = status_of(&site, &repository, &["--prometheus", &metrics, "--calendar", &calendar, "--json"]);
    let roles = ran.json()["roles"].as_array().unwrap().iter().filter(|role| role["role"] == "b").count();
    assert_eq!(roles, 2, "{ran:?}");
    let metrics = parsed("prometheus", &metrics);
    let of_b = |sample: &&Value| sample[0] == "lastmile_role_version" && sample[1]["role"] == "b";
    assert_eq!(metrics["samples"].as_array().unwrap().iter().filter(of_b).count(), 1, "{metrics}");
    // The calendar has one event each for root, targets, a and b.
    assert_eq!(parsed("calendar", &calendar)["events"].as_array().unwrap().len(), 4);
}

#[test]
fn a_calendar_is_read_by_another_implementation_and_its_events_move() {
    let mut site = Site::new();
    let file = site.path("renewals.ics");
    site.done(&["status", &site.url(), "--quiet", "--calendar", &file]);
    let calendar = parsed("calendar", &file);
    assert_eq!((&calendar["bare_line_feeds"], calendar["longest_line"].as_u64() <= Some(75)), (&json!(0), true));
    let events = calendar["events"].as_array().unwrap();
    let names: Vec<&str> = events.iter().map(|event| event["summary"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // The root expires after 365 days. Its renewal period is the last 60 of these days.
    assert_eq!(events[0]["summary"], format!("Renew root of {} before 2031-01-01 12:00 UTC", site.url()));
    assert_eq!(events[0]["start"], "2030-11-02T12:00:00+00:00");
    assert_eq!(events[0]["triggers"], json!(["0:00:00", "2030-12-02 12:00:00+00:00"]));
    assert!(events[0]["description"].as_str().unwrap().starts_with("2 of these keys must sign:\n"), "{events:?}");
    site.days_pass(3);
    site.done(&["renew", "targets", "--force", "--quiet", "--skip-served-check"]);
    site.upload();
    site.done(&["status", &site.url(), "--quiet", "--calendar", &file]);
    let moved = parsed("calendar", &file)["events"][1].clone();
    assert_eq!((&moved["uid"], &moved["sequence"]), (&events[1]["uid"], &json!(2)));
    assert_ne!(moved["start"], events[1]["start"]);
    // Without the folder of the repository, `status` does not know the configured renewal periods, so it uses the
    // default periods for the calendar.
    fs::rename(site.dir(), site.path("moved")).unwrap();
    let without = site.path("without.ics");
    assert_eq!(site.run_elsewhere(&["status", &site.url(), "--calendar", &without]).status, ExitStatus::Done);
    let event = parsed("calendar", &without)["events"][0].clone();
    assert_eq!((&event["start"], &event["triggers"]), (&events[0]["start"], &events[0]["triggers"]));
    fs::rename(site.path("moved"), site.dir()).unwrap();
    // If `status` cannot read the repository, it leaves the calendar unchanged.
    let before = fs::read(&file).unwrap();
    site.network.put(&format!("{METADATA}timestamp.json"), b"{}".to_vec());
    assert_eq!(site.run(&["status", &site.url(), "--calendar", &file]).status, ExitStatus::Findings);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn reports_are_replaced_atomically_and_a_dry_run_writes_none() {
    let site = Site::new();
    let folder = site.folder.path().join("reports");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("page.html");
    let file = file.to_str().unwrap();
    site.done(&["status", "--quiet", "--dry-run", "--html", file]);
    assert!(fs::read_dir(&folder).unwrap().next().is_none());
    site.done(&["status", "--quiet", "--html", file]);
    let old = fs::File::open(file).unwrap();
    site.done(&["status", "--quiet", "--html", file]);
    // The old file was not changed but replaced, and no temporary file is left.
    assert_ne!(std::os::unix::fs::MetadataExt::ino(&old.metadata().unwrap()), inode(file));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let ran = site.run(&["status", "--html", "/nonexistent/page.html"]);
    assert_eq!(ran.status, ExitStatus::Failed, "{ran:?}");
}

fn inode(file: &str) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap())
}

/// Returns the path of the browser. If there is none, prints `NOT CHECKED`.
fn browser() -> Option<PathBuf> {
    let path = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].into_iter().map(PathBuf::from);
    let found = path.into_iter().find(|path| path.exists());
    if found.is_none() {
        say("page: NOT CHECKED in a browser: `cargo xtask setup` did not install chromium on this machine");
    }
    found
}

/// Opens the file `page` in the browser, without a window. Returns what the browser prints.
fn browse(browser: &Path, site: &Site, options: &[&str], page: &str) -> String {
    let profile = format!("--user-data-dir={}", site.path("profile"));
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60"]).arg(browser).args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
    ]);
    command.args(["--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars", &profile]);
    command.args(options).arg(format!("file://{page}")).env("HOME", site.folder.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_page_shows_hostile_names_as_text() {
    let site = Site::new();
    let file = site.path("page.html");
    let ran = hostile(&site, &["--html", &file, "--quiet"]);
    let page = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    assert!(
        !page.contains("file:keys") && !page.contains("<img") && !page.contains("<script") && !page.contains(" style="),
        "{page}"
    );
    assert!(page.contains("&quot;&gt;&lt;img src=x onerror=&quot;document.title=&#39;hacked&#39;&quot;&gt;"), "{page}");
    let Some(browser) = browser() else { return };
    let dom = browse(&browser, &site, &["--dump-dom"], &file);
    assert!(dom.contains("<h2>\"&gt;&lt;img src=x onerror=\"document.title='hacked'\"&gt;"), "{dom}");
    assert!(!dom.contains("<img"), "{dom}");
    assert_eq!(dom.matches("<meter").count(), 5, "{dom}");
    // Even with an element that runs a script, the page stays safe: its Content-Security-Policy blocks all scripts.
    let script = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">";
    let injected = site.path("injected.html");
    fs::write(&injected, page.replace("</body>", &format!("{script}</body>"))).unwrap();
    let dom = browse(&browser, &site, &["--dump-dom"], &injected);
    assert!(dom.contains("<script>") && !dom.contains("<title>hacked"), "{dom}");
    let unprotected = site.path("unprotected.html");
    let without = page.replace("Content-Security-Policy", "x").replace("</body>", &format!("{script}</body>"));
    fs::write(&unprotected, without).unwrap();
    assert!(
        browse(&browser, &site, &["--dump-dom"], &unprotected).contains("<title>hacked"),
        "without its Content-Security-Policy, the page must run the script, so that the check above can fail"
    );
}

#[test]
fn a_page_fits_a_phone_and_has_a_dark_mode() {
    let site = Site::new();
    let file = site.path("page.html");
    hostile(&site, &["--html", &file, "--quiet"]);
    let Some(browser) = browser() else { return };
    let look = |options: &[&str]| {
        let picture = site.path("picture.png");
        let screenshot = format!("--screenshot={picture}");
        browse(&browser, &site, &[&["--window-size=500,900", &screenshot][..], options].concat(), &file);
        parsed("picture", &picture)
    };
    let light = look(&[]);
    assert_eq!((&light["background"], &light["edge_is_empty"]), (&json!([250, 250, 250]), &json!(true)), "{light}");
    assert!(light["colours"].as_u64() > Some(10), "{light}");
    let dark = look(&["--blink-settings=preferredColorScheme=0"]);
    assert_eq!((&dark["background"], &dark["edge_is_empty"]), (&json!([22, 22, 22]), &json!(true)), "{dark}");
}
