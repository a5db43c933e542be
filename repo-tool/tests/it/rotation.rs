//! Changes to keys and thresholds (TUF specification 6.1).

use lastmile_client::{Error as ClientError, MemoryStore, Refusal};
use lastmile_metadata::{ErrorKind, RoleName};
use lastmile_repo_tool::{Draft, EditError, Error, Outcome, Signing, Unobserved};

use crate::delegations::delegate;
use crate::world::{World, is_published};

#[test]
fn r_6_1_2_a_top_level_key_is_replaced_in_a_new_root() {
    let world = World::new();
    let (key, uri) = world.key("targets-2");
    let old = world.public("targets-1");
    world
        .change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TARGETS, &[key], &[old]).unwrap())
        .unwrap();
    let keyids = |file: &str| world.metadata(file)["signed"]["roles"]["targets"]["keyids"].clone();
    assert_ne!(keyids("1.root.json"), keyids("2.root.json"));
    world.add("a", "1");
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn r_6_1_3_a_new_root_is_signed_by_the_old_keys_and_the_new_ones() {
    let world = World::new();
    let (key, uri) = world.key("root-4");
    world
        .change_with(&[uri], &mut Unobserved, |edit| {
            edit.rotate(&RoleName::ROOT, std::slice::from_ref(&key), &[]).unwrap();
            edit.set_threshold(&RoleName::ROOT, 3).unwrap();
        })
        .unwrap();
    // At least two of the three keys in version 1 and three of the four keys in version 2 must have signed.
    let signers: Vec<String> = world.metadata("2.root.json")["signatures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|signature| signature["keyid"].as_str().unwrap().to_string())
        .collect();
    let of = |file: &str| {
        let root = world.metadata(file);
        let keyids = root["signed"]["roles"]["root"]["keyids"].as_array().unwrap().clone();
        keyids.iter().filter(|id| signers.contains(&id.as_str().unwrap().to_string())).count()
    };
    assert!(of("1.root.json") >= 2 && of("2.root.json") >= 3, "{signers:?}");
    assert!(world.fetch("a").unwrap().is_none());
}

#[test]
fn r_6_1_3_without_enough_old_keys_no_root_is_published() {
    let world = World::new();
    for name in ["root-1", "root-2"] {
        std::fs::remove_file(world.layout().keys().join(format!("{name}.pem"))).unwrap();
    }
    let (key, uri) = world.key("root-4");
    let outcome = world.change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::ROOT, &[key], &[]).unwrap());
    assert!(matches!(outcome.unwrap(), Outcome::Staged(_)));
    assert!(!world.files("metadata").contains(&"2.root.json".to_string()));
}

#[test]
fn r_6_1_4_every_root_version_is_kept() {
    let world = World::new();
    let first = std::fs::read(world.layout().metadata().join("1.root.json")).unwrap();
    for _ in 0..3 {
        world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    }
    let roots: Vec<String> = world.files("metadata").into_iter().filter(|file| file.contains("root")).collect();
    assert_eq!(roots, ["1.root.json", "2.root.json", "3.root.json", "4.root.json"]);
    assert_eq!(std::fs::read(world.layout().metadata().join("1.root.json")).unwrap(), first);
}

#[test]
fn r_6_2_1_6_a_client_shipped_with_any_root_reaches_the_newest_root() {
    let world = World::new();
    for number in 2..5 {
        let (key, uri) = world.key(&format!("timestamp-{number}"));
        let old = world.public(&format!("timestamp-{}", number - 1));
        world
            .change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TIMESTAMP, &[key], &[old]).unwrap())
            .unwrap();
    }
    for version in 1..=4 {
        let session = world.client(version, &MemoryStore::default()).refresh_at(world.now).unwrap();
        assert_eq!(session.trusted().root().version.get(), 4);
    }
}

#[test]
fn r_6_1_5_a_key_of_a_delegated_role_is_replaced_only_in_the_delegating_role() {
    let world = World::new();
    let (old, old_uri) = world.key("team-1");
    let (new, new_uri) = world.key("team-2");
    let role = RoleName::delegated("team").unwrap();
    world.change_with(&[old_uri], &mut Unobserved, |edit| delegate(edit, "team", "team/*", &old)).unwrap();
    world.add_to(&role, "team/a", "1", &mut Unobserved).unwrap();
    world.change_with(&[new_uri], &mut Unobserved, |edit| edit.rotate(&role, &[new], &[old]).unwrap()).unwrap();
    assert!(!world.files("metadata").contains(&"2.root.json".to_string()));
    assert_eq!(world.fetch("team/a").unwrap().unwrap(), b"1");
}

#[test]
fn r_x_1_a_removal_that_leaves_too_few_keys_is_refused() {
    let world = World::new();
    let old = world.public("timestamp-1");
    world
        .change(|edit| {
            let refused = edit.rotate(&RoleName::TIMESTAMP, &[], std::slice::from_ref(&old));
            assert!(
                matches!(refused, Err(Error::Edit(EditError::TooFewKeys { keys: 0, threshold: 1, .. }))),
                "{refused:?}"
            );
        })
        .err();
    assert_eq!(world.files("metadata").len(), 4);
}

/// Returns the name of the role that a client refuses because the role has expired.
fn expired(world: &World) -> String {
    match world.fetch("a") {
        Err(ClientError::Refused(error)) => match error.refusal {
            Refusal::Metadata(error) if matches!(error.kind, ErrorKind::Expired { .. }) => error.role.to_string(),
            other => panic!("{other}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_expired_repository_can_be_renewed() {
    let mut world = World::new();
    world.days_pass(100);
    assert_eq!(expired(&world), "timestamp");
    assert!(is_published(&world.renew().unwrap()));
    assert!(world.fetch("a").unwrap().is_none());
}

#[test]
fn r_x_1_expired_metadata_is_not_published() {
    let mut world = World::new();
    world.days_pass(400);
    // The targets role has expired as well, so signing only the root again is not enough.
    let renewed = world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap());
    assert!(matches!(renewed, Err(Error::Draft(_))), "{renewed:?}");
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 1);
    let renewed = world.change(|edit| {
        edit.sign_again(&RoleName::ROOT).unwrap();
        edit.sign_again(&RoleName::TARGETS).unwrap();
    });
    assert!(is_published(&renewed.unwrap()));
}

#[test]
fn expired_offline_roles_do_not_prevent_the_renewal_of_online_roles() {
    let mut world = World::new();
    world.days_pass(200);
    assert!(is_published(&world.renew().unwrap()));
    assert_eq!(world.metadata("timestamp.json")["signed"]["expires"], "2030-07-27T12:00:00Z");
    assert_eq!(expired(&world), "targets");
    assert!(is_published(&world.change(|edit| edit.sign_again(&RoleName::TARGETS).unwrap()).unwrap()));
    assert!(world.fetch("a").unwrap().is_none());
    // The timestamp can be renewed even if the snapshot has expired and its key is not available.
    world.days_pass(100);
    world.without_key("snapshot-1", || {
        let mut repository = world.open();
        let plan = repository.plan(Draft::renew_timestamp(), Signing::Now).unwrap();
        assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    });
    assert_eq!(expired(&world), "snapshot");
    assert!(is_published(&world.renew().unwrap()));
    assert!(world.fetch("a").unwrap().is_none());
}
