//! Changes to many targets at once: lists of targets, and changes to the number of bins.

use lastmile_cli_support::ExitStatus;
use lastmile_client::{MemoryStore, blocking};
use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::intake::{Hidden, find};
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::internal::target_source::TargetSource as _;
use lastmile_repo_tool::{AddOptions, Draft, DraftError, EditError, Error, NewBins, Signing, Trust, Unobserved};
use sha2::{Digest as _, Sha256};

use crate::delegations::{delegate, delegate_from};
use crate::policies::Maintainer;
use crate::world::{World, is_published, target_list};

fn list(content: &str, names: impl IntoIterator<Item = String>) -> List {
    let digest = hex::encode(Sha256::digest(content));
    let lines = names.into_iter().map(|name| format!("{digest} {} {name}\n", content.len()));
    target_list(&lines.collect::<String>())
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("folder-{}/package {number}", number % 7))
}

fn bins(world: &World, bit_length: u8, succinct: bool) -> NewBins {
    let trust = Trust { keys: vec![world.public("targets-1")], threshold: 1 };
    NewBins { bit_length, name_prefix: "bin".into(), trust, succinct }
}

fn make_bins(world: &World, bit_length: u8, succinct: bool) {
    let new = bins(world, bit_length, succinct);
    world.change(|edit| edit.make_bins(&RoleName::TARGETS, &new, &|_| {}).unwrap()).unwrap();
}

fn fill(world: &World, role: &RoleName, list: &List) -> Result<usize, Error> {
    let mut changed = Ok(0);
    world.change(|edit| changed = edit.fill(role, list, &|_| {}))?;
    changed
}

fn length(session: &mut blocking::Session, name: &str) -> Option<u64> {
    session.find(&TargetPath::new(name).unwrap()).unwrap().map(|target| target.length)
}

#[test]
fn targets_of_a_list_are_found_without_their_files() {
    for shape in [None, Some(true), Some(false)] {
        let world = World::new();
        if let Some(succinct) = shape {
            make_bins(&world, 4, succinct);
        }
        assert_eq!(fill(&world, &RoleName::TARGETS, &list("one", names(300))).unwrap(), 300);
        let mut session = world.client(1, &MemoryStore::default()).refresh_at(world.now).unwrap();
        assert!(names(300).all(|name| length(&mut session, &name) == Some(3)));
        assert_eq!(length(&mut session, "folder-9/package 1"), None);
        assert_eq!(world.files("targets").len(), 0);
    }
}

#[test]
fn bins_without_changes_are_not_signed_again() {
    let world = World::new();
    make_bins(&world, 4, true);
    fill(&world, &RoleName::TARGETS, &list("one", names(300))).unwrap();
    let before = world.files("metadata");
    assert_eq!(fill(&world, &RoleName::TARGETS, &list("one", names(300))).unwrap(), 0);
    assert_eq!(world.files("metadata"), before);
    // If one target changes, only its bin, the snapshot and the timestamp change, and the bin keeps its other targets.
    assert_eq!(fill(&world, &RoleName::TARGETS, &list("other", names(1))).unwrap(), 1);
    assert_eq!(world.files("metadata").len(), before.len() + 2);
    let mut session = world.client(1, &MemoryStore::default()).refresh_at(world.now).unwrap();
    let lengths: Vec<_> = names(300).map(|name| length(&mut session, &name).unwrap()).collect();
    assert_eq!((lengths[0], lengths[1..].iter().all(|length| *length == 3)), (5, true));
}

#[test]
fn a_name_may_be_listed_twice_only_with_the_same_content() {
    let world = World::new();
    let digest = hex::encode(Sha256::digest("x"));
    let same = target_list(&format!("{digest} 1 a\n{digest} 1 b\n{digest}\t1\ta\n"));
    assert_eq!(same.len(), 3);
    assert_eq!(fill(&world, &RoleName::TARGETS, &same).unwrap(), 2);
    let other = target_list(&format!("{digest} 1 a\n\n{digest} 1 b\n{digest} 2 a\n"));
    let before = world.files("metadata");
    let refused = fill(&world, &RoleName::TARGETS, &other).unwrap_err().to_string();
    assert_eq!(refused, "lines 1 and 4 of the list have different entries for `a`");
    assert_eq!(world.files("metadata"), before);
}

