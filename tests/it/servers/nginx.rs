//! Tests nginx with the settings in docs/serving.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::{Running, eventually, start, text};
use super::site::{Site, replaced};
use super::{is_served_as_the_page_says, no_target_is_taken_for_a_copy_of_another, the_checks_of_the_page_pass, wire};

/// The path of nginx on systems where nginx is not in `PATH`.
const DEBIAN_NGINX: &str = "/usr/sbin/nginx";

/// Settings for the whole server, in addition to the settings in docs/serving.md. Some are common settings that would
/// break the repository, but the settings in docs/serving.md override them. The other settings make nginx use only one
/// folder and one process.
const SETTINGS: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    types { text/html html; text/plain txt; application/gzip gz; }
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_static on;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    log_format it "$server_protocol $status $request_uri [$http_range]";
    access_log access.log it;
SERVERS
}
"#;

pub(super) struct Nginx {
    folder: PathBuf,
    _running: Running,
}

impl Nginx {
    /// Starts nginx. `servers` gets `N` free ports and returns the server blocks.
    pub(super) fn start<const N: usize>(folder: &Path, servers: impl Fn([u16; N]) -> String) -> (Nginx, [u16; N]) {
        fs::create_dir(folder).unwrap();
        let command = |ports| {
            fs::write(folder.join("nginx.conf"), SETTINGS.replace("SERVERS", &servers(ports))).unwrap();
            let mut command = Command::new(if Path::new(DEBIAN_NGINX).exists() { DEBIAN_NGINX } else { "nginx" });
            command.arg("-p").arg(folder).args(["-e", "stderr", "-c", "nginx.conf"]);
            command
        };
        // nginx writes `nginx.pid` after it has bound its ports.
        let is_ready = || !text(&folder.join("nginx.pid")).is_empty();
        let (running, ports) = start(&folder.join("printed"), command, is_ready);
        (Nginx { folder: folder.to_owned(), _running: running }, ports)
    }

    /// Returns the access log, with one line for each request.
    pub(super) fn requests(&self) -> String {
        text(&self.folder.join("access.log"))
    }

    /// Waits until a line of the access log contains `wanted`, and returns the line.
    pub(super) fn logged(&self, wanted: &str) -> String {
        let found = eventually(|| self.requests().lines().find(|line| line.contains(wanted)).map(str::to_owned));
        found.unwrap_or_else(|| panic!("{wanted} is not in the log: {}", self.requests()))
    }
}

/// Returns the server block from docs/serving.md, adapted to the repository of `site`. The settings `first` come first
/// in the block.
pub(super) fn server(site: &Site, first: &str) -> String {
    replaced(&site.settings("nginx"), "server {", &format!("server {{\n{first}"))
}

fn plain(site: &Site) -> (Nginx, u16) {
    let servers = |[port]: [u16; 1]| server(site, &format!("listen 127.0.0.1:{port};"));
    let (nginx, [port]) = Nginx::start(&site.path("nginx"), servers);
    (nginx, port)
}

#[test]
fn nginx_serves_a_repository_with_the_documented_settings() {
    let mut site = Site::new(&[]);
    let (_nginx, port) = plain(&site);
    let codings = [("gzip", "gzip"), ("gzip, zstd", "gzip"), ("zstd, gzip;q=0.5", "gzip")];
    is_served_as_the_page_says(&mut site, port, &codings);
    the_checks_of_the_page_pass(&site, &format!("http://127.0.0.1:{port}/"));
}

#[test]
fn an_interrupted_download_from_nginx_is_resumed() {
    let site = Site::new(&[]);
    let (nginx, port) = plain(&site);
    let proxy = wire::proxy_that_breaks_once(port, 400_000);
    site.trust("it", &format!("http://127.0.0.1:{proxy}/"));
    site.fetch_all("it");
    let line = nginx.logged("HTTP/1.1 206 /targets/docs/");
    assert!(line.contains("[bytes="), "{line}");
}

#[test]
fn nginx_does_not_serve_a_target_as_the_compressed_copy_of_another() {
    let site = Site::new(&["--no-hash-prefix"]);
    let (_nginx, port) = plain(&site);
    no_target_is_taken_for_a_copy_of_another(&site, port);
}
