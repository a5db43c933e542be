//! Metadata that other TUF clients would never accept is neither signed nor published. If such metadata has already
//! been published, it can be repaired.

use lastmile_metadata::{Algorithm, Hashes, KeyId, RoleName, TargetFile, TargetPath};
use lastmile_repo_tool::{Error, Repository, Signing};
use serde_json::{Value, json};

use crate::delegations::delegate;
use crate::planted_members::{foreign_key, key, keyids, list_in_root};
use crate::snapshot::list_versions_only;
use crate::world::{World, is_published};

/// A test case: its name, a change to a root, and the parts that the error message must contain.
type Case = (&'static str, fn(&mut Value), &'static [&'static str]);

fn first_id(signed: &mut Value, role: &str) -> String {
    keyids(signed, role).first().unwrap().as_str().unwrap().to_string()
}

fn refused(world: &World, what: &str, expected: &[&str]) {
    // Even with `--accept`, the faulty members are refused.
    let everything = ["x", "mirrors", "terminating", "keys", "roles", "ab", "zz"];
    let error = world.sign(&everything).unwrap_err();
    assert!(matches!(error, Error::Draft(_)), "{what}: {error:?}");
    let text = error.to_string();
    assert!(expected.iter().all(|part| text.contains(part)), "{what}: {text}");
    assert!(matches!(world.publish(&everything), Err(Error::Draft(_))), "{what}");
    let files = world.files("metadata");
    assert!(!files.iter().any(|file| file.starts_with("2.root") || file.starts_with("3.targets")), "{what}: {files:?}");
}

#[test]
fn a_root_that_other_clients_refuse_is_neither_signed_nor_published() {
    let cases: [Case; 12] = [
        (
            "a key ID listed twice",
            |signed| {
                let id = first_id(signed, "targets");
                keyids(signed, "targets").push(id.into());
            },
            &["targets lists the key ID", "twice", "python-tuf"],
        ),
        (
            "a key ID without a key",
            |signed| keyids(signed, "targets").push("ab".repeat(32).into()),
            &["but no key has this ID", "go-tuf"],
        ),
        (
            "a key type that python-tuf does not support",
            |signed| list_in_root(signed, "targets", &key("frost", "frost", "00")),
            &["keytype `frost`", "python-tuf"],
        ),
        (
            "a key without its value",
            |signed| {
                let mut key = foreign_key().1;
                key["keyval"] = json!({});
                list_in_root(signed, "targets", &(crate::planted_members::id_of(&key), key));
            },
            &["no `public` string", "python-tuf"],
        ),
        (
            "a broken key",
            |signed| list_in_root(signed, "targets", &key("ed25519", "ed25519", "zz")),
            &["is not a valid ed25519 key", "go-tuf"],
        ),
        (
            "a key ID that is not the hash of its key",
            |signed| list_in_root(signed, "targets", &("ab".repeat(32), foreign_key().1)),
            &["is not the hash of its key", "tough"],
        ),
        (
            "an additional role",
            |signed| signed["roles"]["mirrors"] = signed["roles"]["targets"].clone(),
            &["`mirrors`", "python-tuf"],
        ),
        (
            "a threshold that cannot be reached",
            |signed| signed["roles"]["targets"]["threshold"] = 2.into(),
            &["threshold of 2 but only 1 usable key:"],
        ),
        (
            "no keys",
            |signed| signed["roles"]["snapshot"]["keyids"] = json!([]),
            &["snapshot has a threshold of 1 but only 0 usable keys"],
        ),
        ("a short spec_version", |signed| signed["spec_version"] = "1".into(), &["spec_version", "tuf-js"]),
        (
            "fractions of a second",
            |signed| signed["expires"] = "2031-01-01T00:00:00.5Z".into(),
            &["expires", "python-tuf"],
        ),
        (
            "no consistent_snapshot",
            |signed| drop(signed.as_object_mut().unwrap().remove("consistent_snapshot")),
            &["consistent_snapshot", "tuf-js"],
        ),
    ];
    for (what, alter, expected) in cases {
        let world = World::new();
        world.plant(&RoleName::ROOT, alter);
        refused(&world, what, expected);
    }
}

#[test]
fn a_delegation_that_other_clients_refuse_is_neither_signed_nor_published() {
    let cases: [Case; 4] = [
        (
            "no terminating",
            |role| drop(role.as_object_mut().unwrap().remove("terminating")),
            &["`terminating`", "tough"],
        ),
        ("no paths", |role| drop(role.as_object_mut().unwrap().remove("paths")), &["`paths`", "python-tuf"]),
        ("no keys", |role| role["keyids"] = json!([]), &["team has a threshold of 1 but only 0 usable keys"]),
        (
            "a key ID listed twice",
            |role| {
                let id = role["keyids"][0].clone();
                role["keyids"].as_array_mut().unwrap().push(id);
            },
            &["team lists the key ID", "twice"],
        ),
    ];
    for (what, alter, expected) in cases {
        let world = World::new();
        let key = world.public("targets-1");
        world.change(|edit| delegate(edit, "team", "team/*", &key)).unwrap();
        world.plant(&RoleName::TARGETS, |signed| alter(&mut signed["delegations"]["roles"][0]));
        refused(&world, what, expected);
    }
}

/// Creates a repository whose published root lists the key ID of role `targets` twice, as another tool may have written
/// it. Returns the repository and the key ID.
fn with_a_fault() -> (World, KeyId) {
    let world = World::new();
    let mut twice = String::new();
    world.republish("1.root.json", &["root-1", "root-2"], |signed| {
        twice = first_id(signed, "targets");
        keyids(signed, "targets").push(twice.as_str().into());
    });
    (world, KeyId::new(twice))
}

#[test]
fn a_published_fault_is_a_warning_and_can_be_repaired() {
    let (world, twice) = with_a_fault();
    assert!(is_published(&world.renew().unwrap()));
    assert!(is_published(&world.add("a", "1")));
    // A new root can be published if it leaves the faulty list of key IDs unchanged.
    let renewed = world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    assert!(is_published(&renewed));
    let warned = |world: &World| {
        let repository = world.open();
        let advice = world.warnings(&repository);
        advice.into_iter().filter(|line| line.contains("twice") || line.contains("more than once")).count()
    };
    assert_eq!(warned(&world), 2);
    let repaired = world.change(|edit| edit.remove_ids(&[RoleName::TARGETS], &[twice]).unwrap()).unwrap();
    assert!(is_published(&repaired));
    assert_eq!(warned(&world), 0);
    let keyids = &world.metadata("3.root.json")["signed"]["roles"]["targets"]["keyids"];
    assert_eq!(keyids.as_array().unwrap().len(), 1);
    world.add("b", "2");
    assert_eq!(world.fetch("b").unwrap().unwrap(), b"2");
}

#[test]
fn a_new_fault_is_refused_despite_a_published_one() {
    let (world, _) = with_a_fault();
    world.plant(&RoleName::ROOT, |signed| {
        let id = first_id(signed, "snapshot");
        keyids(signed, "snapshot").push(id.into());
    });
    refused(&world, "a second fault", &["snapshot lists the key ID"]);
}

#[test]
fn a_file_above_the_limits_of_other_clients_is_a_warning() {
    let world = World::new();
    let hashes = Hashes::of(b"1", &[Algorithm::Sha256]).unwrap();
    let target = |number| {
        TargetFile::new(TargetPath::new(format!("{}-{number}", "long".repeat(200))).unwrap(), 1, hashes.clone())
    };
    let targets: Vec<TargetFile> = (10_000..16_000).map(target).collect();
    let mut repository = world.open();
    let mut edit = repository.edit(lastmile_repo_tool::Draft::default());
    edit.fill(&RoleName::TARGETS, &targets, &|_| {}).unwrap();
    let draft = edit.finish().unwrap();
    let plan = repository.plan(draft, Signing::Now).unwrap();
    let outcome = repository.conclude(&plan, &mut lastmile_repo_tool::Unobserved).unwrap();
    assert!(is_published(&outcome));
    let advice = |world: &World| {
        let repository = Repository::open(&world.dir(), &world.invocation()).unwrap();
        world.warnings(&repository)
    };
    drop(repository);
    // If the snapshot lists the length of a file, other clients use that length instead of their default limit.
    assert!(!advice(&world).iter().any(|line| line.starts_with("targets has")), "{:?}", advice(&world));
    list_versions_only(&world);
    let advice = advice(&world);
    let length = std::fs::metadata(world.layout().metadata().join("2.targets.json")).unwrap().len();
    let told =
        format!("targets is {length} bytes long; by default, python-tuf, go-tuf and tuf-js read at most 5000000");
    assert!(advice.iter().any(|line| line.starts_with(&told)), "{advice:?}");
}

#[test]
fn too_many_delegations_for_one_path_are_a_warning() {
    let world = World::new();
    let key = world.public("targets-1");
    let advice = |world: &World| {
        let repository = world.open();
        let advice = world.warnings(&repository);
        advice.into_iter().filter(|line| line.contains("visit")).collect::<Vec<_>>()
    };
    world
        .change(|edit| {
            (0..32).for_each(|number| delegate(edit, &format!("team-{number}"), "*/*", &key));
            (0..9).for_each(|number| delegate(edit, &format!("own-{number}"), &format!("own-{number}"), &key));
        })
        .unwrap();
    assert_eq!(advice(&world), Vec::<String>::new());
    world.change(|edit| delegate(edit, "one-more", "*/*", &key)).unwrap();
    let found = advice(&world);
    assert!(
        matches!(found.as_slice(), [line] if line.contains("33 roles") && line.contains("visit only 32")),
        "{found:?}"
    );
}
