//! `policy explain`: show which evidence the policies require for a package.

use clap::Args;
use lastmile_cli_support::{ExitStatus, Output};
use lastmile_client::text::printable;
use lastmile_metadata::TargetPath;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::outcome::refused_json;
use crate::policy::contents::TargetContents;
use crate::policy::judge::Judged;
use crate::policy::report;
use crate::{Error, NotFound, Repository};

/// `policy explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 7: clients refuse the package.

Example: lastmile-repo policy explain app-1.2.tar.gz")]
pub(crate) struct Explain {
    /// Target path of the package.
    path: String,
}

pub(super) fn explain(context: &Context<'_>, args: &Explain, output: &Output) -> Result<ExitStatus, Error> {
    let path = TargetPath::new(args.path.as_str()).map_err(|error| Error::Usage(error.to_string()))?;
    let repository = Repository::open(&context.global.repository, &context.invocation)?;
    let contents = TargetContents::new(&repository.layout, repository.target_names(), &[]);
    let judged = repository.judge_published(&contents)?.judge(&path)?;
    let is_accepted = judged.refusal().is_none();
    let shown = printable(path.as_str());
    let (rules, mut lines) = match &judged {
        Judged::NotFound => return Err(NotFound::Target { path }.into()),
        Judged::Free => (json!([]), vec![format!("no policy requires evidence for `{shown}`")]),
        Judged::Verdict(verdict) => (report::json(verdict), report::lines(verdict)),
        Judged::Unusable(_) => (json!([]), Vec::new()),
    };
    let mut document =
        json!({ "path": path.as_str(), "accepted": is_accepted, "rules": rules, "refusal": Value::Null });
    if let Some(refused) = judged.refusal() {
        lines.push(printable(&format!("clients refuse it: {}", refused.reason())));
        if let Some(refusal) = document.get_mut("refusal") {
            *refusal = refused_json(&refused);
        }
    }
    output.data(&document, lines)?;
    Ok(if is_accepted { ExitStatus::Done } else { ExitStatus::Findings })
}
