//! Pinned roots. The tool signs content only if the user has pinned the repository's root, because anybody could have
//! created the folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lastmile_client::BaseUrl;
use lastmile_metadata::{Key, RoleKeys, RoleName, Threshold, Version};
use lastmile_repo_tool::internal::revoke::revoke;
use lastmile_repo_tool::{
    Draft, Error, GivenRoot, Invocation, KeyUri, Protection, Repository, RootDigest, Signing, Unobserved, UserConfig,
};

use crate::world::{World, is_published};

/// Returns the invocation of a user who has not used the repository before.
fn stranger(world: &World, name: &str) -> Invocation {
    Invocation { user: UserConfig::at(&world.folder.path().join(name)), ..world.invocation() }
}

fn digest(world: &World, version: u64) -> RootDigest {
    RootDigest::of(&fs::read(world.layout().metadata().join(format!("{version}.root.json"))).unwrap())
}

/// Signs the targets role again as the user of `invocation`.
fn add(world: &World, invocation: &Invocation) -> Result<(), Error> {
    let mut repository = Repository::open_for_change(&world.dir(), invocation)?;
    let mut edit = repository.edit(Draft::default());
    edit.sign_again(&RoleName::TARGETS)?;
    let draft = edit.finish()?;
    let plan = repository.plan(draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved).map(drop)
}

fn renew(world: &World, invocation: &Invocation) -> Result<(), Error> {
    let mut repository = Repository::open_for_change(&world.dir(), invocation)?;
    let draft = Draft::renew_online_roles();
    let plan = repository.plan(draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved).map(drop)
}

/// Creates an attacker's repository. The metadata of this repository lists the targets key of `victim`, and `repo.toml`
/// names the private key file of `victim`.
fn forged_for(victim: &World) -> World {
    let forged = World::new();
    let public = victim.public("targets-1");
    let theirs = forged.public("targets-1");
    let private = victim.layout().keys().join("targets-1.pem");
    let uri = KeyUri::File(private.canonicalize().unwrap());
    forged
        .change_with(&[uri], &mut Unobserved, |edit| edit.rotate(&RoleName::TARGETS, &[public], &[theirs]).unwrap())
        .unwrap();
    forged
}

#[test]
fn a_forged_folder_gets_no_signature_of_a_targets_key() {
    let victim = World::new();
    let forged = forged_for(&victim);
    let before = forged.files("metadata");
    // The victim has pinned the root of the genuine repository, and now runs a command in the forged folder.
    let invocation = Invocation { user: victim.invocation().user, ..forged.invocation() };
    fs::copy(victim.layout().keys().join("targets-1.pem"), forged.layout().keys().join("targets-1.pem")).unwrap();
    fs::copy(victim.layout().keys().join("targets-1.pub"), forged.layout().keys().join("targets-1.pub")).unwrap();
    let refused = add(&forged, &invocation).unwrap_err();
    assert!(matches!(&refused, Error::NotPinned { .. }), "{refused}");
    let hint = refused.hint().unwrap();
    assert!(hint.contains(&format!("--root-sha256 {}", digest(&forged, 1))), "{hint}");
    assert_eq!(forged.files("metadata"), before);
}

#[test]
fn a_signer_without_a_pin_does_not_sign_the_pending_change() {
    let world = World::new();
    let key = world.layout().keys().join("targets-1.pem");
    let away = world.folder.path().join("targets-1.pem");
    fs::rename(&key, &away).unwrap();
    fs::copy(key.with_extension("pub"), away.with_extension("pub")).unwrap();
    world.add("x", "1");
    let invocation = stranger(&world, "stranger.toml");
    let mut repository = Repository::open(&world.dir(), &invocation).unwrap();
    repository.keys.add(&world.dir(), &KeyUri::File(away));
    let draft = repository.staged().unwrap();
    let keys = repository.keys.clone();
    let refused = repository.sign_staged(&draft, &keys, &[].into());
    assert!(matches!(&refused, Err(Error::NotPinned { .. })), "{refused:?}");
    // After the user has given the digest of the genuine root once, the tool signs for that user in this run and in all
    // later runs.
    let given = Some(GivenRoot { digest: digest(&world, 1), remember: true });
    let mut repository =
        Repository::open(&world.dir(), &Invocation { given_root: given, ..invocation.clone() }).unwrap();
    let draft = repository.staged().unwrap();
    assert_eq!(repository.sign_staged(&draft, &keys, &[].into()).unwrap().len(), 1);
    assert!(Repository::open(&world.dir(), &invocation).unwrap().authority().is_pinned());
}

