//! Delegations (TUF specification 4.5) and bins (TAP 15).

use lastmile_keys::PublicKey;
use lastmile_metadata::{Algorithm, DelegatedRoles, Hashes, Key, PathPattern, Paths, RoleName, TargetFile, TargetPath};
use lastmile_repo_tool::internal::names;
use lastmile_repo_tool::{
    DelegationChange, Draft, DraftError, Edit, EditError, Error, HolderChange, NewBins, NewDelegation, NotFoundReason,
    Outcome, Position, PublicationError, RoleNameError, Signing, Trust, Unobserved,
};

use crate::world::World;

pub(crate) fn delegate(edit: &mut Edit<'_>, name: &str, pattern: &str, key: &PublicKey) {
    delegate_from(edit, &RoleName::TARGETS, name, pattern, key);
}

pub(crate) fn delegate_from(edit: &mut Edit<'_>, from: &RoleName, name: &str, pattern: &str, key: &PublicKey) {
    let new = NewDelegation {
        name: RoleName::delegated(name).unwrap(),
        paths: Paths::Patterns(vec![PathPattern::new(pattern)]),
        trust: Trust { keys: vec![key.clone()], threshold: 1 },
        terminating: false,
    };
    edit.delegate(from, new).unwrap();
}

fn bins(world: &World, succinct: bool) -> NewBins {
    let trust = Trust { keys: vec![world.public("targets-1")], threshold: 1 };
    NewBins { bit_length: 3, name_prefix: "bin".into(), trust, succinct }
}

/// Distributes the targets of the top-level role into 8 succinct bins.
pub(crate) fn make_bins(world: &World) {
    world.change(|edit| edit.make_bins(&RoleName::TARGETS, &bins(world, true), &|_| {}).unwrap()).unwrap();
}

#[test]
fn f_4_4_1_the_snapshot_lists_every_delegated_role() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    world
        .change_with(&[uri], &mut Unobserved, |edit| {
            delegate(edit, "a", "a/*", &key);
            delegate_from(edit, &RoleName::delegated("a").unwrap(), "b", "a/*", &key);
        })
        .unwrap();
    let meta = &world.metadata("2.snapshot.json")["signed"]["meta"];
    let listed: Vec<&String> = meta.as_object().unwrap().keys().collect();
    assert_eq!(listed, ["a.json", "b.json", "targets.json"]);
}

#[test]
fn a_target_outside_the_delegated_paths_is_not_published() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    let role = RoleName::delegated("a").unwrap();
    let refused = world.add_to(&role, "b/x", "1", &mut Unobserved);
    assert!(matches!(refused, Err(Error::Draft(_))), "{refused:?}");
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 2);
    world.add_to(&role, "a/x", "1", &mut Unobserved).unwrap();
    assert_eq!(world.fetch("a/x").unwrap().unwrap(), b"1");
}

#[test]
fn g_2_1_2_clients_do_not_trust_a_role_whose_delegation_was_removed() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    let role = RoleName::delegated("a").unwrap();
    world.add_to(&role, "a/x", "1", &mut Unobserved).unwrap();
    world.change(|edit| drop(edit.undelegate(None, &role).unwrap())).unwrap();
    assert_eq!(world.fetch("a/x").unwrap(), None);
    // If a role delegates to `a` again, the versions of `a` continue, because clients would refuse lower versions.
    world.change(|edit| delegate(edit, "a", "a/*", &key)).unwrap();
    assert_eq!(world.fetch("a/x").unwrap(), None);
    let snapshot = world.metadata("5.snapshot.json");
    assert_eq!(snapshot["signed"]["meta"]["a.json"]["version"], 3);
}

#[test]
fn tap_15_targets_of_the_role_move_into_the_bins() {
    for succinct in [true, false] {
        let world = World::new();
        for number in 0..20 {
            world.add(&format!("file-{number}"), &number.to_string());
        }
        world.change(|edit| edit.make_bins(&RoleName::TARGETS, &bins(&world, succinct), &|_| {}).unwrap()).unwrap();
        let mut repository = world.open();
        assert_eq!(repository.published.targets().unwrap().len(), 0);
        let roles = repository.published.read_all().unwrap();
        assert_eq!(roles.len(), 9);
        drop(repository);
        for number in 0..20 {
            let name = format!("file-{number}");
            assert_eq!(world.fetch(&name).unwrap().unwrap(), number.to_string().into_bytes(), "{name}");
        }
    }
}

