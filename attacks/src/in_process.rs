//! Runs cases against `lastmile-client` in process, with real sockets and a real folder.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use lastmile_client::metadata::TargetPath;
use lastmile_client::{Error, Refusal, RefusedError};
use lastmile_testkit::{FakeNetwork, METADATA, TestClient, Versions, file_name};

use crate::case_server::{CaseServer, below, changed, newest};
use crate::{Action, Case, Expect, GOOD, Scenario, run_cases};

/// The time limit for all runs of a case together: the runs before the attack, the two runs during the attack, and the
/// run after the attack.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Runs a case. Returns the error with which the client refused the attack, or `None` if the client had to accept the
/// input.
///
/// # Errors
///
/// Returns a description of the first check that failed.
pub fn run(case: &Case) -> Result<Option<String>, String> {
    let server = CaseServer::new();
    let mut client = TestClient::with_root(case.shipped.clone(), &FakeNetwork::new());
    client.http = Some((server.url(), case.http.clone()));
    client.limits = case.limits.clone();
    client.retry_policy = case.retry_policy;
    client.now = case.clock[0];
    for network in &case.before {
        server.serve(network);
        honest_run(case, &client, network).map_err(|error| format!("before the attack: {error}"))?;
    }
    for network in &case.failed {
        server.serve(network);
        failed_run(&client, network).map_err(|error| format!("before the attack: {error}"))?;
    }
    if let Some(tamper) = &case.tamper {
        tamper(&client.store_path());
    }
    client.now = case.clock[1];
    let attack = attacked(case, &server, &client)?;
    let again = Case { advances: std::collections::BTreeSet::new(), ..case.clone() };
    let second = attacked(&again, &server, &client).map_err(|error| format!("the second time: {error}"))?;
    if attack != second && (case.advances.is_empty() || case.because.is_some()) {
        return Err(format!("the first time the result was {attack:?}, the second time {second:?}"));
    }
    client.now = case.clock[2];
    server.serve(&case.honest);
    honest_run(case, &client, &case.honest).map_err(|error| format!("after the attack: {error}"))?;
    if !client.files_outside().is_empty() {
        return Err(format!("the client wrote files outside its folders: {:?}", client.files_outside()));
    }
    Ok(attack)
}

/// A scenario, one of its cases, and the result of [`run`] for this case.
pub type CaseResult = (Scenario, Case, Result<Option<String>, String>);

/// Runs all cases of `scenarios` in parallel, and returns their results in order.
#[must_use]
pub fn run_all(scenarios: &[Scenario]) -> Vec<CaseResult> {
    run_cases(0, scenarios, |_, case| run_with_time_limit(case.clone()))
}

