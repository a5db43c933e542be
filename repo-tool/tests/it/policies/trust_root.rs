//! Tests of `policy trust-root update`, with a TUF repository on a local server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lastmile_cli_support::ExitStatus;
use lastmile_metadata::{Json, TargetPath};
use lastmile_repo_tool::internal::server::Server;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Maintainer, Ran};

/// A Sigstore instance with a TUF repository on a local HTTP server. As in Sigstore's own repositories, the targets
/// folder is inside the metadata folder.
struct Instance {
    maintainer: Maintainer,
    url: String,
    _runtime: Runtime,
}

impl Instance {
    fn new() -> Self {
        let maintainer = Maintainer::new();
        let runtime = Runtime::new().unwrap();
        let folder = maintainer.path("repository");
        let server = runtime.block_on(Server::bind(&folder, "127.0.0.1:0".parse().unwrap())).unwrap();
        let url = format!("http://{}/metadata", server.address().unwrap());
        runtime.spawn(server.run(|_| {}));
        Self { maintainer, url, _runtime: runtime }
    }

    /// Publishes a Sigstore trusted root that lists one transparency log.
    fn publish(&self, log: &str) {
        let root = json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{
                "baseUrl": format!("https://{log}.example.com"),
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": { "start": "2021-01-12T11:53:27.000Z" },
                },
                "logId": { "keyId": "wNI9atQGlz+VWfO6LRygH4QUfY/8W4RFwiT5i5WRgB0=" },
            }],
        });
        self.publish_file("trusted_root.json", &root.to_string());
    }

    fn publish_file(&self, name: &str, content: &str) {
        let file = self.maintainer.file(name, content);
        self.maintainer.done(&["add", &file, "--replace"]);
        copy(&self.maintainer.path("repository/targets"), &self.maintainer.path("repository/metadata/targets"));
    }

    fn root(&self) -> String {
        self.maintainer.path("repository/metadata/1.root.json").to_str().unwrap().to_string()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn update(maintainer: &Maintainer, instance: &Instance, more: &[&str]) -> Ran {
    maintainer.run(&[&["policy", "trust-root", "update", &instance.url], more].concat())
}

#[test]
fn a_trust_root_is_fetched_with_a_pinned_root_and_published() {
    let instance = Instance::new();
    instance.publish("rekor");
    let maintainer = Maintainer::new();
    let refused = update(&maintainer, &instance, &[]).text(ExitStatus::Failed);
    assert!(refused.contains("no first root is pinned") && refused.contains("--first-root FILE"), "{refused}");
    let pins = maintainer.path("home/.config/lastmile-repo/trust-roots");
    update(&maintainer, &instance, &["--first-root", &instance.root(), "--dry-run"]).text(ExitStatus::Done);
    assert!(!pins.exists());
    let published = update(&maintainer, &instance, &["--first-root", &instance.root()]).text(ExitStatus::Done);
    assert!(published.contains("+ transparency log https://rekor.example.com ("), "{published}");
    assert!(published.contains("+ trust/sigstore-public.json ("), "{published}");
    assert!(pins.exists());
    // The policy of the role can now name this trust root.
    let policy = "version = 1\n[trust.public]\nroot = \"trust/sigstore-public.json\"\n[signer.ci]\ntrust = \"public\"\n\
                  issuer = \"https://ci.example.com\"\nsubject = [\"https://ci.example.com/acme\"]\n[[require]]\nname = \"signed\"\n\
                  kind = \"signature\"\npaths = [\"app-*\"]\nby = [\"ci\"]\n";
    maintainer.set("targets", policy).text(ExitStatus::Done);
    let unchanged = update(&maintainer, &instance, &[]).text(ExitStatus::Done);
    assert!(
        unchanged.contains("The logs and authorities in `trust/sigstore-public.json` are unchanged."),
        "{unchanged}"
    );
    // While the policy names the trust root, the trust root cannot be removed or replaced by a file of another type.
    let other = maintainer.file("other.json", "{}");
    let args = ["add", &other, "--name", "trust/sigstore-public.json", "--replace"];
    let refused = maintainer.run(&args).text(ExitStatus::Refused);
    assert!(refused.contains("the trust root `trust/sigstore-public.json`: trusted roots of the type"), "{refused}");
    let refused = maintainer.run(&["remove", "trust/sigstore-public.json"]).text(ExitStatus::Refused);
    assert!(refused.contains("does not list the trust root"), "{refused}");
}

#[test]
fn c_11_an_update_shows_the_changes_and_refuses_another_or_an_older_repository() {
    let instance = Instance::new();
    instance.publish("old");
    let before = instance.maintainer.path("before");
    copy(&instance.maintainer.path("repository/metadata"), &before);
    let maintainer = Maintainer::new();
    update(&maintainer, &instance, &["--first-root", &instance.root()]).text(ExitStatus::Done);
    instance.publish("new");
    let changed = update(&maintainer, &instance, &[]).text(ExitStatus::Done);
    assert!(changed.contains("- transparency log https://old.example.com ("), "{changed}");
    assert!(changed.contains("+ transparency log https://new.example.com ("), "{changed}");
    let other = Instance::new();
    let refused = update(&maintainer, &instance, &["--first-root", &other.root()]).text(ExitStatus::Failed);
    assert!(refused.contains("another first root is pinned in"), "{refused}");
    // The server now offers older metadata.
    copy(&before, &instance.maintainer.path("repository/metadata"));
    let refused = update(&maintainer, &instance, &[]).text(ExitStatus::Refused);
    assert!(refused.contains("the TUF repository at http://127.0.0.1:"), "{refused}");
    let signed: Value =
        serde_json::from_str(&Json::parse(&maintainer.signed("targets").to_string()).unwrap().to_text()).unwrap();
    assert!(signed.pointer("/targets/trust~1sigstore-public.json").is_some());
}

#[test]
fn a_target_that_is_no_trust_root_is_not_published() {
    let instance = Instance::new();
    instance.publish_file("other.json", "{}");
    let maintainer = Maintainer::new();
    let args = ["--first-root", &instance.root(), "--target", "other.json"];
    let refused = update(&maintainer, &instance, &args).text(ExitStatus::Failed);
    assert!(refused.contains("the trust root `other.json`: trusted roots of the type"), "{refused}");
    let absent = update(&maintainer, &instance, &["--first-root", &instance.root()]);
    assert_eq!(absent.status, ExitStatus::NoSuchName, "{absent:?}");
    assert!(
        TargetPath::new("other.json").is_ok() && !maintainer.path("home/.config/lastmile-repo/trust-roots").exists()
    );
}

#[test]
fn a_problem_on_this_machine_or_an_exceeded_limit_is_not_a_network_error() {
    let instance = Instance::new();
    instance.publish("rekor");
    let maintainer = Maintainer::new();
    update(&maintainer, &instance, &["--first-root", &instance.root()]).text(ExitStatus::Done);
    // Other users can change the stored metadata.
    let pins = maintainer.path("home/.config/lastmile-repo/trust-roots");
    let store = std::fs::read_dir(pins).unwrap().next().unwrap().unwrap().path().join("metadata");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = update(&maintainer, &instance, &[]).text(ExitStatus::Failed);
    assert!(refused.contains("trust-roots") && !refused.contains("the address is correct"), "{refused}");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o700)).unwrap();
    let timestamp = instance.maintainer.path("repository/metadata/timestamp.json");
    let long = format!("{}{}", std::fs::read_to_string(&timestamp).unwrap(), " ".repeat(20_000));
    std::fs::write(timestamp, long).unwrap();
    let refused = update(&maintainer, &instance, &[]).text(ExitStatus::Failed);
    assert!(refused.contains("a file exceeds a limit") && !refused.contains("the address is correct"), "{refused}");
}