#[test]
fn removed_bins_return_their_targets_to_the_role() {
    let world = World::new();
    for number in 0..5 {
        world.add(&format!("file-{number}"), &number.to_string());
    }
    world.change(|edit| edit.make_bins(&RoleName::TARGETS, &bins(&world, true), &|_| {}).unwrap()).unwrap();
    let name = RoleName::listed("bin").unwrap();
    world.change(|edit| drop(edit.undelegate(None, &name).unwrap())).unwrap();
    assert_eq!(world.open().published.targets().unwrap().len(), 5);
    assert_eq!(world.fetch("file-3").unwrap().unwrap(), b"3");
}

#[test]
fn bins_never_replace_other_roles() {
    let world = World::new();
    let a = RoleName::delegated("a").unwrap();
    let b = RoleName::delegated("b").unwrap();
    let key = world.public("targets-1");
    world
        .change(|edit| {
            delegate(edit, "a", "a/*", &key);
            delegate(edit, "b", "b/*", &key);
        })
        .unwrap();
    world.add_to(&a, "a/x", "1", &mut Unobserved).unwrap();
    world.change(|edit| edit.make_bins(&a, &bins(&world, true), &|_| {}).unwrap()).unwrap();
    let new = bins(&world, true);
    let mut repository = world.open();
    let refused = repository.edit(Draft::default()).make_bins(&b, &new, &|_| {});
    assert!(
        matches!(&refused, Err(Error::Edit(EditError::BinNameTaken { delegator, .. })) if *delegator == a),
        "{refused:?}"
    );
    drop(repository);
    assert_eq!(world.fetch("a/x").unwrap().unwrap(), b"1");
}

#[test]
fn a_star_selects_all_bins() {
    for (succinct, count) in [(true, 1), (false, 8)] {
        let world = World::new();
        world.change(|edit| edit.make_bins(&RoleName::TARGETS, &bins(&world, succinct), &|_| {}).unwrap()).unwrap();
        let mut repository = world.open();
        assert_eq!(repository.published.expand("bin-*").unwrap().len(), count);
        assert!(matches!(repository.published.expand("other-*"), Err(Error::NotFound(_))));
    }
}

#[test]
fn a_release_of_one_target_writes_only_one_of_many_bins() {
    let world = World::new();
    world.change(|edit| edit.make_bins(&RoleName::TARGETS, &bins(&world, true), &|_| {}).unwrap()).unwrap();
    let before = world.files("metadata");
    world.add("a", "1");
    let new: Vec<String> = world.files("metadata").into_iter().filter(|file| !before.contains(file)).collect();
    assert_eq!(new.len(), 2, "{new:?}");
    assert!(new.iter().any(|file| file.starts_with("2.bin-")) && new.contains(&"3.snapshot.json".to_string()));
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
    let path = TargetPath::new("a").unwrap();
    world.change(|edit| assert!(edit.remove_target(None, &path).unwrap().as_str().starts_with("bin-"))).unwrap();
    assert_eq!(world.fetch("a").unwrap(), None);
}

#[test]
fn a_threshold_that_the_keys_cannot_reach_is_refused() {
    let world = World::new();
    world
        .change(|edit| {
            assert!(matches!(
                edit.set_threshold(&RoleName::TARGETS, 2),
                Err(Error::Edit(EditError::TooFewKeys { keys: 1, threshold: 2, .. }))
            ));
            let mut new = bins(&world, true);
            new.trust.threshold = 2;
            assert!(matches!(
                edit.make_bins(&RoleName::TARGETS, &new, &|_| {}),
                Err(Error::Edit(EditError::UnreachableThreshold { keys: 1, threshold: 2 }))
            ));
        })
        .err();
}

#[test]
fn a_role_name_that_looks_like_a_versioned_file_is_refused() {
    for name in ["2.root", "17.targets", "1.x"] {
        assert!(
            matches!(
                names::new_role(name),
                Err(Error::Edit(EditError::RoleName(RoleNameError::LooksVersioned { .. })))
            ),
            "{name}"
        );
    }
    for name in ["v2.root", "2-root", "team"] {
        assert!(names::new_role(name).is_ok(), "{name}");
    }
}

