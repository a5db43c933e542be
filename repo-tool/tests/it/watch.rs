//! Tests of `renew --watch` with real processes: two processes renew the same repository, and stop when they receive a
//! signal.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chrono::{DateTime, TimeDelta, Utc};
use lastmile_repo_tool::{Immutable, Invocation, NewRepository, Protection, Unobserved, UserConfig};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::folder;

fn start(folder: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lastmile-repo"));
    command.env_clear().env("LASTMILE_REPO_CONFIG", folder.join("config.toml"));
    command.args(["renew", "--watch", "--json", "-C"]).arg(folder.join("repository"));
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Reads the events of `child` until the event `planned` names version 2 of the timestamp. Returns whether `child`
/// itself published this version.
fn read_events(child: &mut Child) -> bool {
    let mut is_renewed = false;
    for line in BufReader::new(child.stdout.as_mut().unwrap()).lines() {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let has = |name: &str, value: Value| event.get(name) == Some(&value);
        is_renewed |= has("role", "timestamp".into()) && has("event", "renewed".into());
        if has("role", "timestamp".into()) && has("event", "planned".into()) && has("version", 2.into()) {
            return is_renewed;
        }
    }
    panic!("the process ended early: {:?}", child.wait());
}

#[test]
fn one_of_two_processes_renews_and_both_stop_at_a_signal() {
    let folder = folder();
    // The timestamp was signed five days ago, so it is due.
    let signed: DateTime<Utc> = Utc::now() - TimeDelta::days(5);
    let invocation = Invocation::new(signed, UserConfig::at(&folder.path().join("config.toml")));
    let new = NewRepository { immutable: Immutable::none(), ..NewRepository::new(Protection::None) };
    new.create(&folder.path().join("repository"), &invocation, &mut Unobserved).unwrap();
    let mut processes = [start(folder.path()), start(folder.path())];
    let renewed = processes.each_mut().map(read_events);
    assert_eq!(renewed.iter().filter(|renewed| **renewed).count(), 1, "{renewed:?}");
    for (mut process, signal) in processes.into_iter().zip([Signal::TERM, Signal::INT]) {
        kill_process(Pid::from_child(&process), signal).unwrap();
        assert!(process.wait().unwrap().success());
    }
}
