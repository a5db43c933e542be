//! `attest`: creates Sigstore bundles with signatures of packages and statements about packages.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use lastmile_attest::Artifact;
use lastmile_attest::make::{self, BUILD_TYPE, Build, NewStatement};
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable_path;
use lastmile_fs::named;
use lastmile_keys::Signer;
use lastmile_metadata::{Algorithm, Hashes, TargetPath};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::context::Context;
use super::keys;
use crate::config::KeyUri;
use crate::evidence_file::{self, Existing};
use crate::files::links::{Links, read_through};
use crate::key_store::{keyid_of, open_private_key, read_public_key};
use crate::{Error, Repository};

/// The maximum length of a package for `--kind signature`. Such a package is read into memory.
const MAX_SIGNED_LENGTH: u64 = 1 << 30;
const MAX_PREDICATE_LENGTH: u64 = 1 << 20;
/// The number of bytes that are read at once.
const CHUNK_SIZE: usize = 256 * 1024;

/// `attest`
#[derive(Debug, Args)]
#[command(after_help = "\
Writes Sigstore bundles that lastmile and `cosign verify-blob-attestation` can verify. No repository
is needed: the key can be any private key file, including a cosign key. If PACKAGE.intoto.jsonl
already contains evidence for the same package, the bundle is added to that file. Ed25519 and P-256
keys can sign; --kind signature needs a P-256 key.

Kinds:
  publish     a statement that you publish the package
  signature   a signature over the file itself, for `cosign verify-blob`, in PACKAGE.sigstore.json
  provenance  a statement about who built the package, and from which source (SLSA v1)
  custom      a statement with your own predicate

Examples:
  lastmile-repo attest app-1.2.tar.gz --key release.pem
  lastmile-repo attest app-1.2.tar.gz --key cosign.key --kind signature
  lastmile-repo attest app-1.2.tar.gz --key ci.pem --kind provenance \\
      --builder https://ci.example.com/release --source git+https://github.com/acme/app \\
      --ref refs/tags/v1.2 --commit 5f2c… --parameter profile=release
  lastmile-repo attest app-1.2.tar.gz --key qa.pem --kind custom \\
      --type https://example.com/review/v1 --predicate review.json")]
pub(crate) struct Attest {
    /// Files to sign.
    #[arg(required = true, value_name = "PACKAGE")]
    packages: Vec<PathBuf>,
    /// Private key: a file, a URI, the name of a key in the repository, or the first digits of a key ID
    #[arg(long, value_name = "KEY")]
    key: String,
    /// What to sign.
    #[arg(long, value_enum, default_value_t = Kind::Publish)]
    kind: Kind,
    /// File to write [default: PACKAGE.intoto.jsonl, or PACKAGE.sigstore.json for a signature]. If the file exists, the
    /// bundle is added to it; a file whose name ends in .sigstore.json is not changed without --replace
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace an existing file instead of adding to it.
    #[arg(long)]
    replace: bool,
    /// JSON file with the predicate of a custom statement, or with the complete predicate of a provenance statement
    #[arg(long, value_name = "FILE")]
    predicate: Option<PathBuf>,
    /// Type of the predicate of a custom statement.
    #[arg(long = "type", value_name = "URI")]
    predicate_type: Option<String>,
    #[command(flatten)]
    build: BuildArgs,
}

/// The options that describe the build in a provenance statement.
#[derive(Debug, Args)]
#[command(next_help_heading = "Provenance options")]
struct BuildArgs {
    /// ID of the builder, as it appears in policies.
    #[arg(long, value_name = "URI", requires = "source")]
    builder: Option<String>,
    /// Build type of the statement. If the build ran in GitHub Actions, give the build type of the workflow instead of
    /// the default.
    #[arg(long, value_name = "URI", default_value = BUILD_TYPE)]
    build_type: String,
    /// Repository of the source, such as git+https://github.com/acme/app
    #[arg(long, value_name = "URI", requires = "builder")]
    source: Option<String>,
    /// Git ref of the source, such as refs/tags/v1.2
    #[arg(long = "ref", value_name = "REF", requires = "builder")]
    reference: Option<String>,
    /// Commit of the source that was built.
    #[arg(long, requires = "builder")]
    commit: Option<String>,
    /// Parameter that was chosen when the build was started; can be repeated.
    #[arg(long, value_name = "NAME=VALUE", requires = "builder")]
    parameter: Vec<String>,
    /// URI of this build run.
    #[arg(long, value_name = "URI", requires = "builder")]
    invocation: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Publish,
    Signature,
    Provenance,
    Custom,
}

