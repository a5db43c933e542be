//! The published files, their names and the order of publication (TUF specification 6.2 and 6.3).

use std::io;

use lastmile_metadata::{Algorithm, RoleName, TargetNames, TargetPath};
use lastmile_repo_tool::internal::intake::{self, Hidden};
use lastmile_repo_tool::internal::own_files::OwnFiles;
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{
    Damage, DamagedFile, Error, Immutable, InvalidInput, NewRepository, Observer, PathError, Protection,
    PublicationError, PublishEvent, Repository, Rule, Unobserved,
};

use crate::delegations::delegate;
use crate::world::{World, is_published};

/// Records the order in which a publication moves files to their final names.
#[derive(Default)]
struct Moves(Vec<String>);

impl Observer for Moves {
    fn before(&mut self, moment: PublishEvent<'_>) -> io::Result<()> {
        if let PublishEvent::Move(to) = moment {
            self.0.push(to.display().to_string());
        }
        Ok(())
    }
}

#[test]
fn r_6_2_1_1_every_metadata_file_name_contains_its_version() {
    let world = World::new();
    world.add("a", "1");
    let expected =
        ["1.root.json", "1.snapshot.json", "1.targets.json", "2.snapshot.json", "2.targets.json", "timestamp.json"];
    assert_eq!(world.files("metadata"), expected);
}

#[test]
fn r_6_2_1_2_a_target_file_has_one_name_for_each_hash() {
    let world = World::new();
    let config = std::fs::read_to_string(world.layout().config()).unwrap();
    let both = config.replace("[\"sha256\"]", "[\"sha256\", \"sha512\"]");
    std::fs::write(world.layout().config(), both).unwrap();
    world.add("sub/a", "content");
    let listed = &world.metadata("2.targets.json")["signed"]["targets"]["sub/a"]["hashes"];
    let mut expected: Vec<String> =
        ["sha256", "sha512"].map(|name| format!("sub/{}.a", listed[name].as_str().unwrap())).to_vec();
    expected.sort();
    assert_eq!(world.files("targets"), expected);
    for file in expected {
        assert_eq!(std::fs::read(world.layout().targets().join(file)).unwrap(), b"content");
    }
}

#[test]
fn r_6_2_1_3_the_timestamp_file_name_contains_no_version() {
    let world = World::new();
    world.renew().unwrap();
    assert!(world.files("metadata").contains(&"timestamp.json".to_string()));
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 2);
}

#[test]
fn r_6_2_1_4_metadata_lists_file_names_without_prefixes() {
    let world = World::new();
    world.add("a", "1");
    let names = |file: &str, member: &str| -> Vec<String> {
        world.metadata(file)["signed"][member].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names("2.targets.json", "targets"), ["a"]);
    assert_eq!(names("2.snapshot.json", "meta"), ["targets.json"]);
    assert_eq!(names("timestamp.json", "meta"), ["snapshot.json"]);
}

#[test]
fn r_6_2_1_5_the_root_says_how_files_are_named() {
    assert_eq!(World::new().metadata("1.root.json")["signed"]["consistent_snapshot"], true);
    let mut new = NewRepository { immutable: Immutable::none(), ..NewRepository::new(Protection::None) };
    (new.consistent_snapshot, new.hash_prefixed_targets) = (false, false);
    let world = World::with(&new);
    world.add("sub/a", "1");
    assert_eq!(world.metadata("1.root.json")["signed"]["consistent_snapshot"], false);
    assert_eq!(world.files("metadata"), ["1.root.json", "snapshot.json", "targets.json", "timestamp.json"]);
    assert_eq!(world.files("targets"), ["sub/a"]);
    assert_eq!(world.fetch("sub/a").unwrap().unwrap(), b"1");
    world.add("sub/a", "2");
    assert_eq!(world.fetch("sub/a").unwrap().unwrap(), b"2");
}

#[test]
fn r_6_3_1_a_change_of_targets_is_the_next_version_and_is_signed() {
    let world = World::new();
    world.add("a", "1");
    world.add("a", "2");
    assert_eq!(world.metadata("3.targets.json")["signed"]["version"], 3);
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"2");
}

