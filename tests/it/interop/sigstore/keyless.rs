//! Tests that `lastmile-attest` and other verifiers accept and refuse the same real bundles with certificates, without
//! using the network.

use std::path::PathBuf;
use std::process::Command;

use chrono::Utc;
use lastmile_metadata::{Algorithm, Hashes};
use lastmile_tests::{BundleCheck, ExpectedSigner, predicate_type};

use super::super::programs::project;
use super::others::{js_verifies_identity, pypi_verifies, python_verifies};
use super::workshop::{Verdict, debian};

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const LOGIN: &str = "https://github.com/login/oauth";

/// A bundle in `attest/tests/fixtures`, with the digest, the identity and the trusted root for its verification.
#[derive(Clone, Copy)]
struct Sample {
    file: &'static str,
    root: &'static str,
    subject: &'static str,
    issuer: &'static str,
    /// The SHA-256 or the SHA-512 of the signed artifact.
    digest: &'static str,
}

const GOOD: [Sample; 8] = [
    Sample {
        file: "file-v0.1.json",
        root: "staging-root.json",
        subject: "a@tny.town",
        issuer: LOGIN,
        digest: "802dd60ff88333802f2585e73043bd21c341285e1992fe5b31755e1cadeae30e",
    },
    Sample {
        file: "file-v0.2.json",
        root: "public-root.json",
        subject: "https://github.com/trailofbits/rfc8785.py/.github/workflows/release.yml@refs/tags/v0.1.2",
        issuer: GITHUB,
        digest: "c4e92e9ecc828bef2aa7dba1de8ac983511f7532a0df11c770d39099a25cf201",
    },
    Sample {
        file: "file-v0.3.json",
        root: "staging-root.json",
        subject: "william@yossarian.net",
        issuer: LOGIN,
        digest: "5e6ae9de58c1177bea615b4fcbfb2fd688e8c4b51c2e56b6a38e817833ec24a2",
    },
    Sample {
        file: "npm-v0.1.json",
        root: "public-root.json",
        subject: "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main",
        issuer: GITHUB,
        digest: "90f223f992e4c88dd068cd2a5fc57f9d2b30798343dd6e38f29c240e04ba090e\
                 f831f84490847c4e82b9232c78e8a258463b1e55c0f7469f730265008fa6633f",
    },
    Sample {
        file: "custom-issuer.json",
        root: "public-root.json",
        subject: "https://github.com/too-legit/attest/.github/workflows/integration.yml@refs/heads/main",
        issuer: "https://token.actions.githubusercontent.com/hammer-time",
        digest: "afa27b44d43b02a9fea41d13cedc2e4016cfcf87c5dbf990e593669aa8ce286d",
    },
    Sample {
        file: "rekor-v2-file.json",
        root: "staging-root.json",
        subject: "jku@goto.fi",
        issuer: LOGIN,
        digest: "15f67246115921bb7c1de0e7e9e9275c8016dc254a0c009888944b7ed3644aaa",
    },
    Sample {
        file: "rekor-v2-statement.json",
        root: "staging-root.json",
        subject: "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/\
                  extremely-dangerous-oidc-beacon.yml@refs/heads/main",
        issuer: GITHUB,
        digest: "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf",
    },
    Sample {
        file: "two-times.json",
        root: "public-root.json",
        subject: "w.vollprecht@gmail.com",
        issuer: LOGIN,
        digest: "e194b99df6639501325c5f44da79fe3a8efae6f239bd79443a19787e06fb1764",
    },
];

const BAD: [Sample; 2] = [
    Sample {
        file: "cve-2022-36056.json",
        root: "staging-root.json",
        subject: "william@yossarian.net",
        issuer: LOGIN,
        digest: "c87b5b213ab08b32970c106d0c7e4423e67f5449c2fd2d1e9b4ea6cc43b6ee7c",
    },
    Sample {
        file: "no-log-entry.json",
        root: "staging-root.json",
        subject: "alex.cameron@trailofbits.com",
        issuer: "https://accounts.google.com",
        digest: "9b469fc9761e8b933073b62725fbc98b549c3314199ded71cc8b286ef2c6fb9b",
    },
];

