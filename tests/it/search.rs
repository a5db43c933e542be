//! Tests of the pre-order search through delegations (TUF specification 5.6.7).

use lastmile_client::{Error as ClientError, FetchError, blocking};
use lastmile_metadata::{ErrorKind, FileContent, Limit, Stage, Threshold};
use lastmile_testkit::{
    Delegation, NetworkFault, Repository, TestClient, TestKey, bin_of, hash, network_error, refused, sign, too_long,
};
use lastmile_tests::verdict;
use serde_json::json;

/// Returns a published repository with the delegations that `build` adds.
fn repository(build: impl FnOnce(&mut Repository)) -> Repository {
    let mut repository = Repository::new();
    build(&mut repository);
    let delegated: Vec<String> = repository.delegated_roles();
    let mut roles: Vec<&str> = delegated.iter().map(String::as_str).collect();
    roles.push("targets");
    repository.publish(&roles);
    repository
}

/// Searches for `path`. Returns the length of the target that was found, and the names of the delegated roles that were
/// requested.
fn walk(repository: &Repository, path: &str) -> (Result<Option<String>, ClientError>, Vec<String>) {
    let found = TestClient::new(repository).find(path).map(|target| target.map(|target| target.length.to_string()));
    let asked = repository.network().requests();
    let names = asked.iter().skip(4).map(|path| path.trim_start_matches("metadata/").trim_end_matches(".json"));
    (found, names.map(|name| name.split_once('.').unwrap().1.to_owned()).collect())
}

fn found(repository: &Repository, path: &str) -> (Option<String>, Vec<String>) {
    let (found, asked) = walk(repository, path);
    (found.unwrap(), asked)
}

fn some(length: usize) -> Option<String> {
    Some(length.to_string())
}

#[test]
fn w_5_6_7_0_the_search_is_pre_order_and_depth_first() {
    let repository = repository(|repository| {
        for (delegator, name) in
            [("targets", "a"), ("targets", "b"), ("a", "a1"), ("a", "a2"), ("a1", "a11"), ("b", "b1")]
        {
            repository.delegate(delegator, &Delegation::paths(name, &["*"]));
        }
    });
    assert_eq!(found(&repository, "x").1, ["a", "a1", "a11", "a2", "b", "b1"]);
}

#[test]
fn w_5_6_7_0_and_a10_a_missing_role_ends_the_search() {
    for (fault, cause) in [
        (NetworkFault::Status(404), FetchError::NotFound),
        (NetworkFault::Status(500), FetchError::Status(500)),
        (NetworkFault::Reset, FetchError::Cut("simulated".into())),
    ] {
        let repository = two_siblings();
        repository.network().fault("metadata/1.a.json", fault.clone());
        let (found, asked) = walk(&repository, "x");
        assert_eq!(network_error(found), cause);
        assert!(!asked.contains(&"b".to_owned()), "{fault:?}: the search must end at `a`, without requesting `b`");
    }
}

/// Returns a repository that delegates the paths `*` to `a` and to `b`. Only `b` lists `x`.
fn two_siblings() -> Repository {
    repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["*"]));
        repository.delegate("targets", &Delegation::paths("b", &["*"]));
        repository.add_target("b", "x", b"from b");
    })
}

#[test]
fn w_5_6_7_0_and_a10_an_invalid_role_ends_the_search() {
    let mut repository = two_siblings();
    repository.set_signers("a", &[TestKey::new("stranger")]);
    repository.publish(&["a"]);
    let (found, asked) = walk(&repository, "x");
    let unmet = ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE };
    assert_eq!((refused(found), asked), (verdict("a", unmet), vec!["a".to_owned()]));
}

#[test]
fn w_5_6_7_0_and_a10_a_role_that_the_snapshot_does_not_list_ends_the_search_without_a_request() {
    let mut repository = two_siblings();
    repository.signed("snapshot")["meta"].as_object_mut().unwrap().remove("a.json");
    repository.publish(&["snapshot"]);
    let (found, asked) = walk(&repository, "x");
    assert_eq!((refused(found), asked), (verdict("a", ErrorKind::NotListed), vec![]));
}

