//! The evidence files of a package, which the caller passes to `Demands::judge`.

use lastmile_metadata::TargetPath;

use crate::evidence::{Evidence, EvidenceError, Item};

/// An evidence file of a package.
#[derive(Clone, Debug)]
pub struct EvidenceFile {
    /// The path of the target.
    pub path: TargetPath,
    /// The content of the file.
    pub content: EvidenceContent,
}

/// The content of an evidence file, or the reason why the file was not read. A file that was not read satisfies no
/// rule.
#[derive(Clone, Debug)]
pub enum EvidenceContent {
    /// The content, whose length and hashes the caller has verified.
    Read(Vec<u8>),
    /// The package names the file as evidence, but no trusted role lists it.
    Unlisted,
    /// The length in the metadata exceeds [`crate::MAX_EVIDENCE_LENGTH`], so the caller did not fetch the file.
    TooLong(u64),
}

impl EvidenceFile {
    pub(crate) fn items(&self) -> Result<Vec<Item>, String> {
        let content = match &self.content {
            EvidenceContent::Read(content) => content,
            EvidenceContent::Unlisted => {
                return Err("the package names this evidence, but no trusted role lists it".into());
            }
            EvidenceContent::TooLong(length) => return Err(EvidenceError::TooLong(*length).to_string()),
        };
        let evidence = Evidence::parse(content).map_err(|error| error.to_string())?;
        Ok(evidence.items().to_vec())
    }
}
