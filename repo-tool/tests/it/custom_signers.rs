//! Signers other than key files, such as hardware tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lastmile_keys::{KeyMaterial, PrivateKey, PublicKey, Scheme, SignError, Signer};
use lastmile_metadata::RoleName;
use lastmile_repo_tool::internal::batch::{self, Shared};
use lastmile_repo_tool::internal::proof::{Before, Verdict, prove};
use lastmile_repo_tool::internal::queue::PublishRequest;
use lastmile_repo_tool::internal::revoke::revoke;
use lastmile_repo_tool::internal::status::Status;
use lastmile_repo_tool::{
    AddOptions, Config, Draft, EditError, Error, InvalidInput, Invocation, KeyReason, KeyStore, NamedSigner,
    NewRepository, NoPassPhrases, Outcome, Protection, Repository, Signing, Source, Unobserved, UserConfig,
    target_path,
};

use crate::revocation::generated;
use crate::world::{World, is_published};

/// A token that counts its signatures. If it is broken, its signatures are wrong.
struct Token {
    key: PrivateKey,
    signed: AtomicUsize,
    is_broken: bool,
}

impl Token {
    fn new() -> Arc<Token> {
        Token::with(PrivateKey::generate(Scheme::Ed25519).unwrap(), false)
    }

    fn with(key: PrivateKey, is_broken: bool) -> Arc<Token> {
        Arc::new(Token { key, signed: AtomicUsize::new(0), is_broken })
    }

    fn signed(&self) -> usize {
        self.signed.load(Ordering::Relaxed)
    }
}

impl Signer for Token {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signed.fetch_add(1, Ordering::Relaxed);
        self.key.sign(if self.is_broken { b"something else" } else { message })
    }
}

fn named(token: &Arc<Token>) -> NamedSigner {
    NamedSigner::new("token:1", Arc::clone(token) as Arc<dyn Signer>)
}

/// Creates a repository in which the key of `role` is on `token`.
fn world_with(role: &RoleName, token: &Arc<Token>) -> World {
    let mut new = NewRepository::new(Protection::None);
    new.signers.insert(role.clone(), vec![named(token)]);
    World::with(&new)
}

fn setting_with(world: &World, token: &Arc<Token>) -> Invocation {
    Invocation { signers: vec![named(token)], ..world.invocation() }
}

fn renew(world: &World, invocation: &Invocation) -> Result<Outcome, Error> {
    let mut repository = Repository::open_for_change(&world.dir(), invocation)?;
    let draft = Draft::renew_timestamp();
    let plan = repository.plan(draft, Signing::Now)?;
    repository.conclude(&plan, &mut Unobserved)
}

#[test]
fn a_token_signs_the_timestamp_and_its_key_is_in_no_file() {
    let token = Token::new();
    let world = world_with(&RoleName::TIMESTAMP, &token);
    assert_eq!(token.signed(), 1);
    let keys = world.files("keys");
    assert!(keys.iter().any(|name| name == "snapshot-1.pem"), "{keys:?}");
    assert!(keys.iter().all(|name| !name.starts_with("timestamp")), "{keys:?}");
    assert!(Config::read(&world.layout()).unwrap().role(&RoleName::TIMESTAMP).keys.is_empty());

    // If the token is missing, nothing is published.
    let refused = renew(&world, &world.invocation()).unwrap_err();
    assert!(matches!(&refused, Error::MissingKeys { roles } if *roles == [RoleName::TIMESTAMP]), "{refused}");

    assert!(is_published(&world.add_as(&setting_with(&world, &token), "a", "1").unwrap()));
    assert_eq!(token.signed(), 2);
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
    let mut repository = Repository::open(&world.dir(), &setting_with(&world, &token)).unwrap();
    let status = Status::of(&mut repository).unwrap();
    let role = status.roles.iter().find(|role| role.name == "timestamp").unwrap();
    assert_eq!(role.keys[0].uri.as_deref(), Some("token:1"));
}