/// Runs a case with a time limit, and reports a panic as a failure.
fn run_with_time_limit(case: Case) -> Result<Option<String>, String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(run(&case)));
    // Count seconds instead of reading a clock. Otherwise, the client would appear to hang after the machine was
    // suspended.
    for _ in 0..TIME_LIMIT.as_secs() {
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => return Err("the client panicked, see above".to_owned()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    Err(format!("did not end within {} s", TIME_LIMIT.as_secs()))
}

fn honest_run(case: &Case, client: &TestClient, network: &FakeNetwork) -> Result<(), String> {
    let paths: Vec<TargetPath> =
        case.packages.iter().map(TargetPath::new).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let versions =
        client.update(&paths).map_err(|error| format!("an honest repository was refused: {}", error_chain(&error)))?;
    if versions[1] != newest(network) {
        return Err(format!(
            "version {} of the timestamp is trusted, but {} is published",
            versions[1],
            newest(network)
        ));
    }
    let output = below(&client.output_path());
    match case.packages.iter().find(|path| output.get(*path).is_none_or(|bytes| bytes != GOOD)) {
        Some(path) => Err(format!("`{path}` was not downloaded")),
        None => Ok(()),
    }
}

/// Checks that the client accepts the timestamp of `network`, but that the update fails.
fn failed_run(client: &TestClient, network: &FakeNetwork) -> Result<(), String> {
    if let Ok(versions) = client.update(&[]) {
        return Err(format!("the update succeeded instead of failing; the trusted versions are {versions:?}"));
    }
    let published = network.file(&format!("{METADATA}timestamp.json"));
    if client.files().get("timestamp.json") != published.as_ref() {
        return Err("after the failed update, the new timestamp is not trusted".to_owned());
    }
    Ok(())
}

/// All files that an attack could change.
#[derive(PartialEq)]
struct State {
    trusted: BTreeMap<String, Vec<u8>>,
    stored: BTreeMap<String, Vec<u8>>,
    output: BTreeMap<String, Vec<u8>>,
    outside: Vec<String>,
}

fn state(client: &TestClient) -> State {
    let mut stored = client.all_stored();
    // This file contains the time of the last update. It changes in every run, and no decision about trust depends on
    // it.
    stored.remove("state/stamp.json");
    State { trusted: client.files(), stored, output: below(&client.output_path()), outside: client.files_outside() }
}

fn attacked(case: &Case, server: &CaseServer, client: &TestClient) -> Result<Option<String>, String> {
    let before = state(client);
    server.attack(case);
    let result = server.counted(case, || act(case, client))?;
    let after = state(client);
    if before.outside != after.outside {
        return Err(format!("the client wrote files outside its folders: {:?}", after.outside));
    }
    let (who, why) = match &case.expect {
        Expect::Accepted => {
            let changes = changed(&before.trusted, &after.trusted);
            if case.changes_nothing && !changes.is_empty() {
                return Err(format!("trusted files changed: {changes:?}"));
            }
            return accepted(case, &result.map_err(|error| error_chain(&error)), &after).map(|()| None);
        }
        Expect::Refused(who, why) => (who, *why),
    };
    let error = match result {
        Ok(versions) => return Err(format!("the attack was accepted; the trusted versions are {versions:?}")),
        Err(error) => error,
    };
    if subject_and_reason(&error) != (who.clone(), why.to_owned()) {
        return Err(format!(
            "refused for an unexpected reason, {:?}: {}",
            subject_and_reason(&error),
            error_chain(&error)
        ));
    }
    if let Some(text) = case.because.filter(|text| !error_chain(&error).contains(text)) {
        return Err(format!("the error does not contain {text:?}: {}", error_chain(&error)));
    }
    let advanced: Vec<String> = case.advances.iter().map(|role| file_name(role, None)).collect();
    let mut found = changed(&before.trusted, &after.trusted);
    found.sort();
    if found != advanced {
        return Err(format!("the trusted files {found:?} changed, expected {advanced:?}"));
    }
    if advanced.is_empty() && !case.before.is_empty() && before.stored != after.stored {
        return Err(format!("the client's stored files changed: {:?}", changed(&before.stored, &after.stored)));
    }
    if before.output != after.output {
        return Err(format!("downloaded files changed: {:?}", changed(&before.output, &after.output)));
    }
    Ok(Some(error_chain(&error)))
}

fn act(case: &Case, client: &TestClient) -> Result<Versions, Error> {
    match &case.action {
        Action::Refresh => client.update(&[]),
        Action::Get(path) => {
            let name = |error| Error::Refused(RefusedError::from(Refusal::Name(error)));
            client.update(&[TargetPath::new(path).map_err(name)?])
        }
    }
}

fn accepted(case: &Case, result: &Result<Versions, String>, after: &State) -> Result<(), String> {
    result.as_ref().map_err(|error| format!("legal input was refused: {error}"))?;
    match &case.action {
        Action::Get(path) if after.output.get(path).is_none_or(|bytes| bytes != GOOD) => {
            Err(format!("`{path}` was not downloaded"))
        }
        _ => Ok(()),
    }
}

/// Returns the subject and the reason of an error, in the form of [`Expect::Refused`].
fn subject_and_reason(error: &Error) -> (String, String) {
    let variant = |text: String| text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    match error {
        Error::Refused(error) | Error::Limit(error) => match &error.refusal {
            Refusal::Metadata(verdict) => (verdict.role.to_string(), variant(format!("{:?}", verdict.kind))),
            Refusal::Target { path, error } => (path.to_string(), variant(format!("{error:?}"))),
            Refusal::TooLong { file, .. } => (file.clone(), "TooLong".into()),
            Refusal::Name(_) => ("name".into(), "Name".into()),
            Refusal::Policy(refused) => (refused.path.to_string(), "Policy".into()),
            other => (other.to_string(), variant(format!("{other:?}"))),
        },
        Error::Network(error) => (error.what.trim_matches('`').to_owned(), variant(format!("{:?}", error.cause))),
        Error::NoSuchTarget(path) => (path.to_string(), "NoSuchTarget".into()),
        other => (other.to_string(), variant(format!("{other:?}"))),
    }
}

/// Returns the error and its causes, joined with colons, as programs print them.
fn error_chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
