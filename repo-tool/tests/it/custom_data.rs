//! The custom data of targets (TUF specification 4.5), and the effect of adding a target again.

use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::internal::batch;
use lastmile_repo_tool::internal::diff;
use lastmile_repo_tool::internal::queue::PublishRequest;
use lastmile_repo_tool::{AddOptions, Config, Custom, Signing, Source, Unobserved, target_path};

use crate::world::{World, target_list};

fn custom(members: &[&str]) -> AddOptions {
    let members: Vec<String> = members.iter().map(ToString::to_string).collect();
    AddOptions::default().with_custom(Custom::parse(&members).unwrap())
}

/// Adds files directly, without the queue.
fn add(world: &World, names: &[String], content: &str, options: &AddOptions) -> String {
    let file = world.folder.path().join("file");
    std::fs::write(&file, content).unwrap();
    let sources: Vec<_> = names.iter().map(|name| Source::new(file.clone(), target_path(name).unwrap())).collect();
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let draft = repository.add_files(draft, &RoleName::TARGETS, &sources, options, &|_| {}).unwrap();
    let plan = repository.plan(draft, Signing::Now).unwrap();
    repository.conclude(&plan, &mut Unobserved).unwrap();
    diff::text(&plan.diff)
}

fn enqueue(world: &World, name: &str, options: &AddOptions) {
    let file = world.folder.path().join("file");
    std::fs::write(&file, "queued").unwrap();
    let config = Config::read(&world.layout()).unwrap();
    let sources = [Source::new(file, target_path(name).unwrap())];
    let request = PublishRequest::enter(&world.layout(), &config, None, &sources, options, &|_| {}).unwrap();
    batch::publish(&request, &world.invocation(), &mut Unobserved).unwrap();
}

fn listed(world: &World, name: &str) -> Option<String> {
    let found = world.open().published.find(&TargetPath::new(name).unwrap()).unwrap().unwrap();
    found.target.custom.map(|custom| custom.to_text())
}

#[test]
fn a_target_that_is_added_again_keeps_its_custom_data() {
    for with_bins in [false, true] {
        let world = World::new();
        if with_bins {
            crate::delegations::make_bins(&world);
        }
        let app = ["app".to_string()];
        add(&world, &app, "1", &custom(&["channel=stable", "build:=7"]));
        let expected = Some(r#"{"build":7,"channel":"stable"}"#.to_string());
        assert_eq!(listed(&world, "app"), expected);
        add(&world, &app, "2", &AddOptions::default());
        assert_eq!(listed(&world, "app"), expected);
        enqueue(&world, "app", &AddOptions::default());
        assert_eq!(listed(&world, "app"), expected);

        enqueue(&world, "app", &custom(&["channel=beta"]));
        assert_eq!(listed(&world, "app").as_deref(), Some(r#"{"channel":"beta"}"#));
        enqueue(&world, "app", &AddOptions::default().with_custom(Custom::Remove));
        assert_eq!(listed(&world, "app"), None);
    }
}

#[test]
fn the_removal_of_custom_data_is_shown() {
    let world = World::new();
    let app = ["app".to_string()];
    add(&world, &app, "1", &custom(&["channel=stable"]));
    let shown = add(&world, &app, "1", &AddOptions::default().with_custom(Custom::Remove));
    assert!(shown.contains("~ app (1 bytes") && shown.contains(r#"custom {"channel":"stable"})"#), "{shown}");
    assert_eq!(listed(&world, "app"), None);
}

#[test]
fn many_targets_and_lists_keep_custom_data() {
    let world = World::new();
    crate::delegations::make_bins(&world);
    let names: Vec<String> = (0..1001).map(|number| format!("file-{number}")).collect();
    add(&world, &names, "1", &custom(&["channel=stable"]));
    let expected = Some(r#"{"channel":"stable"}"#.to_string());
    add(&world, &names, "2", &AddOptions::default());
    assert_eq!(listed(&world, "file-1000"), expected);

    let hash = "0".repeat(64);
    let other = format!(r#"{{"path": "file-8", "length": 1, "hashes": {{"sha256": "{hash}"}}, "custom": {{"a": 1}}}}"#);
    let list = target_list(&format!("{hash}  1  file-7\n{other}\n"));
    world.change(|edit| assert_eq!(edit.fill(&RoleName::TARGETS, &list, &|_| {}).unwrap(), 2)).unwrap();
    assert_eq!((listed(&world, "file-7"), listed(&world, "file-8").as_deref()), (expected, Some(r#"{"a":1}"#)));
}
