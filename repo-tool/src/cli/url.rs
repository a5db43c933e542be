//! URLs on the command line.

use lastmile_client::BaseUrl;

use crate::Error;

/// Parses a base URL from the command line, and checks that its scheme is supported.
pub(super) fn base_url(text: &str) -> Result<BaseUrl, Error> {
    let url = BaseUrl::new(text).map_err(|error| Error::Usage(error.to_string()))?;
    if url.is_supported() {
        Ok(url)
    } else {
        Err(Error::Usage(format!("`{url}` is not a URL with the scheme http, https or file")))
    }
}
