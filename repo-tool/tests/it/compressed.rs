//! Compressed copies of metadata always match the uncompressed files.

use std::io;

use lastmile_metadata::TargetNames;
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{Config, ConfigError, Error, Observer, PublishEvent, Unobserved};

use crate::world::World;

pub(crate) fn set_codings(world: &World, codings: &str) {
    let path = world.layout().config();
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("compress = "));
    let lines = lines.map(|line| {
        if line.starts_with("hashes = ") { format!("{line}\ncompress = {codings}") } else { line.to_string() }
    });
    std::fs::write(path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

fn copies(world: &World) -> Vec<String> {
    world.files("metadata").into_iter().filter(|name| !name.ends_with(".json")).collect()
}

/// Returns the problems that `verify` finds, including problems in compressed copies.
fn problems(world: &World) -> Vec<String> {
    let found = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
    found.problems().map(|problem| problem.text.clone()).collect()
}

#[test]
fn every_metadata_file_is_published_in_the_codings_of_the_config() {
    let world = World::new();
    set_codings(&world, r#"["gzip", "zstd"]"#);
    world.add("a", "1");
    let expected =
        ["2.snapshot", "2.targets", "timestamp"].map(|name| [format!("{name}.json.gz"), format!("{name}.json.zst")]);
    assert_eq!(copies(&world), expected.concat());
    assert_eq!(problems(&world), [""; 0]);
    // Replace a compressed copy with the compressed copy of another file. `verify` must report the mismatch.
    let folder = world.layout().metadata();
    std::fs::copy(folder.join("2.targets.json.gz"), folder.join("timestamp.json.gz")).unwrap();
    assert_eq!(problems(&world), ["metadata/timestamp.json.gz is not a compressed copy of timestamp.json"]);
    world.add("b", "1");
    assert_eq!(problems(&world), [""; 0]);
}

#[test]
fn copies_of_older_files_are_removed() {
    let world = World::new();
    set_codings(&world, r#"["gzip"]"#);
    world.add("a", "1");
    set_codings(&world, "[]");
    world.add("b", "1");
    assert_eq!(copies(&world), ["2.snapshot.json.gz", "2.targets.json.gz"]);
    assert_eq!(problems(&world), [""; 0]);
}

#[test]
fn an_unknown_coding_is_refused_by_name() {
    let world = World::new();
    let unknown = ConfigError::Coding { name: "brotli".into() };
    let twice = ConfigError::CodingTwice { name: "gzip".into() };
    for (codings, expected) in [(r#"["brotli"]"#, unknown), (r#"["gzip", "gzip"]"#, twice)] {
        set_codings(&world, codings);
        let refused = Config::read(&world.layout()).unwrap_err();
        assert!(matches!(&refused, Error::Config { reason: found, .. } if *found == expected), "{refused}");
    }
}

/// Stops the publication after the given number of events, as a crash would.
struct CrashAt(usize);

impl Observer for CrashAt {
    fn before(&mut self, _: PublishEvent<'_>) -> io::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("crash"))?;
        Ok(())
    }
}

#[test]
fn a_crash_at_any_write_leaves_no_outdated_compressed_copy() {
    let base = World::new();
    set_codings(&base, r#"["zstd", "gzip"]"#);
    base.add("old", "1");
    for moment in 0.. {
        let world = base.copy();
        let died = world.try_add("new", "2", &mut CrashAt(moment)).is_err();
        assert_eq!(problems(&world), [""; 0], "moment {moment}");
        world.try_add("next", "3", &mut Unobserved).unwrap();
        assert_eq!(problems(&world), [""; 0], "moment {moment}");
        assert!(copies(&world).contains(&"timestamp.json.gz".to_string()), "moment {moment}");
        if !died {
            assert!(moment >= 20, "{moment}");
            return;
        }
    }
}
