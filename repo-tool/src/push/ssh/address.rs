//! The URL of a destination that is reached over SSH: `ssh://[USER@]HOST[:PORT]/PATH`.

use std::fmt;

use lastmile_client::BaseUrl;
use lastmile_client::text::hide_possible_credentials;
use percent_encoding::percent_decode_str;

use crate::{Error, PathError, PushError};

/// The parts of the URL of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) user: Option<String>,
    /// The name or the address of the server, or a host alias in the user's SSH configuration.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// The folder, without a trailing slash. It is empty for the root folder. If it does not begin
    /// with a slash, it is relative to the home folder.
    folder: String,
}

impl Address {
    /// Parses the URL of a destination.
    ///
    /// # Errors
    /// [`PushError::Credentials`] if the URL contains a password, and [`PushError::SshUrl`] if a part is not valid.
    pub(crate) fn parse(url: &BaseUrl) -> Result<Self, Error> {
        // Hide everything before the last `@`: a password that contains a slash would otherwise count as a part of the
        // path, and the message would show it.
        let refused =
            |problem| Error::from(PushError::SshUrl { url: hide_possible_credentials(url.as_str()), problem });
        let rest = url.as_str().strip_prefix("ssh://").unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // `ssh://alice:22/word@h` can be a port and a path, or a user and a password that contains a slash.
        if authority.contains(':') && path.contains('@') {
            return Err(refused("the path contains `@`, which must be written as %40; passwords are not allowed"));
        }
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(PushError::Credentials { url: hide_possible_credentials(url.as_str()) }.into());
        }
        let user = user.map(|user| percent_decode_str(user).decode_utf8_lossy().into_owned());
        // The program `ssh` would parse a name with a leading dash as an option. It also passes the
        // user name and the host name to commands in its configuration.
        let is_name = |name: &str, more: &str| {
            let is_valid = |each: char| each.is_ascii_alphanumeric() || "._-".contains(each) || more.contains(each);
            !name.is_empty() && !name.starts_with('-') && name.chars().all(is_valid)
        };
        if user.as_ref().is_some_and(|user| !is_name(user, "+@")) {
            return Err(refused("the user name is not valid"));
        }
        let (host, port) = match server.rsplit_once(':') {
            // A colon inside the brackets of an IPv6 address does not separate a port.
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (server, None),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if !is_name(host, ":%") {
            return Err(refused("the host name is not valid"));
        }
        let port = port.map(str::parse).transpose().ok().filter(|port| *port != Some(0));
        let port = port.ok_or_else(|| refused("the port is not a number from 1 to 65535"))?;
        let path = percent_decode_str(path).decode_utf8().map_err(|_| refused("the path is not UTF-8"))?;
        let path = path.trim_end_matches('/');
        let folder = match path.strip_prefix('~') {
            None if path.is_empty() => String::new(),
            None => format!("/{path}"),
            Some("") => ".".to_string(),
            Some(path) => match path.strip_prefix('/') {
                Some(path) => path.to_string(),
                None => return Err(refused("only `/~/` is supported, for the home folder of the user who logs in")),
            },
        };
        if !folder.is_empty() && folder != "." && !is_plain(folder.strip_prefix('/').unwrap_or(&folder)) {
            return Err(refused("the path contains `..`, `.`, a NUL character, or an empty part"));
        }
        Ok(Self { user, host: host.to_string(), port, folder })
    }

    pub(super) fn root(&self) -> &str {
        if self.folder.is_empty() { "/" } else { &self.folder }
    }

    /// Returns the path of an object on the server.
    ///
    /// # Errors
    /// [`PathError::ForeignName`] if the object would not be below the folder.
    pub(super) fn path(&self, name: &str) -> Result<String, Error> {
        if is_plain(name) {
            return Ok(format!("{}/{name}", self.folder));
        }
        Err(PathError::ForeignName { path: name.into() }.into())
    }
}

/// Returns whether each part of a path can be the name of a file or folder.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
}

/// Formats the address as `[USER@]HOST[:PORT]`, without the folder.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, Error> {
        Address::parse(&BaseUrl::new(text).unwrap())
    }

    #[test]
    fn the_parts_of_a_url_are_found() {
        for (text, user, host, port, folder) in [
            ("ssh://h/srv/www", None, "h", None, "/srv/www"),
            ("SSH://push@h:22/a%20b/", Some("push"), "h", Some(22), "/a b"),
            ("ssh://a%40b.org@[::1]:2222/", Some("a@b.org"), "::1", Some(2222), ""),
            ("ssh://[fe80::1%eth0]/~/", None, "fe80::1%eth0", None, "."),
            ("ssh://h/~/site/it", None, "h", None, "site/it"),
            ("ssh://h:22/a%40b", None, "h", Some(22), "/a@b"),
            ("ssh://h/a@b", None, "h", None, "/a@b"),
        ] {
            let expected =
                Address { user: user.map(String::from), host: host.to_string(), port, folder: folder.to_string() };
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parse("ssh://push@h:22/a").unwrap().to_string(), "push@h:22");
    }

    #[test]
    fn parts_that_ssh_could_misunderstand_are_refused() {
        for text in [
            "ssh://-oProxyCommand=x/a",
            "ssh://-h@h/a",
            "ssh:///a",
            "ssh://@h/a",
            "ssh://h;x/a",
            "ssh://a%24(x)@h/a",
            "ssh://h:0/a",
            "ssh://h:x/a",
            "ssh://h/a/../b",
            "ssh://h/a/%2e%2E/b",
            "ssh://h/a//b",
            "ssh://h/~bob/a",
            "ssh://h/%ff",
            "ssh://h/a%00b",
        ] {
            assert!(matches!(parse(text), Err(Error::Push(PushError::SshUrl { .. }))), "{text}");
        }
        for text in [
            "ssh://alice:se/cret@h/a",
            "ssh://alice:/cret@h/a",
            "ssh://al;ice:se/cret@h/a",
            "ssh://alice:22/cret@h/a",
            "ssh://alice@x:22/cret@h/a",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("`ssh://***@h/a/`") && !error.contains("cret"), "{error}");
        }
        let error = parse("ssh://alice:secret@h/a").unwrap_err();
        assert!(matches!(error, Error::Push(PushError::Credentials { .. })) && !error.to_string().contains("secret"));
    }

    #[test]
    fn objects_are_below_the_folder() {
        let path = |url: &str, name: &str| parse(url).unwrap().path(name).ok();
        assert_eq!(path("ssh://h/a", "metadata/x"), Some("/a/metadata/x".to_string()));
        assert_eq!(path("ssh://h/", "x"), Some("/x".to_string()));
        assert_eq!(path("ssh://h/~/", "x"), Some("./x".to_string()));
        for name in ["", "/x", "../x", "a/../x", "a//b", "./x", "a/", "a\0b"] {
            assert_eq!(path("ssh://h/a", name), None, "{name}");
        }
    }
}
