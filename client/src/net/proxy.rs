//! Chooses the proxy for a request: the proxy that the user configured, or a proxy from the environment variables.
//! These variables have the same meaning as for curl.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use lastmile_cli_support::text::{hide_credentials, hide_possible_credentials};
use reqwest::{Proxy, Url};

use crate::error::Error;

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxy configuration of a transport.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum ProxyChoice {
    /// Use the proxies in the environment variables of this process; see [`ProxyVariables::read`].
    #[default]
    System,
    /// Use the proxies in the given variables.
    Variables(ProxyVariables),
    /// Use no proxy, whatever the environment variables say.
    Direct,
    /// Use the proxy at this URL for all requests.
    Url(String),
}

/// Hides the user name and password of a proxy URL.
impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyChoice::System => f.write_str("System"),
            ProxyChoice::Variables(variables) => write!(f, "Variables({variables:?})"),
            ProxyChoice::Direct => f.write_str("Direct"),
            ProxyChoice::Url(url) => write!(f, "Url({})", hide_possible_credentials(url)),
        }
    }
}

/// The proxies configured by environment variables such as `https_proxy`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProxyVariables {
    http: Option<ProxyUrl>,
    https: Option<ProxyUrl>,
    except: Exceptions,
}

impl ProxyVariables {
    /// Reads the variables through the function `variable`. `http_proxy` applies to `http` URLs, `https_proxy` to
    /// `https` URLs, and `all_proxy` to each scheme whose own variable is not set; `no_proxy` lists exceptions. The
    /// names may also be in upper case; if a variable is set in lower case and in upper case, the lower-case variable
    /// takes precedence. An empty variable counts as unset. `HTTP_PROXY` is ignored if `REQUEST_METHOD` is set, because
    /// in a CGI program the remote client controls the value of `HTTP_PROXY`.
    ///
    /// The scheme of a proxy URL can be `http`, `https`, `socks4`, `socks4a`, `socks5` or `socks5h`; the default is
    /// `http`. The entries of `no_proxy` are separated by commas or spaces. An entry is a domain (which includes its
    /// subdomains), an address, or a network such as `10.0.0.0/8`. Each of these can be followed by a colon and a port.
    /// If the whole value is `*`, it matches every server.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if a variable cannot be used. An unusable variable is not ignored, because requests would then
    /// bypass the proxy that the user chose.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<ProxyVariables, Error> {
        let is_cgi = variable("REQUEST_METHOD").is_some();
        let read = |name: &str| -> Result<Option<(String, String)>, Error> {
            let upper = name.to_ascii_uppercase();
            for name in [name, &upper] {
                let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
                if is_cgi && name == "HTTP_PROXY" {
                    continue;
                }
                let value = value.into_string().map_err(|_| unusable_variable(name, "it is not valid UTF-8"))?;
                return Ok(Some((name.to_owned(), value)));
            }
            Ok(None)
        };
        let proxy = |name: &str| match read(name)? {
            Some((name, value)) => {
                ProxyUrl::new(&value).map(Some).map_err(|problem| unusable_variable(&name, &problem))
            }
            None => Ok(None),
        };
        let all = proxy("all_proxy")?;
        let http = proxy("http_proxy")?.or_else(|| all.clone());
        let https = proxy("https_proxy")?.or(all);
        let except = read("no_proxy")?.map_or_else(Exceptions::default, |(_, value)| Exceptions::new(&value));
        Ok(ProxyVariables { http, https, except })
    }
}

fn unusable_variable(name: &str, problem: &str) -> Error {
    Error::Config(format!("the environment variable `{name}` cannot be used: {problem}"))
}

/// The URL of a proxy. `Display` and `Debug` hide the user name and password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ProxyUrl(Url);

impl ProxyUrl {
    fn new(text: &str) -> Result<ProxyUrl, String> {
        let refused =
            |problem: &str| format!("`{}` is not a valid proxy URL: {problem}", hide_possible_credentials(text));
        let complete = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&complete).map_err(|error| refused(&error.to_string()))?;
        if !SCHEMES.contains(&url.scheme()) {
            return Err(refused(&format!("its scheme is not one of {}", SCHEMES.join(", "))));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("it has no host"));
        }
        Ok(ProxyUrl(url))
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(hide_credentials(self.0.as_str()).trim_end_matches('/'))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Proxies(Arc<ProxyVariables>);