fn fixture(name: &str) -> PathBuf {
    project("attest/tests/fixtures").join(name)
}

impl Sample {
    fn algorithm(&self) -> Algorithm {
        if self.digest.len() == 64 { Algorithm::Sha256 } else { Algorithm::Sha512 }
    }

    fn predicate_type(&self) -> Option<String> {
        predicate_type(&std::fs::read(fixture(self.file)).unwrap())
    }

    fn ours(&self) -> Verdict {
        let signer = ExpectedSigner::Identity { subject: self.subject.into(), issuer: self.issuer.into() };
        let trusted_root = Some(std::fs::read(fixture(self.root)).unwrap());
        let check = BundleCheck { signer, attestation: self.predicate_type(), trusted_root };
        let hashes = Hashes::new([(self.algorithm(), hex::decode(self.digest).unwrap())]).unwrap();
        let bundle = std::fs::read(fixture(self.file)).unwrap();
        check.judge(&bundle, hashes, Utc::now()).map_err(|error| error.to_string())
    }

    fn cosign(&self, cosign: &PathBuf) -> Verdict {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(cosign);
        match self.predicate_type() {
            Some(kind) => {
                command.args(["verify-blob-attestation", "--type", &kind]);
                command.args(["--digest", self.digest, "--digestAlg", self.algorithm().name()]);
            }
            None => drop(command.args(["verify-blob", &format!("sha256:{}", self.digest)])),
        }
        command.args(["--certificate-identity", self.subject, "--certificate-oidc-issuer", self.issuer]);
        command.arg("--trusted-root").arg(fixture(self.root)).arg("--bundle").arg(fixture(self.file));
        verdict(command.env("HOME", home.path()))
    }

    fn sigstore_go(&self, program: &PathBuf) -> Verdict {
        let mut command = Command::new(program);
        command.arg("-trustedrootJSONpath").arg(fixture(self.root));
        command.args(["-artifact-digest", self.digest, "-artifact-digest-algorithm", self.algorithm().name()]);
        command.args(["-expectedSAN", self.subject, "-expectedIssuer", self.issuer]).arg(fixture(self.file));
        verdict(&mut command)
    }

    /// Returns `None` if the digest is a SHA-512 digest, because sigstore-python needs a SHA-256 digest.
    fn sigstore_python(&self) -> Option<Verdict> {
        let root = fixture(self.root);
        (self.digest.len() == 64)
            .then(|| python_verifies(&fixture(self.file), &root, self.subject, self.issuer, self.digest))
    }

    /// Returns `None` for bundles that @sigstore/verify cannot verify. To verify a signature over a file,
    /// @sigstore/verify needs the file itself. The version of @sigstore/verify for Node.js 20 does not know that
    /// Rekor v2 logs statements as `hashedrekord`.
    fn sigstore_js(&self) -> Option<Verdict> {
        let is_supported = self.predicate_type().is_some() && !self.file.starts_with("rekor-v2");
        is_supported.then(|| js_verifies_identity(&fixture(self.file), &fixture(self.root), self.subject, self.issuer))
    }

    /// Returns the names of the verifiers and their verdicts, starting with `lastmile-attest`.
    fn verdicts(&self) -> Vec<(&'static str, Verdict)> {
        let mut verdicts = vec![("lastmile", self.ours())];
        verdicts.extend(debian("cosign").map(|program| ("cosign", self.cosign(&program))));
        let go = debian("sigstore-go-verification");
        verdicts.extend(go.map(|program| ("sigstore-go", self.sigstore_go(&program))));
        verdicts.extend(self.sigstore_python().map(|verdict| ("sigstore-python", verdict)));
        verdicts.extend(self.sigstore_js().map(|verdict| ("sigstore-js", verdict)));
        verdicts
    }
}

