//! Warnings for maintainers.

use lastmile_metadata::{DelegatedRoles, PathPattern, Paths, RoleName};
use lastmile_repo_tool::internal::status::Status;
use lastmile_repo_tool::{NewDelegation, NewRepository, Protection, Renewal, Trust, Unobserved};

use crate::delegations::delegate;
use crate::world::World;

fn advice(world: &World) -> String {
    let mut repository = world.open();
    repository.published.read_all().unwrap();
    world.warnings(&repository).join("\n")
}

#[test]
fn r_6_1_1_and_g_2_1_1_2_unencrypted_root_and_targets_keys_are_a_warning() {
    let world = World::new();
    let advice = advice(&world);
    assert!(advice.contains("the root key") && advice.contains("is on this machine and unencrypted"), "{advice}");
    let mut new = NewRepository::new(Protection::PassPhrase(b"three blind mice".to_vec().into()));
    new.online_keys = Protection::None;
    let world = World::with(&new);
    move_away(&world, "root-1");
    move_away(&world, "root-2");
    assert_eq!(self::advice(&world), "");
}

fn move_away(world: &World, key: &str) {
    std::fs::remove_file(world.layout().keys().join(format!("{key}.pem"))).unwrap();
}

#[test]
fn root_keys_that_reach_the_threshold_on_one_machine_are_a_warning() {
    let world = World::new();
    let printed = advice(&world);
    assert!(
        printed.contains("3 of 3 root keys are on this machine, and 2 can sign a new root: move all but 1"),
        "{printed}"
    );
    assert!(printed.contains("keys/root-1.pem"), "{printed}");
    move_away(&world, "root-1");
    let printed = advice(&world);
    assert!(printed.contains("2 of 3 root keys are on this machine, and 2 can sign a new root"), "{printed}");
    move_away(&world, "root-2");
    assert!(
        !advice(&world).contains("can sign a new root"),
        "there must be no warning if the keys are on separate machines"
    );
    // Add a key file that `repo.toml` does not name, but whose `.pub` file contains a root key.
    std::fs::write(world.layout().keys().join("spare.pem"), "a key").unwrap();
    std::fs::copy(world.layout().keys().join("root-1.pub"), world.layout().keys().join("spare.pub")).unwrap();
    assert!(advice(&world).contains("2 of 3 root keys are on this machine"));
}

#[test]
fn g_1_5_2_an_online_key_that_signs_for_targets_is_a_warning() {
    let world = World::new();
    let online = world.public("timestamp-1");
    world.change(|edit| delegate(edit, "nightly", "nightly/*", &online)).unwrap();
    let advice = advice(&world);
    assert!(advice.contains("signs for timestamp") && advice.contains("for nightly"), "{advice}");
}

#[test]
fn r_x_3_every_repository_gets_its_own_keys() {
    let one = World::new();
    let other = World::new();
    for name in ["root-1", "targets-1", "snapshot-1", "timestamp-1"] {
        assert_ne!(one.public(name), other.public(name));
    }
    let root = one.public("root-1");
    one.change(|edit| edit.rotate(&RoleName::TARGETS, &[root], &[]).unwrap()).unwrap();
    assert!(advice(&one).contains("a root key should sign for root only"));
}

#[test]
fn r_x_4_and_g_2_1_1_3_root_has_a_spare_key() {
    let world = World::new();
    assert!(!advice(&world).contains("signatures from all of its"));
    world.change(|edit| edit.set_threshold(&RoleName::ROOT, 3).unwrap()).unwrap();
    assert!(advice(&world).contains("root needs signatures from all of its 3 keys"));
}

#[test]
fn f_4_5_14_a_pattern_with_a_leading_slash_is_a_warning() {
    let world = World::new();
    let (key, uri) = world.key("a-1");
    world
        .change_with(&[uri], &mut Unobserved, |edit| {
            let new = NewDelegation {
                name: RoleName::delegated("a").unwrap(),
                paths: Paths::Patterns(vec![PathPattern::new("a/*")]),
                trust: Trust { keys: vec![key], threshold: 1 },
                terminating: false,
            };
            edit.delegate(&RoleName::TARGETS, new).unwrap();
            // This tool refuses such a pattern, but other tools may write it.
            let delegations = edit.targets(&RoleName::TARGETS).unwrap().delegations.as_mut().unwrap();
            let DelegatedRoles::Listed(roles) = &mut delegations.roles else {
                panic!("expected delegations to listed roles, got bins")
            };
            roles[0].paths = Paths::Patterns(vec![PathPattern::new("/a/*")]);
        })
        .unwrap();
    assert!(advice(&world).contains("`/a/*`, which matches nothing"));
}

fn renewals(status: &Status) -> Vec<(&str, Renewal)> {
    let roles = status.roles.iter().filter(|role| role.renewal != Renewal::Later);
    roles.map(|role| (role.name.as_str(), role.renewal)).collect()
}

#[test]
fn status_shows_due_and_expired_roles() {
    let mut world = World::new();
    assert!(!Status::of(&mut world.open()).unwrap().needs_attention());
    world.days_pass(3);
    let status = Status::of(&mut world.open()).unwrap();
    assert_eq!(renewals(&status), [("timestamp", Renewal::Due)]);
    assert!(!status.needs_attention(), "no attention is needed, because the next `renew` signs the role");
    for (renewal, days) in [(Renewal::Overdue, 2), (Renewal::Urgent, 1)] {
        world.days_pass(days);
        let status = Status::of(&mut world.open()).unwrap();
        assert_eq!(renewals(&status), [("timestamp", renewal)]);
        assert!(status.needs_attention());
    }
    world.days_pass(2);
    let status = Status::of(&mut world.open()).unwrap();
    assert_eq!(renewals(&status), [("timestamp", Renewal::Expired), ("snapshot", Renewal::Due)]);
}