#[test]
fn a_found_target_is_returned_with_the_roles_that_lead_to_it() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    let role = |name| RoleName::delegated(name).unwrap();
    world
        .change_with(&[uri], &mut Unobserved, |edit| {
            delegate(edit, "first", "nothing/*", &key);
            delegate(edit, "team ö+", "team/*", &key);
            delegate_from(edit, &role("team ö+"), "other", "team/*", &key);
            delegate_from(edit, &role("other"), "below", "team/*", &key);
            delegate_from(edit, &role("team ö+"), "inner", "team/*", &key);
        })
        .unwrap();
    world.add_to(&role("inner"), "team/app", "1", &mut Unobserved).unwrap();
    let found = world.open().published.find(&TargetPath::new("team/app").unwrap()).unwrap().unwrap();
    let chain: Vec<RoleName> = found.chain.into_iter().map(|(role, _)| role).collect();
    assert_eq!((chain, found.target.length), (vec![RoleName::TARGETS, role("team ö+"), role("inner")], 1));
    assert!(world.open().published.find(&TargetPath::new("team/b").unwrap()).unwrap().is_none());
}

#[test]
fn a_pending_change_of_a_role_whose_published_file_is_broken_is_refused() {
    let world = World::new();
    let (key, uri) = world.key("a");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    std::fs::remove_file(world.layout().keys().join("a.pem")).unwrap();
    let role = RoleName::delegated("a").unwrap();
    let staged = world.change(|edit| edit.sign_again(&role).unwrap()).unwrap();
    assert!(matches!(staged, Outcome::Staged(_)));
    let published = world.layout().metadata().join("1.a.json");
    let text = std::fs::read_to_string(&published).unwrap();
    std::fs::write(published, text.replace("2030", "2031")).unwrap();
    let error = world.open().staged().err();
    assert!(matches!(error, Some(Error::Publication(PublicationError::Damaged { .. }))), "{error:?}");
}

#[test]
fn a_delegation_is_refused_while_a_published_file_that_may_contain_the_same_role_is_broken() {
    let world = World::new();
    let (key, uri) = world.key("a");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    let published = world.layout().metadata().join("1.a.json");
    let text = std::fs::read_to_string(&published).unwrap();
    std::fs::write(published, text.replace("2030", "2031")).unwrap();
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    let new = NewDelegation {
        name: RoleName::delegated("b").unwrap(),
        paths: Paths::Patterns(vec![PathPattern::new("b/*")]),
        trust: Trust { keys: vec![key], threshold: 1 },
        terminating: false,
    };
    let error = edit.delegate(&RoleName::TARGETS, new).err();
    assert!(matches!(error, Some(Error::Publication(PublicationError::Damaged { .. }))), "{error:?}");
}

#[test]
fn a_target_that_a_terminating_role_hides_is_refused_with_the_name_of_that_role() {
    let world = World::new();
    let key = world.public("targets-1");
    let new = NewDelegation {
        name: RoleName::delegated("first").unwrap(),
        paths: Paths::Patterns(vec![PathPattern::new("shared/*")]),
        trust: Trust { keys: vec![key.clone()], threshold: 1 },
        terminating: true,
    };
    world.change(|edit| edit.delegate(&RoleName::TARGETS, new).unwrap()).unwrap();
    world.change(|edit| delegate(edit, "second", "shared/*", &key)).unwrap();
    let hashes = Hashes::of(b"content", &[Algorithm::Sha256]).unwrap();
    let target = TargetFile::new(TargetPath::new("shared/x").unwrap(), 7, hashes);
    let second = RoleName::delegated("second").unwrap();
    let error = world.change(|edit| drop(edit.add_target(&second, target).unwrap())).unwrap_err();
    let Error::Draft(DraftError::TargetNotFound { reason, .. }) = error else { panic!("{error:?}") };
    assert_eq!(reason, NotFoundReason::Terminated { by: RoleName::delegated("first").unwrap() });
    assert!(reason.to_string().contains("hidden by first"), "{reason}");
}

/// Returns a repository with the delegations `a` and `b`. Role `a` lists the targets `shared/a` and `shared/x`, and
/// role `b` lists `shared/b` and `shared/x`.
pub(crate) fn two_delegations() -> World {
    let world = World::new();
    let key = world.public("targets-1");
    world
        .change(|edit| {
            delegate(edit, "a", "shared/*", &key);
            delegate(edit, "b", "shared/*", &key);
        })
        .unwrap();
    for role in ["b", "a"] {
        let name = RoleName::delegated(role).unwrap();
        world.add_to(&name, &format!("shared/{role}"), role, &mut Unobserved).unwrap();
    }
    let a = RoleName::delegated("a").unwrap();
    let b = RoleName::delegated("b").unwrap();
    world.add_to(&b, "shared/x", "from b", &mut Unobserved).unwrap();
    world.add_to(&a, "shared/x", "from a", &mut Unobserved).unwrap();
    world
}

