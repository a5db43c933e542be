//! The snapshot's entries for targets roles, and attacks with a stolen key of such a role.

use lastmile_client::MemoryStore;
use lastmile_keys::{PrivateKey, Signer as _};
use lastmile_metadata::{
    Algorithm, Envelope, Hashes, KeyId, MetaFile, Role, RoleName, Signature, Snapshot, TargetFile, TargetPath, Targets,
    Timestamp, assemble,
};
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::internal::key_store::{keyid_of, open_private_key};
use lastmile_repo_tool::internal::links::Links;
use lastmile_repo_tool::{Draft, Error, NewBins, NoPassPhrases, PublicationError, Signing, Trust, Unobserved};
use serde_json::Value;

use crate::delegations::delegate;
use crate::world::{World, is_published};

/// Signs `content` with the private key `name` and writes it to `file` in the metadata folder.
fn forge<R: Role>(world: &World, file: &str, content: &R, name: &str) -> Vec<u8> {
    forge_with(world, world, file, content, name)
}

/// Like [`forge`], but signs with a private key from the key folder of the repository `signer`.
pub(crate) fn forge_with<R: Role>(signer: &World, world: &World, file: &str, content: &R, name: &str) -> Vec<u8> {
    let path = signer.layout().keys().join(format!("{name}.pem"));
    let key: PrivateKey = open_private_key(&path, name, Links::Refuse, &NoPassPhrases).unwrap();
    let signed = content.write();
    let signature = Signature::new(KeyId::new(keyid_of(key.public_key())), key.sign(signed.as_bytes()).unwrap());
    let bytes = assemble(&signed, &[signature]);
    std::fs::write(world.layout().metadata().join(file), &bytes).unwrap();
    bytes
}

pub(crate) fn read<R: Role>(world: &World, role: &RoleName, file: &str) -> R {
    let bytes = std::fs::read(world.layout().metadata().join(file)).unwrap();
    Envelope::<R>::parse(role, bytes).unwrap().unverified(role).unwrap()
}

/// Returns the names of the files that the snapshot lists, and whether each entry has a length and a hash.
pub(crate) fn listed(world: &World) -> Vec<(String, bool)> {
    let timestamp = world.metadata("timestamp.json");
    let version = timestamp.pointer("/signed/meta/snapshot.json/version").unwrap();
    let snapshot = world.metadata(&format!("{version}.snapshot.json"));
    let entries = snapshot.pointer("/signed/meta").and_then(Value::as_object).unwrap();
    let is_whole = |entry: &Value| entry.pointer("/length").is_some() && entry.pointer("/hashes/sha256").is_some();
    entries.iter().map(|(name, entry)| (name.clone(), is_whole(entry))).collect()
}

/// Rewrites the snapshot and the timestamp in the form that earlier versions of the tool wrote: each entry of the
/// snapshot has only a version.
pub(crate) fn list_versions_only(world: &World) {
    let timestamp_role = RoleName::TIMESTAMP;
    let mut timestamp: Timestamp = read(world, &timestamp_role, "timestamp.json");
    let file = format!("{}.snapshot.json", timestamp.snapshot.version);
    let mut snapshot: Snapshot = read(world, &RoleName::SNAPSHOT, &file);
    let roles: Vec<_> = snapshot.roles().collect();
    roles.iter().for_each(|(role, entry)| snapshot.insert(role, MetaFile::new(entry.version)));
    let bytes = forge(world, &file, &snapshot, "snapshot-1");
    timestamp.snapshot.length = Some(bytes.len() as u64);
    timestamp.snapshot.hashes = Hashes::of(&bytes, &[Algorithm::Sha256]);
    forge(world, "timestamp.json", &timestamp, "timestamp-1");
}

fn make_bins(world: &World, bit_length: u8, succinct: bool, keys: &[&str]) {
    let keys: Vec<_> = keys.iter().map(|name| world.public(name)).collect();
    let threshold = u32::try_from(keys.len()).unwrap();
    let new = NewBins { bit_length, name_prefix: "bin".into(), trust: Trust { keys, threshold }, succinct };
    world.change(|edit| edit.make_bins(&RoleName::TARGETS, &new, &|_| {}).unwrap()).unwrap();
}

