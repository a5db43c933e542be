//! Tests of the queue: several processes request the publication of files, and one process publishes all requests
//! together. Each request is published exactly once, even if a process dies.

use std::io;

use lastmile_metadata::{RoleName, TargetNames, TargetPath};
use lastmile_repo_tool::internal::batch::{self, Shared};
use lastmile_repo_tool::internal::queue::{Answer, PublishRequest, RefusalKind};
use lastmile_repo_tool::internal::verify;
use lastmile_repo_tool::{
    AddOptions, Config, Custom, Error, Invocation, LockWait, Observer, PackageEvidence, PublishEvent, Source,
    Unobserved, target_path,
};
use serde_json::Value;

use crate::delegations::delegate;
use crate::world::{World, is_published};

fn enter(world: &World, role: Option<&str>, name: &str) -> PublishRequest {
    let file = world.folder.path().join(format!("file-{name}"));
    std::fs::write(&file, name).unwrap();
    let config = Config::read(&world.layout()).unwrap();
    let sources = [Source::new(file, target_path(&format!("a/{name}")).unwrap())];
    let role = role.map(|role| RoleName::listed(role).unwrap());
    PublishRequest::enter(&world.layout(), &config, role, &sources, &AddOptions::default(), &|_| {}).unwrap()
}

fn publish(world: &World, request: &PublishRequest) -> Result<Shared, Error> {
    let impatient = Invocation { lock_wait: LockWait::none(), ..world.invocation() };
    batch::publish(request, &impatient, &mut Unobserved)
}

fn is_visible(world: &World, name: &str) -> bool {
    world.fetch(&format!("a/{name}")).unwrap().is_some_and(|content| content == name.as_bytes())
}

fn publications(world: &World) -> u64 {
    let version = world.metadata("timestamp.json").pointer("/signed/version").and_then(Value::as_u64);
    version.unwrap() - 1
}

#[test]
fn all_waiting_requests_are_published_together() {
    let world = World::new();
    let requests: Vec<_> = ["1", "2", "3", "4"].map(|name| enter(&world, None, name)).into();
    let first = publish(&world, &requests[2]).unwrap();
    assert!(
        matches!(first, Shared::ByUs(done) if is_published(&done.outcome) && done.plan.draft.requests().len() == 3)
    );
    for (number, request) in requests.iter().enumerate().filter(|(number, _)| *number != 2) {
        let answer = publish(&world, request).unwrap();
        let Shared::ByOther(Answer::Published { text, .. }) = answer else { panic!("{number}") };
        assert!(text.contains("a/1") && text.contains("a/4"), "{text}");
    }
    assert_eq!(publications(&world), 1);
    assert!(["1", "2", "3", "4"].iter().all(|name| is_visible(&world, name)));
    drop(requests);
    assert_eq!(world.files(".queue"), [""; 0]);
}

#[test]
fn another_process_publishes_a_package_with_its_evidence_and_custom_data() {
    let world = World::new();
    let own = enter(&world, None, "1");
    let folder = world.folder.path();
    let config = Config::read(&world.layout()).unwrap();
    let sources = ["app", "app.sig"].map(|name| {
        std::fs::write(folder.join(name), name).unwrap();
        Source::new(folder.join(name), target_path(name).unwrap())
    });
    let [package, file] = sources.clone().map(|source| source.name);
    let custom = Custom::parse(&["channel=stable".to_string()]).unwrap();
    let evidence = PackageEvidence { package, files: vec![file] };
    let options = AddOptions::default().with_custom(custom).with_evidence(evidence);
    let other = PublishRequest::enter(&world.layout(), &config, None, &sources, &options, &|_| {}).unwrap();
    assert!(matches!(publish(&world, &own).unwrap(), Shared::ByUs(_)));
    assert!(matches!(publish(&world, &other).unwrap(), Shared::ByOther(Answer::Published { .. })));
    let mut published = world.open().published;
    let mut custom_of = |name: &str| {
        let found = published.find(&TargetPath::new(name).unwrap()).unwrap().unwrap();
        found.target.custom.map(|custom| custom.to_text())
    };
    let expected = r#"{"channel":"stable","lastmile":{"evidence":["app.sig"]}}"#;
    assert_eq!((custom_of("app").as_deref(), custom_of("app.sig")), (Some(expected), None));
}

