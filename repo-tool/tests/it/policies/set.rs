//! Tests of `policy set`, `policy show` and `policy remove`, and of what signers see when a policy changes.

use lastmile_cli_support::ExitStatus;
use serde_json::Value;

use super::{Maintainer, policy, signature, toml_key};

#[test]
fn a_policy_is_signed_by_the_role_and_shown_as_it_was_written() {
    let maintainer = Maintainer::new();
    let shown = maintainer.set("targets", &policy("signed", "app-*", &[1, 2], 2)).text(ExitStatus::Done);
    for line in [
        "+ policy: version: 1",
        "+ policy: signer key-1: key ",
        "+ policy: rule signed: by [\"key-1\",\"key-2\"], kind \"signature\", paths [\"app-*\"], threshold 2",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let signed = maintainer.signed("targets");
    assert_eq!(signed.pointer("/x-lastmile-policy/require/0/name"), Some(&Value::from("signed")));
    // The output of `show` is a valid policy file.
    let text = maintainer.done(&["policy", "show"]);
    assert!(text.starts_with("version = 1\n") && text.contains("[[require]]\nname = \"signed\"\n"), "{text}");
    let again = maintainer.set("targets", &text).text(ExitStatus::Done);
    assert!(!again.contains("policy:"), "{again}");
    let json = maintainer.run(&["policy", "show", "--json"]).json();
    assert_eq!(json.pointer("/policy/require/0/threshold"), Some(&Value::from(2)));
    let status = maintainer.run(&["status", "--json"]).json();
    assert_eq!(status.pointer("/policies/0/role"), Some(&Value::from("targets")));
    assert!(maintainer.run(&["status"]).stdout.contains("policy: targets requires evidence (1 rule)"));
    assert!(maintainer.done(&["verify"]).contains("policy: targets requires evidence (1 rule)"));
    let verified = maintainer.run(&["verify", "--json"]).json();
    assert_eq!(verified.pointer("/policies/0/rules/0"), Some(&Value::from("signed")));
}

#[test]
fn a_policy_file_is_recognized_by_its_content_not_by_its_name() {
    let maintainer = Maintainer::new();
    let key = toml_key(1).replace(" = ", ": ");
    let key = ["keytype", "scheme", "keyval", "public"]
        .into_iter()
        .fold(key, |key, name| key.replace(&format!("{name}: "), &format!("\"{name}\": ")));
    let rule = r#"{ "name": "signed", "kind": "signature", "paths": ["app-*"], "by": ["a"] }"#;
    let json =
        format!("\n{{ \"version\": 1, \"signer\": {{ \"a\": {{ \"key\": {key} }} }}, \"require\": [{rule}] }}\n");
    let toml = policy("signed", "app-*", &[1], 1);
    for (name, text) in [("policy.toml", &json), ("policy", &json), ("policy.json", &toml)] {
        let file = maintainer.file(name, text);
        maintainer.done(&["policy", "set", &file]);
    }
}

#[test]
fn a_policy_with_a_pem_key_survives_the_canonical_form() {
    let maintainer = Maintainer::new();
    let pem = "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDNjuz4dQa29+W9asG+Epz7XN2rKI\\n\
               W4C7ErbwlcdIbXdX5vP1hn0XZRWNECZH8TpKTTQ+sDVcyBRh8Dzr+zdHLg==\\n-----END PUBLIC KEY-----\\n";
    let key = lastmile_keys::PrivateKey::from_seed(lastmile_keys::Scheme::EcdsaP256, &[3; 32]).unwrap();
    let public = lastmile_metadata::Key::from_public(lastmile_keys::Signer::public_key(&key));
    let json: Value = serde_json::from_str(&public.to_json().to_text()).unwrap();
    let own = json.pointer("/keyval/public").unwrap().as_str().unwrap().replace('\n', "\\n");
    let text = policy("signed", "app-*", &[1], 1);
    let key = |public: &str| {
        let keytype = json.pointer("/keytype").unwrap().as_str().unwrap();
        let scheme = json.pointer("/scheme").unwrap().as_str().unwrap();
        format!("{{ keytype = \"{keytype}\", scheme = \"{scheme}\", keyval = {{ public = \"{public}\" }} }}")
    };
    assert!(own.contains("BEGIN PUBLIC KEY") && pem.contains("BEGIN PUBLIC KEY"));
    maintainer.set("targets", &text.replace(&toml_key(1), &key(&own))).text(ExitStatus::Done);
    let refused = maintainer.add("app-1", "1", &[]).text(ExitStatus::Refused);
    assert!(refused.contains("the rule `signed` of role `targets`"), "{refused}");
}

#[test]
fn each_change_of_a_policy_has_a_line() {
    let maintainer = Maintainer::new();
    let first = policy("signed", "app-*", &[1, 2], 1);
    maintainer.set("targets", &first).text(ExitStatus::Done);
    for (from, to, line) in [
        ("threshold = 1", "threshold = 2", "~ policy: rule signed: threshold 2 (was: 1)"),
        ("app-*", "lib-*", "~ policy: rule signed: paths [\"lib-*\"] (was: [\"app-*\"])"),
        ("\"signed\"", "\"other\"", "- policy: rule signed: "),
        (
            "kind = \"signature\"",
            "kind = \"signature\"\nexcept = [\"app-0\"]",
            "+ policy: rule signed: except [\"app-0\"]",
        ),
        ("[signer.key-1]", "[signer.key-1]\nnot-after = 2031-01-01T00:00:00Z", "+ policy: signer key-1: not-after"),
        ("version = 1", "version = 1\nupgrade = [\"lastmile-*\"]", "+ policy: upgrade: [\"lastmile-*\"]"),
        (&toml_key(2), &toml_key(3), "~ policy: signer key-2: key "),
    ] {
        let changed = maintainer.file("changed.toml", &first.replace(from, to));
        let shown = maintainer.done(&["policy", "set", &changed, "--dry-run"]);
        assert!(shown.contains(line), "{line}: {shown}");
    }
    let removed = maintainer.done(&["policy", "remove"]);
    assert!(removed.contains("- policy: this role no longer requires evidence for its packages"), "{removed}");
    assert!(maintainer.signed("targets").get("x-lastmile-policy").is_none());
    assert!(maintainer.run(&["policy", "remove"]).text(ExitStatus::Failed).contains("targets has no policy"));
    assert!(maintainer.run(&["policy", "show"]).text(ExitStatus::Failed).contains("targets has no policy"));
}

#[test]
fn c_15_c_44_a_policy_that_clients_cannot_use_is_refused_with_the_place() {
    let maintainer = Maintainer::new();
    let good = policy("signed", "app-*", &[1], 1);
    for (text, error) in [
        ("version = ".to_string(), "policy.toml: line 1: "),
        (good.replace("threshold = 1", "threshold = 0"), "require[0].threshold is not an integer from 1 to 64"),
        (good.replace("by = [\"key-1\"]", "by = [\"key-9\"]"), "the rule `signed` names key-9"),
        (good.replace("version = 1", "version = 2"), "does not understand the policy:\n  version 2"),
        (good.replace("\"signature\"", "\"layout\""), "rule signed: unknown kind \"layout\""),
        (good.replace("threshold = 1", "thresold = 1"), "rule signed: unknown member \"thresold\""),
        (good.replace("version = 1", "version = 1\nmore = 1"), "unknown member \"more\" in policy"),
        (good.replace("version = 1", "version = 1.5"), "version is a number with a fraction"),
    ] {
        let refused = maintainer.set("targets", &text).text(ExitStatus::Failed);
        assert!(refused.contains(error), "{error}: {refused}");
        assert!(refused.contains("hint: "), "{refused}");
    }
    let missing = maintainer.run(&["policy", "set", "/nonexistent/policy.toml"]);
    assert_eq!(missing.status, ExitStatus::NoSuchName, "{missing:?}");
    for (role, error) in [("root", "root cannot list targets"), ("team", "no role delegates to team")] {
        let ran = maintainer.set(role, &good);
        assert!(ran.status != ExitStatus::Done && ran.stderr.contains(error), "{ran:?}");
    }
}

#[test]
fn c_43_a_bin_cannot_have_a_policy() {
    let hashed = Maintainer::new();
    hashed.delegate("hashed", &["--hash-prefixes", "a", "b"]);
    let bins = Maintainer::new();
    bins.done(&["bins", "--bit-length", "1"]);
    for (maintainer, bin) in [(hashed, "hashed"), (bins, "bin-0")] {
        let refused = maintainer.set(bin, &policy("signed", "*", &[1], 1)).text(ExitStatus::Failed);
        assert!(refused.contains(&format!("{bin} is a bin, so it cannot have a policy")), "{refused}");
    }
}

#[test]
fn a_trust_root_must_be_listed_by_the_role_and_usable() {
    let maintainer = Maintainer::new();
    let rule = "[[require]]\nname = \"signed\"\nkind = \"signature\"\npaths = [\"app-*\"]\nby = [\"release\"]\n";
    let with = |trust: &str| {
        format!(
            "version = 1\n[trust.public]\n{trust}\n[signer.release]\ntrust = \"public\"\nissuer = \"https://accounts.example.com\"\n\
             subject = [\"release@example.com\"]\n{rule}"
        )
    };
    let refused = maintainer.set("targets", &with("root = \"trust/root.json\"")).text(ExitStatus::Failed);
    assert!(refused.contains("targets does not list the trust root `trust/root.json`"), "{refused}");
    let file = maintainer.file("root.json", "{}");
    maintainer.done(&["add", &file, "--under", "trust"]);
    let refused = maintainer.set("targets", &with("root = \"trust/root.json\"")).text(ExitStatus::Failed);
    assert!(refused.contains("the trust root `trust/root.json`: trusted roots of the type \"\""), "{refused}");
    let other = format!("root = \"trust/root.json\"\nsha256 = \"{}\"", "0".repeat(64));
    let refused = maintainer.set("targets", &with(&other)).text(ExitStatus::Failed);
    assert!(refused.contains("the SHA-256 of the file differs from `sha256` in the policy"), "{refused}");
    // A policy can name a trust root that another role lists, if the policy also gives the SHA-256 of the trust root.
    // The file need not be on this machine.
    let absent = format!("root = \"trust/other.json\"\nsha256 = \"{}\"", "0".repeat(64));
    maintainer.set("targets", &with(&absent)).text(ExitStatus::Done);
}

#[test]
fn a_policy_of_an_offline_role_is_pending_until_it_is_signed() {
    let maintainer = Maintainer::new();
    maintainer.add("app-1", "1", &[]).text(ExitStatus::Done);
    let key = maintainer.path("repository/keys/targets-1.pem");
    let away = maintainer.path("targets-1.pem");
    std::fs::rename(&key, &away).unwrap();
    let staged = maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Pending);
    assert!(staged.contains("lastmile-repo policy test"), "{staged}");
    // `policy test` also evaluates the pending policy. Only that policy refuses the package, because no policy has been
    // published yet.
    let tested = maintainer.run(&["policy", "test", "--json"]);
    assert_eq!(tested.status, ExitStatus::Findings, "{tested:?}");
    assert_eq!(tested.json().pointer("/refused"), Some(&Value::Array(Vec::new())));
    assert_eq!(tested.json().pointer("/refused_by_pending_change/0/path"), Some(&Value::from("app-1")));
    std::fs::rename(&away, &key).unwrap();
    let shown = maintainer.run(&["sign", "--dry-run"]);
    assert!(shown.stdout.contains("+ policy: rule signed: "), "{shown:?}");
    maintainer.run(&["sign", "--yes"]).text(ExitStatus::Done);
    let refused = maintainer.run(&["publish"]).text(ExitStatus::Refused);
    assert!(refused.contains("1 package that can be installed now:\n  `app-1` does not satisfy"), "{refused}");
    let published = maintainer.run(&["publish", "--even-so"]).text(ExitStatus::Done);
    assert!(
        published.contains("warning: clients refuse `app-1` from now on: the rule `signed` of role `targets`"),
        "{published}"
    );
}

