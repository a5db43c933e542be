//! Target paths that cannot be in one folder of a client.

use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::intake::Source;
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::{AddOptions, Draft, EditError, Error, NewRepository, Protection, Unobserved, target_path};

use crate::world::World;

fn clashes(refused: Result<impl std::fmt::Debug, Error>) -> Vec<(String, String)> {
    match refused {
        Err(Error::Edit(EditError::FileAndFolder { clashes })) => {
            clashes.into_iter().map(|(file, below)| (file.to_string(), below.to_string())).collect()
        }
        other => panic!("not refused as a clash: {other:?}"),
    }
}

fn pair(file: &str, below: &str) -> Vec<(String, String)> {
    vec![(file.to_string(), below.to_string())]
}

fn worlds() -> [World; 3] {
    let mut plain = NewRepository::new(Protection::None);
    plain.hash_prefixed_targets = false;
    let with_bins = World::new();
    crate::delegations::make_bins(&with_bins);
    [World::new(), World::with(&plain), with_bins]
}

#[test]
fn a_target_below_another_target_is_refused() {
    for world in worlds() {
        world.add("x", "1");
        assert_eq!(clashes(world.try_add("x/y/z", "1", &mut Unobserved)), pair("x", "x/y/z"));
        world.add("xx/y", "1");
    }
}

#[test]
fn a_target_with_the_name_of_a_folder_is_refused() {
    for world in worlds() {
        world.add("x/y/z", "1");
        assert_eq!(clashes(world.try_add("x", "1", &mut Unobserved)), pair("x", "x/y/z"));
        assert_eq!(clashes(world.try_add("x/y", "1", &mut Unobserved)), pair("x/y", "x/y/z"));
        // The file of a removed target stays, but its name is free.
        let path = TargetPath::new("x/y/z").unwrap();
        world.change(|edit| drop(edit.remove_target(None, &path).unwrap())).unwrap();
        let is_plain = world.files("targets").contains(&"x/y/z".to_string());
        if is_plain {
            assert_eq!(clashes(world.try_add("x", "1", &mut Unobserved)), pair("x", "x/y/z"));
        } else {
            world.add("x", "1");
            assert_eq!(world.fetch("x").unwrap().unwrap(), b"1");
        }
    }
}

#[test]
fn all_clashes_of_one_command_are_named() {
    let world = World::new();
    world.add("old", "1");
    let file = world.folder.path().join("file");
    std::fs::write(&file, "1").unwrap();
    let names = ["a", "a/b", "c/d/e", "c/d", "old/new", "other"];
    let sources = names.map(|name| Source::new(file.clone(), target_path(name).unwrap()));
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let refused = repository.add_files(draft, &RoleName::TARGETS, &sources, &AddOptions::default(), &|_| {});
    let expected = [pair("a", "a/b"), pair("c/d", "c/d/e"), pair("old", "old/new")].concat();
    assert_eq!(clashes(refused), expected);
}

#[test]
fn a_list_of_targets_that_clash_is_refused() {
    let world = World::new();
    world.add("old", "1");
    let line = |path: &str| format!("{}  1  {path}\n", "0".repeat(64));
    let text: String = ["new", "new-1", "new/a", "old/b", "other/c"].map(line).concat();
    let list = List::parse(text.into_bytes(), &|_| {}).unwrap();
    let mut repository = world.open();
    let refused = repository.edit(Draft::default()).fill(&RoleName::TARGETS, &list, &|_| {});
    assert_eq!(clashes(refused), [pair("new", "new/a"), pair("old", "old/b")].concat());
}
