//! Target paths that clients cannot store together in one folder.

use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::batch;
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::internal::queue::PublishRequest;
use lastmile_repo_tool::{
    AddOptions, Config, DelegatedPaths, Draft, EditError, Error, NewRepository, Protection, Signing, Source,
    Unobserved, target_path,
};

use crate::world::{World, target_list};

fn clashes(refused: Result<impl std::fmt::Debug, Error>) -> Vec<(String, String)> {
    match refused {
        Err(Error::Edit(EditError::FileAndFolder { clashes })) => {
            clashes.into_iter().map(|(file, below)| (file.to_string(), below.to_string())).collect()
        }
        other => panic!("expected an error about paths that cannot be stored together, got {other:?}"),
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
        // The tool keeps the file of a removed target. If file names have no hash prefix, the kept file is in the
        // folder `x`, so no file named `x` can be created.
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
fn all_clashes_of_one_command_are_reported() {
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
    let list = target_list(&text);
    let mut repository = world.open();
    let refused = repository.edit(Draft::default()).fill(&RoleName::TARGETS, &list, &|_| {});
    assert_eq!(clashes(refused), [pair("new", "new/a"), pair("old", "old/b")].concat());
}

/// Returns each refused path with the role to which the path is delegated.
fn hidden(refused: Result<impl std::fmt::Debug, Error>) -> Vec<(String, String)> {
    match refused {
        Err(Error::Edit(EditError::HidesDelegated { hidden })) => {
            hidden.into_iter().map(|hidden| (hidden.path.to_string(), hidden.delegated.to_string())).collect()
        }
        other => panic!("expected an error about targets that hide delegated targets, got {other:?}"),
    }
}

#[test]
fn a_target_whose_path_is_delegated_is_refused_unless_it_may_hide_the_delegated_one() {
    let world = World::new();
    let (key, uri) = world.key("team-1");
    let delegate = |edit: &mut lastmile_repo_tool::Edit<'_>| {
        crate::delegations::delegate(edit, "team", "team/*", &key);
    };
    world.change_with(&[uri], &mut Unobserved, delegate).unwrap();
    let team = RoleName::delegated("team").unwrap();
    world.add_to(&team, "team/app", "delegated", &mut Unobserved).unwrap();
    assert_eq!(hidden(world.try_add("team/app", "1", &mut Unobserved)), pair("team/app", "team"));

    let file = world.folder.path().join("file");
    let sources = ["team/new", "app", "team/app"].map(|name| Source::new(file.clone(), target_path(name).unwrap()));
    let add = |options: &AddOptions| {
        let mut repository = world.open();
        let draft = repository.staged().unwrap();
        let draft = repository.add_files(draft, &RoleName::TARGETS, &sources, options, &|_| {})?;
        let plan = repository.plan(draft, Signing::Now).unwrap();
        repository.conclude(&plan, &mut Unobserved)
    };
    let both = [pair("team/new", "team"), pair("team/app", "team")].concat();
    assert_eq!(hidden(add(&AddOptions::default())), both);
    assert_eq!(world.fetch("team/app").unwrap().unwrap(), b"delegated");

    let line = |path: &str| format!("{}  1  {path}\n", "0".repeat(64));
    let list = || target_list(&[line("a"), line("team/b")].concat());
    let fill = |list: &List| world.open().edit(Draft::default()).fill(&RoleName::TARGETS, list, &|_| {});
    assert_eq!(hidden(fill(&list())), pair("team/b", "team"));
    assert_eq!(fill(&list().with_delegated(DelegatedPaths::Hide)).unwrap(), 2);

    let config = Config::read(&world.layout()).unwrap();
    let options = AddOptions::default().hide_delegated();
    for (options, is_published) in [(&AddOptions::default(), false), (&options, true)] {
        let request = PublishRequest::enter(&world.layout(), &config, None, &sources, options, &|_| {}).unwrap();
        assert_eq!(batch::publish(&request, &world.invocation(), &mut Unobserved).is_ok(), is_published);
    }
    assert_eq!(world.fetch("team/app").unwrap().unwrap(), b"1");
}