/// Creates one repository for each kind of targets role: the top-level role, a delegated role, a succinct bin, and a
/// bin by hash prefix. The role of that kind lists the target `x`. Returns each repository with the name of this role
/// and the name of its metadata file.
fn one_of_each_kind() -> Vec<(World, RoleName, String)> {
    let flat = World::new();
    flat.add("x", "good");
    let delegating = World::new();
    let (key, uri) = delegating.key("team-1");
    delegating.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "team", "*", &key)).unwrap();
    let team = RoleName::delegated("team").unwrap();
    delegating.add_to(&team, "x", "good", &mut Unobserved).unwrap();
    let mut all =
        vec![(flat, RoleName::TARGETS, "2.targets.json".to_string()), (delegating, team, "2.team.json".to_string())];
    for succinct in [true, false] {
        let world = World::new();
        make_bins(&world, 1, succinct, &["targets-1"]);
        world.add("x", "good");
        let bin = world.files("metadata").into_iter().find(|file| file.starts_with("2.bin-")).unwrap();
        let role = bin.trim_start_matches("2.").trim_end_matches(".json");
        let role = RoleName::delegated(role).unwrap();
        all.push((world, role, bin));
    }
    all
}

/// Forges the metadata file of `role`: the version stays the same, but the file lists different content for `x`. A key
/// of the role signs the forged file.
pub(crate) fn replace_content(world: &World, role: &RoleName, file: &str) {
    let mut targets: Targets = read(world, role, file);
    let hashes = Hashes::of(b"evil", &[Algorithm::Sha256]).unwrap();
    let evil = TargetFile::new(TargetPath::new("x").unwrap(), 4, hashes);
    let prefix = evil.hashes.prefixes().next().unwrap();
    targets.insert(evil);
    std::fs::write(world.layout().targets().join(format!("{prefix}.x")), "evil").unwrap();
    forge(world, file, &targets, if role.as_str() == "team" { "team-1" } else { "targets-1" });
}

#[test]
fn every_targets_role_is_listed_with_length_and_hash() {
    for (world, role, _) in one_of_each_kind() {
        world.renew().unwrap();
        let listed = listed(&world);
        assert!(listed.iter().all(|(_, is_whole)| *is_whole), "{role}: {listed:?}");
        assert!(listed.iter().any(|(name, _)| *name == format!("{role}.json")), "{role}: {listed:?}");
    }
}

#[test]
fn a_stolen_key_of_a_targets_role_cannot_replace_published_content() {
    for (world, role, file) in one_of_each_kind() {
        replace_content(&world, &role, &file);
        let fetched = world.fetch("x");
        assert!(fetched.is_err(), "{role}: {fetched:?}");
        // The next publication must not list the forged file.
        let before = world.files("metadata");
        let added = world.try_add("y", "other", &mut Unobserved);
        let refused = matches!(&added, Err(Error::Untrusted(_) | Error::Publication(_)));
        // A delegated role that does not change is not read. Its entry is kept, so clients refuse the forged file.
        assert!(refused || !role.is_top_level(), "{role}: {added:?}");
        if refused {
            assert_eq!(world.files("metadata"), before, "{role}");
        }
        assert!(world.fetch("x").is_err(), "{role}");
        assert!(world.add_to(&role, "x2", "2", &mut Unobserved).is_err(), "{role}");
    }
}

#[test]
fn the_first_publication_after_an_upgrade_completes_all_entries_and_shows_them() {
    for (world, role, _) in one_of_each_kind() {
        list_versions_only(&world);
        assert!(listed(&world).iter().all(|(_, is_whole)| !is_whole));
        let store = MemoryStore::default();
        world.fetch_with(&store, "x").unwrap();
        let mut repository = world.open();
        let mut edit = repository.edit(Draft::default());
        edit.sign_again(&RoleName::TIMESTAMP).unwrap();
        let draft = edit.finish().unwrap();
        let plan = repository.plan(draft, Signing::Now).unwrap();
        let shown = diff::full_text(&plan.diff);
        assert!(shown.contains(&format!("lists the published {role} with")), "{shown}");
        assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
        drop(repository);
        let listed = listed(&world);
        assert!(listed.iter().all(|(_, is_whole)| *is_whole), "{role}: {listed:?}");
        // Clients that trust the earlier snapshot accept the new one.
        assert_eq!(world.fetch_with(&store, "x").unwrap().unwrap(), b"good");
        assert_eq!(world.fetch("x").unwrap().unwrap(), b"good");
    }
}

