//! Creates a repository whose timestamp key is not stored in a file, and publishes a file.
//!
//! ```console
//! $ cargo run --example custom_signer -- packages config.toml app-1.2.tar.gz
//! the token signed 2 files; app-1.2.tar.gz is published
//! ```
//!
//! `packages` is the folder of the repository, and `config.toml` is the user's configuration file. In this example,
//! `Token` takes the place of a hardware token, a key management service or an agent. In your program, implement
//! `Signer` for the device that holds your key.

#![expect(clippy::disallowed_methods, reason = "an example uses the clock and the file system")]
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::Utc;
use lastmile_keys::{PrivateKey, PublicKey, Scheme, SignError, Signer};
use lastmile_metadata::{RoleName, TargetPath};
use lastmile_repo_tool::{
    AddOptions, Invocation, NamedSigner, NewRepository, Outcome, Protection, Repository, Signing, Source, Unobserved,
    UserConfig,
};

/// A stand-in for a real token, with a private key in memory. It counts the signatures that it makes.
struct Token {
    key: PrivateKey,
    signed: AtomicUsize,
}

impl Signer for Token {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // For a real token, send the message to the device, and return `SignError::failed(reason)` if signing fails.
        self.signed.fetch_add(1, Ordering::Relaxed);
        self.key.sign(message)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, config, file] = args.as_slice() else {
        return Err("usage: custom_signer REPOSITORY CONFIG FILE".into());
    };
    let token = Arc::new(Token { key: PrivateKey::generate(Scheme::EcdsaP256)?, signed: AtomicUsize::new(0) });
    let signer = NamedSigner::new("token:timestamp", token.clone());

    // Add the signer to `Invocation::signers`. `repo.toml` cannot name a signer that exists only in this program.
    let mut invocation = Invocation::new(Utc::now(), UserConfig::at(Path::new(config)));
    invocation.signers.push(signer.clone());

    // The signer's public key becomes the timestamp key. Key files are generated for the other roles.
    let folder = Path::new(folder);
    let mut new = NewRepository::new(Protection::None);
    new.signers.insert(RoleName::TIMESTAMP, vec![signer]);
    new.create(folder, &invocation, &mut Unobserved)?;

    let mut repository = Repository::open_for_change(folder, &invocation)?;
    let name = Path::new(file).file_name().ok_or("not a file")?.to_string_lossy();
    let source = Source::new(file.into(), TargetPath::new(name)?);
    let draft = repository.staged()?;
    let draft = repository.add_files(draft, &RoleName::TARGETS, &[source], &AddOptions::default(), &|_| {})?;
    let plan = repository.plan(draft, Signing::Now)?;
    match repository.conclude(&plan, &mut Unobserved)? {
        Outcome::Published { .. } => {
            println!("the token signed {} files; {file} is published", token.signed.load(Ordering::Relaxed));
            Ok(())
        }
        Outcome::Staged(documents) => Err(format!("{} documents lack signatures", documents.len()).into()),
        Outcome::Nothing => Err("nothing changed".into()),
    }
}