impl Proxies {
    pub(crate) fn new(choice: &ProxyChoice) -> Result<Proxies, Error> {
        let variables = match choice {
            ProxyChoice::System =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the application chose to use the environment of the process"
                )]
                ProxyVariables::read(|name| std::env::var_os(name))?
            }
            ProxyChoice::Variables(variables) => variables.clone(),
            ProxyChoice::Direct => ProxyVariables::default(),
            ProxyChoice::Url(url) => {
                let proxy = Some(ProxyUrl::new(url).map_err(Error::Config)?);
                ProxyVariables { http: proxy.clone(), https: proxy, except: Exceptions::default() }
            }
        };
        Ok(Proxies(Arc::new(variables)))
    }

    pub(crate) fn of(&self, url: &Url) -> Option<&ProxyUrl> {
        let proxy = if url.scheme() == "https" { &self.0.https } else { &self.0.http };
        proxy.as_ref().filter(|_| !self.0.except.include(url))
    }

    pub(crate) fn rule(&self) -> Proxy {
        let proxies = self.clone();
        Proxy::custom(move |url| proxies.of(url).map(|proxy| proxy.0.clone()))
    }
}

/// The servers to which requests are sent without a proxy (`no_proxy`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Exceptions {
    is_everything: bool,
    servers: Vec<Exception>,
}

/// One entry of `no_proxy`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    name: ServerName,
    /// The only port to which the entry applies, or `None` for all ports.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ServerName {
    /// A domain and its subdomains, in lower case.
    Domain(String),
    /// A network, given as an address and the number of leading bits that all addresses in the network share.
    Network(IpAddr, u8),
}

impl Exceptions {
    fn new(text: &str) -> Exceptions {
        let entries = text.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
        Exceptions { is_everything: text.trim() == "*", servers: entries.map(Exception::new).collect() }
    }

    fn include(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let port = url.port_or_known_default();
        let has_name = |server: &ServerName| match (server, address) {
            (ServerName::Domain(domain), None) => {
                host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
            }
            (ServerName::Network(network, bits), Some(address)) => has_first_bits(address, *network, *bits),
            _ => false,
        };
        let is_meant =
            |server: &Exception| has_name(&server.name) && server.port.is_none_or(|meant| Some(meant) == port);
        self.is_everything || self.servers.iter().any(is_meant)
    }
}

impl Exception {
    fn new(entry: &str) -> Exception {
        if let Some(name) = network(entry) {
            return Exception { name, port: None };
        }
        let with_port = entry.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
        let (name, port) = with_port.map_or((entry, None), |(name, port)| (name, Some(port)));
        let domain = || name.strip_prefix('.').unwrap_or(name).trim_end_matches('.').to_ascii_lowercase();
        Exception { name: network(name).unwrap_or_else(|| ServerName::Domain(domain())), port }
    }
}

/// Parses an IP address, which may be in brackets, or a network such as `10.0.0.0/8`.
fn network(text: &str) -> Option<ServerName> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let address: IpAddr = bare.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
    (bits <= most).then_some(ServerName::Network(address, bits))
}

