//! The attacks of `lastmile_tests::scenario`, each played against the library and against a process.

use std::ffi::OsString;

use lastmile_tests::scenario::{self, Scenario, library, outside};

fn without_fault(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} plays are not as they must be:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_library_refuses_every_attack_and_recovers() {
    let played = library::run_all(&scenario::all());
    let wrong = played.into_iter().filter_map(|(scenario, play, result)| {
        result.err().map(|wrong| format!("{} [{}]: {wrong}", scenario.id, play.sample))
    });
    without_fault(&wrong.collect::<Vec<_>>());
}

#[test]
fn a_process_refuses_every_attack_that_can_be_told_from_outside() {
    let client: [OsString; 1] = [env!("CARGO_BIN_EXE_lastmile-conformance").into()];
    let played = scenario::side_by_side(0, &scenario::all(), |play| {
        play.is_for_others().then(|| outside::run(play, &client).expect("the client can be started"))
    });
    let wrong = played.into_iter().filter_map(|(Scenario { id, .. }, play, result)| {
        let (verdict, seen) = result?;
        (verdict != outside::Verdict::Refused).then(|| format!("{id} [{}]: {verdict}: {seen}", play.sample))
    });
    without_fault(&wrong.collect::<Vec<_>>());
}
