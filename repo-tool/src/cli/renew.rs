//! `renew`: sign again the roles that are due.

use lastmile_metadata::RoleName;

use super::args::Renew;
use super::outcome::conclude;
use super::{Context, ExitStatus, Output};
use crate::Error;
use crate::draft::Draft;

pub(super) fn renew(context: &Context<'_>, args: &Renew, output: &Output) -> Result<ExitStatus, Error> {
    let mut repository = context.open(output)?;
    let mut further = Vec::new();
    for name in &args.roles {
        further.extend(repository.published.named(name)?);
    }
    let (now, config) = (repository.now(), repository.config.clone());
    // The pending change is not part of this draft and stays pending.
    let mut edit = repository.edit(Draft::default());
    for role in RoleName::ONLINE.iter().chain(&further) {
        let expires = edit.expires(role)?;
        if args.force || config.role(role).is_due(expires, now) {
            edit.sign_again(role)?;
        }
    }
    let draft = edit.finish()?;
    conclude(context, &mut repository, draft, output)
}