fn has_first_bits(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= bits.into()
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = address.to_bits() ^ network.to_bits();
            differing.leading_zeros() >= bits.into()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Proxies, Error> {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        Proxies::new(&ProxyChoice::Variables(ProxyVariables::read(variable)?))
    }

    fn of(variables: &[(&str, &str)], url: &str) -> Option<String> {
        read(variables).unwrap().of(&url.parse().unwrap()).map(ToString::to_string)
    }

    #[test]
    fn each_scheme_has_its_variable_and_lower_case_takes_precedence() {
        let all = ("ALL_PROXY", "socks5h://all:1080");
        let http = ("http_proxy", "web:3128");
        let https = ("HTTPS_PROXY", "https://u:p@secure");
        assert_eq!(of(&[all, http, https], "http://h/").unwrap(), "http://web:3128");
        assert_eq!(of(&[all, http, https], "https://h/").unwrap(), "https://***@secure");
        assert_eq!(of(&[all, http], "https://h/").unwrap(), "socks5h://all:1080");
        assert_eq!(of(&[("HTTP_PROXY", "upper"), ("http_proxy", "lower")], "http://h/").unwrap(), "http://lower");
        assert_eq!(of(&[("http_proxy", ""), all], "http://h/").unwrap(), "socks5h://all:1080");
        assert_eq!(of(&[("HTTP_PROXY", "evil"), ("REQUEST_METHOD", "GET")], "http://h/"), None);
        assert_eq!(of(&[http], "https://h/"), None);
    }

    #[test]
    fn the_error_for_an_unusable_variable_has_its_name_but_not_the_password() {
        for value in [
            "http://u:pass@",
            "http://u:pass@h:99999",
            "ftp://u:pass@h",
            "socks://h",
            "http://",
            "http://a b/",
            "u:pa/ss@h:x",
        ] {
            for name in ["http_proxy", "HTTPS_PROXY", "all_proxy"] {
                let Err(Error::Config(problem)) = read(&[(name, value)]) else {
                    panic!("the invalid proxy {value} was accepted")
                };
                assert!(problem.contains(&format!("`{name}`")) && !problem.contains("pa"), "{problem}");
            }
        }
        use std::os::unix::ffi::OsStringExt as _;
        let not_text = |name: &str| (name == "NO_PROXY").then(|| OsString::from_vec(vec![0xff]));
        assert!(
            matches!(ProxyVariables::read(not_text), Err(Error::Config(problem)) if problem.contains("`NO_PROXY`"))
        );
    }

    #[test]
    fn exceptions_are_domains_addresses_and_networks_with_or_without_a_port() {
        let is_direct = |no_proxy: &str, url: &str| of(&[("all_proxy", "p"), ("no_proxy", no_proxy)], url).is_none();
        for (no_proxy, direct, others) in [
            (
                "example.com",
                &["http://example.com/", "https://a.EXAMPLE.com./x", "http://example.com:81/"][..],
                &["http://notexample.com/", "http://example.com.evil/"][..],
            ),
            (".example.com.", &["http://example.com/", "http://a.example.com/"], &["http://example.org/"]),
            ("a, b\tc", &["http://a/", "http://b/", "http://c/"], &["http://d/"]),
            ("*", &["http://a/", "https://[::1]/"], &[]),
            ("a,*", &["http://a/"], &["http://b/"]),
            ("h:8080,h2:443", &["http://h:8080/", "https://h2/"], &["http://h/", "http://h2/"]),
            ("127.0.0.1", &["http://127.0.0.1/", "http://127.1:9/"], &["http://127.0.0.2/", "http://x127.0.0.1.nip/"]),
            (
                "10.0.0.0/8,192.168.1.0/24:81",
                &["http://10.9.9.9/"],
                &["http://11.0.0.1/", "http://192.168.1.1/", "http://[::a00:1]/"],
            ),
            ("10.0.0.1:81", &["http://10.0.0.1:81/"], &["http://10.0.0.1/"]),
            ("::1,fe80::/10", &["http://[::1]:7/", "http://[febf::1]/"], &["http://[fec0::1]/", "http://0.0.0.1/"]),
            ("[::1]:81,[::2]", &["http://[::1]:81/", "http://[::2]/"], &["http://[::1]/"]),
            ("10.0.0.0/33,0.0.0.0/x", &[], &["http://10.0.0.0/", "http://1.2.3.4/"]),
            ("0.0.0.0/0", &["http://1.2.3.4/"], &["http://h/"]),
        ] {
            for url in direct {
                assert!(is_direct(no_proxy, url), "`no_proxy={no_proxy}` must apply to {url}");
            }
            for url in others {
                assert!(!is_direct(no_proxy, url), "`no_proxy={no_proxy}` must not apply to {url}");
            }
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod socket_tests;
