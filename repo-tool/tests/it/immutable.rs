//! Immutable targets, whose content must not change after publication: the setting `immutable` in `repo.toml`.

use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::batch::{self, Shared};
use lastmile_repo_tool::internal::list::List;
use lastmile_repo_tool::internal::queue::{Answer, PublishRequest, RefusalKind};
use lastmile_repo_tool::{
    AddOptions, Config, Draft, EditError, Error, Immutable, NewRepository, Outcome, Protection, RemovedKeys, Signing,
    Source, Unobserved, target_path,
};
use sha2::{Digest as _, Sha256};

use crate::delegations::{delegate, make_bins};
use crate::world::{World, is_published, target_list};

/// By default, all target names are immutable.
fn immutable_world() -> World {
    World::with(&NewRepository::new(Protection::None))
}

fn world_with(patterns: &[&str]) -> World {
    let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
    let immutable = Immutable::parse(&patterns).unwrap();
    World::with(&NewRepository { immutable, ..NewRepository::new(Protection::None) })
}

fn add_all(world: &World, names: &[String], content: &str, options: &AddOptions) -> Result<Outcome, Error> {
    let file = world.folder.path().join("file");
    std::fs::write(&file, content).unwrap();
    let sources: Vec<_> = names.iter().map(|name| Source::new(file.clone(), target_path(name).unwrap())).collect();
    let mut repository = world.open();
    let draft = repository.staged()?;
    let draft = repository.add_files(draft, &RoleName::TARGETS, &sources, options, &|_| {})?;
    let plan = repository.plan(draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved)
}

