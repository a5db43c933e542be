//! Opens object stores. Credentials come from environment variables, from files to which these variables point, from
//! the credentials files of cloud tools in the user's home folder, or from the metadata service of a cloud machine.
//! They never come from a URL or from the repository's folder.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use lastmile_client::text::hide_possible_credentials;
use lastmile_client::{BaseUrl, HttpFetch, HttpSettings};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::chain;
use crate::files::access;
use crate::push::Variables;
use crate::push::object_store::Store;
use crate::push::settings::StoreOptions;
use crate::push::write_guard::WriteGuard;
use crate::{Error, NetworkError, PushError};

/// The environment variables that the AWS CLI and SDKs use.
const S3: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_REQUEST_PAYER",
];

const GOOGLE: &[&str] = &[
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_BEARER_TOKEN",
];

const AZURE: &[&str] = &[
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
];

/// The longest time for which a server may send nothing. A server sends nothing while it receives a part of an object,
/// so each part must be uploaded within this time.
const GAP: Duration = Duration::from_secs(300);
/// The maximum number of retries of a failed request. The retries of a write can end earlier, because they need a valid
/// lock on the store ([`WriteGuard`]).
const RETRIES: usize = 5;
/// The longest time for all retries of one request.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// Secret values, which never appear in output.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Arc<[String]>);

impl Secrets {
    /// Replaces each secret in `text` with `***`.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_string(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

/// Opens the object store with this URL: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`.
///
/// # Errors
/// [`PushError::Credentials`] if the URL of an endpoint contains credentials;
/// [`NetworkError::Store`] if the settings or the credentials are not valid.
pub(crate) fn open(url: &BaseUrl, options: &StoreOptions, variables: Variables<'_>) -> Result<Store, Error> {
    let rest = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    let (names, file) = match url.scheme() {
        "s3" => (S3, shared_credentials(variables)?),
        "gs" => (GOOGLE, Vec::new()),
        _ => (AZURE, Vec::new()),
    };
    let from_environment = names.iter().filter_map(|name| Some(((*name).to_string(), variables(name)?)));
    let values: Vec<(String, String)> =
        file.into_iter().chain(from_environment).filter(|(_, value)| !value.is_empty()).collect();
    let secrets = Secrets(values.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.clone()).collect());
    let given = values.iter().filter(|(name, _)| name.contains("ENDPOINT")).map(|(_, value)| value);
    for endpoint in given.chain(&options.endpoint) {
        // The error of a failed request contains the URL of the request, so this URL must not
        // contain credentials.
        if let Ok(endpoint) = BaseUrl::new(endpoint)
            && endpoint.to_string() != endpoint.as_str()
        {
            return Err(PushError::Credentials { url: hide_possible_credentials(endpoint.as_str()) }.into());
        }
    }
    let failed = |error: object_store::Error| {
        Error::from(NetworkError::Store { url: url.clone(), text: secrets.hide(&chain(&error)) })
    };
    let guard = WriteGuard::default();
    let connector = Connector::new(guard.clone())?;
    let store: Arc<dyn ObjectStore> = match url.scheme() {
        "s3" => {
            let builder = AmazonS3Builder::new().with_bucket_name(bucket).with_http_connector(connector);
            let set = |builder: AmazonS3Builder, key: AmazonS3ConfigKey, value: String| builder.with_config(key, value);
            let mut builder = configured(builder.with_retry(retries()), &values, set);
            if let Some(endpoint) = &options.endpoint {
                builder = builder.with_endpoint(endpoint);
            }
            if let Some(region) = &options.region {
                builder = builder.with_region(region);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        "gs" => {
            let builder = GoogleCloudStorageBuilder::new().with_bucket_name(bucket).with_http_connector(connector);
            let set = |builder: GoogleCloudStorageBuilder, key: GoogleConfigKey, value: String| {
                builder.with_config(key, value)
            };
            let mut builder = configured(builder.with_retry(retries()), &values, set);
            if let Some(endpoint) = &options.endpoint {
                builder = builder.with_config(GoogleConfigKey::BaseUrl, endpoint);
            }
            Arc::new(builder.build().map_err(failed)?)
        }
        _ => {
            let builder = MicrosoftAzureBuilder::new().with_container_name(bucket).with_http_connector(connector);
            let set =
                |builder: MicrosoftAzureBuilder, key: AzureConfigKey, value: String| builder.with_config(key, value);
            let mut builder = configured(builder.with_retry(retries()), &values, set);
            if let Some(endpoint) = &options.endpoint {
                builder = builder.with_endpoint(endpoint.clone());
            }
            Arc::new(builder.build().map_err(failed)?)
        }
    };
    Store::new(url, store, prefix, secrets, guard, options)
}

fn configured<B, K: FromStr>(builder: B, values: &[(String, String)], set: impl Fn(B, K, String) -> B) -> B {
    values.iter().fold(builder, |builder, (name, value)| match name.to_ascii_lowercase().parse() {
        Ok(key) => set(builder, key, value.clone()),
        Err(_) => builder,
    })
}

fn is_secret(name: &str) -> bool {
    let is_location = ["_FILE", "_URI", "_PATH"].iter().any(|end| name.ends_with(end));
    !is_location && ["KEY", "SECRET", "TOKEN"].iter().any(|word| name.contains(word))
}

fn retries() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: RETRIES, retry_timeout: RETRY_TIME }
}