#[test]
fn r_6_3_2_the_snapshot_lists_the_new_version() {
    let world = World::new();
    world.add("a", "1");
    let snapshot = world.metadata("2.snapshot.json");
    assert_eq!(snapshot["signed"]["version"], 2);
    assert_eq!(snapshot["signed"]["meta"]["targets.json"]["version"], 2);
}

#[test]
fn r_6_3_3_publication_goes_from_targets_to_timestamp() {
    let world = World::new();
    let (team, uri) = world.key("team-1");
    let role = RoleName::delegated("team").unwrap();
    world
        .change_with(std::slice::from_ref(&uri), &mut Unobserved, |edit| {
            crate::delegations::delegate(edit, "team", "team/*", &team)
        })
        .unwrap();
    let mut moves = Moves::default();
    world.add_to(&role, "team/a", "1", &mut moves).unwrap();
    let short: Vec<&str> = moves.0.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert!(moves.0[0].starts_with("targets/team/"), "{:?}", moves.0);
    assert_eq!(short[1..], ["2.team.json", "3.snapshot.json", "timestamp.json", ".issued.json"]);

    let mut moves = Moves::default();
    world
        .change_with(&[], &mut moves, |edit| {
            edit.root();
            edit.targets(&RoleName::TARGETS).unwrap();
        })
        .unwrap();
    let names: Vec<&str> = moves.0.iter().map(|path| path.trim_start_matches("metadata/")).collect();
    let expected = ["2.root.json", "3.targets.json", "4.snapshot.json", "timestamp.json", ".issued.json", "repo.toml"];
    assert_eq!(names, expected, "files must be published from the root to the timestamp");
}

#[test]
fn g_3_1_1_without_hash_prefixes_a_name_is_published_once() {
    let mut new = NewRepository { immutable: Immutable::none(), ..NewRepository::new(Protection::None) };
    new.hash_prefixed_targets = false;
    let world = World::with(&new);
    world.add("a", "1");
    assert_eq!(world.files("targets"), ["a"]);
    assert!(matches!(
        world.try_add("a", "2", &mut Unobserved),
        Err(Error::Publication(PublicationError::OtherBytes { .. }))
    ));
    assert_eq!(std::fs::read(world.layout().targets().join("a")).unwrap(), b"1");
    assert_eq!(world.metadata("timestamp.json")["signed"]["version"], 2);
}

#[test]
fn removing_a_target_leaves_its_file_for_clients_in_the_middle_of_an_update() {
    let world = World::new();
    world.add("a", "1");
    let before = world.files("targets");
    world.change(|edit| drop(edit.remove_target(None, &TargetPath::new("a").unwrap()).unwrap())).unwrap();
    assert_eq!(world.fetch("a").unwrap(), None);
    assert_eq!(world.files("targets"), before);
}

#[test]
fn links_fifos_and_unsafe_names_are_not_published() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("links")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path("links/out")).unwrap();
    std::fs::create_dir(path("fifos")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path("fifos/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    std::fs::write(path("fifos/a:b"), "").unwrap();
    std::fs::write(path("fifos/c"), "").unwrap();
    let paths = [path("links"), path("fifos")];
    let Err(Error::Path(PathError::Unpublishable { files })) = intake::find(&paths, None, Hidden::Skip) else {
        panic!("these files cannot be published");
    };
    let refused: Vec<_> = files.iter().map(|file| (file.path.clone(), file.reason.split(&[';', ':']).next())).collect();
    assert_eq!(
        refused,
        [
            (path("links/out"), Some("is a link")),
            (path("fifos/a:b"), Some("the name `a")),
            (path("fifos/pipe"), Some("is not a regular file"))
        ]
    );
    for name in ["../x", "/x", "a//b", "CON", "a\nb", "a\\b", ""] {
        assert!(lastmile_repo_tool::target_path(name).is_err(), "{name:?}");
    }
}

#[test]
fn the_hash_is_computed_from_the_copied_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "content").unwrap();
    let sources = intake::find(&[&file], Some("sub/"), Hidden::Skip).unwrap().sources;
    assert_eq!(sources[0].name.as_str(), "sub/file");
    let world = World::new();
    let own = OwnFiles::of(&world.layout(), &world.open().config).unwrap();
    let algorithms = [Algorithm::Sha256, Algorithm::Sha512];
    let incoming = intake::copy(&sources, folder.path(), &algorithms, &own, &|_| {}).unwrap();
    std::fs::write(&file, "another content").unwrap();
    let mut verifier = incoming[0].target.verifier();
    verifier.update(&std::fs::read(&incoming[0].file).unwrap()).unwrap();
    verifier.finish().unwrap();
}