#[test]
fn r_x_1_a_list_of_targets_that_clients_would_not_find_is_not_published() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "a", "a/*", &key)).unwrap();
    let role = RoleName::delegated("a").unwrap();
    let before = world.files("metadata");
    let beside = list("x", ["a/x".to_string(), "b/x".to_string()]);
    let refused = fill(&world, &role, &beside);
    assert!(
        matches!(&refused, Err(Error::Draft(DraftError::TargetNotFound { path, .. })) if path.as_str() == "b/x"),
        "{refused:?}"
    );
    assert_eq!(world.files("metadata"), before);
    fill(&world, &role, &list("x", ["a/x".to_string(), "a/y".to_string()])).unwrap();
    let mut session = world.client(1, &MemoryStore::default()).refresh_at(world.now).unwrap();
    assert_eq!(length(&mut session, "a/y"), Some(1));
}

#[test]
fn nested_bins_are_filled_too() {
    let world = World::new();
    make_bins(&world, 1, true);
    let bin = RoleName::delegated("bin-0").unwrap();
    let mut below = bins(&world, 2, true);
    below.name_prefix = "sub".into();
    world.change(|edit| edit.make_bins(&bin, &below, &|_| {}).unwrap()).unwrap();
    fill(&world, &RoleName::TARGETS, &list("one", names(100))).unwrap();
    let mut session = world.client(1, &MemoryStore::default()).refresh_at(world.now).unwrap();
    assert!(names(100).all(|name| length(&mut session, &name) == Some(3)));
    let mut repository = world.open();
    assert!(repository.published.role(&bin).unwrap().is_empty());
}

/// Clients find all targets, whether they start their update before or after a change to the number of bins, or a
/// change between succinct and listed bins.
#[test]
fn bins_are_replaced_while_clients_update() {
    let shapes = [None, Some((3, true)), Some((6, true)), Some((5, false)), Some((2, false)), Some((4, true))];
    for (number, pair) in shapes.windows(2).enumerate() {
        let world = World::new();
        if let Some((bits, succinct)) = pair[0] {
            make_bins(&world, bits, succinct);
        }
        fill(&world, &RoleName::TARGETS, &list("one", names(200))).unwrap();
        let store = MemoryStore::default();
        let mut old = world.client(1, &store).refresh_at(world.now).unwrap();
        assert_eq!(length(&mut old, "folder-0/package 0"), Some(3));
        let Some((bits, succinct)) = pair[1] else { continue };
        make_bins(&world, bits, succinct);
        // This client is in the middle of an update: it has read the old timestamp, but not yet all of the metadata
        // that lists the targets.
        assert!(
            names(200).all(|name| length(&mut old, &name) == Some(3)),
            "change {number}: a client in the middle of an update must find all targets"
        );
        let mut returning = world.client(1, &store).refresh_at(world.now).unwrap();
        assert!(
            names(200).all(|name| length(&mut returning, &name) == Some(3)),
            "change {number}: a returning client must find all targets"
        );
        let mut new = world.client(1, &MemoryStore::default()).refresh_at(world.now).unwrap();
        assert!(
            names(200).all(|name| length(&mut new, &name) == Some(3)),
            "change {number}: a new client must find all targets"
        );
        let mut repository = world.open();
        assert_eq!(repository.published.read_all().unwrap().len(), 1 + (1 << bits));
    }
}

#[test]
fn bins_that_would_replace_other_roles_are_refused() {
    let world = World::new();
    make_bins(&world, 2, true);
    let key = world.public("targets-1");
    let bin = RoleName::delegated("bin-1").unwrap();
    world.change(|edit| delegate_from(edit, &bin, "a", "a/*", &key)).unwrap();
    let new = bins(&world, 3, true);
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    let refused = edit.make_bins(&RoleName::TARGETS, &new, &|_| {});
    assert!(matches!(&refused, Err(Error::Edit(EditError::BinDelegates { role })) if *role == bin), "{refused:?}");
    let same = edit.make_bins(&RoleName::TARGETS, &bins(&world, 2, true), &|_| {});
    assert!(matches!(&same, Err(Error::Edit(EditError::SameBins { bit_length: 2, .. }))), "{same:?}");
}