#[test]
fn a_token_added_to_an_open_repository_signs_targets() {
    let token = Token::new();
    let world = world_with(&RoleName::TARGETS, &token);
    let mut repository = world.open();
    repository.keys.add_signer("token:1", token.clone());
    let mut edit = repository.edit(Draft::default());
    edit.sign_again(&RoleName::TARGETS).unwrap();
    let draft = edit.finish().unwrap();
    let plan = repository.plan(draft, Signing::Now).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    assert_eq!(token.signed(), 2);
}

#[test]
fn a_token_signs_for_requests_of_the_queue_too() {
    let token = Token::new();
    let world = world_with(&RoleName::TARGETS, &token);
    let file = world.folder.path().join("file");
    std::fs::write(&file, "1").unwrap();
    let config = Config::read(&world.layout()).unwrap();
    let sources = [Source::new(file, target_path("a").unwrap())];
    let request =
        PublishRequest::enter(&world.layout(), &config, None, &sources, &AddOptions::default(), &|_| {}).unwrap();
    let shared = batch::publish(&request, &setting_with(&world, &token), &mut Unobserved).unwrap();
    assert!(matches!(shared, Shared::ByUs(done) if is_published(&done.outcome)));
    assert_eq!(world.fetch("a").unwrap().unwrap(), b"1");
}

#[test]
fn the_key_store_treats_a_token_as_a_signer_and_not_as_a_file() {
    let token = Token::new();
    let dir = std::path::Path::new("/nowhere");
    let public = token.public_key();
    let mut keys = KeyStore::new(dir, [], Arc::new(NoPassPhrases));
    assert!(!keys.has(public) && keys.signer(public).unwrap().is_none());
    keys.add_signer("file:keys/x.pem", token.clone());
    assert!(keys.has(public));
    assert_eq!((keys.name_of(public), keys.uri_of(public)), (Some("file:keys/x.pem"), None));
    assert_eq!(keys.confirmed_uris_of(public), [""; 0]);
    assert_eq!(keys.is_encrypted(public), None);
    assert_eq!(keys.publics().into_iter().collect::<Vec<_>>(), [(public.clone(), "file:keys/x.pem".to_string())]);
    // The name of this signer looks like a key URI. Nevertheless, the key store must not use the key file at that URI.
    let uri = "file:keys/x.pem".parse().unwrap();
    assert!(!keys.contains(&uri));
    assert!(!keys.restricted_to(dir, &[uri]).has(public));
    keys.prefetch([public]);
    assert_eq!(token.signed(), 0);
    assert!(!keys.is_avoided(public));
    keys.avoid(&KeyMaterial::from(public));
    assert!(keys.is_avoided(public));

    // A second signer that has the same key replaces the first signer.
    keys.add_signer("b", token.clone());
    assert_eq!((keys.name_of(public), keys.publics().len()), (Some("b"), 1));
    assert!(public.verify(b"m", &keys.signer(public).unwrap().unwrap().sign(b"m").unwrap()));
}

#[test]
fn a_token_signs_in_place_of_the_file_of_the_same_key() {
    let world = World::new();
    let pem = std::fs::read_to_string(world.layout().keys().join("timestamp-1.pem")).unwrap();
    let token = Token::with(PrivateKey::from_pem(&pem, None).unwrap(), false);
    assert!(is_published(&renew(&world, &setting_with(&world, &token)).unwrap()));
    assert_eq!(token.signed(), 1);
    let repository = Repository::open(&world.dir(), &setting_with(&world, &token)).unwrap();
    let public = token.public_key();
    assert_eq!(repository.keys.name_of(public), Some("token:1"));
    // The key store still has the URI of the key file, which `repo.toml` names.
    assert_eq!(repository.keys.confirmed_uris_of(public), ["file:keys/timestamp-1.pem"]);
    assert_eq!(repository.keys.is_encrypted(public), Some(false));
}