#[test]
fn bins_that_need_both_online_keys_are_listed_by_version_until_another_key_suffices() {
    for succinct in [true, false] {
        let world = World::new();
        make_bins(&world, 1, succinct, &["snapshot-1", "timestamp-1"]);
        world.add("x", "1");
        let by_version = |world: &World| -> Vec<String> {
            listed(world).into_iter().filter(|(_, is_whole)| !is_whole).map(|(name, _)| name).collect()
        };
        assert_eq!(by_version(&world), ["bin-0.json", "bin-1.json"]);
        // Add a third key. Any two of the three keys can now sign the bins, so one of the online keys can be missing.
        let (third, uri) = world.key("third");
        let bins = RoleName::delegated("bin-0").unwrap();
        world
            .change_with(&[uri], &mut Unobserved, |edit| {
                let all = [bins, RoleName::delegated("bin-1").unwrap()];
                let roles = if succinct { &all[..1] } else { &all[..] };
                edit.rotate_all(roles, &[third], &[]).unwrap();
            })
            .unwrap();
        assert_eq!(by_version(&world), [""; 0], "{succinct}");
        assert_eq!(world.fetch("x").unwrap().unwrap(), b"1");
    }
}

#[test]
fn bins_are_listed_with_hashes_once_other_keys_sign_snapshots() {
    let world = World::new();
    make_bins(&world, 1, true, &["snapshot-1", "timestamp-1"]);
    let (new, uri) = world.key("snapshot-2");
    let old = world.public("snapshot-1");
    world
        .change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::SNAPSHOT, &[new], &[old]).unwrap())
        .unwrap();
    assert!(listed(&world).iter().all(|(_, is_whole)| *is_whole), "{:?}", listed(&world));
}

#[test]
fn many_bins_of_an_earlier_version_stay_listed_by_version_with_a_warning() {
    let world = World::new();
    make_bins(&world, 14, true, &["targets-1"]);
    let advice = |world: &World| {
        let mut repository = world.open();
        repository.published.role(&RoleName::TARGETS).unwrap();
        world.warnings(&repository).join("\n")
    };
    // New bins are listed with hashes, even if there are 2^14 of them.
    assert!(listed(&world).iter().all(|(_, is_whole)| *is_whole));
    assert!(!advice(&world).contains("by version only"));
    list_versions_only(&world);
    world.add("x", "1");
    let whole: Vec<String> =
        listed(&world).into_iter().filter(|(_, is_whole)| *is_whole).map(|(name, _)| name).collect();
    assert_eq!(whole, ["targets.json"]);
    let warned = advice(&world);
    assert!(warned.contains("2^14 bins bin-* by version only") && warned.contains("--bit-length 13"), "{warned}");
    // With only 2^13 bins, the snapshot lists all of them with hashes, so there is no warning.
    make_bins(&world, 13, true, &["targets-1"]);
    assert!(!advice(&world).contains("by version only"));
    let bin: Vec<bool> =
        listed(&world).into_iter().filter(|(name, _)| *name == "bin-0000.json").map(|(_, whole)| whole).collect();
    assert_eq!(bin, [true]);
    assert_eq!(world.fetch("x").unwrap().unwrap(), b"1");
}

#[test]
fn a_damaged_snapshot_that_the_timestamp_lists_without_a_hash_is_named() {
    let world = World::new();
    let mut timestamp: Timestamp = read(&world, &RoleName::TIMESTAMP, "timestamp.json");
    timestamp.snapshot = MetaFile::new(timestamp.snapshot.version);
    forge(&world, "timestamp.json", &timestamp, "timestamp-1");
    std::fs::write(world.layout().metadata().join("1.snapshot.json"), "{").unwrap();
    let error = world.renew().unwrap_err();
    let Error::Publication(PublicationError::Damaged { files, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["1.snapshot.json"]);
}
