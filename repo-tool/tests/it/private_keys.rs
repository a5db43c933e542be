//! Files that must never be published: the repository's own files, and private keys in all common formats.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::git_ignore;
use lastmile_repo_tool::internal::intake::{self, Hidden};
use lastmile_repo_tool::internal::key_store;
use lastmile_repo_tool::internal::links::Links;
use lastmile_repo_tool::internal::own_files::OwnFiles;
use lastmile_repo_tool::internal::queue::PublishRequest;
use lastmile_repo_tool::{
    AddOptions, Config, Draft, Error, InvalidInput, NewRepository, NoPassPhrases, Observer, PathError, Protection,
    PublishEvent, Source, Unobserved, target_path,
};

use crate::world::World;

fn pem() -> String {
    PrivateKey::generate(Scheme::Ed25519).unwrap().to_pem().unwrap().to_string()
}

fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut bits = 0_u32;
    let mut bytes = Vec::new();
    for (number, character) in body.trim_end_matches('=').bytes().enumerate() {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bits = bits << 6 | u32::try_from(alphabet.iter().position(|known| *known == character).unwrap()).unwrap();
        if number % 4 > 0 {
            bytes.push(u8::try_from(bits >> (6 - 2 * (number % 4)) & 0xff).unwrap());
        }
    }
    bytes
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x30, 0x82][..], &length, &content].concat()
}

/// Tries to add a file to a draft and to a request in the queue, and checks that both attempts have the same result.
fn publish(world: &World, source: &Source) -> Result<(), Error> {
    let queued = PublishRequest::enter(
        &world.layout(),
        &Config::read(&world.layout()).unwrap(),
        None,
        std::slice::from_ref(source),
        &AddOptions::default(),
        &|_| {},
    );
    let mut repository = world.open();
    let added = repository.add_files(
        Draft::default(),
        &RoleName::TARGETS,
        std::slice::from_ref(source),
        &AddOptions::default(),
        &|_| {},
    );
    assert_eq!(queued.is_ok(), added.is_ok(), "{added:?}");
    assert_eq!(queued.err().map(|error| error.to_string()), added.as_ref().err().map(ToString::to_string));
    drop(repository);
    added.map(drop)
}

