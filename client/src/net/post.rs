//! Sends notifications, as JSON documents, to a URL that the user configured.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderValue};

use crate::net::fetch::FetchError;
use crate::net::http::{HttpFetch, fetch_error};

/// The URL of a service that receives notifications. This URL often contains a secret, so only its scheme and host are
/// ever printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PostUrl(Url);

impl FromStr for PostUrl {
    type Err = String;

    /// Parses a URL with the scheme http or https. The error does not quote the URL.
    fn from_str(text: &str) -> Result<PostUrl, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the scheme is `{}`, expected http or https", url.scheme()));
        }
        Ok(PostUrl(url))
    }
}

impl PostUrl {
    /// Returns the whole URL, which may contain a secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for PostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

impl fmt::Debug for PostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostUrl({self})")
    }
}

/// Sends a JSON document in a single POST request, without retries. `limit` is the maximum time for the whole request.
/// Create `fetch` with `redirects: 0`, so that the document is not sent to another server.
///
/// # Errors
///
/// An error if the server cannot be reached in time, or answers with a status other than 2xx.
pub async fn post_json(fetch: &HttpFetch, url: &PostUrl, body: String, limit: Duration) -> Result<(), FetchError> {
    if url.0.scheme() == "https" {
        fetch.authorities.expect_use();
    }
    let json = HeaderValue::from_static("application/json");
    let request = fetch.client.post(url.0.clone()).header(CONTENT_TYPE, json).timeout(limit).body(body);
    let answer = request.send().await.map_err(|error| fetch_error(&error, None))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(FetchError::Status(status.as_u16())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::http::HttpSettings;
    use crate::net::proxy::ProxyChoice;
    use crate::test_server::{Server, ServerAction, ok, send, status};

    async fn posted(acts: Vec<ServerAction>) -> (Result<(), FetchError>, Vec<String>) {
        let server = Server::start(move |_| acts.clone()).await;
        let settings = HttpSettings { redirects: 0, proxy: ProxyChoice::Direct, ..HttpSettings::default() };
        let fetch = HttpFetch::new(&settings).unwrap();
        let url = server.at("hook?token=secret").parse().unwrap();
        let sent = post_json(&fetch, &url, "{}".to_owned(), Duration::from_millis(500)).await;
        (sent, server.requests())
    }

    #[tokio::test]
    async fn a_document_is_sent_once_and_no_redirect_is_followed() {
        let (sent, requests) = posted(ok(b"thanks")).await;
        assert_eq!((sent, requests.len()), (Ok(()), 1));
        let head = requests[0].to_ascii_lowercase();
        assert!(head.starts_with("post /hook?token=secret http/1.1\r\n"), "{head}");
        assert!(
            head.contains("\r\ncontent-type: application/json\r\n") && head.contains("content-length: 2"),
            "{head}"
        );
        let moved = "HTTP/1.1 307 X\r\nLocation: /other\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let (sent, requests) = posted(vec![send(moved)]).await;
        assert_eq!((sent, requests.len()), (Err(FetchError::TooManyRedirects { redirects: 0 }), 1));
        assert_eq!(posted(status("500 X")).await.0, Err(FetchError::Status(500)));
    }

    #[test]
    fn the_secret_of_a_url_is_never_printed() {
        let url: PostUrl = "https://user:pass@hooks.example.org/services/SECRET?x=SECRET".parse().unwrap();
        assert_eq!(format!("{url} {url:?}"), "https://hooks.example.org/… PostUrl(https://hooks.example.org/…)");
        assert_eq!("file:///SECRET".parse::<PostUrl>().unwrap_err(), "the scheme is `file`, expected http or https");
        assert!(!"https://SECRET:x".parse::<PostUrl>().unwrap_err().contains("SECRET"));
    }
}
