//! The files that the tool writes strictly conform to section 4 of the TUF specification.

use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::names;
use lastmile_repo_tool::{NewRepository, Protection};
use sha2::{Digest as _, Sha256};

use crate::world::World;

#[test]
fn f_4_2_1_2_key_ids_are_written_as_the_hash_of_the_key() {
    let root = World::new().metadata("1.root.json");
    for (id, key) in root["signed"]["keys"].as_object().unwrap() {
        // The strings in these keys contain no special characters, so serde_json writes the keys as canonical JSON.
        assert_eq!(*id, hex::encode(Sha256::digest(key.to_string())));
    }
}

#[test]
fn f_4_2_3_1_dates_are_written_in_whole_seconds_and_utc() {
    let world = World::new();
    let expires = world.metadata("timestamp.json")["signed"]["expires"].as_str().unwrap().to_string();
    assert_eq!(expires, "2030-01-08T12:00:00Z");
}

#[test]
fn f_4_3_3_a_root_says_whether_snapshots_are_consistent() {
    assert!(World::new().metadata("1.root.json")["signed"]["consistent_snapshot"].is_boolean());
}

#[test]
fn f_4_6_2_the_timestamp_is_small() {
    let world = World::new();
    for number in 0..5 {
        world.add(&format!("file-{number}"), "1");
    }
    let timestamp = std::fs::read(world.layout().metadata().join("timestamp.json")).unwrap();
    assert!(timestamp.len() < 1024, "{}", timestamp.len());
}

#[test]
fn the_timestamp_lists_length_and_hash_of_the_snapshot() {
    let world = World::new();
    let snapshot = std::fs::read(world.layout().metadata().join("1.snapshot.json")).unwrap();
    let listed = &world.metadata("timestamp.json")["signed"]["meta"]["snapshot.json"];
    assert_eq!(listed["length"], snapshot.len());
    assert_eq!(listed["hashes"]["sha256"], hex::encode(Sha256::digest(&snapshot)));
}

#[test]
fn the_same_input_at_the_same_time_makes_the_same_bytes() {
    let world = World::new();
    let one = world.copy();
    let other = world.copy();
    one.add("a", "1");
    other.add("a", "1");
    for file in one.files("metadata") {
        let read = |world: &World| std::fs::read(world.layout().metadata().join(&file)).unwrap();
        assert_eq!(read(&one), read(&other), "{file}");
    }
}

#[test]
fn a13_new_role_names_are_valid_on_every_server_and_file_system() {
    for name in ["", "root", "Targets", "a/b", "../a", ".hidden", "a%2Fb", "con", "a\nb", "a:b", "mirrors", "1.root"] {
        assert!(names::new_role(name).is_err(), "{name:?}");
    }
    for name in ["a", "bin-00", "plugins team", "größe", "root-1"] {
        assert!(names::new_role(name).is_ok(), "{name:?}");
    }
}

#[test]
fn g_2_1_1_2_threshold_and_expiry_have_safe_defaults() {
    let new = NewRepository::new(Protection::None);
    let root = new.role(&RoleName::ROOT);
    assert_eq!((root.threshold, new.key_count(&RoleName::ROOT)), (2, 3));
    assert!(new.role(&RoleName::TIMESTAMP).expires_days <= 7);
}