/// What to sign for each package.
enum Content {
    File,
    /// A statement that the package is published.
    Publish,
    /// A provenance statement with the values of the command-line options.
    Build(Build),
    /// A predicate from a file, and the type of the predicate.
    Predicate(String, String),
}

pub(super) fn attest(context: &Context<'_>, args: &Attest, output: &Output) -> Result<ExitStatus, Error> {
    if args.out.is_some() && args.packages.len() > 1 {
        return Err(Error::Usage("--out accepts only one package; give one package, or omit --out".into()));
    }
    let content = content(args)?;
    let signer = signer(context, &args.key)?;
    let mut documents = Vec::new();
    let mut lines = Vec::new();
    for package in &args.packages {
        let (document, line) = attest_one(context, args, &content, signer.as_ref(), package)?;
        documents.push(document);
        lines.push(line);
    }
    output.report(&json!({ "evidence": documents, "dry_run": context.run().is_dry() }), lines)?;
    if context.run().is_dry() {
        output.note("Nothing was written (--dry-run).");
    }
    Ok(ExitStatus::Done)
}

/// Creates the evidence for one package. Returns the JSON and the text line of the report.
fn attest_one(
    context: &Context<'_>,
    args: &Attest,
    content: &Content,
    signer: &dyn Signer,
    package: &Path,
) -> Result<(Value, String), Error> {
    let failed = |error: make::MakeError| Error::Failed(format!("{}: {error}", printable_path(package)));
    let (artifact, bytes) = read_package(package, content)?;
    let statement = match content {
        Content::File => None,
        Content::Publish => Some(NewStatement::publish(&artifact)),
        Content::Build(build) => Some(build.statement(&artifact)),
        Content::Predicate(predicate, kind) => Some(NewStatement::new(&artifact, kind, predicate)),
    };
    let bundle = match &statement {
        None => make::sign_file(&artifact, &bytes, signer),
        Some(statement) => statement.as_ref().map_err(Clone::clone).and_then(|statement| statement.sign(signer)),
    };
    let bundle = bundle.map_err(failed)?;
    let default = format!("{}.{}", package.to_string_lossy(), args.kind.extension());
    let file = args.out.clone().unwrap_or_else(|| PathBuf::from(default));
    let existing = match (args.replace, file.to_string_lossy().ends_with(SINGLE)) {
        (true, _) => Existing::Replace,
        (false, true) => Existing::Keep,
        (false, false) => Existing::Append,
    };
    let add = if context.run().is_dry() { evidence_file::content_with } else { evidence_file::add };
    let new = add(&file, &bundle, &artifact, existing)?;
    let keyid = keyid_of(signer.public_key());
    let kind = args.kind.to_possible_value().map(|kind| kind.get_name().to_owned());
    let predicate_type = content.predicate_type();
    let sha256 = artifact.digest(Algorithm::Sha256).map(hex::encode);
    let document = json!({
        "package": package.to_string_lossy(), "sha256": sha256, "kind": kind, "type": predicate_type, "keyid": keyid,
        "file": file.to_string_lossy(), "items": new.items, "is_new": new.is_new,
    });
    let what = predicate_type.map_or_else(|| "a signature".to_owned(), |kind| format!("a statement ({kind})"));
    let state = if new.is_new { "" } else { ", which contained it already" };
    let key = keyid.get(..8).unwrap_or_default();
    let line = format!("{}: {what} by {key}{state}", printable_path(&file));
    Ok((document, line))
}

/// A file whose name ends in this suffix contains only one bundle.
const SINGLE: &str = ".sigstore.json";

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Signature => "sigstore.json",
            Self::Publish | Self::Provenance | Self::Custom => "intoto.jsonl",
        }
    }
}

impl Content {
    fn predicate_type(&self) -> Option<&str> {
        match self {
            Self::File => None,
            Self::Publish => Some(make::PUBLISH),
            Self::Build(_) => Some(make::PROVENANCE),
            Self::Predicate(_, kind) => Some(kind),
        }
    }
}

/// Refuses options that do not apply to `--kind`.
fn content(args: &Attest) -> Result<Content, Error> {
    let build = build(&args.build)?;
    let usage = |text: &str| Err(Error::Usage(text.into()));
    match (args.kind, &args.predicate, &args.predicate_type, build) {
        (Kind::Publish, None, None, None) => Ok(Content::Publish),
        (Kind::Signature, None, None, None) => Ok(Content::File),
        (Kind::Publish | Kind::Signature, ..) => {
            usage("--predicate, --type and --builder need --kind custom or --kind provenance")
        }
        (Kind::Provenance, None, None, Some(build)) => Ok(Content::Build(build)),
        (Kind::Provenance, Some(file), None, None) => {
            Ok(Content::Predicate(predicate(file)?, make::PROVENANCE.to_owned()))
        }
        (Kind::Provenance, ..) => usage("--kind provenance needs either --builder and --source, or --predicate FILE"),
        (Kind::Custom, Some(file), Some(kind), None) => Ok(Content::Predicate(predicate(file)?, kind.clone())),
        (Kind::Custom, ..) => usage("--kind custom needs --predicate FILE and --type URI, and no provenance options"),
    }
}

