//! `policy test`: check the published packages against the policies.

use clap::Args;
use lastmile_attest::Refused;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use lastmile_metadata::TargetPath;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::counts::counted;
use crate::cli::outcome::refused_json;
use crate::policy::contents::TargetContents;
use crate::policy::published::Judgements;
use crate::{Error, Repository};

/// `policy test`
#[derive(Debug, Args)]
#[command(after_help = "\
If a change is pending, the command also checks the packages as clients will find them once the
change is published.

Exit code 7: clients refuse a package, or would refuse it once the pending change is published.

Examples:
  lastmile-repo policy test
  lastmile-repo policy test app-1.2.tar.gz app-1.3.tar.gz")]
pub(crate) struct Test {
    /// Target paths of the packages [default: all]
    paths: Vec<String>,
}

pub(super) fn test(context: &Context<'_>, args: &Test, output: &Output) -> Result<ExitStatus, Error> {
    let path = |path: &String| TargetPath::new(path.as_str()).map_err(|error| Error::Usage(error.to_string()));
    let paths = args.paths.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
    let draft = repository.staged()?;
    let contents = TargetContents::new(&repository.layout, repository.target_names(), &draft.files);
    let Judgements { judged, published, pending } = repository.judge_packages(&draft, &paths, &contents)?;
    let list = |refused: &[Refused]| refused.iter().map(refused_json).collect::<Vec<_>>();
    let document = json!({
        "judged": judged, "refused": list(&published),
        "refused_by_pending_change": pending.as_deref().map(list),
    });
    let mut lines = Vec::new();
    for refused in &published {
        lines.push(printable(&format!("BAD `{}`: {}", refused.path, refused.reason())));
    }
    for refused in pending.iter().flatten() {
        lines.push(printable(&format!("BAD with the pending change: `{}`: {}", refused.path, refused.reason())));
    }
    let is_good = lines.is_empty();
    if is_good {
        let pending = if pending.is_some() { ", also with the pending change" } else { "" };
        lines.push(format!("ok  clients accept {}{pending}", counted(judged, "package")));
    }
    output.data(&document, lines)?;
    Ok(if is_good { ExitStatus::Done } else { ExitStatus::Findings })
}
