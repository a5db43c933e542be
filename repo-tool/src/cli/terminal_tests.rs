//! Tests that names of keys and files cannot control the terminal.

use std::sync::{Arc, Mutex};

use chrono::Utc;

use super::phrases::Phrases;
use super::*;

/// A file name that, if printed without escaping, would clear the terminal, forge a line of output and hide a
/// character.
const HOSTILE: &str = "k\u{1b}[2J\u{9b}31m\nerror: forged\u{200b}\u{202e}";

/// Checks that no name controlled the terminal, hid characters or forged a line of output.
fn assert_clean(args: &[&str], ran: &Ran) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    let raw = |character: char| character != '\n' && lastmile_metadata::is_unprintable(character);
    assert!(!all.contains(raw), "{args:?}: {all:?}");
    assert!(!all.lines().any(|line| line.starts_with("error: forged")), "{args:?}: {all}");
}

#[test]
fn b13_names_of_keys_and_files_cannot_control_the_terminal() {
    let home = Home::new();
    home.run(&["init", "--unencrypted-keys"]);
    let repository = home.folder.path().join("repository");
    let named = |name: &str| repository.join("keys").join(format!("{name}.{HOSTILE}.pem"));
    for name in ["targets-1", "timestamp-1", "root-1"] {
        std::fs::rename(repository.join(format!("keys/{name}.pem")), named(name)).unwrap();
        std::fs::rename(repository.join(format!("keys/{name}.pub")), named(name).with_extension("pub")).unwrap();
    }
    let config = repository.join("repo.toml");
    let escaped: String = HOSTILE.chars().map(|character| format!("\\U{:08X}", u32::from(character))).collect();
    let mut text = std::fs::read_to_string(&config).unwrap();
    for name in ["targets-1", "timestamp-1", "root-1"] {
        text = text.replace(&format!("keys/{name}.pem"), &format!("keys/{name}.{escaped}.pem"));
    }
    std::fs::write(&config, text).unwrap();
    let file = home.folder.path().join(HOSTILE);
    std::fs::write(&file, "1").unwrap();
    let file = file.to_str().unwrap().to_string();
    let elsewhere = home.folder.path().join(format!("other.{HOSTILE}"));
    let key = named("targets-1").to_str().unwrap().to_string();
    let uri = format!("file:keys/targets-1.{HOSTILE}.pem");
    let commands: &[&[&str]] = &[
        &["status"],
        &["key", "list"],
        &["key", "show", &key],
        &["key", "show", &uri],
        &["key", "generate", HOSTILE],
        &["key", "generate", "other", "--folder", &file],
        &["key", "allow", &file],
        &["key", "import", &file, "--name", "imported"],
        &["renew", "--force"],
        &["add", &file],
        &["add", &file, "--name", "app"],
        &["add", &file, "--name", "b", "--custom", HOSTILE],
        &["add", "--from-list", &file],
        &["add", HOSTILE],
        &["remove", HOSTILE],
        &["delegate", HOSTILE, "--paths", HOSTILE, "--key", &key],
        &["delegate", "team", "--paths", "x/*", "--key", HOSTILE],
        &["set-threshold", HOSTILE, "1"],
        &["set-delegation", HOSTILE, "--terminating"],
        &["rotate", "targets", "--remove", &uri],
        &["revoke", HOSTILE],
        &["revoke", &key, "--dry-run"],
        &["verify"],
        &["verify", &file],
        &["verify", HOSTILE],
        &["init", elsewhere.to_str().unwrap(), "--unencrypted-keys", "--immutable", HOSTILE],
        &["init", elsewhere.to_str().unwrap(), "--unencrypted-keys"],
        &["status", "--pass-phrase-file", &file],
        &["status", "--config", &file],
        &["status", "--root", &file],
        &["status", "--wait", HOSTILE],
        &[HOSTILE],
        &["-C", &file, "status"],
    ];
    for args in commands {
        assert_clean(args, &home.run(args));
        let with_json: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        assert_clean(&with_json, &home.run(&with_json));
    }
    // A message about missing signatures contains the name of the missing key.
    std::fs::rename(named("targets-1"), home.folder.path().join("targets-1.pem")).unwrap();
    for args in [&["remove", "app"][..], &["status"], &["sign"], &["publish"], &["discard", "--yes"]] {
        assert_clean(args, &home.run(args));
    }
}

#[test]
fn b13_the_prompt_for_a_pass_phrase_is_escaped() {
    let asked = Arc::new(Mutex::new(String::new()));
    let mut world = World { stdin_is_terminal: true, ..World::isolated(Utc::now()) };
    let heard = Arc::clone(&asked);
    world.ask_secret = Box::new(move |question| {
        heard.lock().unwrap().push_str(question);
        Ok("typed".to_owned())
    });
    let phrases = Phrases::new(None, &mut world);
    crate::PassPhrases::pass_phrase(&phrases, &format!("file:{HOSTILE}"), 0).unwrap();
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked, format!("Pass-phrase of file:{}: ", lastmile_client::text::printable(HOSTILE)));
}
