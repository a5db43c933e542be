//! `lastmile list`: lists the targets of the repository.

use lastmile_metadata::PathPattern;
use serde_json::json;

use super::args::MetadataSource;
use super::targets::described;
use super::{App, ExitStatus, Failure};

impl App<'_> {
    pub(super) async fn list(&self, pattern: Option<String>, source: &MetadataSource) -> Result<ExitStatus, Failure> {
        let pattern = pattern.map(PathPattern::new);
        let mut targets = self.session(source).await?.list().await?;
        if let Some(pattern) = &pattern {
            targets.retain(|target| pattern.matches(&target.path));
        }
        let lines: Vec<_> = targets.iter().map(|target| target.path.as_str().to_owned()).collect();
        let documents: Vec<_> = targets.iter().map(described).collect();
        self.output.data(&json!({ "targets": documents }), &lines)?;
        Ok(ExitStatus::Done)
    }
}