#[test]
fn w_5_6_7_1_a_no_role_is_visited_twice() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["*"]));
        repository.delegate("a", &Delegation::paths("a", &["*"]));
        repository.delegate("a", &Delegation::paths("b", &["*"]));
        repository.delegate("b", &Delegation::paths("a", &["*"]));
    });
    assert_eq!(found(&repository, "x"), (None, vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a8_a_role_seen_through_one_delegator_is_verified_again_for_another() {
    // `a` and `b` both delegate to `shared`, but the key that `b` lists for `shared` has not signed that role.
    let repository = diamond(|repository| {
        let other = Delegation::paths("shared", &["b/*"]).keys(&[TestKey::new("other")], 1);
        repository.delegate("b", &other);
        repository.set_signers("shared", &[TestKey::new("shared")]);
    });
    let client = TestClient::new(&repository);
    let unmet = verdict("shared", ErrorKind::ThresholdNotMet { valid: 0, threshold: Threshold::ONE });
    let found = client.find_each(&["a/x", "b/x"]);
    assert!(found[0].as_ref().unwrap().is_some());
    assert_eq!(refused(found.into_iter().nth(1).unwrap()), unmet);
}

/// Returns a repository that delegates different paths to `a` and `b`. `a` delegates to `shared` with the default key
/// of that role. `build` adds the delegation from `b` to `shared`.
fn diamond(build: impl FnOnce(&mut Repository)) -> Repository {
    repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
        repository.delegate("targets", &Delegation::paths("b", &["b/*"]));
        repository.delegate("a", &Delegation::paths("shared", &["a/*"]));
        repository.add_target("shared", "a/x", b"a");
        repository.add_target("shared", "b/x", b"b");
        build(repository);
    })
}

#[test]
fn a8_a_role_is_trusted_through_each_of_two_delegators_with_the_same_key() {
    let repository = diamond(|repository| repository.delegate("b", &Delegation::paths("shared", &["b/*"])));
    for found in TestClient::new(&repository).find_each(&["a/x", "b/x"]) {
        assert!(found.unwrap().is_some());
    }
}

#[test]
fn a8_a_delegated_role_is_trusted_for_one_chain_of_delegations_only() {
    // `a` and `b` list different keys for `shared`. The honest file and the attacker's file of `shared` list different
    // keys for `below`.
    let honest = repository(|repository| {
        repository.lists_hashes = false;
        for name in ["a", "b"] {
            let path = format!("{name}/*");
            repository.delegate("targets", &Delegation::paths(name, &[&path]));
            repository.delegate(name, &Delegation::paths("shared", &[&path]).keys(&[TestKey::new(name)], 1));
        }
        repository.delegate("shared", &Delegation::paths("below", &["*/*"]));
        repository.set_signers("shared", &[TestKey::new("b")]);
        repository.add_target("below", "b/x", b"honest");
    });
    // The attacker has the key that `a` lists for `shared`, and controls a mirror. For each file, the mirror answers
    // the first request with the attacker's file.
    let mut attacker = honest.fork();
    let attackers_key = TestKey::new("attacker");
    attacker.signed("shared")["delegations"] = json!(null);
    attacker.signed("shared").as_object_mut().unwrap().remove("delegations");
    attacker.delegate("shared", &Delegation::paths("below", &["*/*"]).keys(&[attackers_key], 1));
    attacker.set_signers("shared", &[TestKey::new("a")]);
    attacker.add_target("below", "b/x", b"not so honest");
    let shared = attacker.write("shared");
    let below = attacker.write("below");
    for (path, bytes) in [("metadata/1.shared.json", shared), ("metadata/1.below.json", below)] {
        honest.network().fault_times(path, NetworkFault::Body(bytes), 1);
    }
    let found = TestClient::new(&honest).find_each(&["a/x", "b/x"]);
    let lengths: Vec<_> = found.into_iter().map(|target| target.unwrap().map(|target| target.length)).collect();
    assert_eq!(lengths, [None, Some("honest".len() as u64)]);
    let requests = honest.network().requests();
    for path in ["metadata/1.shared.json", "metadata/1.below.json"] {
        assert_eq!(requests.iter().filter(|request| **request == path).count(), 2, "{requests:?}");
    }
}

#[test]
fn w_5_6_7_1_b_and_a9_too_many_roles_have_their_own_error() {
    let repository = repository(|repository| {
        for number in 0..33 {
            repository.delegate("targets", &Delegation::paths(&format!("role-{number}"), &["*"]));
        }
        repository.add_target("role-31", "in the last visited role", b"x");
        repository.add_target("role-32", "in a role beyond the limit", b"x");
    });
    assert_eq!(found(&repository, "in the last visited role").0, some(1));
    let (found, asked) = walk(&repository, "in a role beyond the limit");
    let limit = ErrorKind::LimitReached { limit: Limit::RolesVisited, value: 32 };
    assert_eq!((refused(found), asked.len()), (verdict("role-32", limit), 32));
}