fn damaged(name: &str, damage: Damage) -> DamagedFile {
    DamagedFile { name: name.to_string(), damage }
}

#[test]
fn all_changed_and_missing_files_are_reported() {
    let world = World::new();
    let key = world.public("targets-1");
    world
        .change(|edit| ["a", "b", "c"].iter().for_each(|name| delegate(edit, name, &format!("{name}/*"), &key)))
        .unwrap();
    let metadata = world.layout().metadata();
    std::fs::write(metadata.join("1.b.json"), "{}").unwrap();
    std::fs::remove_file(metadata.join("1.c.json")).unwrap();
    let error = world.open().published.read_all().unwrap_err();
    let text = error.to_string();
    let Error::Publication(PublicationError::Damaged { files, .. }) = error else { panic!("{error:?}") };
    let expected = [damaged("1.b.json", Damage::Changed), damaged("1.c.json", Damage::Missing)];
    assert_eq!(files, expected);
    assert!(text.contains("missing: 1.c.json"), "{text}");
    assert!(text.contains("is being copied or updated, or was damaged"), "{text}");
}

#[test]
fn files_missing_from_an_incomplete_copy_are_reported() {
    let world = World::new();
    world.add("a", "content");
    for name in ["2.snapshot.json", "2.targets.json"] {
        std::fs::remove_file(world.layout().metadata().join(name)).unwrap();
    }
    let opened = Repository::open(&world.dir(), &world.invocation()).err();
    let Some(Error::Publication(PublicationError::Damaged { files, .. })) = opened else { panic!("{opened:?}") };
    assert_eq!(files, [damaged("2.snapshot.json", Damage::Missing)]);
    let found = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
    assert!(found.problems().any(|problem| problem.rule == Rule::DamagedMetadata), "{found:?}");
}

#[test]
fn a_missing_file_is_not_a_network_failure() {
    let world = World::new();
    std::fs::remove_file(world.layout().metadata().join("1.snapshot.json")).unwrap();
    let opened = Repository::open(&world.dir(), &world.invocation()).err();
    let Some(Error::Publication(PublicationError::Damaged { files, .. })) = opened else { panic!("{opened:?}") };
    assert_eq!(files, [damaged("1.snapshot.json", Damage::Missing)]);
    let found = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
    assert!(!found.is_good());
    assert!(found.problems().any(|problem| problem.text.contains("1.snapshot.json")), "{found:?}");
}

#[test]
fn a_record_of_issued_versions_that_is_not_valid_is_refused() {
    let world = World::new();
    world.add("a", "1");
    let record = world.dir().join(".issued.json");
    let before = std::fs::read(&record).unwrap();
    for wrong in
        ["[]", "{", r#"{"timestamp": "7"}"#, r#"{"timestamp": 0}"#, r#"{"timestamp": -1}"#, r#"{"timestamp": 1.5}"#]
    {
        std::fs::write(&record, wrong).unwrap();
        let refused = world.renew().unwrap_err().to_string();
        assert!(refused.contains(".issued.json") && refused.contains("restore it"), "{wrong}: {refused}");
    }
    std::fs::File::create(&record).unwrap().set_len((64 << 20) + 1).unwrap();
    let refused = world.renew().unwrap_err().to_string();
    assert!(refused.contains(".issued.json") && refused.contains("67108864"), "{refused}");
    std::fs::write(&record, before).unwrap();
    assert!(is_published(&world.renew().unwrap()));
}

#[test]
fn a_repository_with_a_threshold_of_zero_is_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let mut new = NewRepository { immutable: Immutable::none(), ..NewRepository::new(Protection::None) };
    new.thresholds.insert("targets".into(), 0);
    let world = World::new();
    let error = new.create(&folder.path().join("new"), &world.invocation(), &mut Unobserved).err();
    assert!(
        matches!(&error, Some(Error::InvalidInput(InvalidInput::OutOfRange { what: "threshold", .. }))),
        "{error:?}"
    );
}
