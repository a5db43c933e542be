//! The part of the demo about policies, which shows packages with and without the required evidence.

use lastmile_cli_support::ExitStatus;

use super::runner::Runner;
use crate::Error;
use crate::files::access;

const BUILDER: &str = "https://builder.example/release";
const SOURCE: &str = "git+https://source.example/tools";
/// The policy without its signer table, which the demo adds.
const RULE: &str = r#"
[builder.release]
id    = ["https://builder.example/release"]
by    = ["builder"]
level = 3

[[require]]
name    = "built-from-our-source"
kind    = "provenance"
paths   = ["tools/*"]
builder = ["release"]
level   = 3
source  = ["git+https://source.example/tools"]
ref     = ["refs/tags/v*"]
"#;

pub(super) fn evidence(runner: &mut Runner) -> Result<(), Error> {
    publish(runner)?;
    refuse(runner)
}

fn publish(runner: &mut Runner) -> Result<(), Error> {
    runner.start_part("Evidence: the maintainer requires that a known builder has built each tool from a known source");
    for key in ["builder", "stranger"] {
        runner.maintainer(&["-C", "packages", "key", "generate", key, "--folder", "builders"])?;
    }
    access::create_private_folder(&runner.path("tools"))?;
    for tool in ["good", "bare", "foreign", "swapped"] {
        access::write_new(&runner.path(&format!("tools/{tool}")), format!("the tool {tool}\n").as_bytes(), 0o644)?;
    }
    attest(runner, "tools/good", "builders/builder.pem")?;
    attest(runner, "tools/foreign", "builders/stranger.pem")?;
    let add = ["-C", "packages", "add", "--under", "tools"];
    let evidence = |of: &'static str, file: &'static str| [&add[..], &[of, "--evidence", file]].concat();
    runner.maintainer(&evidence("tools/good", "tools/good.intoto.jsonl"))?;
    runner.maintainer(&evidence("tools/foreign", "tools/foreign.intoto.jsonl"))?;
    runner.maintainer(&evidence("tools/swapped", "tools/good.intoto.jsonl"))?;
    runner.maintainer(&[&add[..], &["tools/bare"]].concat())?;
    let signer = runner.output_of(&["-C", "packages", "key", "show", "builders/builder.pub", "--signer", "builder"])?;
    access::write_new(&runner.path("policy.toml"), format!("version = 1\n\n{signer}{RULE}").as_bytes(), 0o644)?;
    runner.say(
        "  policy.toml names the builder's key, the builder and the source. Three of the tools do not satisfy it:",
    );
    runner.maintainer(&["-C", "packages", "policy", "set", "policy.toml", "--even-so"])?;
    runner.say("From now on, the maintainer's own tool refuses to publish a tool without evidence:");
    access::write_new(&runner.path("tools/late"), b"the tool late\n", 0o644)?;
    runner.refused_maintainer(&[&add[..], &["tools/late"]].concat())
}

fn attest(runner: &mut Runner, tool: &str, key: &str) -> Result<(), Error> {
    let build = ["--builder", BUILDER, "--source", SOURCE, "--ref", "refs/tags/v1.0"];
    runner.maintainer(&[&["attest", tool, "--key", key, "--kind", "provenance"], &build[..]].concat())
}

fn refuse(runner: &mut Runner) -> Result<(), Error> {
    runner.start_part("The client installs the tool with provenance, and none of the other tools");
    runner.serve(&runner.path("packages"))?;
    let get = ["get", "--output", "downloads"];
    runner.client(&[&get[..], &["tools/good"]].concat(), ExitStatus::Done, "")?;
    for (tool, reason) in [
        ("tools/bare", "found no evidence"),
        ("tools/foreign", "not valid for this key"),
        ("tools/swapped", "no subject has the"),
    ] {
        runner.client(&[&get[..], &[tool]].concat(), ExitStatus::Refused, reason)?;
        let nothing = !runner.path("downloads").join(tool).exists();
        runner.check(nothing, &format!("{tool} is not in the download folder"));
    }
    runner.client(&["verify", "--explain", "tools/good"], ExitStatus::Done, "built-from-our-source")
}