#[test]
fn w_5_6_7_1_b_a_long_chain_ends_at_the_limit() {
    let repository = repository(|repository| {
        let mut above = "targets".to_owned();
        for depth in 0..40 {
            let name = format!("depth-{depth}");
            repository.delegate(&above, &Delegation::paths(&name, &["*"]));
            above = name;
        }
    });
    assert!(matches!(refused(walk(&repository, "x").0).kind, ErrorKind::LimitReached { .. }));
}

#[test]
fn w_5_6_7_1_a_a_role_that_delegates_to_itself_with_new_keys_is_not_followed_endlessly() {
    let mut repository = repository(|repository| repository.delegate("targets", &Delegation::paths("a", &["*"])));
    repository.lists_hashes = false;
    repository.publish(&["a", "targets"]);
    let path = format!("metadata/{}.a.json", repository.version("a"));
    let honest = repository.fork();
    let answers = (0..100).map(|number| {
        let mut attacker = honest.fork();
        attacker.set_signers("a", &[TestKey::new(&if number == 0 { "a".into() } else { format!("a {number}") })]);
        let next = Delegation::paths("a", &["*"]).keys(&[TestKey::new(&format!("a {}", number + 1))], 1);
        let signers = attacker.signers("a");
        attacker.delegate("a", &next);
        sign(attacker.signed("a"), &signers)
    });
    repository.network().queue(&path, answers);
    drop(TestClient::new(&repository).list());
    let asked = repository.network().requests().iter().filter(|asked| **asked == path).count();
    assert_eq!(asked, 2, "once for the delegation by targets, and once for the delegation by `a` itself");
}

#[test]
fn w_5_6_7_1_c_the_first_role_that_lists_the_target_wins() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["*"]));
        repository.delegate("targets", &Delegation::paths("b", &["*"]));
        repository.add_target("a", "both", b"a");
        repository.add_target("b", "both", b"bb");
        repository.add_target("b", "everywhere", b"bb");
        repository.add_target("targets", "everywhere", b"own entries first");
    });
    assert_eq!(found(&repository, "both"), (some(1), vec!["a".to_owned()]));
    assert_eq!(found(&repository, "everywhere"), (some(17), vec![]));
}

#[test]
fn w_5_6_7_2_matching_delegations_are_visited_in_order() {
    for order in [["z", "m", "a"], ["a", "z", "m"], ["m", "a", "z"]] {
        let repository = repository(|repository| {
            repository.delegate("targets", &Delegation::paths("no", &["elsewhere/*"]));
            for name in order {
                repository.delegate("targets", &Delegation::paths(name, &["x"]));
            }
        });
        assert_eq!(found(&repository, "x").1, order);
    }
}

#[test]
fn w_5_6_7_2_1_and_a7_a_terminating_role_is_searched_last() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["*"]));
        repository.delegate("a", &Delegation::paths("end", &["*"]).terminating());
        repository.delegate("a", &Delegation::paths("sibling", &["*"]));
        repository.delegate("end", &Delegation::paths("below", &["*"]));
        repository.delegate("targets", &Delegation::paths("uncle", &["*"]));
        repository.add_target("end", "in end", b"1");
        repository.add_target("below", "in below", b"22");
        repository.add_target("sibling", "in sibling", b"333");
        repository.add_target("uncle", "in uncle", b"4444");
    });
    assert_eq!(found(&repository, "in end").0, some(1));
    assert_eq!(found(&repository, "in below").0, some(2));
    for path in ["in sibling", "in uncle"] {
        assert_eq!(found(&repository, path), (None, ["a", "end", "below"].map(str::to_owned).to_vec()));
    }
}

#[test]
fn w_5_6_7_2_1_a_terminating_delegation_that_does_not_match_ends_nothing() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["elsewhere"]).terminating());
        repository.delegate("targets", &Delegation::paths("b", &["*"]));
        repository.add_target("b", "x", b"b");
    });
    assert_eq!(found(&repository, "x"), (some(1), vec!["b".to_owned()]));
}

#[test]
fn w_5_6_7_2_2_after_a_non_terminating_role_the_next_one_is_visited() {
    assert_eq!(found(&two_siblings(), "x"), (some(6), vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn f_4_5_11_a_target_must_match_the_paths_of_every_delegation_above_it() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
        repository.delegate("a", &Delegation::paths("below", &["*", "*/*"]));
        for path in ["a/x", "b/x"] {
            repository.add_target("a", path, b"x");
            repository.add_target("below", &format!("{path}y"), b"x");
        }
    });
    assert_eq!((found(&repository, "a/x").0, found(&repository, "a/xy").0), (some(1), some(1)));
    assert_eq!((found(&repository, "b/x"), found(&repository, "b/xy")), ((None, vec![]), (None, vec![])));
}

