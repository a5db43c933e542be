//! What a signer is shown: everything that the signature will cover.

use lastmile_metadata::{DelegatedRoles, RoleName};
use lastmile_repo_tool::draft::Draft;
use lastmile_repo_tool::key_store::keyid_of;
use lastmile_repo_tool::{Signing, diff};
use serde_json::Value;

use crate::delegations::delegate;
use crate::world::World;

#[test]
fn another_key_under_a_known_id_is_shown() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("root-1.pem")).unwrap();
    std::fs::remove_file(world.layout().keys().join("root-2.pem")).unwrap();
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let path = world.layout().staged().join("root.json");
    let mut root: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let (stranger, _) = world.key("stranger");
    let known = keyid_of(&world.public("targets-1"));
    root["signed"]["keys"][&known]["keyval"]["public"] = stranger.public().into();
    std::fs::write(&path, root.to_string()).unwrap();

    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    let shown = diff::full_text(&plan.diff);
    assert!(shown.contains(&format!("+ targets key ed25519 {}, listed as {known}", keyid_of(&stranger))), "{shown}");
    assert!(shown.contains(&format!("- targets key ed25519 {known}")), "{shown}");
}

#[test]
fn f_4_5_6_another_order_of_delegations_is_shown() {
    let world = World::new();
    let key = world.public("targets-1");
    world
        .change(|edit| {
            delegate(edit, "a", "*", &key);
            delegate(edit, "b", "*", &key);
        })
        .unwrap();
    let mut repository = world.open();
    let mut edit = repository.edit(Draft::default());
    let targets = edit.targets(&RoleName::TARGETS).unwrap();
    match &mut targets.delegations.as_mut().unwrap().roles {
        DelegatedRoles::Listed(roles) => roles.reverse(),
        DelegatedRoles::Succinct(_) => panic!("they are listed"),
    }
    let draft = edit.finish().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    let shown = diff::text(&plan.diff);
    assert!(shown.contains("delegations in the order b, a (was: delegations in the order a, b)"), "{shown}");
}

#[test]
fn who_signs_is_shown_every_line() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    for number in 10..40 {
        world.add(&format!("file-{number}"), "1");
    }
    let mut repository = world.open();
    let draft = repository.staged().unwrap();
    let plan = repository.plan(draft, Signing::Never).unwrap();
    assert!(!diff::text(&plan.diff).contains("file-39"), "long lists are cut elsewhere");
    assert!(diff::full_text(&plan.diff).contains("file-39"));
}
