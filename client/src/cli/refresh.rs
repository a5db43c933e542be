//! `lastmile refresh`: fetches and verifies the metadata of the top-level roles.

use lastmile_metadata::{TrustedMetadata, format_time};
use serde_json::{Value, json};

use super::roles::{TrustedRole, roles};
use super::{App, ExitStatus, Failure};

impl App<'_> {
    pub(super) async fn refresh(&self) -> Result<ExitStatus, Failure> {
        let repository = self.repository()?;
        let session = self.updater(&repository)?.refresh_at(self.now).await?;
        let (lines, documents) = refreshed(session.trusted());
        let document = json!({ "repository": repository.name.as_str(), "roles": documents });
        self.output.report(&document, &lines)?;
        Ok(ExitStatus::Done)
    }
}

fn refreshed(trusted: &TrustedMetadata) -> (Vec<String>, Vec<Value>) {
    let rows = roles(trusted);
    let line =
        |role: &TrustedRole| format!("{} version {}, expires {}", role.name, role.version, format_time(&role.expires));
    (rows.iter().map(line).collect(), rows.iter().map(TrustedRole::document).collect())
}