#[test]
fn g_2_1_2_a_delegation_ends_when_its_entry_is_removed() {
    let mut repository = two_siblings();
    let client = TestClient::new(&repository);
    assert!(client.find("x").unwrap().is_some());
    repository.signed("targets")["delegations"]["roles"].as_array_mut().unwrap().remove(1);
    repository.publish(&["targets"]);
    assert!(client.find("x").unwrap().is_none());
}

#[test]
fn g_2_1_2_targets_outside_the_paths_of_a_role_are_never_found() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["a/*"]));
        for path in ["a/mine", "b/theirs", "top", "a/deep/er"] {
            repository.add_target("a", path, b"x");
        }
    });
    let client = TestClient::new(&repository);
    assert_eq!(client.list().unwrap(), ["a/mine"]);
    for path in ["b/theirs", "top", "a/deep/er"] {
        assert!(client.find(path).unwrap().is_none());
    }
}

#[test]
fn g_3_1_2_1_delegated_metadata_of_any_depth_is_in_one_folder() {
    let mut repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["*"]));
        repository.delegate("a", &Delegation::paths("b", &["*"]));
    });
    let client = TestClient::new(&repository);
    client.find("x").unwrap();
    assert_eq!(repository.network().requests()[4..], ["metadata/1.a.json", "metadata/1.b.json"]);
    // Only keys listed by the direct delegator count, not the keys of the top-level targets role or of the root.
    repository.set_signers("b", &["targets", "root-1", "root-2"].map(TestKey::new));
    repository.publish(&["b"]);
    assert!(matches!(refused(client.find("x")).kind, ErrorKind::ThresholdNotMet { valid: 0, .. }));
}

#[test]
fn f_4_3_8_a_key_id_is_looked_up_in_the_delegator_only() {
    // `targets` and `a` use the same key ID for different keys.
    let repository = repository(|repository| {
        let honest = TestKey::new("honest").with_keyid("k");
        repository.delegate("targets", &Delegation::paths("a", &["*"]).keys(&[honest], 1));
        repository.delegate("a", &Delegation::paths("b", &["*"]).keys(&[TestKey::new("other").with_keyid("k")], 1));
        repository.add_target("b", "x", b"b");
    });
    assert_eq!(found(&repository, "x"), (some(1), vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn a11_role_names_are_percent_encoded_in_urls_and_on_disk() {
    for (name, encoded) in [
        ("a/b", "a%2Fb"),
        ("../role", "..%2Frole"),
        ("?", "%3F"),
        ("#", "%23"),
        ("/role", "%2Frole"),
        ("é", "%C3%A9"),
        ("a%2Fb", "a%252Fb"),
        (".", "."),
        ("..", ".."),
        ("a b", "a%20b"),
        ("1.root", "1.root"),
        ("rekor.sigstore.dev", "rekor.sigstore.dev"),
        ("a~_-.B", "a~_-.B"),
    ] {
        let repository = repository(|repository| repository.delegate("targets", &Delegation::paths(name, &["*"])));
        let client = TestClient::new(&repository);
        client.find("x").unwrap();
        assert_eq!(repository.network().requests()[4], format!("metadata/1.{encoded}.json"), "{name}");
        assert_eq!(client.files()[&format!("{encoded}.json")], repository.written(name));
        assert_eq!(client.files_outside(), [""; 0], "{name}");
    }
}

#[test]
fn f_4_5_10_hash_prefixes_select_the_role() {
    let digest = hash(b"x");
    let other = if digest.starts_with('0') { "1" } else { "0" };
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::hash_prefixes("no", &[other]));
        repository.delegate("targets", &Delegation::hash_prefixes("yes", &[other, &digest[..3]]));
        repository.add_target("yes", "x", b"y");
    });
    assert_eq!(found(&repository, "x"), (some(1), vec!["yes".to_owned()]));
}

#[test]
fn f_4_5_9_empty_lists_match_nothing() {
    let repository = repository(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &[]));
        repository.delegate("targets", &Delegation::hash_prefixes("b", &[]));
        repository.add_target("a", "x", b"a");
        repository.add_target("b", "x", b"b");
    });
    assert_eq!(found(&repository, "x"), (None, vec![]));
}