fn verdict(command: &mut Command) -> Verdict {
    for variable in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        command.env(variable, "http://127.0.0.1:1");
    }
    let output = command.output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

#[test]
fn every_verifier_accepts_good_bundles() {
    for sample in GOOD {
        for (verifier, verdict) in sample.verdicts() {
            assert_eq!(verdict, Ok(()), "{}: {verifier}", sample.file);
        }
    }
}

#[test]
fn every_verifier_refuses_bad_bundles_and_wrong_expectations() {
    let mut refused = BAD.to_vec();
    // Starting sigstore-python takes a second, so each good bundle is tested either with a wrong subject or with a
    // wrong issuer, but not with both.
    refused.extend(GOOD.iter().step_by(2).map(|sample| Sample { subject: "mallory@example.com", ..*sample }));
    refused.extend(GOOD.iter().skip(1).step_by(2).map(|sample| Sample { issuer: "https://example.com", ..*sample }));
    for sample in refused {
        for (verifier, verdict) in sample.verdicts() {
            assert!(verdict.is_err(), "{} {} {}: {verifier}", sample.file, sample.subject, sample.issuer);
        }
    }
}

#[test]
fn every_verifier_refuses_another_file_and_another_instance() {
    for sample in GOOD.iter().step_by(2) {
        let zeros = if sample.digest.len() == 64 { ZEROS_256 } else { ZEROS_512 };
        for (verifier, verdict) in (Sample { digest: zeros, ..*sample }).verdicts() {
            // @sigstore/verify does not compare the subject of the statement; the caller must do this.
            assert!(verdict.is_err() || verifier == "sigstore-js", "{} of another file: {verifier}", sample.file);
        }
    }
    for sample in GOOD.iter().skip(1).step_by(2) {
        let root = if sample.root == "public-root.json" { "staging-root.json" } else { "public-root.json" };
        for (verifier, verdict) in (Sample { root, ..*sample }).verdicts() {
            assert!(verdict.is_err(), "{} with {root}: {verifier}", sample.file);
        }
    }
}

const ZEROS_256: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const ZEROS_512: &str = "0000000000000000000000000000000000000000000000000000000000000000\
                         0000000000000000000000000000000000000000000000000000000000000000";

#[test]
fn pypi_attestations_accepts_what_we_accept() {
    let gitlab = Sample {
        file: "pypi-attestation.json",
        root: "public-root.json",
        subject: "https://gitlab.com/facutuesca/gitlab-oidc-project//.gitlab-ci.yml@refs/heads/main",
        issuer: "https://gitlab.com",
        digest: "c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8",
    };
    let github = Sample {
        file: "pypi-provenance.json",
        root: "public-root.json",
        subject: "https://github.com/trailofbits/pypi-attestations/.github/workflows/release.yml@refs/tags/v0.0.19",
        issuer: GITHUB,
        digest: "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
    };
    let names = ["gitlab_oidc_project-0.0.3.tar.gz", "pypi_attestations-0.0.19.tar.gz"];
    for (sample, name) in [gitlab, github].into_iter().zip(names) {
        let verdicts = |sample: Sample| {
            let theirs = pypi_verifies(&fixture(sample.file), name, sample.subject, sample.issuer, sample.digest);
            (sample.ours().is_ok(), theirs.is_ok())
        };
        assert_eq!(verdicts(sample), (true, true), "{name}: {:?}", sample.ours());
        assert_eq!(verdicts(Sample { subject: "mallory@example.com", ..sample }), (false, false), "{name}");
        assert_eq!(verdicts(Sample { issuer: "https://example.com", ..sample }), (false, false), "{name}");
        assert_eq!(verdicts(Sample { digest: ZEROS_256, ..sample }), (false, false), "{name}");
    }
}