fn outside(world: &World, name: &str, content: &[u8]) -> PathBuf {
    let path = world.folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

fn refused(world: &World, path: &Path) -> Option<String> {
    match publish(world, &Source::new(path.to_path_buf(), target_path("name").unwrap())) {
        Ok(()) => None,
        Err(error @ Error::Private { .. }) => {
            let reason = error.to_string();
            assert!(reason.contains(&path.display().to_string()), "{reason}");
            assert_eq!(world.files(".queue"), [""; 0], "a refused file must not stay in the queue");
            assert_eq!(world.files(".publishing"), [""; 0], "a refused file must leave no temporary files");
            Some(reason)
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Returns files that contain private keys: the name, the content, and a part of the expected reason for the refusal.
fn private_files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let pem = pem();
    let key = PrivateKey::generate(Scheme::Ed25519).unwrap();
    let encrypted = key.to_encrypted_pem(b"three blind mice").unwrap().to_string();
    let body = "MHcCAQEEIIrYSSNQFaA2Hwf1duRSxKtLYX5CB04fSeQ6tF1aY/PuoAoGCCqGSM49";
    let armour = |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n").into_bytes();
    let der_key = der(&pem);
    let id = |id: &[u8]| [&[6, u8::try_from(id.len()).unwrap()], id].concat();
    let octets = |count: u8| [&[4, count][..], &vec![7; usize::from(count)]].concat();
    let pbes2 = sequence(&[&id(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"), &sequence(&[])]);
    let rsa = sequence(&[&[2, 1, 0], &[2, 2, 1, 1], &[2, 1, 3], &[2, 1, 5], &[2, 1, 7], &[2, 1, 11], &[2, 1, 13]]);
    let p12 = sequence(&[&[2, 1, 3], &sequence(&[&id(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"), &octets(9)])]);
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(pem.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let far = [vec![b'x'; 3_000_000], b"\n".to_vec(), pem.clone().into_bytes(), vec![b'y'; 700_000]].concat();
    let at_edge = [vec![b'x'; 256 * 1024 + 16 * 1024 - 20], b"\n".to_vec(), pem.clone().into_bytes()].concat();
    let minisign = format!("untrusted comment: minisign encrypted secret key\nRWRTY0Iy{}\n", "A".repeat(204));
    let signify = format!("untrusted comment: signify secret key\nRWRCSwAAAA{}\n", "A".repeat(130));
    let jwk = r#"{"crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","kty":"OKP","x":"11q"}"#;
    let tuf = r#"{"keytype": "ed25519", "keyval": {"private": "66c1", "public": "edcd"}, "scheme": "ed25519"}"#;
    vec![
        ("pkcs8.txt", pem.clone().into_bytes(), "BEGIN PRIVATE KEY"),
        ("crlf", pem.replace('\n', "\r\n").into_bytes(), "BEGIN PRIVATE KEY"),
        ("indented", format!("  key: |\n    {}", pem.replace('\n', "\n    ")).into_bytes(), "BEGIN PRIVATE KEY"),
        ("in-json", format!("{{\"key\": \"{}\"}}", pem.replace('\n', "\\n")).into_bytes(), "BEGIN PRIVATE KEY"),
        ("one-line", pem.replace('\n', "").into_bytes(), "BEGIN PRIVATE KEY"),
        ("utf-16", utf16, "UTF-16"),
        ("far-in-a-large-file", far, "BEGIN PRIVATE KEY"),
        ("where-two-parts-meet", at_edge, "BEGIN PRIVATE KEY"),
        ("encrypted", encrypted.clone().into_bytes(), "BEGIN ENCRYPTED PRIVATE KEY"),
        ("sec1", armour("EC PRIVATE KEY"), "BEGIN EC PRIVATE KEY"),
        ("pkcs1", armour("RSA PRIVATE KEY"), "BEGIN RSA PRIVATE KEY"),
        ("dsa", armour("DSA PRIVATE KEY"), "BEGIN DSA PRIVATE KEY"),
        ("openssh", armour("OPENSSH PRIVATE KEY"), "BEGIN OPENSSH PRIVATE KEY"),
        ("pgp", armour("PGP PRIVATE KEY BLOCK"), "BEGIN PGP PRIVATE KEY BLOCK"),
        ("sigstore", armour("ENCRYPTED SIGSTORE PRIVATE KEY"), "BEGIN ENCRYPTED SIGSTORE PRIVATE KEY"),
        ("cosign", armour("ENCRYPTED COSIGN PRIVATE KEY"), "BEGIN ENCRYPTED COSIGN PRIVATE KEY"),
        ("tuf", tuf.into(), "keyval.private"),
        ("jwk", jwk.into(), "JSON Web Key"),
        ("jwks", format!("{{\"keys\": [{{\"kty\": \"RSA\"}}, {jwk}]}}").into_bytes(), "JSON Web Key"),
        ("age", b"# public key: age1x\nAGE-SECRET-KEY-1QQQSYQCYQ5RQWZQF\n".into(), "age secret key"),
        ("minisign", minisign.into_bytes(), "minisign"),
        ("signify", signify.into_bytes(), "signify"),
        ("putty.ppk", b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n".into(), "PuTTY"),
        ("pkcs8.der", der_key, "PKCS#8"),
        ("encrypted.der", der(&encrypted), "encrypted private key in DER"),
        ("encrypted-2.der", sequence(&[&pbes2, &octets(99)]), "encrypted private key in DER"),
        ("sec1.der", sequence(&[&[2, 1, 1], &octets(32), &[0xa0, 0]]), "SEC 1"),
        ("pkcs1.der", rsa, "PKCS#1"),
        ("store.p12", p12, "PKCS#12"),
        ("store.jks", b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01".into(), "Java key store"),
        ("openpgp", b"\x94\x58\x04\x65\0\0\0\x16\x09rest".into(), "OpenPGP"),
    ]
}

#[test]
fn private_keys_in_every_common_format_are_refused() {
    let world = World::new();
    for (name, content, expected) in private_files() {
        let path = outside(&world, name, &content);
        let reason = refused(&world, &path).unwrap_or_else(|| panic!("{name} was published"));
        assert!(reason.contains(expected), "{name}: {reason}");
        let allowed = Source::new(path, target_path("name").unwrap()).allow_private_keys();
        assert!(publish(&world, &allowed).is_ok(), "{name}: the file must be published if private keys are allowed");
    }
}

#[test]
fn files_that_only_mention_keys_are_published() {
    let world = World::new();
    let public = world.layout().keys().join("root-1.pub");
    let public = fs::read(public).unwrap();
    let certificate = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let signature =
        format!("untrusted comment: signature\nRWQ{}\ntrusted comment: x\n{}", "A".repeat(97), "B".repeat(88));
    let rsa_public = sequence(&[&[2, 2, 1, 1], &[2, 1, 3]]);
    let files: [(&str, &[u8]); 14] = [
        ("empty", b""),
        ("a-public-key", &public),
        ("a-certificate", certificate),
        ("a-public-key.pem", b"-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n"),
        ("a-program", b"\x7fELF\0-----BEGIN OPENSSH PRIVATE KEY-----\n\0-----END\0-----BEGIN PRIVATE KEY-----\0x"),
        ("a-source", b"if (text.startsWith(\"-----BEGIN PRIVATE KEY-----\\n\" + body)) return;"),
        ("a-manual", b"-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n"),
        ("a-package", br#"{"private": true, "keytype": "x", "keyval": {"private": "", "public": "ab"}}"#),
        ("a-public-jwk", br#"{"keys": [{"kty": "OKP", "x": "11qYAYKxCrfVS_7TyWQHOg"}], "d": "nWGxne_9WmC6hEr0kuwsx"}"#),
        ("a-signature", signature.as_bytes()),
        ("age", b"the string AGE-SECRET-KEY-1 begins a key"),
        ("a-public-key.der", &rsa_public),
        ("almost-der", b"\x30\x03\x02\x01"),
        ("random", b"\x95\xc5\x94\x30\x82\xff\xff\x02\x01"),
    ];
    for (name, content) in files {
        assert_eq!(refused(&world, &outside(&world, name, content)), None, "{name}");
    }
}

#[test]
fn a_file_of_the_repository_is_refused_under_any_name() {
    let world = World::new();
    world.add("a", "1");
    let dir = world.dir();
    outside(&world, "dist/.keep", b"");
    fs::hard_link(dir.join("keys/root-1.pem"), world.folder.path().join("harmless")).unwrap();
    fs::hard_link(dir.join("repo.toml"), world.folder.path().join("config")).unwrap();
    std::os::unix::fs::symlink(&dir, world.folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink(dir.join("keys"), dir.join("more")).unwrap();
    let paths = [
        "repository/keys/root-1.pem",
        "repository/keys/root-1.pub",
        "repository/repo.toml",
        "repository/.lock",
        "repository/metadata/1.root.json",
        "dist/../repository/keys/../metadata/./1.root.json",
        "link/keys/root-1.pub",
        "repository/more/root-1.pub",
        "harmless",
        "config",
    ];
    for path in paths {
        let path = world.folder.path().join(path);
        let own = Source::new(path.clone(), target_path("name").unwrap()).allow_private_keys();
        let error = publish(&world, &own).unwrap_err();
        assert!(
            matches!(&error, Error::Private { files } if files.iter().all(|file| file.reason.contains("this repository"))),
            "{path:?}: {error}"
        );
    }
    fs::create_dir(dir.join("dist")).unwrap();
    fs::write(dir.join("dist/app"), "app").unwrap();
    assert_eq!(refused(&world, &dir.join("dist/app")), None, "other files in the repository's folder may be published");
}

#[test]
fn key_files_that_the_configuration_names_are_refused_in_any_folder() {
    let keys = tempfile::tempdir().unwrap();
    let mut new = NewRepository::new(Protection::None);
    new.keys = Some(keys.path().join("vault"));
    let world = World::with(&new);
    let key = keys.path().join("vault/root-1.pem");
    // A key file that the configuration names is refused even if its format is unknown.
    fs::write(&key, "an unknown format").unwrap();
    let own = Source::new(key, target_path("name").unwrap()).allow_private_keys();
    let error = publish(&world, &own).unwrap_err();
    assert!(
        matches!(&error, Error::Private { files } if files.iter().all(|file| file.reason.contains("private key file:"))),
        "{error}"
    );
}

#[test]
fn folders_that_contain_the_repository_are_refused_as_a_whole() {
    let world = World::new();
    let own = OwnFiles::of(&world.layout(), &world.open().config).unwrap();
    let dir = world.dir();
    std::os::unix::fs::symlink(world.folder.path(), dir.join("up")).unwrap();
    for path in [".", "..", "../repository", "keys", "keys/..", "metadata", "targets", "up/.", "up/repository/keys"] {
        assert!(own.unpublishable_folder(&dir.join(path)).unwrap().is_some(), "{path}");
    }
    fs::create_dir(dir.join("dist")).unwrap();
    assert_eq!(own.unpublishable_folder(&dir.join("dist")).unwrap(), None);
}

#[test]
fn all_refused_files_are_reported_and_nothing_is_published() {
    let world = World::new();
    let before = (world.files("metadata"), world.files("targets"));
    let source = |path: PathBuf, name: &str| Source::new(path, target_path(name).unwrap());
    let sources = [
        source(outside(&world, "app", b"app"), "app"),
        source(outside(&world, "one.pem", pem().as_bytes()), "one"),
        source(outside(&world, "two.pem", pem().as_bytes()), "two"),
        source(world.dir().join("repo.toml"), "three"),
    ];
    let mut repository = world.open();
    let refused = repository
        .add_files(Draft::default(), &RoleName::TARGETS, &sources, &AddOptions::default(), &|_| {})
        .unwrap_err();
    let text = refused.to_string();
    assert!(["3 files", "one.pem", "two.pem", "repo.toml"].iter().all(|part| text.contains(part)), "{text}");
    assert_eq!((world.files("metadata"), world.files("targets")), before);
    assert_eq!(world.files(".publishing"), [""; 0]);
}

#[test]
fn hidden_files_are_skipped_unless_they_are_specified() {
    let world = World::new();
    for name in ["dist/app", "dist/.env", "dist/.git/config", "dist/.git/HEAD", "dist/sub/.hidden"] {
        outside(&world, name, b"content");
    }
    let dist = world.folder.path().join("dist");
    let names = |hidden| -> (Vec<String>, usize) {
        let found = intake::find(&[&dist], None, hidden).unwrap();
        (found.sources.iter().map(|source| source.name.to_string()).collect(), found.hidden)
    };
    assert_eq!(names(Hidden::Skip), (vec!["app".to_string()], 3));
    let all = [".env", ".git/HEAD", ".git/config", "app", "sub/.hidden"].map(ToString::to_string);
    assert_eq!(names(Hidden::Include), (all.to_vec(), 0));
    let named = intake::find(&[dist.join(".env")], None, Hidden::Skip).unwrap();
    assert_eq!((named.sources.len(), named.hidden), (1, 0));
}

#[test]
fn git_ignores_keys_and_working_files_of_a_new_repository() {
    let world = World::new();
    let text = fs::read_to_string(world.dir().join(".gitignore")).unwrap();
    assert!(["/keys/", "/.publishing*", "/.queue*", "/.lock"].iter().all(|line| text.contains(line)), "{text}");
    assert_eq!(git_ignore::missing(&world.layout(), &world.layout().keys()).unwrap(), [""; 0]);

    // An existing `.gitignore` file is not changed.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".gitignore"), "/keys/\n").unwrap();
    let mut new = NewRepository::new(Protection::None);
    new.keys = Some(folder.path().join("secret"));
    new.create(folder.path(), &world.invocation(), &mut lastmile_repo_tool::Unobserved).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join(".gitignore")).unwrap(), "/keys/\n");
    let layout = lastmile_repo_tool::internal::layout::Layout::new(folder.path());
    let missing = git_ignore::missing(&layout, &folder.path().join("secret")).unwrap();
    assert_eq!(missing, ["/.publishing*", "/.queue*", "/.lock", "/secret/"]);
}

/// Copies of the repository's private keys are refused even if private keys are allowed.
#[test]
fn copies_of_own_private_keys_are_refused() {
    let new = NewRepository::new(Protection::PassPhrase(b"three blind mice".to_vec().into()));
    let world = World::with(&NewRepository { online_keys: Protection::None, ..new });
    let keys = world.layout().keys();
    let outside_key = outside(&world, "usb/key", b"an unknown format");
    world.invocation().user.allow_key(world.open().digest, &outside_key).unwrap();
    let copies = [
        ("an-encrypted-key", fs::read(keys.join("root-1.pem")).unwrap(), "is a copy of keys/root-1.pem"),
        ("a-key", fs::read(keys.join("timestamp-1.pem")).unwrap(), "is a copy of keys/timestamp-1.pem"),
        ("a-key-of-the-user", fs::read(&outside_key).unwrap(), "is a copy of the private key /"),
    ];
    for (name, content, expected) in copies {
        let copy = Source::new(outside(&world, name, &content), target_path("name").unwrap()).allow_private_keys();
        let error = publish(&world, &copy).unwrap_err();
        assert!(
            matches!(&error, Error::Private { files } if files.iter().all(|file| file.reason.contains(expected))),
            "{name}: {error}"
        );
        assert_eq!(world.files(".publishing"), [""; 0], "a refused file must leave no temporary files");
    }
    let itself = Source::new(outside_key, target_path("name").unwrap()).allow_private_keys();
    let error = publish(&world, &itself).unwrap_err();
    assert!(
        matches!(&error, Error::Private { files } if files.iter().all(|file| file.reason.contains("is the private key /"))),
        "{error}"
    );
    // Public keys and private keys of other repositories, such as test keys, may be published.
    let public = outside(&world, "public", &fs::read(keys.join("root-1.pub")).unwrap());
    assert_eq!(refused(&world, &public), None);
    let test = Source::new(outside(&world, "test.pem", pem().as_bytes()), target_path("name").unwrap());
    publish(&world, &test.allow_private_keys()).unwrap();
}

#[test]
fn a_new_repository_refuses_a_served_key_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("repository");
    let invocation = World::new().invocation();
    std::os::unix::fs::symlink(dir.join("targets"), folder.path().join("link")).unwrap();
    for keys in
        [dir.join("targets/keys"), dir.join("metadata"), dir.join("keys/../targets"), folder.path().join("link")]
    {
        let mut new = NewRepository::new(Protection::None);
        new.keys = Some(keys.clone());
        let error = new.create(&dir, &invocation, &mut Unobserved).unwrap_err();
        assert!(error.to_string().contains("is served to everyone"), "{keys:?}: {error}");
    }
    let pems = walkdir::WalkDir::new(folder.path()).into_iter().filter_map(Result::ok);
    assert_eq!(pems.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pem")).count(), 0);
}

#[test]
fn an_unreadable_user_configuration_or_root_stops_the_publication() {
    let world = World::new();
    let config = world.open().config;
    let saved = fs::read(world.user_config()).unwrap();
    fs::write(world.user_config(), "not = [TOML").unwrap();
    let error = OwnFiles::of(&world.layout(), &config).err();
    assert!(matches!(&error, Some(Error::Config { path, .. }) if *path == world.user_config()), "{error:?}");
    fs::remove_file(world.user_config()).unwrap();
    fs::create_dir(world.user_config()).unwrap();
    let error = OwnFiles::of(&world.layout(), &config).err();
    assert!(
        matches!(&error, Some(Error::Path(PathError::NoRegularFile { path })) if *path == world.user_config()),
        "{error:?}"
    );
    fs::remove_dir(world.user_config()).unwrap();
    fs::write(world.user_config(), saved).unwrap();
    let root = world.layout().metadata().join("1.root.json");
    fs::remove_file(&root).unwrap();
    assert!(OwnFiles::of(&world.layout(), &config).is_ok(), "a missing root must not be an error");
    fs::create_dir(&root).unwrap();
    let error = OwnFiles::of(&world.layout(), &config).err();
    assert!(matches!(&error, Some(Error::File { path, .. }) if *path == root), "{error:?}");
}

#[test]
fn a_key_file_is_judged_by_its_content_and_not_by_the_ending_of_its_name() {
    let world = World::new();
    let read = |name: &str, content: &str| {
        let file = world.folder.path().join(name);
        fs::write(&file, content).unwrap();
        key_store::read_public_key(&file, Links::Refuse)
    };
    let key = PrivateKey::generate(Scheme::EcdsaP256).unwrap();
    let public = key.public_key();
    let json = key_store::public_key_text(public);
    let securesystemslib = json.replace(r#""public""#, r#""private": "", "public""#);
    for (name, content) in [("a.pem", public.public()), ("b.txt", json), ("c", securesystemslib)] {
        assert_eq!(read(name, &content).unwrap(), *public, "{name}");
    }
    let ssh = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea me@here\n";
    assert_eq!(read("d.pem", ssh).unwrap().keytype(), "ed25519");
    let refused = read("e.pub", &key.to_pem().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("this is a private key; only the public key belongs here"), "{refused}");
    let foreign = world.folder.path().join("f.pub");
    fs::write(&foreign, "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n").unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
    let refused =
        key_store::open_private_key(&foreign, "f.pub", Links::Refuse, &NoPassPhrases).unwrap_err().to_string();
    assert!(refused.contains("openssl pkcs8 -topk8 -in ") && refused.contains("f.pkcs8.pem"), "{refused}");
}

/// Stops a publication before its journal is written, as a full disk would.
struct Stopped;

impl Observer for Stopped {
    fn before(&mut self, event: PublishEvent<'_>) -> std::io::Result<()> {
        if event == PublishEvent::Sync { Err(std::io::Error::other("the disk is full")) } else { Ok(()) }
    }
}

#[test]
fn a_failed_command_leaves_no_private_key_and_no_unpublished_file_in_the_working_folders() {
    let world = World::new();
    let left = |dir: &Path| -> Vec<String> {
        let entries =
            [".publishing", ".queue"].iter().flat_map(|name| fs::read_dir(dir.join(name)).into_iter().flatten());
        entries.map(|entry| entry.unwrap().path().display().to_string()).collect()
    };
    let other = world.folder.path().join("other");
    let refused = NewRepository::new(Protection::None).create(&other, &world.invocation(), &mut Stopped);
    assert!(refused.is_err() && left(&other).is_empty(), "{:?}", left(&other));
    // The failed first attempt must not prevent a second one.
    NewRepository::new(Protection::None).create(&other, &world.invocation(), &mut Unobserved).unwrap();

    assert!(world.try_add("a", "secret", &mut Stopped).is_err());
    assert_eq!(left(&world.dir()), [""; 0]);
    world.add("a", "1");
    assert!(world.try_add("a/b", "secret", &mut Unobserved).is_err());
    assert_eq!(left(&world.dir()), [""; 0]);
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_written() {
    let world = World::new();
    let dir = world.folder.path().join("other");
    for (threshold, days) in [(1, 0), (1, 36_501), (1, 3_000_000), (0, 1), (101, 1), (u32::MAX, 1)] {
        let mut new = NewRepository::new(Protection::None);
        new.thresholds.insert("timestamp".into(), threshold);
        new.expiry_days.insert("timestamp".into(), days);
        let refused = new.create(&dir, &world.invocation(), &mut Unobserved);
        assert!(matches!(refused, Err(Error::InvalidInput(InvalidInput::OutOfRange { .. }))), "{refused:?}");
        assert!(!dir.exists());
    }
}