fn refused(result: Result<Outcome, Error>) -> Vec<String> {
    match result {
        Err(Error::Edit(EditError::Immutable { paths })) => {
            paths.iter().map(|path| path.as_str().to_string()).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn try_add(world: &World, name: &str, content: &str) -> Result<Outcome, Error> {
    world.try_add(name, content, &mut Unobserved)
}

#[test]
fn target_names_of_a_new_repository_are_immutable() {
    for with_bins in [false, true] {
        let world = immutable_world();
        world.add("dir/app", "old");
        if with_bins {
            // Move the targets to bins, where they must stay immutable.
            make_bins(&world);
        }
        assert_eq!(refused(try_add(&world, "dir/app", "new")), ["dir/app"]);
        assert_eq!(world.fetch("dir/app").unwrap().unwrap(), b"old");
        assert!(is_published(&try_add(&world, "dir/app", "old").unwrap()));
        let names = ["dir/app".to_string()];
        let replacing = AddOptions::default().replace_published();
        assert!(is_published(&add_all(&world, &names, "new", &replacing).unwrap()));
        assert_eq!(world.fetch("dir/app").unwrap().unwrap(), b"new");
    }
}

#[test]
fn targets_with_excluded_names_are_replaced() {
    let world = world_with(&["*", "!latest.json", "!nightly/*"]);
    for name in ["latest.json", "a/latest.json", "nightly/app"] {
        world.add(name, "old");
        world.add(name, "new");
        assert_eq!(world.fetch(name).unwrap().unwrap(), b"new");
    }
    world.add("app", "old");
    assert_eq!(refused(try_add(&world, "app", "new")), ["app"]);
}

#[test]
fn a_target_that_another_role_lists_is_not_replaced() {
    let world = immutable_world();
    let (key, uri) = world.key("a-1");
    world
        .change_with(&[uri], &mut Unobserved, |edit| {
            delegate(edit, "a", "a/*", &key);
            delegate(edit, "b", "a/*", &key);
        })
        .unwrap();
    let a = RoleName::delegated("a").unwrap();
    let b = RoleName::delegated("b").unwrap();
    world.add_to(&b, "a/x", "old", &mut Unobserved).unwrap();
    // Clients would find the new content instead of the old one, because the delegation to `a` comes first.
    assert_eq!(refused(world.add_to(&a, "a/x", "new", &mut Unobserved)), ["a/x"]);
}

#[test]
fn all_immutable_names_among_many_files_are_reported() {
    let world = immutable_world();
    let names: Vec<String> = (0..1100).map(|number| format!("file-{number:04}")).collect();
    add_all(&world, names.get(3..5).unwrap(), "old", &AddOptions::default()).unwrap();
    let result = add_all(&world, &names, "new", &AddOptions::default());
    assert_eq!(refused(result), ["file-0003", "file-0004"]);
}

#[test]
fn a_list_of_targets_does_not_change_immutable_targets() {
    let world = immutable_world();
    let list = |content: &str| {
        let digest = hex::encode(Sha256::digest(content));
        let text = format!("{digest} {} a/x\n{digest} {} a/{content}\n", content.len(), content.len());
        target_list(&text).with_immutable(Immutable::all())
    };
    let fill = |list: &List| -> Result<usize, Error> {
        let mut result = Ok(0);
        world.change(|edit| result = edit.fill(&RoleName::TARGETS, list, &|_| {}))?;
        result
    };
    assert_eq!(fill(&list("old")).unwrap(), 2);
    let result = fill(&list("new"));
    let Err(Error::Edit(EditError::Immutable { paths })) = result else { panic!("{result:?}") };
    assert_eq!(paths, [TargetPath::new("a/x").unwrap()]);
    assert_eq!(fill(&list("new").with_immutable(Immutable::none())).unwrap(), 2);
}

#[test]
fn a_pending_target_is_not_published_yet_and_may_change() {
    let world = immutable_world();
    std::fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    for content in ["first", "second"] {
        assert!(matches!(try_add(&world, "app", content).unwrap(), Outcome::Staged(_)));
    }
}

#[test]
fn a_request_of_another_process_specifies_whether_it_replaces_targets() {
    let world = immutable_world();
    world.add("a/x", "old");
    let config = Config::read(&world.layout()).unwrap();
    let enter = |name: &str, options: &AddOptions| {
        let file = world.folder.path().join("file");
        std::fs::write(&file, "new").unwrap();
        let sources = [Source::new(file, target_path(name).unwrap())];
        PublishRequest::enter(&world.layout(), &config, None, &sources, options, &|_| {}).unwrap()
    };
    let publish = |request: &PublishRequest| batch::publish(request, &world.invocation(), &mut Unobserved).unwrap();
    let other = enter("a/x", &AddOptions::default());
    let mine = enter("a/mine", &AddOptions::default());
    assert!(matches!(publish(&mine), Shared::ByUs(_)));
    assert!(matches!(publish(&other), Shared::ByOther(Answer::Refused(RefusalKind::Refused, _))));
    drop((other, mine));
    let other = enter("a/x", &AddOptions::default().replace_published());
    let mine = enter("a/own", &AddOptions::default());
    assert!(matches!(publish(&mine), Shared::ByUs(_)));
    assert!(matches!(publish(&other), Shared::ByOther(Answer::Published { .. })));
    assert_eq!(world.fetch("a/x").unwrap().unwrap(), b"new");
}

#[test]
fn a_revert_restores_replaced_content() {
    let world = immutable_world();
    world.add("app", "old");
    add_all(&world, &["app".to_string()], "new", &AddOptions::default().replace_published()).unwrap();
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    edit.revert(RemovedKeys::Refuse).unwrap();
    let draft = edit.finish().unwrap();
    let plan = repository.plan(draft, Signing::Now).unwrap();
    repository.conclude(&plan, &mut Unobserved).unwrap();
    assert_eq!(world.fetch("app").unwrap().unwrap(), b"old");
}

#[test]
fn a_repository_without_the_immutable_setting_replaces_content() {
    let world = immutable_world();
    let path = world.layout().config();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("immutable = [\"*\"]\n"), "{text}");
    std::fs::write(&path, text.replace("immutable = [\"*\"]\n", "")).unwrap();
    world.add("app", "old");
    world.add("app", "new");
    assert_eq!(world.fetch("app").unwrap().unwrap(), b"new");
}