#[test]
fn a_key_that_all_bins_share_is_replaced_in_all_of_them() {
    for succinct in [true, false] {
        let world = World::new();
        let ((old, old_uri), (new, new_uri)) = (world.key("bin-1"), world.key("bin-2"));
        let trust = Trust { keys: vec![old.clone()], threshold: 1 };
        let bins = NewBins { trust, ..bins(&world, 5, succinct) };
        let make = |edit: &mut lastmile_repo_tool::Edit<'_>| {
            edit.make_bins(&RoleName::TARGETS, &bins, &|_| {}).unwrap();
        };
        world.change_with(&[old_uri], &mut Unobserved, make).unwrap();
        fill(&world, &RoleName::TARGETS, &list("one", names(50))).unwrap();
        let roles = world.open().published.expand("bin-*").unwrap();
        assert_eq!(roles.len(), if succinct { 1 } else { 32 });
        world
            .change_with(&[new_uri], &mut Unobserved, |edit| {
                edit.rotate_all(&roles, std::slice::from_ref(&new), std::slice::from_ref(&old)).unwrap();
                assert!(matches!(
                    edit.rotate_all(&roles, std::slice::from_ref(&new), &[]),
                    Err(Error::Edit(EditError::KeyTrusted { .. }))
                ));
            })
            .unwrap();
        let mut repository = world.open();
        assert_eq!(repository.published.roles_trusting(&old).unwrap(), []);
        assert_eq!(repository.published.roles_trusting(&new).unwrap().len(), 32);
        drop(repository);
        let mut session = world.client(1, &MemoryStore::default()).refresh_at(world.now).unwrap();
        assert!(names(50).all(|name| length(&mut session, &name) == Some(3)));
    }
}

#[test]
fn many_files_are_listed_like_single_files() {
    let world = World::new();
    make_bins(&world, 3, false);
    let folder = world.folder.path().join("many");
    std::fs::create_dir(&folder).unwrap();
    for number in 0..1200 {
        std::fs::write(folder.join(format!("file-{number}")), number.to_string()).unwrap();
    }
    let add = || {
        let mut repository = world.open();
        let sources = find(&[&folder], None, Hidden::Skip).unwrap().sources;
        let draft = repository
            .add_files(Draft::default(), &RoleName::TARGETS, &sources, &AddOptions::default(), &|_| {})
            .unwrap();
        let plan = repository.plan(draft, Signing::Now).unwrap();
        repository.conclude(&plan, &mut Unobserved).unwrap()
    };
    assert!(is_published(&add()));
    assert_eq!(world.files("targets").len(), 1200);
    assert_eq!(world.fetch("file-1100").unwrap().unwrap(), b"1100");
    // Adding the same files again changes only versions and expiry dates in the metadata, and restores a target file
    // that was deleted.
    let lost = world.layout().targets().join(&world.files("targets")[7]);
    std::fs::remove_file(&lost).unwrap();
    assert!(is_published(&add()));
    assert!(lost.exists());
}

#[test]
fn new_keys_of_bins_do_not_lower_the_threshold() {
    let maintainer = Maintainer::new();
    maintainer.done(&["key", "generate", "second", "--unencrypted"]);
    maintainer.done(&["rotate", "targets", "--add", "file:keys/second.pem"]);
    maintainer.done(&["set-threshold", "targets", "2"]);
    let [one, other] = ["file:keys/targets-1.pem", "file:keys/second.pem"];
    let refused = maintainer.run(&["bins", "--bit-length", "1", "--key", one]).text(ExitStatus::Failed);
    assert!(refused.contains("threshold"), "{refused}");
    let threshold = || maintainer.signed("targets")["delegations"]["succinct_roles"]["threshold"].clone();
    maintainer.done(&["bins", "--bit-length", "1", "--key", one, other]);
    assert_eq!(threshold(), 2);
    maintainer.done(&["bins", "--bit-length", "2", "--key", one, "--threshold", "1"]);
    assert_eq!(threshold(), 1);
}