#[test]
fn a_refused_request_does_not_stop_the_others() {
    let world = World::new();
    let (key, uri) = world.key("b-1");
    world.change_with(&[uri], &mut Unobserved, |edit| delegate(edit, "b", "b/*", &key)).unwrap();
    let good = enter(&world, None, "1");
    // Add two invalid requests. The first request removes a target that does not exist. The second request adds a
    // target that clients would not find, because no delegation covers its path.
    let absent = TargetPath::new("absent").unwrap();
    let absent = PublishRequest::enter_removal(&world.layout(), None, vec![absent]).unwrap();
    let hidden = enter(&world, Some("b"), "2");
    let other = enter(&world, None, "3");
    let done = publish(&world, &good).unwrap();
    assert!(matches!(done, Shared::ByUs(done) if is_published(&done.outcome)));
    let of = |request: &PublishRequest| match publish(&world, request).unwrap() {
        Shared::ByOther(Answer::Refused(fault, text)) => Err(fault.error(text)),
        Shared::ByOther(Answer::Published { .. }) => Ok(()),
        Shared::ByUs(_) => panic!("another process should have answered the request, but this one did"),
    };
    assert!(matches!(of(&absent), Err(Error::Request { kind: RefusalKind::NotFound, .. })));
    assert!(matches!(of(&hidden), Err(Error::Request { kind: RefusalKind::Draft, .. })));
    of(&other).unwrap();
    assert!(is_visible(&world, "1") && is_visible(&world, "3") && world.fetch("a/2").unwrap().is_none());
}

#[test]
fn a_timed_out_or_abandoned_request_is_not_published() {
    let world = World::new();
    let lock = world.layout().lock().unwrap();
    let late = enter(&world, None, "1");
    assert!(matches!(publish(&world, &late), Err(Error::Busy { .. })));
    drop(enter(&world, None, "2"));
    drop(lock);
    publish(&world, &enter(&world, None, "3")).unwrap();
    assert!(is_visible(&world, "3"));
    assert!(world.fetch("a/1").unwrap().is_none() && world.fetch("a/2").unwrap().is_none());
}

#[test]
fn without_keys_each_publisher_stages_its_own_request() {
    let world = World::new();
    std::fs::remove_file(world.layout().keys().join("targets-1.pem")).unwrap();
    let one = enter(&world, None, "1");
    let other = enter(&world, None, "2");
    for request in [&one, &other] {
        let Shared::ByUs(done) = publish(&world, request).unwrap() else {
            panic!("a request that cannot be published must be staged by its own process")
        };
        assert!(!is_published(&done.outcome) && done.plan.draft.requests().is_empty());
    }
    let names = world.files("staged/targets/a");
    assert!(names.len() == 2 && names[0].ends_with(".1") | names[1].ends_with(".1"), "{names:?}");
}

/// Stops the publication at its n-th event, as a crash would.
struct CrashAt(usize);

impl Observer for CrashAt {
    fn before(&mut self, _: PublishEvent<'_>) -> io::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("crash"))?;
        Ok(())
    }
}

#[test]
fn when_the_publisher_dies_the_other_requests_are_published_once() {
    let base = World::new();
    base.add("old", "1");
    for moment in 0.. {
        let world = base.copy();
        let requests = ["1", "2", "3"].map(|name| enter(&world, None, name));
        let died = batch::publish(&requests[0], &world.invocation(), &mut CrashAt(moment)).is_err();
        for request in &requests[1..] {
            publish(&world, request).unwrap();
        }
        assert!(is_visible(&world, "2") && is_visible(&world, "3"), "moment {moment}");
        // After the publication of `old`, there must be exactly one more publication, no matter which process made it.
        assert_eq!(publications(&world), 2, "moment {moment}");
        let verified = verify::directory(&world.dir(), world.now, TargetNames::HashPrefixed, &|_, _| {}).unwrap();
        assert!(verified.is_good(), "moment {moment}: {verified:?}");
        if !died {
            assert!(moment >= 10, "{moment}");
            return;
        }
    }
}

#[test]
fn a_request_that_cannot_be_read_can_still_be_withdrawn() {
    let world = World::new();
    let other = enter(&world, None, "1");
    let request = world.files(".queue").into_iter().find(|name| name.ends_with("request.json")).unwrap();
    let request = world.dir().join(".queue").join(request);
    std::fs::write(&request, "{").unwrap();
    let own = enter(&world, None, "2");
    assert!(matches!(publish(&world, &own).unwrap(), Shared::ByUs(_)));
    assert!(is_visible(&world, "2") && !is_visible(&world, "1"));
    assert!(request.exists());
    // The process that made the request can give up waiting while another process holds the lock.
    let repository = world.open();
    let busy = other.wait(std::time::Duration::ZERO, &|| {});
    assert!(matches!(busy, Err(Error::Busy { .. })), "{busy:?}");
    drop(repository);
}