pub(crate) fn change_delegation(world: &World, change: &DelegationChange) -> Vec<HolderChange> {
    let mut moved = Vec::new();
    let a = RoleName::delegated("a").unwrap();
    world.change(|edit| moved = edit.change_delegation(None, &a, change).unwrap()).unwrap();
    moved
}

fn moved(path: &str, before: &str, after: Option<&str>) -> HolderChange {
    let role = |name| RoleName::delegated(name).unwrap();
    HolderChange { path: TargetPath::new(path).unwrap(), before: role(before), after: after.map(role) }
}

#[test]
fn the_order_of_delegations_can_be_changed() {
    let world = two_delegations();
    assert_eq!(world.fetch("shared/x").unwrap().unwrap(), b"from a");
    let b = RoleName::delegated("b").unwrap();
    let after_b = DelegationChange { position: Some(Position::After(b.clone())), ..DelegationChange::default() };
    assert_eq!(change_delegation(&world, &after_b), [moved("shared/x", "a", Some("b"))]);
    assert_eq!(world.fetch("shared/x").unwrap().unwrap(), b"from b");
    let before_b = DelegationChange { position: Some(Position::Before(b)), ..DelegationChange::default() };
    assert_eq!(change_delegation(&world, &before_b), [moved("shared/x", "b", Some("a"))]);
    assert_eq!(world.fetch("shared/x").unwrap().unwrap(), b"from a");
}

#[test]
fn the_paths_of_a_delegation_can_be_changed_and_lost_targets_are_reported() {
    let world = two_delegations();
    let paths = Paths::Patterns(vec![PathPattern::new("other/*")]);
    let change = DelegationChange { paths: Some(paths), ..DelegationChange::default() };
    let expected = [moved("shared/a", "a", None), moved("shared/x", "a", Some("b"))];
    assert_eq!(change_delegation(&world, &change), expected);
    assert_eq!(world.fetch("shared/a").unwrap(), None);
    assert_eq!(world.fetch("shared/x").unwrap().unwrap(), b"from b");
    world.add_to(&RoleName::delegated("a").unwrap(), "other/y", "1", &mut Unobserved).unwrap();
    assert_eq!(world.fetch("other/y").unwrap().unwrap(), b"1");
}

#[test]
fn a_delegation_can_become_terminating_and_back() {
    let world = two_delegations();
    let terminating = |value| DelegationChange { terminating: Some(value), ..DelegationChange::default() };
    assert_eq!(change_delegation(&world, &terminating(true)), [moved("shared/b", "b", None)]);
    assert_eq!(world.fetch("shared/b").unwrap(), None);
    assert_eq!(change_delegation(&world, &terminating(false)), []);
    assert_eq!(world.fetch("shared/b").unwrap().unwrap(), b"b");
}

#[test]
fn the_threshold_of_a_delegation_can_be_changed_up_to_its_keys() {
    let world = two_delegations();
    let (key, uri) = world.key("second");
    let a = RoleName::delegated("a").unwrap();
    world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&a, &[key], &[]).unwrap()).unwrap();
    let change = DelegationChange { threshold: Some(2), ..DelegationChange::default() };
    assert_eq!(change_delegation(&world, &change), []);
    assert_eq!(world.fetch("shared/x").unwrap().unwrap(), b"from a");
    let mut repository = world.open();
    let too_many = DelegationChange { threshold: Some(3), ..DelegationChange::default() };
    let refused = repository.edit(Draft::default()).change_delegation(None, &a, &too_many);
    assert!(matches!(refused, Err(Error::Edit(EditError::TooFewKeys { keys: 2, threshold: 3, .. }))), "{refused:?}");
}

