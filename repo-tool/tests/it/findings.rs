//! The findings that `verify` reports about a repository that clients accept.

use std::fs;
use std::path::Path;

use lastmile_metadata::{PathPattern, Paths, RoleName, TargetNames};
use lastmile_repo_tool::internal::finding::lines;
use lastmile_repo_tool::internal::verify::{self, Verification};
use lastmile_repo_tool::{DelegationChange, Rule, Severity};

use crate::delegations::{change_delegation, delegate, two_delegations};
use crate::world::World;

fn verify(world: &World) -> Verification {
    verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap()
}

fn of(found: &Verification, rule: Rule) -> Vec<&str> {
    found.findings.iter().filter(|finding| finding.rule == rule).map(|finding| finding.text.as_str()).collect()
}

#[test]
fn a_new_repository_has_notes_and_no_warning() {
    let world = World::new();
    world.add("a", "content");
    let found = verify(&world);
    assert!(found.is_good());
    assert_eq!(found.most_severe(), Some(Severity::Note), "{:?}", found.findings);
    assert_eq!(of(&found, Rule::ThresholdOfOne), ["one key is enough to sign for targets"]);
}

#[test]
fn low_thresholds_are_reported() {
    let world = World::new();
    let key = world.public("targets-1");
    world
        .change(|edit| {
            edit.set_threshold(&RoleName::ROOT, 1).unwrap();
            (0..10).for_each(|number| delegate(edit, &format!("team-{number}"), &format!("{number}/*"), &key));
        })
        .unwrap();
    let found = verify(&world);
    assert_eq!(of(&found, Rule::RootThresholdOfOne).len(), 1);
    let expected = "one key is enough to sign for targets, team-0, team-1, team-2, team-3, team-4, team-5, team-6 and 3 more roles";
    assert_eq!(of(&found, Rule::ThresholdOfOne), [expected]);
    assert_eq!(found.most_severe(), Some(Severity::Warning));
    assert!(found.is_good(), "warnings must not make the repository invalid, because clients accept it");
}

#[test]
fn a_key_of_several_roles_is_reported_with_its_roles() {
    let world = World::new();
    let targets = world.public("targets-1");
    let online = world.public("timestamp-1");
    let root = world.public("root-1");
    let shared = |rule: Rule| of(&verify(&world), rule).into_iter().map(str::to_owned).collect::<Vec<_>>();
    world.change(|edit| delegate(edit, "docs", "docs/*", &targets)).unwrap();
    assert!(matches!(&*shared(Rule::SharedKey), [text] if text.ends_with("signs for docs, targets")));
    world.change(|edit| delegate(edit, "nightly", "nightly/*", &online)).unwrap();
    assert!(
        matches!(&*shared(Rule::OnlineKeyForTargets), [text] if text.contains("for timestamp") && text.contains("for nightly"))
    );
    world.change(|edit| delegate(edit, "odd", "odd/*", &root)).unwrap();
    assert!(matches!(&*shared(Rule::SharedRootKey), [text] if text.contains("signs for odd and root")));
}

#[test]
fn a_long_expiry_is_reported_with_its_role() {
    let world = World::new();
    let days = |role: RoleName, days: u32| {
        let mut config = world.open().config.clone();
        let mut role_config = config.role(&role);
        role_config.set_expires_days(days);
        config.set_role(role.as_str(), role_config);
        fs::write(world.layout().config(), config.text()).unwrap();
        world.change(|edit| edit.sign_again(&role).unwrap()).unwrap();
        let found = verify(&world);
        of(&found, Rule::LongExpiry).len()
    };
    assert_eq!(days(RoleName::TIMESTAMP, 31), 0);
    assert_eq!(days(RoleName::TIMESTAMP, 32), 1);
    assert_eq!(days(RoleName::TARGETS, 731), 1);
    assert_eq!(days(RoleName::TARGETS, 3650), 2);
}

#[test]
fn the_reason_why_clients_do_not_find_a_target_is_reported() {
    let hidden = |change: &DelegationChange| {
        let world = two_delegations();
        change_delegation(&world, change);
        let found = verify(&world);
        of(&found, Rule::HiddenTarget).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let shadowed = "clients do not find shared/x of b: it is hidden by a, which has a higher priority and lists a target \
                    with that path";
    assert_eq!(hidden(&DelegationChange::default()), [shadowed]);
    let terminated = "clients do not find shared/b of b: it is hidden by a, which is terminating and covers that path: \
                      clients search no further";
    let terminating = DelegationChange { terminating: Some(true), ..DelegationChange::default() };
    assert_eq!(hidden(&terminating), [terminated, shadowed]);
    let not_covered =
        "clients do not find shared/a of a: the delegations that lead to that role do not cover this path";
    let shadowed = "clients do not find shared/x of a: it is hidden by b, which has a higher priority and lists a target \
                    with that path";
    let paths = Some(Paths::Patterns(vec![PathPattern::new("other/*")]));
    assert_eq!(hidden(&DelegationChange { paths, ..DelegationChange::default() }), [not_covered, shadowed]);
}

#[test]
fn names_that_some_platforms_cannot_store_are_reported() {
    let paths = ["a", "A", "dir/CON", "../up", "x:y", "fine/name.txt"]
        .map(|name| lastmile_metadata::TargetPath::new(name).unwrap());
    let found = lastmile_repo_tool::internal::practice::target_names(&paths);
    let of = |rule: Rule| found.iter().filter(|finding| finding.rule == rule).count();
    assert_eq!((of(Rule::DangerousTargetName), of(Rule::NamesDifferByCase)), (3, 1), "{found:?}");
}

#[test]
fn people_see_eight_findings_of_a_rule_and_the_number_of_the_others() {
    let paths: Vec<_> =
        (0..20).map(|number| lastmile_metadata::TargetPath::new(format!("x:{number}")).unwrap()).collect();
    let found = lastmile_repo_tool::internal::practice::target_names(&paths);
    assert_eq!(found.len(), 20);
    let lines = lines(&found);
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[8].1, "… and 12 more like the last one (dangerous-target-name)");
}

#[test]
fn every_rule_is_documented() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = Rule::ALL
        .iter()
        .map(|rule| format!("| `{}` | {} | {} |", rule.name(), rule.severity().name(), rule.explanation()))
        .collect();
    assert_eq!(rows, expected, "the table in docs/findings.md (left) must list all rules (right)");
}
