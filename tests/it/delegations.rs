//! Tests of delegations, path patterns and hash prefixes (TUF specification 4.5), and of succinct hash bins (TAP 15).

use lastmile_metadata::{DelegatedRoles, Error, ErrorKind, HashPrefix, PathPattern, TargetPath, Targets, Verified};
use lastmile_testkit::{Delegation, Repository, bin_of, hash};
use lastmile_tests::{judge_targets, malformed};
use serde_json::{Value, json};

/// Verifies a targets role that delegates the paths `*` to `a`, after `edit` has changed its delegations.
fn delegations(edit: impl FnOnce(&mut Value)) -> Result<Verified<Targets>, Error> {
    judge_targets(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["*"]));
        edit(&mut repository.signed("targets")["delegations"]);
    })
}

/// Verifies a targets role that delegates the paths `*` to `a`. In this delegation, the JSON member `member` is
/// replaced with `value`.
fn delegation(member: &str, value: Value) -> Result<Verified<Targets>, Error> {
    delegations(|delegations| delegations["roles"][0][member] = value)
}

fn matches(pattern: &str, path: &str) -> bool {
    PathPattern::new(pattern).matches(&TargetPath::new(path).unwrap())
}

#[test]
fn f_4_5_5_a_role_name_occurs_once_among_the_delegations() {
    malformed(judge_targets(|repository| {
        repository.delegate("targets", &Delegation::paths("a", &["x/*"]));
        repository.delegate("targets", &Delegation::paths("a", &["y/*"]));
    }));
}

#[test]
fn f_4_5_6_delegations_are_an_ordered_array() {
    malformed(delegations(|delegations| delegations["roles"] = json!({"a": {}})));
    let targets = judge_targets(|repository| {
        for name in ["z", "a", "m"] {
            repository.delegate("targets", &Delegation::paths(name, &["*"]));
        }
    });
    let targets = targets.unwrap();
    let Some(DelegatedRoles::Listed(roles)) = targets.delegations.as_ref().map(|delegations| &delegations.roles) else {
        panic!("expected delegations to listed roles, got bins");
    };
    assert_eq!(roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["z", "a", "m"]);
}

#[test]
fn f_4_5_7_thresholds_of_delegations_are_positive() {
    for bad in [json!(0), json!(-1), json!("1"), json!(null), json!(true)] {
        malformed(delegation("threshold", bad));
    }
    malformed(delegations(|delegations| drop(delegations["roles"][0].as_object_mut().unwrap().remove("threshold"))));
}

#[test]
fn f_4_5_8_terminating_is_a_boolean_and_absent_means_false() {
    let terminating = |targets: Verified<Targets>| match &targets.delegations.as_ref().unwrap().roles {
        DelegatedRoles::Listed(roles) => roles[0].terminating,
        other => panic!("{other:?}"),
    };
    assert!(terminating(delegation("terminating", json!(true)).unwrap()));
    let absent =
        delegations(|delegations| drop(delegations["roles"][0].as_object_mut().unwrap().remove("terminating")));
    assert!(!terminating(absent.unwrap()));
    for bad in [json!("true"), json!(1), json!(null)] {
        malformed(delegation("terminating", bad));
    }
}

#[test]
fn f_4_5_9_paths_and_hash_prefixes_are_mutually_exclusive() {
    malformed(delegation("path_hash_prefixes", json!(["00"])));
    for bad in [json!("*"), json!({}), json!([1]), json!(null)] {
        malformed(delegation("paths", bad));
    }
}

#[test]
fn f_4_5_10_hash_prefixes_are_lower_case_hexadecimal_digests_of_the_path() {
    let digest = hash("dir/é.txt".as_bytes());
    let path = TargetPath::new("dir/é.txt").unwrap();
    for length in [1, 2, 3, 63, 64] {
        assert!(HashPrefix::new(&digest[..length]).unwrap().matches(&path), "{length}");
    }
    let other = if digest.starts_with('0') { "1" } else { "0" };
    assert!(!HashPrefix::new(other).unwrap().matches(&path));
}

