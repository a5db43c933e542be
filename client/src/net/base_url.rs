//! The base URLs of mirrors. Every base URL is checked when it is created, and its user name and password are hidden
//! when it is printed.

use std::fmt;

use lastmile_cli_support::text::{hide_credentials, hide_possible_credentials};

/// The URL of a folder of a repository. The URL of a file is the URL of its folder followed by the name of the file.
///
/// `Display` and `Debug` print `***` in place of the user name and password.
///
/// ```
/// use lastmile_client::BaseUrl;
///
/// let metadata = BaseUrl::new("HTTPS://alice:secret@example.org/metadata")?;
/// assert_eq!(metadata.to_string(), "https://***@example.org/metadata/");
/// assert_eq!(metadata.targets().to_string(), "https://***@example.org/targets/");
/// # Ok::<(), lastmile_client::BaseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Checks a URL, converts its scheme to lower case, and appends `/` if the URL does not end in `/`. The rest of the
    /// URL is used exactly as written (RFC 3986).
    ///
    /// A URL with a scheme other than `http`, `https` and `file` requires a transport that the application supplies.
    ///
    /// # Errors
    ///
    /// [`BaseUrlError`], which names the first rule that the URL breaks.
    pub fn new(text: &str) -> Result<BaseUrl, BaseUrlError> {
        let refused = |problem| BaseUrlError { url: hide_possible_credentials(text), problem };
        checked(text).map(BaseUrl).map_err(refused)
    }

    /// Returns the scheme in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Returns whether [`FetchByScheme`](crate::FetchByScheme) has a transport for this URL.
    #[must_use]
    pub fn is_supported(&self) -> bool {
        let scheme = self.scheme();
        scheme == "file" || (cfg!(feature = "http") && matches!(scheme, "http" | "https"))
    }

    /// Returns the complete URL including its user name and password. Do not print this text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the URL of the folder `name` in this folder. The name must be percent-encoded.
    #[must_use]
    pub fn folder(&self, name: &str) -> BaseUrl {
        BaseUrl(format!("{}{}/", self.0, name.trim_matches('/')))
    }

    /// Returns the default targets URL for this metadata URL. If this URL ends in `/metadata/`, that ending is replaced
    /// by `/targets/`; otherwise `targets/` is appended.
    #[must_use]
    pub fn targets(&self) -> BaseUrl {
        match self.0.strip_suffix("metadata/") {
            Some(parent) if parent.ends_with('/') => BaseUrl(format!("{parent}targets/")),
            _ => self.folder("targets"),
        }
    }

    /// Returns the URL of the file `name`, which must be percent-encoded and is appended unchanged.
    ///
    /// This method does not use `Url::join`, because a name that looks like a URL would then change the host. Several
    /// TUF implementations had this vulnerability.
    #[must_use]
    pub fn file(&self, name: &str) -> FileUrl {
        FileUrl(format!("{}{name}", self.0))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hide_credentials(&self.0))
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({self})")
    }
}

/// The URL of one file. `Display` and `Debug` hide the user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct FileUrl(String);

impl FileUrl {
    /// Returns the complete URL including its user name and password, for [`Fetch`](crate::Fetch). Do not print this
    /// text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_below(&self, base: &BaseUrl) -> bool {
        self.0.starts_with(base.as_str())
    }
}

impl fmt::Display for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hide_credentials(&self.0))
    }
}

impl fmt::Debug for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileUrl({self})")
    }
}

/// The error for a string that is not a valid base URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` cannot be a base URL: {problem}")]
pub struct BaseUrlError {
    /// The text that was checked, without any part that may be a user name or a password.
    url: String,
    /// The rule that the text breaks.
    pub problem: BaseUrlProblem,
}

/// A rule that a base URL can break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BaseUrlProblem {
    /// The text does not begin with a scheme and `://`.
    #[error("it does not begin with `http://`, `https://` or `file://`")]
    NoScheme,
    /// An `http` or `https` URL has no host.
    #[error("it has no host")]
    NoHost,
    /// The port is not a number from 1 to 65535.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// A `file` URL has no absolute path, or names another machine.
    #[error("it does not have the form `file:///absolute/path/`")]
    NotAbsolute,
    /// The URL has a query or a fragment, so a file name cannot be appended to the URL.
    #[error("it contains `?` or `#`")]
    QueryOrFragment,
    /// The URL has characters that must be percent-encoded.
    #[error("it is not percent-encoded")]
    NotEncoded,
    /// The HTTP client would change the URL before sending it.
    #[error("{0}")]
    Changed(String),
}