/// Returns the keys in the shared credentials file of the AWS CLI, or no keys if environment
/// variables provide other credentials.
fn shared_credentials(variables: Variables<'_>) -> Result<Vec<(String, String)>, Error> {
    let others = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"];
    if others.iter().any(|name| variables(name).is_some()) {
        return Ok(Vec::new());
    }
    let default = || Some(Path::new(&variables("HOME")?).join(".aws/credentials"));
    let Some(path) = variables("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(default) else {
        return Ok(Vec::new());
    };
    let text = access::read_if_there(&path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let profile = variables("AWS_PROFILE").unwrap_or_else(|| "default".to_string());
    Ok(text.map(|text| section(&text, &profile)).unwrap_or_default())
}

/// Returns the keys in the section `profile` of a credentials file.
fn section(text: &str, profile: &str) -> Vec<(String, String)> {
    let mut is_inside = false;
    let mut values = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_inside = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
            let name = name.trim().to_ascii_uppercase();
            if S3.iter().take(3).any(|known| *known == name) {
                values.push((name, value.trim().to_string()));
            }
        }
    }
    values
}

/// Sends the requests to object stores with this project's HTTP client.
#[derive(Debug)]
struct Connector {
    fetch: HttpFetch,
    guard: WriteGuard,
}

impl Connector {
    fn new(guard: WriteGuard) -> Result<Self, Error> {
        let settings = HttpSettings { gap_timeout: GAP, ..HttpSettings::default() };
        let fetch = HttpFetch::new(&settings).map_err(|error| NetworkError::Setup(error.into()))?;
        Ok(Self { fetch, guard })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.guard.guarded(HttpClient::new(self.fetch.client())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_one_profile() {
        let text = "[default]\naws_access_key_id = A\n\n[work]\n# note\naws_access_key_id=B\naws_secret_access_key = C=D\nregion = x\n";
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(section(text, "default"), [pair("AWS_ACCESS_KEY_ID", "A")]);
        assert_eq!(section(text, "work"), [pair("AWS_ACCESS_KEY_ID", "B"), pair("AWS_SECRET_ACCESS_KEY", "C=D")]);
        assert_eq!(section(text, "other"), []);
    }

    #[test]
    fn every_variable_is_known_to_the_library() {
        let lower = |name: &&str| name.to_ascii_lowercase();
        assert!(S3.iter().map(lower).all(|name| name.parse::<AmazonS3ConfigKey>().is_ok()));
        assert!(GOOGLE.iter().map(lower).all(|name| name.parse::<GoogleConfigKey>().is_ok()));
        assert!(AZURE.iter().map(lower).all(|name| name.parse::<AzureConfigKey>().is_ok()));
    }

    #[test]
    fn secrets_do_not_appear_in_errors() {
        let variables = |name: &str| match name {
            "AZURE_STORAGE_ACCOUNT_NAME" => Some("account".to_string()),
            "AZURE_STORAGE_ACCOUNT_KEY" => Some("not base64 but secret".to_string()),
            _ => None,
        };
        let url = BaseUrl::new("az://container/a").unwrap();
        let text = match open(&url, &StoreOptions::default(), &variables) {
            Err(error) => error.to_string(),
            Ok(_) => String::new(),
        };
        assert!(!text.contains("not base64 but secret"), "{text}");
        let secrets = Secrets(["hush".to_string()].into());
        assert_eq!(secrets.hide("key hush is hush"), "key *** is ***");
    }
}
