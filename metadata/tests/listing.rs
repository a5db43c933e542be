//! Tests that list the targets of hostile metadata. The running time must be bounded, and proportional to the length of
//! the metadata.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod repository;

use lastmile_metadata::{Error, ErrorKind, FileContent, Limit, Limits, Stage as _, TargetPath};
use repository::{EXPIRES, Repository};

fn delegation(keyid: &str, name: &str, patterns: &[String]) -> String {
    let patterns: Vec<_> = patterns.iter().map(|pattern| format!(r#""{pattern}""#)).collect();
    let patterns = patterns.join(",");
    format!(r#"{{"keyids":["{keyid}"],"name":"{name}","paths":[{patterns}],"terminating":false,"threshold":1}}"#)
}

/// Returns a repository in which the top-level role delegates `patterns` to each of `roles`, and each of these roles
/// lists `paths`.
fn repository(roles: &[String], patterns: &[String], paths: &[String]) -> Repository {
    let mut repository = Repository::new();
    let id = repository.keyid();
    let key = repository.key_text();
    let delegations: Vec<_> = roles.iter().map(|name| delegation(&id, name, patterns)).collect();
    let delegations = delegations.join(",");
    repository.publish(&format!(r#"{{"keys":{{"{id}":{key}}},"roles":[{delegations}]}}"#), roles);
    let hash = "0".repeat(64);
    let entry = |path: &String| format!(r#""{path}":{{"hashes":{{"sha256":"{hash}"}},"length":1}}"#);
    let targets = paths.iter().map(entry).collect::<Vec<_>>().join(",");
    let signed = format!(r#"{{"_type":"targets",{EXPIRES},"spec_version":"1.0","targets":{{{targets}}},"version":1}}"#);
    for name in roles {
        repository.sign(&format!("1.{name}.json"), &signed);
    }
    repository
}

/// Lists all targets with at most `steps` steps, and returns the number of targets.
fn list(repository: &mut Repository, steps: u64) -> Result<usize, Error> {
    let mut limits = Limits::default();
    limits.list_steps = steps;
    let mut trusted = repository.update(limits).unwrap();
    let listing = trusted.listing();
    repository.drive(listing).map(|listed| listed.len())
}

fn numbered(count: usize, make: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(make).collect()
}

#[test]
fn b1_the_steps_of_a_list_grow_with_targets_and_patterns_and_not_with_their_product() {
    let targets = 2_000;
    let patterns = 20_000;
    let paths = numbered(targets, |number| format!("product-{number:06}/x"));
    for make in [
        |number| format!("product-{number:06}/x"),
        |number| format!("product-{number:06}/*"),
        |number| format!("*/{number}.tgz"),
    ] {
        let mut patterns = numbered(patterns, make);
        patterns.push("product-*/x".to_owned());
        let mut repository = repository(&["d".to_owned()], &patterns, &paths);
        // For each target, one step is needed to read its path, two steps to visit both roles in the search, and a few
        // steps to compare the path with patterns.
        assert_eq!(list(&mut repository, 12 * targets as u64 + 1_000).unwrap(), targets, "{}", patterns[1]);
    }
}

#[test]
fn b1_a_list_with_indistinguishable_patterns_stops_at_the_budget() {
    let paths = numbered(500, |number| format!("x{number:06}x"));
    let mut repository = repository(&["d".to_owned()], &numbered(1_000, |number| format!("*{number}*")), &paths);
    let refused = list(&mut repository, 100_000).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::LimitReached { limit: Limit::ListSteps, value: 100_000 });
    assert_eq!(list(&mut repository, 600_000).unwrap(), 500);
}

#[test]
fn b1_the_patterns_of_a_delegated_role_spend_the_budget_too() {
    let paths = numbered(500, |number| format!("x{number:06}x"));
    let mut repository = repository(&["d".to_owned(), "e".to_owned()], &["*".to_owned()], &paths);
    let id = repository.keyid();
    let key = repository.key_text();
    let below = delegation(&id, "e", &numbered(1_000, |number| format!("*{number}*")));
    repository.sign("1.d.json", &repository::targets(&format!(r#"{{"keys":{{"{id}":{key}}},"roles":[{below}]}}"#)));
    let refused = list(&mut repository, 100_000).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::LimitReached { limit: Limit::ListSteps, value: 100_000 });
    assert_eq!(list(&mut repository, 600_000).unwrap(), 500);
}

#[test]
fn b1_a_role_with_many_delegators_uses_the_budget_for_each() {
    let mut repository = Repository::new();
    let id = repository.keyid();
    let key = repository.key_text();
    let roles = numbered(50, |number| format!("r{number:02}"));
    let all = ["*".to_owned()];
    let delegations: Vec<_> = roles.iter().map(|name| delegation(&id, name, &all)).collect();
    let delegations = delegations.join(",");
    let mut names = roles.clone();
    names.push("shared".to_owned());
    repository.publish(&format!(r#"{{"keys":{{"{id}":{key}}},"roles":[{delegations}]}}"#), &names);
    let shared = delegation(&id, "shared", &all);
    let delegating = repository::targets(&format!(r#"{{"keys":{{"{id}":{key}}},"roles":[{shared}]}}"#));
    for name in &roles {
        repository.sign(&format!("1.{name}.json"), &delegating);
    }
    let hash = "0".repeat(64);
    let entry = |path: String| format!(r#""{path}":{{"hashes":{{"sha256":"{hash}"}},"length":1}}"#);
    let targets = numbered(1_000, |number| entry(format!("t{number:06}"))).join(",");
    repository.sign(
        "1.shared.json",
        &format!(r#"{{"_type":"targets",{EXPIRES},"spec_version":"1.0","targets":{{{targets}}},"version":1}}"#),
    );
    let refused = list(&mut repository, 40_000).unwrap_err();
    assert!(matches!(refused.kind, ErrorKind::LimitReached { limit: Limit::ListSteps, .. }), "{refused}");
}

#[test]
fn b1_a_role_spends_the_budget_by_its_length_even_if_it_lists_nothing() {
    let mut repository = repository(&["d".to_owned()], &["*".to_owned()], &[]);
    assert_eq!(list(&mut repository, 1_000).unwrap(), 0);
    let unknown = "x".repeat(1_000_000);
    repository.sign(
        "1.d.json",
        &format!(
            r#"{{"_type":"targets",{EXPIRES},"spec_version":"1.0","targets":{{}},"unknown":"{unknown}","version":1}}"#
        ),
    );
    let refused = list(&mut repository, 1_000).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::LimitReached { limit: Limit::ListSteps, value: 1_000 });
    assert_eq!(list(&mut repository, 1_000_000).unwrap(), 0);
}

#[test]
fn b1_a_list_agrees_with_searches_with_and_without_routers() {
    let paths = ["a/b", "a/b/c", "ab", "b", "x-1.tgz", "x-2.zip"].map(str::to_owned);
    let patterns = ["a/*", "?", "x-*.tgz", "*b"].map(str::to_owned);
    let mut repository = repository(&["one", "two"].map(str::to_owned), &patterns, &paths);
    let mut trusted = repository.update(Limits::default()).unwrap();
    let listed = repository.drive(trusted.listing()).unwrap();
    let names: Vec<_> = listed.iter().map(|target| target.path.as_str()).collect();
    assert_eq!(names, ["a/b", "ab", "b", "x-1.tgz"]);
    let mut others = repository.update(Limits::default()).unwrap();
    for path in &paths {
        let path = TargetPath::new(path.as_str()).unwrap();
        let by_router = repository.drive(trusted.search(path.clone())).unwrap().map(|found| found.target);
        let by_looking = repository.drive(others.search(path.clone())).unwrap().map(|found| found.target);
        assert_eq!(by_router, by_looking);
        assert_eq!(listed.iter().find(|target| target.path == path), by_looking.as_ref());
    }
}

#[test]
fn b1_a_list_leaves_out_what_a_search_refuses() {
    let mut repository = repository(&["d".to_owned()], &["*".to_owned()], &[]);
    let hash = "0".repeat(64);
    let targets =
        format!(r#""a":{{"hashes":{{"md5":"00"}},"length":1}},"b":{{"hashes":{{"sha256":"{hash}"}},"length":1}}"#);
    repository.sign(
        "1.d.json",
        &format!(r#"{{"_type":"targets",{EXPIRES},"spec_version":"1.0","targets":{{{targets}}},"version":1}}"#),
    );
    let mut trusted = repository.update(Limits::default()).unwrap();
    let listed = repository.drive(trusted.listing()).unwrap();
    assert_eq!(listed.iter().map(|target| target.path.as_str()).collect::<Vec<_>>(), ["b"]);
    let refused = repository.drive(trusted.search(TargetPath::new("a").unwrap())).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::NoSupportedHash("a".to_owned()));
}

#[test]
fn b1_a_list_can_be_interrupted_between_searches() {
    let paths = numbered(10, |number| format!("p{number}"));
    let mut repository = repository(&["d", "e"].map(str::to_owned), &["*".to_owned()], &paths);
    let mut trusted = repository.update(Limits::default()).unwrap();
    repository.drive(trusted.listing()).unwrap();
    let mut listing = trusted.listing();
    while let Some(request) = listing.request() {
        assert!(!listing.search_some(9), "the search must not start before all roles are loaded");
        let file = repository.files[&request.file_name()].clone();
        listing.apply(Some(FileContent::Bytes(file))).unwrap();
    }
    assert!(listing.search_some(4) && listing.search_some(5));
    assert!(!listing.search_some(5));
    assert_eq!(listing.finish().unwrap().len(), 10);
}

#[test]
fn b1_refused_files_use_up_no_steps() {
    let paths = numbered(10, |number| format!("p{number}"));
    let mut repository = repository(&["d".to_owned()], &["*".to_owned()], &paths);
    let mut limits = Limits::default();
    limits.list_steps = 1_000;
    let mut trusted = repository.update(limits).unwrap();
    let mut listing = trusted.listing();
    let request = listing.request().unwrap();
    let correct = repository.files[&request.file_name()].clone();
    let wrong = [&correct[..], &vec![b'x'; 200_000]].concat();
    for _ in 0..3 {
        assert!(!listing.recall(FileContent::Bytes(wrong.clone())));
        let refused = listing.apply(Some(FileContent::Bytes(wrong.clone()))).unwrap_err();
        assert!(!matches!(refused.kind, ErrorKind::LimitReached { .. }), "{refused}");
    }
    assert!(listing.apply(Some(FileContent::Bytes(correct))).unwrap().is_some());
    assert_eq!(listing.finish().unwrap().len(), 10);
}

#[test]
fn b1_verifying_a_role_uses_up_steps() {
    let mut repository = repository(&["d".to_owned()], &["*".to_owned()], &["p".repeat(200_000)]);
    let failed = list(&mut repository, 700).unwrap_err();
    assert_eq!(failed.kind, ErrorKind::LimitReached { limit: Limit::ListSteps, value: 700 });
}