#[test]
fn a_root_that_is_given_for_one_run_is_not_remembered_and_a_wrong_one_is_refused() {
    let world = World::new();
    let invocation = stranger(&world, "stranger.toml");
    assert!(matches!(add(&world, &invocation), Err(Error::NotPinned { .. })));
    let given =
        |remember, digest| Invocation { given_root: Some(GivenRoot { digest, remember }), ..invocation.clone() };
    add(&world, &given(false, digest(&world, 1))).unwrap();
    assert!(matches!(add(&world, &invocation), Err(Error::NotPinned { .. })));
    let refused = add(&world, &given(true, digest(&World::new(), 1))).unwrap_err();
    assert!(refused.to_string().contains("no root in"), "{refused}");
    let file = GivenRoot::read(&world.layout().metadata().join("1.root.json")).unwrap();
    add(&world, &Invocation { given_root: Some(file), ..invocation.clone() }).unwrap();
    add(&world, &invocation).unwrap();
}

#[test]
fn snapshots_and_timestamps_need_no_pin_unless_their_keys_sign_content() {
    let world = World::new();
    renew(&world, &stranger(&world, "cron.toml")).unwrap();
    for role in ["targets", "root"] {
        let world = World::new();
        let online = world.public("timestamp-1");
        let role = RoleName::listed(role).unwrap();
        world.change(|edit| edit.rotate(&role, &[online], &[]).unwrap()).unwrap();
        let refused = renew(&world, &stranger(&world, "cron.toml"));
        assert!(matches!(&refused, Err(Error::NotPinned { .. })), "{role}: {refused:?}");
        world.renew().unwrap();
    }
}

#[test]
fn a_rolled_back_or_changed_folder_is_refused() {
    let world = World::new();
    let old = world.copy();
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    // The user has pinned version 2 of the root, but the copy has only version 1.
    let refused = add(&old, &Invocation { user: world.invocation().user, ..old.invocation() }).unwrap_err();
    assert!(refused.to_string().contains("2.root.json is missing"), "{refused}");
    // Publish a different version 2 of the root in the copy.
    let mut later = old;
    later.days_pass(1);
    later.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let refused = add(&later, &Invocation { user: world.invocation().user, ..later.invocation() }).unwrap_err();
    assert!(refused.to_string().contains("not the root that you pinned"), "{refused}");
}

#[test]
fn a_pin_moves_along_the_verified_chain_only() {
    let world = World::new();
    let stolen = World::new();
    // Forge a version 2 of the root that the keys of version 1 have not signed.
    let mut root = (*world.open().published.root).clone();
    root.version = Version::new(2).unwrap();
    let key = Key::from_public(&stolen.public("root-1"));
    let ids = vec![key.keyid()];
    root.keys.insert(key.keyid(), key);
    root.roles.insert(RoleName::TARGETS, RoleKeys::new(ids, Threshold::ONE));
    crate::snapshot::forge_with(&stolen, &world, "2.root.json", &root, "root-1");
    let before = fs::read_to_string(world.user_config()).unwrap();
    let refused = add(&world, &world.invocation());
    assert!(matches!(&refused, Err(Error::Untrusted(_))), "{refused:?}");
    assert_eq!(fs::read_to_string(world.user_config()).unwrap(), before);
    // The tool pins a genuine new root automatically. If the user then gives an older root, the pin does not change.
    fs::remove_file(world.layout().metadata().join("2.root.json")).unwrap();
    world.change(|edit| edit.sign_again(&RoleName::ROOT).unwrap()).unwrap();
    let pinned = |world: &World| world.invocation().user.pinned_root(digest(world, 1)).unwrap().unwrap();
    assert_eq!((pinned(&world).version.get(), pinned(&world).digest), (2, digest(&world, 2)));
    let given = Some(GivenRoot { digest: digest(&world, 1), remember: true });
    add(&world, &Invocation { given_root: given, ..world.invocation() }).unwrap();
    assert_eq!(pinned(&world).version.get(), 2);
}

#[test]
fn keys_outside_the_folder_are_used_only_if_the_user_allows_them() {
    let world = World::new();
    let away = world.folder.path().canonicalize().unwrap().join("away.pem");
    fs::rename(world.layout().keys().join("targets-1.pem"), &away).unwrap();
    fs::copy(world.layout().keys().join("targets-1.pub"), away.with_extension("pub")).unwrap();
    let text = fs::read_to_string(world.layout().config()).unwrap();
    let dotted = format!("keys/../../{}", away.file_name().unwrap().to_str().unwrap());
    for path in [away.to_str().unwrap(), &dotted] {
        let named = text.replace("file:keys/targets-1.pem", &format!("file:{path}"));
        assert_ne!(named, text);
        fs::write(world.layout().config(), named).unwrap();
        assert!(!is_published(&world.add("x", path)), "{path}");
        fs::remove_dir_all(world.layout().staged()).unwrap();
    }
    let repository = world.open();
    let uri = repository.config.key_uris().into_iter().find(|uri| uri.to_string().contains("away")).unwrap();
    repository.allow_key(&uri).unwrap();
    drop(repository);
    assert!(is_published(&world.add("x", "1")));
}