#[test]
fn the_delegations_of_the_pending_change_decide_which_policies_apply() {
    let maintainer = Maintainer::new();
    for role in ["lax", "strict"] {
        maintainer.delegate(role, &["--paths", "team/*"]);
    }
    maintainer.add_to("lax", "team/app", "1", &[]).text(ExitStatus::Done);
    maintainer.add_to("strict", "team/other", "1", &[]).text(ExitStatus::Done);
    maintainer.set("strict", &policy("signed", "team/app", &[1], 1)).text(ExitStatus::Done);
    maintainer.done(&["policy", "test"]);
    let key = maintainer.path("repository/keys/targets-1.pem");
    std::fs::rename(&key, maintainer.path("targets-1.pem")).unwrap();
    let of_pending = || {
        let tested = maintainer.run(&["policy", "test", "--json"]).json();
        assert_eq!(tested.pointer("/refused"), Some(&Value::Array(Vec::new())), "{tested}");
        tested.pointer("/refused_by_pending_change").cloned()
    };
    // Clients search the new role before `lax`, so they find the package in the new role. The policy of the new role
    // applies to that package.
    maintainer.done(&["key", "generate", "new", "--unencrypted"]);
    let file = maintainer.file("package", "1");
    let key = format!("file:{}", maintainer.path("repository/keys/new.pem").display());
    maintainer.run(&["delegate", "new", "--key", &key, "--paths", "team/*"]).text(ExitStatus::Pending);
    maintainer.run(&["set-delegation", "new", "--before", "lax"]).text(ExitStatus::Pending);
    assert_eq!(of_pending(), Some(Value::Array(Vec::new())));
    maintainer.run(&["add", &file, "--name", "team/app", "--role", "new"]).text(ExitStatus::Pending);
    maintainer.set("new", &policy("signed", "team/*", &[1], 1)).text(ExitStatus::Pending);
    let refused = of_pending().unwrap();
    assert_eq!(refused.pointer("/0/path"), Some(&Value::from("team/app")), "{refused}");
    assert_eq!(refused.as_array().unwrap().len(), 1, "{refused}");
    // If the pending change also contains the package's evidence, the package is accepted.
    let evidence = maintainer.file("evidence", &signature(1, "1"));
    let args = ["add", &file, "--name", "team/app", "--role", "new", "--evidence", &evidence];
    maintainer.run(&args).text(ExitStatus::Pending);
    assert_eq!(of_pending(), Some(Value::Array(Vec::new())));
}

