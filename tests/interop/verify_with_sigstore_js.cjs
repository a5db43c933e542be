// Verifies a Sigstore bundle with @sigstore/verify from npm.
//
// usage: verify_with_sigstore_js.cjs key BUNDLE ARTIFACT PUBLIC_KEY
//        verify_with_sigstore_js.cjs identity BUNDLE TRUSTED_ROOT IDENTITY ISSUER
//
// Prints "ok" or the error. With `key`, a bundle needs neither a log entry nor a timestamp. With `identity`, the
// program does not compare the subject of a statement with a file.

const crypto = require("crypto");
const fs = require("fs");

const modules = process.env.NODE_MODULES;
const { bundleFromJSON } = require(`${modules}/@sigstore/bundle`);
const { TrustedRoot } = require(`${modules}/@sigstore/protobuf-specs`);
const { Verifier, toSignedEntity, toTrustMaterial } = require(`${modules}/@sigstore/verify`);

const [kind, file, second, third, fourth] = process.argv.slice(2);
const json = (path) => JSON.parse(fs.readFileSync(path));

function verifyKey() {
  const key = crypto.createPublicKey(fs.readFileSync(third));
  const empty = { mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1" };
  const trust = toTrustMaterial(TrustedRoot.fromJSON(empty), () => ({ publicKey: key, validFor: () => true }));
  const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 });
  verifier.verify(toSignedEntity(bundleFromJSON(json(file)), fs.readFileSync(second)));
}

function verifyIdentity() {
  const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(json(second))));
  const policy = { subjectAlternativeName: third, extensions: { issuer: fourth } };
  verifier.verify(toSignedEntity(bundleFromJSON(json(file))), policy);
}

try {
  ({ key: verifyKey, identity: verifyIdentity })[kind]();
  console.log("ok");
} catch (error) {
  console.log(`${error.code}: ${error.message}`);
}