#[test]
fn a_key_folder_behind_a_link_counts_as_outside() {
    let world = World::new();
    let away = world.folder.path().join("away");
    fs::rename(world.layout().keys(), &away).unwrap();
    std::os::unix::fs::symlink(&away, world.layout().keys()).unwrap();
    let refused = world.try_add("x", "1", &mut Unobserved);
    assert!(!matches!(&refused, Ok(outcome) if is_published(outcome)), "{refused:?}");
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let world = World::new();
    let file = world.user_config();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let refused = add(&world, &world.invocation()).unwrap_err();
    assert!(refused.to_string().contains("other users can change it (mode 666)"), "{refused}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    add(&world, &world.invocation()).unwrap();
    fs::write(&file, "[repositories]\nx = 1").unwrap();
    assert!(matches!(add(&world, &world.invocation()), Err(Error::NotPinned { .. })));
    fs::write(&file, "repositories = 1 1").unwrap();
    assert!(matches!(add(&world, &world.invocation()), Err(Error::Config { .. })));
}

#[test]
fn comments_in_the_configuration_are_preserved() {
    let world = World::new();
    let text = format!("# my repositories\n{}", fs::read_to_string(world.user_config()).unwrap());
    fs::write(world.user_config(), &text).unwrap();
    let config = UserConfig::at(&world.user_config());
    config.set_metadata_url(digest(&world, 1), &BaseUrl::new("https://example.org/metadata/").unwrap()).unwrap();
    config.allow_key(digest(&world, 1), Path::new("/media/usb/root-1.pem")).unwrap();
    let after = fs::read_to_string(world.user_config()).unwrap();
    assert!(after.starts_with("# my repositories\n") && text.lines().all(|line| after.contains(line)), "{after}");
    let url = config.metadata_url(digest(&world, 1)).unwrap();
    assert_eq!(url.unwrap().as_str(), "https://example.org/metadata/");
    assert_eq!(config.keys(digest(&world, 1)).unwrap(), [Path::new("/media/usb/root-1.pem")]);
}

#[test]
fn another_repository_in_the_folder_of_a_pinned_one_gets_no_signature() {
    let world = World::new();
    let forged = World::new();
    world.add("x", "1");
    fs::remove_dir_all(world.layout().metadata()).unwrap();
    for file in forged.files("metadata") {
        let to = world.layout().metadata().join(&file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(forged.layout().metadata().join(&file), to).unwrap();
    }
    let refused = renew(&world, &world.invocation()).unwrap_err().to_string();
    assert!(refused.contains("now contains a different repository"), "{refused}");
    // A user who has replaced the repository on purpose can give the new root.
    let given = Some(GivenRoot { digest: digest(&forged, 1), remember: true });
    Repository::open(&world.dir(), &Invocation { given_root: given, ..world.invocation() }).unwrap();
}

#[test]
fn a_key_that_signs_for_a_nested_role_signs_no_timestamp_without_a_pin() {
    let world = World::new();
    let (team, uri) = world.key("team-1");
    world.change_with(&[uri], &mut Unobserved, |edit| crate::delegations::delegate(edit, "team", "*", &team)).unwrap();
    let online = world.public("timestamp-1");
    world
        .change(|edit| {
            let from = RoleName::delegated("team").unwrap();
            crate::delegations::delegate_from(edit, &from, "nested", "*", &online);
        })
        .unwrap();
    let refused = renew(&world, &stranger(&world, "cron.toml"));
    assert!(matches!(&refused, Err(Error::NotPinned { .. })), "{refused:?}");
    world.renew().unwrap();
}

#[test]
fn a_publication_succeeds_even_if_the_configuration_cannot_be_written() {
    let world = World::new();
    let given = Some(GivenRoot { digest: digest(&world, 1), remember: true });
    let user = UserConfig::at(Path::new("/proc/nowhere/config.toml"));
    let invocation = Invocation { user, given_root: given, ..world.invocation() };
    let mut repository = Repository::open_for_change(&world.dir(), &invocation).unwrap();
    let draft = Draft::renew_online_roles();
    let plan = repository.plan(draft, Signing::Now).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    assert!(repository.warnings.iter().any(|warning| warning.contains("/proc/nowhere")), "{:?}", repository.warnings);
}

#[test]
fn a_revocation_without_a_pin_writes_no_key() {
    let world = World::new();
    let before = world.files("keys");
    let mut repository = Repository::open_for_change(&world.dir(), &stranger(&world, "stranger.toml")).unwrap();
    let key = world.public("timestamp-1");
    let refused = revoke(&mut repository, &key, &crate::revocation::generated(&Protection::None));
    assert!(matches!(refused, Err(Error::NotPinned { .. })));
    assert_eq!(world.files("keys"), before);
}