/// Checks the URL, and returns it with a lower-case scheme and a final `/`.
fn checked(text: &str) -> Result<String, BaseUrlProblem> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let is_scheme = |scheme: &str| scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let (scheme, rest) = text.split_once("://").ok_or(BaseUrlProblem::NoScheme)?;
    if !is_scheme(scheme) || !scheme.bytes().all(is_part) {
        return Err(BaseUrlProblem::NoScheme);
    }
    if text.contains(['?', '#']) {
        return Err(BaseUrlProblem::QueryOrFragment);
    }
    // Some programs read `\` as `/`, so a URL with a backslash is ambiguous.
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(BaseUrlProblem::NotEncoded);
    }
    let scheme = scheme.to_ascii_lowercase();
    let slash = if rest.ends_with('/') { "" } else { "/" };
    let url = format!("{scheme}://{rest}{slash}");
    match scheme.as_str() {
        "http" | "https" => {
            check_authority(rest)?;
            #[cfg(feature = "http")]
            crate::net::http::exact_url(&url).map_err(BaseUrlProblem::Changed)?;
        }
        "file" if !rest.strip_prefix("localhost").unwrap_or(rest).starts_with('/') => {
            return Err(BaseUrlProblem::NotAbsolute);
        }
        _ => {}
    }
    Ok(url)
}

/// Checks the host and the port of `USER:PASSWORD@HOST:PORT/…`.
fn check_authority(rest: &str) -> Result<(), BaseUrlProblem> {
    let authority = rest.split(['/', '\\']).next().unwrap_or_default();
    let server = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match server.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address does not separate a port.
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (server, ""),
    };
    if host.is_empty() {
        return Err(BaseUrlProblem::NoHost);
    }
    let is_port = port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
    if is_port { Ok(()) } else { Err(BaseUrlProblem::Port) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> BaseUrlProblem {
        BaseUrl::new(text).expect_err(text).problem
    }

    #[test]
    fn names_never_change_the_host() {
        let file = |base: &str, name: &str| BaseUrl::new(base).unwrap().file(name).as_str().to_owned();
        assert_eq!(file("http://h/m", "x.json"), "http://h/m/x.json");
        assert_eq!(file("http://h/%7Em/", "//evil/x"), "http://h/%7Em///evil/x");
        assert_eq!(file("http://h", "http://evil/x"), "http://h/http://evil/x");
    }

    #[test]
    fn each_rule_has_its_own_error() {
        for (text, expected) in [
            ("", BaseUrlProblem::NoScheme),
            ("targets/", BaseUrlProblem::NoScheme),
            ("/a:b/", BaseUrlProblem::NoScheme),
            ("alice:secret@h/", BaseUrlProblem::NoScheme),
            ("http:h/", BaseUrlProblem::NoScheme),
            ("http://", BaseUrlProblem::NoHost),
            ("http:///x/", BaseUrlProblem::NoHost),
            ("https://u:p@:1/", BaseUrlProblem::NoHost),
            ("http://h:65536/", BaseUrlProblem::Port),
            ("http://h:-1/", BaseUrlProblem::Port),
            ("http://[::1]:x/", BaseUrlProblem::Port),
            ("http://h/?", BaseUrlProblem::QueryOrFragment),
            ("file:///a#b", BaseUrlProblem::QueryOrFragment),
            ("file:///a b", BaseUrlProblem::NotEncoded),
            ("http://h/ä/", BaseUrlProblem::NotEncoded),
            ("http://h\\a/", BaseUrlProblem::NotEncoded),
            ("ssh://alice:se\\cret@h/", BaseUrlProblem::NotEncoded),
            ("file://h/a", BaseUrlProblem::NotAbsolute),
            ("file:a", BaseUrlProblem::NoScheme),
            ("file://a", BaseUrlProblem::NotAbsolute),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
        #[cfg(feature = "http")]
        for text in ["http://h/./a/", "http://h/a/%2e%2E/b/", "http://1.2.3.4.5/", "http://h|/"] {
            assert!(matches!(problem(text), BaseUrlProblem::Changed(_)), "{text}");
        }
    }

    #[test]
    fn schemes_are_lower_cased_and_unknown_schemes_need_a_custom_transport() {
        for (text, expected) in [
            ("HTTPS://h", "https://h/"),
            ("http://[::1]:80/", "http://[::1]:80/"),
            ("http://h:/", "http://h:/"),
            ("File://localhost/a/../b", "file://localhost/a/../b/"),
            ("repository://metadata", "repository://metadata/"),
        ] {
            assert_eq!(BaseUrl::new(text).unwrap().as_str(), expected);
        }
        assert!(!BaseUrl::new("ftp://h/").unwrap().is_supported());
        assert!(BaseUrl::new("FILE:///").unwrap().is_supported());
    }

    #[test]
    fn printed_urls_hide_the_user_name_and_the_password() {
        let base = BaseUrl::new("http://alice:secret@h:1/m").unwrap();
        assert!(base.as_str().contains("alice:secret@"));
        let all = [base.to_string(), format!("{base:?}"), base.file("@x").to_string(), format!("{:?}", base.file("x"))];
        assert_eq!(
            all,
            ["http://***@h:1/m/", "BaseUrl(http://***@h:1/m/)", "http://***@h:1/m/@x", "FileUrl(http://***@h:1/m/x)"]
        );
        for text in [
            "http://alice:sec/ret@h/",
            "alice:secret@h",
            "https:alice:secret@h",
            "http://alice:sec ret@h/",
            "http://alice:secret@h/?x",
            "ssh://alice:sec\\ret@h/",
        ] {
            let shown = BaseUrl::new(text).unwrap_err().to_string();
            assert!(!shown.contains("alice") && !shown.contains("ret"), "{shown}");
        }
    }
}