#[test]
fn setting_a_delegation_to_its_current_values_changes_nothing() {
    let world = two_delegations();
    let a = RoleName::delegated("a").unwrap();
    let change = DelegationChange {
        paths: Some(Paths::Patterns(vec![PathPattern::new("shared/*")])),
        threshold: Some(1),
        terminating: Some(false),
        position: Some(Position::Before(a.clone())),
    };
    let outcome = world.change(|edit| drop(edit.change_delegation(None, &a, &change).unwrap())).unwrap();
    assert!(matches!(outcome, Outcome::Nothing), "{outcome:?}");
}

#[test]
fn bins_and_unknown_roles_have_no_delegation_to_change() {
    let terminating = DelegationChange { terminating: Some(true), ..DelegationChange::default() };
    let bin = RoleName::delegated("bin-3").unwrap();
    let absent = RoleName::delegated("absent").unwrap();
    for succinct in [true, false] {
        let world = World::new();
        world.change(|edit| edit.make_bins(&RoleName::TARGETS, &bins(&world, succinct), &|_| {}).unwrap()).unwrap();
        let mut repository = world.open();
        let mut edit = repository.edit(Draft::default());
        let refused = edit.change_delegation(None, &bin, &terminating);
        assert!(matches!(refused, Err(Error::Edit(EditError::IsBin { .. }))), "{refused:?}");
        let refused = edit.change_delegation(Some(&RoleName::TARGETS), &absent, &terminating);
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    }
    let world = two_delegations();
    let mut repository = world.open();
    let change = DelegationChange { position: Some(Position::After(absent)), ..DelegationChange::default() };
    let a = RoleName::delegated("a").unwrap();
    let refused = repository.edit(Draft::default()).change_delegation(None, &a, &change);
    assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
}

#[test]
fn a_target_is_removed_from_the_role_in_which_clients_find_it() {
    let world = World::new();
    let key = world.public("targets-1");
    let target = TargetFile::new(TargetPath::new("x").unwrap(), 1, Hashes::of(b"1", &[Algorithm::Sha256]).unwrap());
    // The order of the names must not matter, so the role with the higher priority has the name that sorts last.
    let [first, second] = ["z", "a"].map(|name| RoleName::delegated(name).unwrap());
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    for role in [&first, &second] {
        delegate(&mut edit, role.as_str(), "*", &key);
        edit.add_target(role, target.clone()).unwrap();
    }
    for expected in [&first, &second] {
        assert_eq!(edit.remove_target(None, &target.path).unwrap(), *expected);
    }
    assert!(matches!(edit.remove_target(None, &target.path), Err(Error::NotFound(_))));
}

#[test]
fn a_role_to_which_two_roles_delegate_is_signed_with_the_keys_of_both() {
    let world = World::new();
    let top = world.public("targets-1");
    let [(one, one_uri), (other, other_uri)] = ["one", "other"].map(|name| world.key(name));
    let [a, b, shared] = ["a", "b", "shared"].map(|name| RoleName::delegated(name).unwrap());
    world
        .change_with(&[one_uri, other_uri], &mut Unobserved, |edit| {
            delegate(edit, "a", "*/*", &top);
            delegate(edit, "b", "*/*", &top);
            delegate_from(edit, &a, "shared", "one/*", &one);
            // The tool does not delegate to a role twice, but other tools do.
            let mut delegations = edit.view(&a).unwrap().delegations.clone().unwrap();
            let key = Key::from_public(&other);
            let DelegatedRoles::Listed(roles) = &mut delegations.roles else { panic!() };
            roles[0].keyids = vec![key.keyid()];
            roles[0].paths = Paths::Patterns(vec![PathPattern::new("other/*")]);
            delegations.keys = [(key.keyid(), key)].into();
            edit.targets(&b).unwrap().delegations = Some(delegations);
        })
        .unwrap();
    for path in ["one/x", "other/x"] {
        world.add_to(&shared, path, "1", &mut Unobserved).unwrap();
        assert_eq!(world.fetch(path).unwrap().unwrap(), b"1");
    }
    for key in ["one", "other"] {
        world.without_key(key, || {
            assert!(matches!(world.add_to(&shared, "one/y", key, &mut Unobserved).unwrap(), Outcome::Staged(_)));
            let mut repository = world.open();
            let draft = repository.staged().unwrap();
            let plan = repository.plan(draft, Signing::All).unwrap();
            assert!(matches!(repository.conclude(&plan, &mut Unobserved).unwrap(), Outcome::Staged(_)), "{key}");
        });
        world.publish_pending();
        assert_eq!(world.fetch("one/y").unwrap().unwrap(), key.as_bytes());
    }
}