#[test]
fn tap_15_a_search_fetches_one_bin() {
    let mut repository = Repository::new();
    let names = repository.delegate_to_bins("targets", 4, "bin");
    let bin = bin_of("bin", 4, "dir/é.txt");
    repository.add_target(&bin, "dir/é.txt", b"in its bin");
    let mut roles: Vec<&str> = names.iter().map(String::as_str).collect();
    roles.push("targets");
    repository.publish(&roles);
    assert_eq!(found(&repository, "dir/é.txt"), (some(10), vec![bin]));
}

#[test]
fn tap_15_a_target_in_another_bin_is_not_found() {
    let mut repository = Repository::new();
    let names = repository.delegate_to_bins("targets", 1, "bin");
    let right = bin_of("bin", 1, "x");
    let wrong = names.iter().find(|name| **name != right).unwrap();
    repository.add_target(wrong, "x", b"x");
    repository.publish(&["bin-0", "bin-1", "targets"]);
    assert_eq!(found(&repository, "x"), (None, vec![right]));
    assert_eq!(TestClient::new(&repository).list().unwrap(), [""; 0]);
}

#[test]
fn tap_15_a_missing_bin_ends_the_search() {
    let mut repository = Repository::new();
    repository.delegate_to_bins("targets", 1, "bin");
    repository.publish(&["targets"]);
    let bin = bin_of("bin", 1, "x");
    assert_eq!(refused(walk(&repository, "x").0), verdict(&bin, ErrorKind::NotListed));
}

#[test]
fn tap_15_of_four_billion_bins_the_first_that_is_not_listed_ends_the_listing() {
    let mut repository = Repository::new();
    repository.delegate_to_bins("targets", 1, "bin");
    repository.signed("targets")["delegations"]["succinct_roles"]["bit_length"] = json!(32);
    repository.publish(&["targets"]);
    assert_eq!(refused(TestClient::new(&repository).list()), verdict("bin-00000000", ErrorKind::NotListed));
    assert_eq!(repository.network().requests().len(), 4, "only the top-level roles are requested");
}

#[test]
fn a20_succinct_roles_do_not_terminate() {
    // The target is not in the bins of `a`, so the search continues with `b`, a sibling of `a`.
    let mut repository = Repository::new();
    repository.delegate("targets", &Delegation::paths("a", &["*"]));
    repository.delegate("targets", &Delegation::paths("b", &["*"]));
    repository.delegate_to_bins("a", 1, "bin");
    repository.add_target("b", "x", b"from b");
    repository.publish(&["bin-0", "bin-1", "a", "b", "targets"]);
    let asked = vec!["a".to_owned(), bin_of("bin", 1, "x"), "b".to_owned()];
    assert_eq!(found(&repository, "x"), (some(6), asked));
}

#[test]
fn w_5_1_delegated_roles_are_judged_at_the_start_of_the_update() {
    let mut repository = two_siblings();
    repository.signed("a")["expires"] = json!("2030-01-01T00:00:01Z");
    repository.publish(&["a"]);
    let mut client = TestClient::new(&repository);
    client.now = lastmile_testkit::time("2030-01-01T00:00:00Z");
    assert!(client.find("x").unwrap().is_some());
    client.now = lastmile_testkit::time("2030-01-01T00:00:01Z");
    assert!(matches!(refused(client.find("x")).kind, ErrorKind::Expired { .. }));
}

#[test]
fn w_5_6_1_an_endless_delegated_role_is_read_only_up_to_its_length() {
    let repository = two_siblings();
    repository.network().fault("metadata/1.a.json", NetworkFault::Endless);
    let max_length = repository.written("a").len() as u64;
    assert_eq!(too_long(walk(&repository, "x").0), max_length);
}

#[test]
fn the_stored_file_of_one_role_is_not_used_for_another() {
    let mut repository = repository(|repository| {
        ["a", "b", "c"].iter().for_each(|name| repository.delegate("targets", &Delegation::paths(name, &["*"])));
    });
    // All three roles have the same keys. Only `b` has version 2.
    repository.publish(&["b"]);
    let client = TestClient::new(&repository);
    let session = blocking::Updater::new(client.updater()).unwrap().refresh_at(client.now).unwrap();
    let mut trusted = session.trusted().clone();
    let listing = trusted.listing();
    let upcoming = listing.upcoming(9);
    let file = |name: &str| FileContent::Bytes(repository.network().file(&format!("metadata/{name}.json")).unwrap());
    assert_eq!(upcoming.iter().map(|request| request.role.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    assert!(listing.would_recall(&upcoming[0], file("2.b")) && listing.would_recall(&upcoming[1], file("1.c")));
    assert!(!listing.would_recall(&upcoming[0], file("1.c")) && !listing.would_recall(&upcoming[1], file("2.b")));
}