#[test]
fn f_4_5_10_an_invalid_hash_prefix_makes_the_file_invalid() {
    for bad in ["", "A0", "0g", &"0".repeat(65), "*", " 0"] {
        malformed(judge_targets(|repository| {
            repository.delegate("targets", &Delegation::hash_prefixes("a", &["00", bad]));
        }));
    }
}

#[test]
fn f_4_5_12_a_star_is_any_run_and_a_question_mark_one_character() {
    for (pattern, path, expected) in [
        ("*", "a", true),
        ("*", ".hidden", true),
        ("a*", "a", true),
        ("a*c", "abbc", true),
        ("a*c", "abbd", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a?c", "aéc", true),
        ("a?c", "abbc", false),
        ("a*b*c", "a-b-b-c", true),
        ("*a", "aaab", false),
        ("**", "abc", true),
        ("exact", "exact", true),
        ("exact", "exactly", false),
        ("", "a", false),
        ("a*?", "a", false),
        ("a*?", "ab", true),
        ("dir/*/x", "dir/any/x", true),
    ] {
        assert_eq!(matches(pattern, path), expected, "{pattern} on {path}");
    }
}

#[test]
fn f_4_5_13_wildcards_stop_at_a_slash() {
    for (pattern, path) in
        [("*", "a/b"), ("a/*", "a/b/c"), ("a?b", "a/b"), ("*/*", "a/b/c"), ("**", "a/b"), ("a/**", "a/b/c"), ("*", "/")]
    {
        assert!(!matches(pattern, path), "{pattern} on {path}");
    }
}

#[test]
fn f_4_5_13_case_and_normal_form_count() {
    assert!(!matches("Dir/*", "dir/a") && !matches("caf\u{e9}", "cafe\u{301}") && matches("caf\u{e9}", "caf\u{e9}"));
}

#[test]
fn d1_brackets_braces_double_stars_and_backslashes_match_literally() {
    for (pattern, not) in [
        ("[ab]", "a"),
        ("[!a]", "b"),
        ("{a,b}", "a"),
        ("\\*", "x"),
        ("!a", "b"),
        ("#a", "a"),
        ("a\\/b", "a/b"),
        ("+(a)", "aa"),
    ] {
        assert!(matches(pattern, pattern) && !matches(pattern, not), "{pattern}");
    }
    assert!(matches("\\*", "\\anything") && matches("dir/**", "dir/file") && !matches("dir/**", "dir/sub/file"));
}

#[test]
fn f_4_5_14_a_pattern_with_a_leading_slash_matches_that_slash_only() {
    assert!(!matches("/a", "a") && matches("/a", "/a") && !matches("a", "/a"));
}

#[test]
fn f_4_5_15_patterns_match_as_in_the_examples_of_the_specification() {
    assert!(matches("targets/*.tgz", "targets/foo.tgz") && matches("targets/*.tgz", "targets/bar.tgz"));
    assert!(!matches("targets/*.tgz", "targets/foo.txt"));
    assert!(matches("foo-version-?.tgz", "foo-version-2.tgz") && matches("foo-version-?.tgz", "foo-version-a.tgz"));
    assert!(!matches("foo-version-?.tgz", "foo-version-alpha.tgz"));
    assert!(matches("*.tgz", "foo.tgz") && !matches("*.tgz", "targets/foo.tgz") && !matches("*.tgz", "foo.txt"));
    assert!(matches("foo.tgz", "foo.tgz") && !matches("foo.tgz", "bar.tgz"));
}

#[test]
fn f_4_5_12_a_hostile_pattern_costs_no_more_than_its_length_times_the_path() {
    // A matcher that backtracks at every star would practically never finish.
    let pattern = "*a".repeat(5_000) + "b";
    assert!(!matches(&pattern, &"a".repeat(10_000)));
    assert!(!matches(&("*?".repeat(2_000) + "b"), &"a".repeat(4_000)));
}

#[test]
fn f_4_5_every_member_of_a_delegation_is_required() {
    for member in ["name", "keyids"] {
        malformed(delegations(|delegations| drop(delegations["roles"][0].as_object_mut().unwrap().remove(member))));
        malformed(delegation(member, json!(1)));
    }
    malformed(delegations(|delegations| drop(delegations.as_object_mut().unwrap().remove("keys"))));
    malformed(delegations(|delegations| drop(delegations.as_object_mut().unwrap().remove("roles"))));
    malformed(delegations(|delegations| *delegations = json!([])));
}

#[test]
fn a13_a_delegated_role_may_not_have_a_top_level_name() {
    for name in ["root", "timestamp", "snapshot", "targets", "mirrors", "Root", "TARGETS", ""] {
        malformed(delegation("name", json!(name)));
    }
    for name in ["1.root", "root.json", "../root", "targets2", "ROOTS"] {
        assert!(delegation("name", json!(name)).is_ok(), "{name}");
    }
}

#[test]
fn tap_15_the_first_bits_of_the_hash_select_the_bin() {
    for bit_length in [1, 4, 5, 8, 14, 16, 32] {
        let bins = succinct(json!(bit_length), "bin").unwrap();
        let Some(DelegatedRoles::Succinct(bins)) = bins.delegations.as_ref().map(|delegations| &delegations.roles)
        else {
            panic!("expected succinct roles");
        };
        for path in ["a", "dir/b.txt", "é", "packages/c-1.0.0.crate"] {
            let found = bins.role_for(&TargetPath::new(path).unwrap());
            assert_eq!(found.as_str(), bin_of("bin", bit_length, path));
        }
    }
}

#[test]
fn tap_15_the_first_and_the_last_bin_have_names_of_equal_length() {
    let targets = succinct(json!(10), "bin").unwrap();
    let Some(DelegatedRoles::Succinct(bins)) = targets.delegations.as_ref().map(|delegations| &delegations.roles)
    else {
        panic!("expected succinct roles");
    };
    let names: Vec<_> = bins.names().collect();
    assert_eq!((names.len(), names[0].as_str(), names[1023].as_str()), (1024, "bin-000", "bin-3ff"));
}

#[test]
fn tap_15_bit_lengths_from_1_to_32() {
    for bit_length in 1..=32_usize {
        let targets = succinct(json!(bit_length), "bin").unwrap();
        let Some(DelegatedRoles::Succinct(bins)) = targets.delegations.as_ref().map(|delegations| &delegations.roles)
        else {
            panic!("expected succinct roles");
        };
        let first = format!("bin-{}", "0".repeat(bit_length.div_ceil(4)));
        assert_eq!(bins.names().next().unwrap().as_str(), first);
    }
    for bad in [json!(0), json!(33), json!(-1), json!("8"), json!(null)] {
        malformed(succinct(bad, "bin"));
    }
}

#[test]
fn tap_15_succinct_roles_and_a_list_of_roles_are_mutually_exclusive() {
    malformed(delegations(|delegations| {
        delegations["succinct_roles"] = json!({"keyids": ["k"], "threshold": 1, "bit_length": 4, "name_prefix": "bin"});
    }));
}

#[test]
fn tap_15_every_member_of_succinct_roles_is_required() {
    for member in ["keyids", "threshold", "bit_length", "name_prefix"] {
        malformed(judge_targets(|repository| {
            repository.delegate_to_bins("targets", 1, "bin");
            let bins = &mut repository.signed("targets")["delegations"]["succinct_roles"];
            bins.as_object_mut().unwrap().remove(member);
        }));
    }
}

fn succinct(bit_length: Value, prefix: &str) -> Result<Verified<Targets>, Error> {
    judge_targets(|repository: &mut Repository| {
        repository.delegate_to_bins("targets", 1, prefix);
        repository.signed("targets")["delegations"]["succinct_roles"]["bit_length"] = bit_length;
    })
}

#[test]
fn f_4_5_5_and_f_4_5_9_say_which_role_was_refused() {
    let found = delegation("path_hash_prefixes", json!(["00"])).map(drop).unwrap_err();
    assert_eq!(found.role.as_str(), "targets");
    assert!(matches!(found.kind, ErrorKind::Malformed { .. }));
}
