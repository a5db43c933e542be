//! `key show --signer`: prints a key as the definition of a signer in a policy.

use std::path::Path;

use lastmile_attest::policy::Name;
use lastmile_cli_support::{ExitStatus, Output};
use serde_json::json;

use super::context::Context;
use super::keys::resolve_public;
use crate::files::links::Links;
use crate::key_store::read_public_key;
use crate::{Error, Repository};

pub(super) fn show(context: &Context<'_>, name: &str, signer: &str, output: &Output) -> Result<ExitStatus, Error> {
    let signer = Name::new(signer).ok_or_else(|| {
        Error::Usage(format!("`{signer}` is not the name of a signer: use lower-case letters, digits and hyphens"))
    })?;
    // A public key file can be shown without a repository.
    let public = match read_public_key(Path::new(name), Links::Follow) {
        Ok(public) => public,
        Err(_) => {
            let mut repository = Repository::open(&context.global.repository, &context.invocation)?;
            resolve_public(&mut repository, name)?
        }
    };
    let json = json!({ "signer": { signer.as_str(): { "key": {
        "keytype": public.keytype(), "scheme": public.scheme(), "keyval": { "public": public.public() },
    } } } });
    // A JSON string is also a valid TOML string.
    let text = |text: &str| json!(text).to_string();
    let key = format!(
        "key = {{ keytype = {}, scheme = {}, keyval = {{ public = {} }} }}",
        text(public.keytype()),
        text(public.scheme()),
        text(&public.public())
    );
    output.data_text(&json, &format!("[signer.{signer}]\n{key}"))?;
    Ok(ExitStatus::Done)
}
