//! nginx with the settings of the page.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::child::{Running, eventually, start, text};
use super::site::{Site, replaced};
use super::{is_served_as_the_page_says, no_target_is_taken_for_a_copy_of_another, the_checks_of_the_page_pass, wire};

/// Where else than on the path systems have it that keep it for administrators.
const PLACE: &str = "/usr/sbin/nginx";

/// The settings around those of the page: what is usual and would do harm if the page did not see to it, and what keeps
/// nginx in a folder of its own. One process, without a change of user, which ends as a whole.
const AROUND: &str = r#"
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

/// An nginx that runs until this is dropped.
pub(super) struct Nginx {
    folder: PathBuf,
    _running: Running,
}

impl Nginx {
    /// Starts `servers`, made for free ports.
    pub(super) fn start<const N: usize>(folder: &Path, servers: impl Fn([u16; N]) -> String) -> (Nginx, [u16; N]) {
        fs::create_dir(folder).unwrap();
        let command = |ports| {
            fs::write(folder.join("nginx.conf"), AROUND.replace("SERVERS", &servers(ports))).unwrap();
            let mut command = Command::new(if Path::new(PLACE).exists() { PLACE } else { "nginx" });
            command.arg("-p").arg(folder).args(["-e", "stderr", "-c", "nginx.conf"]);
            command
        };
        // It writes its process id when it has its ports.
        let is_ready = || !text(&folder.join("nginx.pid")).is_empty();
        let (running, ports) = start(&folder.join("said"), command, is_ready);
        (Nginx { folder: folder.to_owned(), _running: running }, ports)
    }

    /// What was asked for until now, a line each.
    pub(super) fn requests(&self) -> String {
        text(&self.folder.join("access.log"))
    }

    /// The line of the log with this in it, once it is there.
    pub(super) fn logged(&self, wanted: &str) -> String {
        let found = eventually(|| self.requests().lines().find(|line| line.contains(wanted)).map(str::to_owned));
        found.unwrap_or_else(|| panic!("{wanted} is not in the log: {}", self.requests()))
    }
}

/// The page's server with `listen` and what else stands at its beginning, for the repository of `site`.
pub(super) fn server(site: &Site, first: &str) -> String {
    replaced(&site.settings("nginx"), "server {", &format!("server {{\n{first}"))
}

fn plain(site: &Site) -> (Nginx, u16) {
    let servers = |[port]: [u16; 1]| server(site, &format!("listen 127.0.0.1:{port};"));
    let (nginx, [port]) = Nginx::start(&site.path("nginx"), servers);
    (nginx, port)
}

#[test]
fn nginx_serves_as_the_page_says() {
    let mut site = Site::new(&[]);
    let (_nginx, port) = plain(&site);
    let codings = [("gzip", "gzip"), ("gzip, zstd", "gzip"), ("zstd, gzip;q=0.5", "gzip")];
    is_served_as_the_page_says(&mut site, port, &codings);
    the_checks_of_the_page_pass(&site, &format!("http://127.0.0.1:{port}/"));
}

#[test]
fn a_download_from_nginx_goes_on_where_the_road_broke() {
    let site = Site::new(&[]);
    let (nginx, port) = plain(&site);
    let road = wire::road_that_breaks(port, 400_000);
    site.trust("it", &format!("http://127.0.0.1:{road}/"));
    site.fetch_all("it");
    let line = nginx.logged("HTTP/1.1 206 /targets/docs/");
    assert!(line.contains("[bytes="), "{line}");
}

#[test]
fn nginx_takes_no_target_for_a_copy_of_another() {
    let site = Site::new(&["--no-hash-prefix"]);
    let (_nginx, port) = plain(&site);
    no_target_is_taken_for_a_copy_of_another(&site, port);
}
