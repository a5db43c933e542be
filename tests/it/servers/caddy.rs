//! Tests Caddy with the settings in docs/serving.md.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::child::{Running, eventually, start, text};
use super::site::{Site, replaced, succeed};
use super::tls::certified;
use super::{is_served_as_the_page_says, no_target_is_taken_for_a_copy_of_another, the_checks_of_the_page_pass, wire};

struct Caddy {
    printed: PathBuf,
    _running: Running,
}

impl Caddy {
    /// Waits until a line of the JSON log contains all strings in `wanted`.
    fn logged(&self, wanted: &[&str]) {
        let is_there = |line: &&str| wanted.iter().all(|part| line.contains(part));
        let found = eventually(|| text(&self.printed).lines().find(is_there).map(drop));
        assert!(found.is_some(), "{wanted:?} is not in the log: {}", text(&self.printed));
    }
}

/// Starts Caddy with the site block in docs/serving.md, at `address` on a free port. The settings `first` come first in
/// the block.
fn serve(site: &Site, address: &str, first: &str) -> (Caddy, u16) {
    let rooted = site.settings("caddyfile");
    let home = site.path("caddy");
    fs::create_dir(&home).unwrap();
    let command = |[port]: [u16; 1]| {
        let head = format!("{address}:{port} {{\nbind 127.0.0.1\nlog\n{first}");
        let around = "{\nadmin off\nauto_https disable_redirects\n}\n";
        let text = format!("{around}{}", replaced(&rooted, "packages.example {", &head));
        fs::write(home.join("Caddyfile"), text).unwrap();
        let mut command = Command::new("caddy");
        command.current_dir(&home).args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]);
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, &home);
        }
        command
    };
    let printed = home.join("printed");
    let (running, [port]) = start(&printed, command, || text(&printed).contains("serving initial configuration"));
    (Caddy { printed, _running: running }, port)
}

fn plain(site: &Site) -> (Caddy, u16) {
    serve(site, "http://127.0.0.1", "")
}

#[test]
fn caddy_serves_a_repository_with_the_documented_settings() {
    let mut site = Site::new(&[]);
    let (_caddy, port) = plain(&site);
    let codings = [("gzip", "gzip"), ("zstd", "zstd"), ("gzip, zstd", "zstd"), ("zstd, gzip", "zstd")];
    is_served_as_the_page_says(&mut site, port, &codings);
    the_checks_of_the_page_pass(&site, &format!("http://127.0.0.1:{port}/"));
}

/// A small file that consists mostly of hashes and signatures hardly compresses, so its compressed copy may be longer
/// than the file.
#[test]
fn caddy_serves_a_small_repository_whose_compressed_copies_are_longer() {
    let mut site = Site::empty(&[]);
    site.release(&[("tool", b"a tool".as_slice())]);
    let snapshot = site.metadata(".snapshot.json");
    assert!(
        site.bytes(&format!("{snapshot}.zst")).len() > site.bytes(&snapshot).len(),
        "the compressed copy must be longer for this test"
    );
    let (_caddy, port) = plain(&site);
    site.trust("it", &format!("http://127.0.0.1:{port}/"));
    site.fetch_all("it");
}

#[test]
fn an_interrupted_download_from_caddy_is_resumed() {
    let site = Site::new(&[]);
    let (caddy, port) = plain(&site);
    let proxy = wire::proxy_that_breaks_once(port, 400_000);
    site.trust("it", &format!("http://127.0.0.1:{proxy}/"));
    site.fetch_all("it");
    caddy.logged(&["/targets/docs/", r#""Range":["bytes="#, r#""status":206"#]);
}

#[test]
fn caddy_serves_over_tls() {
    let site = certified();
    let path = |name| site.path(name).display().to_string();
    let tls = format!("tls {} {}\n", path("localhost.pem"), path("localhost.key"));
    let (caddy, port) = serve(&site, "https://localhost", &tls);
    site.trust("it", &format!("https://localhost:{port}/"));
    succeed(site.get_all("it").arg("--ca-file").arg(path("authority.pem")));
    site.check_all("it");
    caddy.logged(&["/metadata/timestamp.json", r#""proto":"HTTP/2.0""#, r#""status":200"#]);
}

#[test]
fn caddy_does_not_serve_a_target_as_the_compressed_copy_of_another() {
    let site = Site::new(&["--no-hash-prefix"]);
    let (_caddy, port) = plain(&site);
    no_target_is_taken_for_a_copy_of_another(&site, port);
}