fn build(args: &BuildArgs) -> Result<Option<Build>, Error> {
    let (Some(builder), Some(source)) = (&args.builder, &args.source) else { return Ok(None) };
    let mut parameters = BTreeMap::new();
    for parameter in &args.parameter {
        let (name, value) = parameter
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Error::Usage(format!("`{parameter}` must be of the form NAME=VALUE")))?;
        if parameters.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Error::Usage(format!("the parameter `{name}` is given twice")));
        }
    }
    Ok(Some(Build {
        builder: builder.clone(),
        build_type: args.build_type.clone(),
        source: source.clone(),
        reference: args.reference.clone(),
        commit: args.commit.clone(),
        parameters,
        invocation: args.invocation.clone(),
    }))
}

fn predicate(file: &Path) -> Result<String, Error> {
    let bytes = read_through(file, Links::Follow, MAX_PREDICATE_LENGTH)?;
    let bytes = bytes.ok_or_else(|| Error::Absent(format!("the file {} does not exist", printable_path(file))))?;
    String::from_utf8(bytes).map_err(|_| Error::Failed(format!("the file {} is not UTF-8", printable_path(file))))
}

/// Returns the bytes of the package only for [`Content::File`]; otherwise, they are empty.
fn read_package(package: &Path, content: &Content) -> Result<(Artifact, Vec<u8>), Error> {
    let read = |error| Error::file("read", package, error);
    let name = package.file_name().and_then(|name| TargetPath::new(name.to_str()?).ok());
    let name = name.ok_or_else(|| Error::Usage(format!("{} cannot be a target path", printable_path(package))))?;
    let mut file = named::open(package).map_err(read)?;
    let mut bytes = Vec::new();
    let mut sha256 = Sha256::new();
    let mut sha512 = Sha512::new();
    let mut part = vec![0; CHUNK_SIZE];
    loop {
        let count = file.read(&mut part).map_err(read)?;
        let Some(new) = part.get(..count).filter(|new| !new.is_empty()) else { break };
        sha256.update(new);
        sha512.update(new);
        if matches!(content, Content::File) {
            bytes.extend_from_slice(new);
            if bytes.len() as u64 > MAX_SIGNED_LENGTH {
                let text = "is too large for --kind signature (at most 1 GiB); make a statement with --kind publish";
                return Err(Error::Failed(format!("{} {text}", printable_path(package))));
            }
        }
    }
    let digests = [(Algorithm::Sha256, sha256.finalize().to_vec()), (Algorithm::Sha512, sha512.finalize().to_vec())];
    let hashes =
        Hashes::new(digests).ok_or_else(|| Error::Failed("the digests of the file could not be computed".into()))?;
    Ok((Artifact::new(name, hashes), bytes))
}

/// Opens the private key that `name` specifies. Opens the repository only if `name` must be a key ID, because it is
/// neither a URI, nor a key file, nor a key in the key folder.
fn signer(context: &Context<'_>, name: &str) -> Result<Arc<dyn Signer>, Error> {
    let layout = context.layout();
    let phrases = context.invocation.phrases.as_ref();
    if let Ok(uri) = name.parse::<KeyUri>() {
        let links = if uri.is_below(layout.dir()) { Links::Refuse } else { Links::Follow };
        return Ok(Arc::new(open_private_key(&uri.path(layout.dir()), name, links, phrases)?));
    }
    if read_public_key(Path::new(name), Links::Follow).is_ok() {
        return Err(Error::Usage(format!("`{name}` is a public key; give the file of the private key")));
    }
    if Path::new(name).is_file() {
        return Ok(Arc::new(open_private_key(Path::new(name), name, Links::Follow, phrases)?));
    }
    let in_folder = layout.keys().join(format!("{name}.pem"));
    if in_folder.is_file() {
        return Ok(Arc::new(open_private_key(&in_folder, name, Links::Refuse, phrases)?));
    }
    let absent = |_| Error::Absent(format!("no key matches `{name}`; give a private key file"));
    let mut repository = Repository::open(&context.global.repository, &context.invocation).map_err(absent)?;
    let public = keys::resolve(&mut repository, name)?.public;
    let signer = repository.keys.signer(&public)?;
    signer.ok_or_else(|| Error::Absent(format!("the private key of `{name}` is not on this machine")))
}