#[test]
fn a_malformed_policy_in_the_pending_change_must_be_accepted_by_name() {
    let maintainer = Maintainer::new();
    let key = maintainer.path("repository/keys/targets-1.pem");
    let away = maintainer.path("targets-1.pem");
    std::fs::rename(&key, &away).unwrap();
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Pending);
    std::fs::rename(&away, &key).unwrap();
    let staged = maintainer.path("repository/staged/targets.json");
    let planted = std::fs::read_to_string(&staged).unwrap().replace("\"threshold\":1", "\"threshold\":0");
    std::fs::write(&staged, planted).unwrap();
    let refused = maintainer.run(&["sign", "--yes"]).text(ExitStatus::Failed);
    assert!(refused.contains("--accept 'targets:/x-lastmile-policy'"), "{refused}");
    assert!(refused.contains("require[0].threshold is not an integer from 1 to 64"), "{refused}");
    maintainer.run(&["sign", "--yes", "--accept", "x-lastmile-policy"]).text(ExitStatus::Done);
    let refused = maintainer.run(&["publish", "--accept", "x-lastmile-policy"]).text(ExitStatus::Refused);
    assert!(refused.contains("the policy of targets: require[0].threshold"), "{refused}");
}

#[test]
fn a_reverted_policy_is_the_earlier_one() {
    let maintainer = Maintainer::new();
    maintainer.add("app-1", "1", &[&signature(1, "1")]).text(ExitStatus::Done);
    maintainer.set("targets", &policy("signed", "app-*", &[1], 1)).text(ExitStatus::Done);
    let reverted = maintainer.done(&["revert"]);
    assert!(reverted.contains("- policy: rule signed: "), "{reverted}");
    assert!(maintainer.signed("targets").get("x-lastmile-policy").is_none());
    let again = maintainer.done(&["revert"]);
    assert!(again.contains("+ policy: rule signed: "), "{again}");
}