#[test]
fn a_wrong_signature_of_a_token_is_refused_before_anything_is_staged() {
    let good = Token::new();
    let world = world_with(&RoleName::TARGETS, &good);
    let broken = Token::with(PrivateKey::from_pem(&good.key.to_pem().unwrap(), None).unwrap(), true);
    let before = world.files("");
    let refused = world.add_as(&setting_with(&world, &broken), "a", "1").unwrap_err();
    let is_expected =
        matches!(&refused, Error::Key { key, reason: KeyReason::Sign(SignError::Failed(_)) } if key == "token:1");
    assert!(is_expected, "{refused}");
    drop(world.open());
    assert_eq!(world.files(""), before);
}

#[test]
fn a_token_signs_content_only_under_a_pinned_root() {
    let token = Token::new();
    let world = world_with(&RoleName::TARGETS, &token);
    let stranger = UserConfig::at(&world.folder.path().join("stranger.toml"));
    let invocation = Invocation { user: stranger, ..setting_with(&world, &token) };
    let refused = world.add_as(&invocation, "a", "1").unwrap_err();
    assert!(matches!(&refused, Error::NotPinned { .. }), "{refused}");
    assert_eq!(token.signed(), 1, "the token must have signed once, when the repository was created");
}

#[test]
fn a_proof_never_signs_forgeries_with_a_token() {
    let token = Token::new();
    let world = world_with(&RoleName::TIMESTAMP, &token);
    let mut repository = Repository::open_for_change(&world.dir(), &setting_with(&world, &token)).unwrap();
    let public = token.public_key();
    let roles = repository.published.roles_trusting(public).unwrap();
    let before = Before::remember(&mut repository, &roles).unwrap();
    let revocation = revoke(&mut repository, public, &generated(&Protection::None)).unwrap();
    let plan = repository.plan(revocation.draft, Signing::Now).unwrap();
    assert!(is_published(&repository.conclude(&plan, &mut Unobserved).unwrap()));
    let signed = token.signed();
    let rows = prove(&mut repository, public, &before).unwrap();
    assert_eq!(token.signed(), signed);
    assert!(
        rows.iter().any(|row| row.cases.iter().any(|(_, verdict)| matches!(verdict, Verdict::NotTried(_)))),
        "{rows:?}"
    );
}

#[test]
fn root_keys_on_tokens_cause_no_warning() {
    let tokens = [Token::new(), Token::new()];
    let mut new = NewRepository::new(Protection::None);
    let signers = tokens.iter().map(named).collect::<Vec<_>>();
    new.signers.insert(RoleName::ROOT, signers.clone());
    let world = World::with(&new);
    let invocation = Invocation { signers, ..world.invocation() };
    let repository = Repository::open(&world.dir(), &invocation).unwrap();
    let advice = world.warnings(&repository);
    assert!(advice.iter().all(|line| !line.contains("root keys are on this machine")), "{advice:?}");
    assert!(advice.iter().any(|line| line.contains("root needs signatures from all of its 2 keys")), "{advice:?}");
}

#[test]
fn a_new_repository_refuses_too_few_signers_and_creates_nothing() {
    let token = Token::new();
    let world = World::new();
    let dir = world.folder.path().join("other");
    let mut new = NewRepository::new(Protection::None);
    // Two signers with the same key count as one key, but the root role needs signatures by two keys.
    new.signers.insert(RoleName::ROOT, vec![named(&token), named(&token)]);
    let refused = new.create(&dir, &world.invocation(), &mut Unobserved).unwrap_err();
    assert!(matches!(refused, Error::Edit(EditError::UnreachableThreshold { threshold: 2, keys: 1 })), "{refused}");
    new.signers = [(RoleName::delegated("team").unwrap(), vec![named(&token)])].into();
    let refused = new.create(&dir, &world.invocation(), &mut Unobserved).unwrap_err();
    assert!(matches!(refused, Error::InvalidInput(InvalidInput::NotTopLevel { .. })), "{refused}");
    assert!(!dir.exists() && token.signed() == 0);
}
