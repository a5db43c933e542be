//! Tests of `renew --watch` with real repositories and a simulated clock.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use lastmile_cli_support::Captured;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

const DAY: TimeDelta = TimeDelta::days(1);

struct Host {
    folder: TempDir,
    now: Arc<Mutex<DateTime<Utc>>>,
    stdout: Captured,
    stderr: Captured,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let now = Arc::new(Mutex::new("2030-01-01T12:00:00Z".parse().unwrap()));
        let host = Self { folder, now, stdout: Captured::default(), stderr: Captured::default() };
        assert_eq!(host.run(&["init", "--unencrypted-keys", "--quiet"]), ExitStatus::Done);
        host
    }

    fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    fn set(&self, now: DateTime<Utc>) {
        *self.now.lock().unwrap() = now;
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn run(&self, args: &[&str]) -> ExitStatus {
        self.run_while(args, |_| ControlFlow::Break(()))
    }

    /// Runs a command with the simulated clock. A wait sets the clock forward, and passes the new time to `waits`,
    /// which decides whether the command continues.
    fn run_while(&self, args: &[&str], waits: impl Fn(DateTime<Utc>) -> ControlFlow<()> + 'static) -> ExitStatus {
        let repository = self.repository().into_os_string();
        let clock = Arc::clone(&self.now);
        let waiting = Arc::clone(&self.now);
        let world = World {
            now: Box::new(move || *clock.lock().unwrap()),
            wait: Box::new(move |duration: Duration| {
                let end = *waiting.lock().unwrap() + duration;
                *waiting.lock().unwrap() = end;
                waits(end)
            }),
            env: Box::new(move |name| (name == REPOSITORY_VARIABLE).then(|| repository.clone())),
            home: Some(self.folder.path().join("home")),
            stdout: Box::new(self.stdout.clone()),
            stderr: Box::new(self.stderr.clone()),
            ..World::isolated(self.now())
        };
        run(["lastmile-repo"].iter().chain(args).map(OsString::from), world)
    }

    fn run_until(&self, args: &[&str], end: DateTime<Utc>) -> ExitStatus {
        self.run_while(args, move |now| if now < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }

    fn signed(&self, file: &str) -> Value {
        let bytes = fs::read(self.repository().join("metadata").join(file)).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["signed"].clone()
    }

    fn version(&self, role: &str) -> u64 {
        let timestamp = self.signed("timestamp.json");
        if role == "timestamp" {
            return timestamp["version"].as_u64().unwrap();
        }
        let snapshot = timestamp["meta"]["snapshot.json"]["version"].as_u64().unwrap();
        if role == "snapshot" {
            return snapshot;
        }
        self.signed(&format!("{snapshot}.snapshot.json"))["meta"][&format!("{role}.json")]["version"].as_u64().unwrap()
    }

    fn expires(&self) -> DateTime<Utc> {
        self.signed("timestamp.json")["expires"].as_str().unwrap().parse().unwrap()
    }
}

fn events(stdout: &Captured) -> Vec<Value> {
    stdout.take_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_plan_is_reported_at_the_start_and_after_each_renewal() {
    let host = Host::new();
    let start = host.now();
    assert_eq!(host.run_until(&["renew", "--watch", "--json"], start + DAY * 4), ExitStatus::Done);
    let events = events(&host.stdout);
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let planned = of("planned");
    assert_eq!((&planned[0]["role"], &planned[0]["version"]), (&Value::from("snapshot"), &Value::from(1)));
    assert_eq!((&planned[1]["role"], &planned[1]["version"]), (&Value::from("timestamp"), &Value::from(1)));
    assert_eq!((&planned[2]["role"], &planned[2]["version"]), (&Value::from("timestamp"), &Value::from(2)));
    let at: DateTime<Utc> = planned[1]["at"].as_str().unwrap().parse().unwrap();
    assert!(at >= start + DAY * 2 && at <= start + DAY * 2 + DAY * 5 / 4, "{at}");
    let renewed = of("renewed");
    assert_eq!(renewed.len(), 1, "{events:?}");
    let expires: DateTime<Utc> = renewed[0]["expires"].as_str().unwrap().parse().unwrap();
    assert!(expires - DAY * 7 - at < TimeDelta::minutes(2), "{expires} {at}");
    assert_eq!(host.version("timestamp"), 2);
}

#[test]
fn five_years_pass_without_a_lapse() {
    let host = Host::new();
    let end = host.now() + DAY * 365 * 5;
    let mut restarts = 0;
    // The program is stopped and started again every 100 days. After every second stop, the host is down for two days.
    while host.now() < end {
        let stop = host.now() + DAY * 100;
        let (folder, earliest) = (host.repository(), Mutex::new(TimeDelta::MAX));
        let status = host.run_while(&["renew", "--watch", "root", "targets", "--quiet"], move |now| {
            if now.minute() != 0 {
                return ControlFlow::Continue(());
            }
            let bytes = fs::read(folder.join("metadata/timestamp.json")).unwrap();
            let document: Value = serde_json::from_slice(&bytes).unwrap();
            let expires: DateTime<Utc> = document["signed"]["expires"].as_str().unwrap().parse().unwrap();
            let mut earliest = earliest.lock().unwrap();
            *earliest = (*earliest).min(expires - now);
            assert!(*earliest > TimeDelta::hours(24), "the timestamp expires in {earliest} at {now}");
            if now < stop { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        assert_eq!(status, ExitStatus::Done, "{}", host.stderr.take_text());
        assert_eq!(host.run(&["verify", "--quiet"]), ExitStatus::Done, "{}", host.stderr.take_text());
        restarts += 1;
        if restarts % 2 == 0 {
            host.set(host.now() + DAY * 2);
        }
    }
    assert_eq!(host.stderr.take_text(), "");
    assert!(host.version("timestamp") >= 600, "{}", host.version("timestamp"));
    assert!(host.version("targets") >= 10 && host.repository().join("metadata/6.root.json").exists());
}

#[test]
fn a_clock_that_jumps_forward_or_back_causes_no_lapse() {
    let host = Host::new();
    let start = host.now();
    let jumps = Mutex::new(0);
    let now = Arc::clone(&host.now);
    let status = host.run_while(&["renew", "--watch", "--json"], move |time| {
        let mut jumps = jumps.lock().unwrap();
        *jumps += 1;
        match *jumps {
            // The host was suspended for a month.
            60 => *now.lock().unwrap() = time + DAY * 30,
            // The clock was set to an earlier year, and corrected later.
            120 => *now.lock().unwrap() = time - DAY * 1000,
            600 => *now.lock().unwrap() = time + DAY * 1000,
            1000 => return ControlFlow::Break(()),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    assert_eq!(status, ExitStatus::Done);
    assert!(host.expires() > host.now() + DAY, "{} {}", host.expires(), host.now());
    assert!(host.now() > start + DAY * 29);
    let events = events(&host.stdout);
    let failed = events.iter().filter(|event| event["event"] == "failed").count();
    assert!(failed < 20, "attempts while the clock was wrong: {failed}");
    let versions = events.iter().filter(|event| event["event"] == "renewed").count();
    assert!(versions <= 4, "{events:?}");
}

#[test]
fn another_role_does_not_stop_the_timestamp() {
    let host = Host::new();
    let start = host.now();
    let watched = ["renew", "--watch", "targets", "--json"];
    assert_eq!(host.run_until(&watched, start + TimeDelta::hours(1)), ExitStatus::Done);
    drop(host.stdout.take());
    // The keys of the other roles are lost while the command runs.
    let keys = host.repository().join("keys");
    let lost = Mutex::new(false);
    let end = start + DAY * 200;
    let status = host.run_while(&watched, move |now| {
        if !std::mem::replace(&mut *lost.lock().unwrap(), true) {
            for key in ["snapshot-1.pem", "targets-1.pem"] {
                fs::remove_file(keys.join(key)).unwrap();
            }
        }
        if now < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(status, ExitStatus::Done, "{}", host.stderr.take_text());
    assert!(host.expires() > host.now() + DAY, "the timestamp is renewed although targets and snapshot have expired");
    assert_eq!((host.version("snapshot"), host.version("targets")), (1, 1));
    let events = events(&host.stdout);
    let missing = events.iter().filter(|event| event["event"] == "not-renewed");
    let missing: Vec<_> = missing.map(|event| (event["role"].as_str().unwrap(), &event["renewal"])).collect();
    for role in ["snapshot", "targets"] {
        for renewal in ["due", "overdue", "urgent", "expired"] {
            let count = missing.iter().filter(|found| **found == (role, &Value::from(renewal))).count();
            assert_eq!(count, 1, "{role} {renewal}: {missing:?}");
        }
    }
}

#[test]
fn a_damaged_role_does_not_stop_the_timestamp() {
    let host = Host::new();
    let start = host.now();
    assert_eq!(host.run(&["key", "generate", "team", "--unencrypted"]), ExitStatus::Done);
    assert_eq!(host.run(&["delegate", "team", "--paths", "team/*", "--key", "file:keys/team.pem"]), ExitStatus::Done);
    fs::write(host.repository().join("metadata/1.team.json"), "damaged").unwrap();
    drop(host.stderr.take());
    host.set(start + DAY * 4);
    assert_eq!(host.run(&["renew"]), ExitStatus::Done, "{}", host.stderr.take_text());
    let renewed = host.version("timestamp");
    assert!(host.expires() > start + DAY * 10);
    let text = host.stderr.take_text();
    assert!(text.contains("warning: cannot read the roles that are not renewed"), "{text}");
    let status = host.run_until(&["renew", "--watch", "--json"], start + DAY * 8);
    assert_eq!(status, ExitStatus::Done);
    // The renewal of a snapshot also signs the timestamp.
    let version = host.version("timestamp");
    assert!(version == renewed + 1 || version == renewed + 2, "{version}: {}", host.stderr.take_text());
}

#[test]
fn a_failed_attempt_is_repeated_at_growing_intervals() {
    let host = Host::new();
    let start = host.now();
    let metadata = host.repository().join("metadata");
    let hidden = host.folder.path().join("hidden");
    // The folder is unavailable from one hour before the earliest possible renewal until six hours after the latest
    // one.
    let (away, back) = (start + DAY * 2 - TimeDelta::hours(1), start + DAY * 3 + TimeDelta::hours(12));
    let status = host.run_while(&["renew", "--watch", "--json"], move |now| {
        if now >= away && now < back && metadata.exists() {
            fs::rename(&metadata, &hidden).unwrap();
        }
        if now >= back && hidden.exists() {
            fs::rename(&hidden, &metadata).unwrap();
        }
        if now < start + DAY * 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(status, ExitStatus::Done);
    let events = events(&host.stdout);
    let failed: Vec<_> = events.iter().filter(|event| event["event"] == "failed").collect();
    assert!(failed.len() > 20 && failed.len() < 50, "{}", failed.len());
    assert_eq!(failed[0]["error"]["kind"], "no-such-name", "{}", failed[0]);
    assert_eq!(host.version("timestamp"), 2);
}

/// Copies the folder of a host, with its keys and the configuration of its user.
fn copy(host: &Host) -> Host {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let from = host.folder.path().join(".");
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(folder.path()).status().unwrap().success());
    let copy = Host { folder, now: Arc::clone(&host.now), stdout: Captured::default(), stderr: Captured::default() };
    // The configuration names the repository by the path of its folder, which differs in the copy.
    let config = copy.folder.path().join("home/.config/lastmile-repo/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    let old = host.folder.path().to_str().unwrap().to_string();
    fs::write(&config, text.replace(&old, copy.folder.path().to_str().unwrap())).unwrap();
    copy
}

#[test]
fn two_hosts_with_folders_of_their_own_renew_what_a_destination_serves() {
    let first = Host::new();
    let served = tempfile::tempdir().unwrap();
    let start = first.now();
    let destination = served.path().to_str().unwrap();
    assert_eq!(first.run(&["push", "--to", destination, "--quiet"]), ExitStatus::Done, "{}", first.stderr.take_text());
    let second = copy(&first);
    let config = second.folder.path().join("home/.config/lastmile-repo/config.toml");
    assert!(fs::read_to_string(config).unwrap().contains(destination));
    let watch = ["renew", "--watch", "--push", "--json"];
    let end = start + DAY * 60;
    let mut renewed = [0, 0];
    let mut highest = 1;
    // The hosts take turns of one to six days, so that each host finds renewals by the other host.
    for turn in 0.. {
        if first.now() >= end {
            break;
        }
        let host = [&first, &second][turn % 2];
        let until = host.now() + DAY * i32::try_from(turn % 6 + 1).unwrap();
        assert_eq!(host.run_until(&watch, until), ExitStatus::Done, "{}", host.stderr.take_text());
        let events = events(&host.stdout);
        let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
        assert_eq!(count("failed"), 0, "{events:?}");
        renewed[turn % 2] += count("renewed");
        let bytes = fs::read(served.path().join("metadata/timestamp.json")).unwrap();
        let timestamp = serde_json::from_slice::<Value>(&bytes).unwrap()["signed"].clone();
        let version = timestamp["version"].as_u64().unwrap();
        let expires: DateTime<Utc> = timestamp["expires"].as_str().unwrap().parse().unwrap();
        assert!(version >= highest, "the timestamp went back from {highest} to {version}");
        assert!(expires > host.now() + DAY, "the served timestamp expires {expires} at {}", host.now());
        highest = version;
    }
    assert!(renewed.iter().all(|count| *count > 3), "both hosts renew: {renewed:?}");
    assert_eq!(first.run(&["pull", "--quiet"]), ExitStatus::Done, "{}", first.stderr.take_text());
    assert_eq!(first.version("timestamp"), highest);
    assert_eq!(first.run(&["verify", "--quiet"]), ExitStatus::Done);
}

#[test]
fn a_destination_that_is_away_delays_only_the_push() {
    let host = Host::new();
    let parent = tempfile::tempdir().unwrap();
    let served = parent.path().join("served");
    fs::create_dir(&served).unwrap();
    assert_eq!(host.run(&["push", "--to", served.to_str().unwrap(), "--quiet"]), ExitStatus::Done);
    let away = parent.path().join("away");
    let start = host.now();
    let (from, back) = (start + DAY, start + DAY * 5);
    let place = served.clone();
    let status = host.run_while(&["renew", "--watch", "--push", "--json"], move |now| {
        if now >= from && now < back && place.exists() {
            fs::rename(&place, &away).unwrap();
        }
        if now >= back && away.exists() {
            fs::rename(&away, &place).unwrap();
        }
        if now < start + DAY * 6 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(status, ExitStatus::Done);
    let events = events(&host.stdout);
    assert!(events.iter().any(|event| event["event"] == "failed"), "{events:?}");
    let bytes = fs::read(served.join("metadata/timestamp.json")).unwrap();
    let timestamp = serde_json::from_slice::<Value>(&bytes).unwrap()["signed"]["version"].as_u64().unwrap();
    assert_eq!(timestamp, host.version("timestamp"), "{events:?}");
    assert!(timestamp > 1);
}

#[test]
fn what_another_process_publishes_in_the_folder_is_pushed_too() {
    let host = Host::new();
    let served = tempfile::tempdir().unwrap();
    assert_eq!(host.run(&["push", "--to", served.path().to_str().unwrap(), "--quiet"]), ExitStatus::Done);
    let package = host.folder.path().join("package");
    fs::write(&package, "1").unwrap();
    let (repository, home) = (host.repository(), host.folder.path().join("home"));
    let start = host.now();
    let has_added = Mutex::new(false);
    let status = host.run_while(&["renew", "--watch", "--push", "--json"], move |now| {
        if now > start + TimeDelta::hours(1) && !std::mem::replace(&mut *has_added.lock().unwrap(), true) {
            let world = World { home: Some(home.clone()), ..World::isolated(now) };
            let add = ["lastmile-repo".as_ref(), "add".as_ref(), package.as_os_str(), "-C".as_ref()];
            let add = add.into_iter().chain([repository.as_os_str()]).map(OsString::from);
            assert_eq!(run(add, world), ExitStatus::Done);
        }
        if now < start + DAY { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!(status, ExitStatus::Done);
    assert_eq!(host.version("snapshot"), 2);
    let published = fs::read(host.repository().join("metadata/timestamp.json")).unwrap();
    assert_eq!(fs::read(served.path().join("metadata/timestamp.json")).unwrap(), published);
}

#[test]
fn a_watch_needs_a_stored_destination_to_push() {
    let host = Host::new();
    assert_eq!(host.run(&["renew", "--watch", "--push"]), ExitStatus::Usage);
    let text = host.stderr.take_text();
    assert!(text.contains("push --to DESTINATION"), "{text}");
}

#[test]
fn a_watch_that_could_not_renew_a_role_does_not_start() {
    let host = Host::new();
    fs::remove_file(host.repository().join("keys/timestamp-1.pem")).unwrap();
    assert_eq!(host.run(&["renew", "--watch"]), ExitStatus::Failed);
    let text = host.stderr.take_text();
    assert!(text.contains("timestamp"), "{text}");
    assert_eq!(host.run(&["renew", "--watch", "no-such-role"]), ExitStatus::NoSuchName);
}

#[test]
fn a_dry_run_shows_the_plan() {
    let host = Host::new();
    assert_eq!(host.run(&["renew", "--watch", "--dry-run"]), ExitStatus::Done);
    let text = host.stdout.take_text();
    assert!(
        text.starts_with("snapshot version 1 expires 2030-01-22 12:00 UTC, and will be renewed at 2030-01-"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2);
    assert_eq!(host.version("timestamp"), 1);
}

#[test]
fn a_signal_stops_the_watch_although_each_step_takes_longer_than_the_pause_after_it() {
    let host = Host::new();
    let (repository, metadata) = (host.repository(), host.repository().join("metadata"));
    let (reads, waits) = (Arc::new(Mutex::new(0)), Mutex::new(0));
    let start = host.now();
    let world = World {
        // Each reading of the clock is two hours later than the previous one. The longest pause after a failed attempt
        // is only one hour.
        now: Box::new(move || {
            let mut reads = reads.lock().unwrap();
            *reads += 1;
            assert!(*reads < 1000, "the watch does not wait");
            start + TimeDelta::hours(2) * *reads
        }),
        wait: Box::new(move |_| {
            let mut waits = waits.lock().unwrap();
            *waits += 1;
            let _ = fs::remove_dir_all(&metadata);
            if *waits < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }),
        env: Box::new(move |name| (name == REPOSITORY_VARIABLE).then(|| repository.clone().into_os_string())),
        home: Some(host.folder.path().join("home")),
        stdout: Box::new(host.stdout.clone()),
        stderr: Box::new(host.stderr.clone()),
        ..World::isolated(start)
    };
    let args = ["lastmile-repo", "renew", "--watch", "--json"].map(OsString::from);
    assert_eq!(run(args.into_iter(), world), ExitStatus::Done);
    let failed: Vec<_> = events(&host.stdout).into_iter().filter(|event| event["event"] == "failed").collect();
    assert_eq!(failed.len(), 4);
    // The pause begins when the attempt ends, not when it starts. An attempt takes at least two hours.
    let again: Vec<DateTime<Utc>> =
        failed.iter().map(|event| event["again"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(again[0], start + TimeDelta::hours(2) * 4 + TimeDelta::minutes(1));
}
