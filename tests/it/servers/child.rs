//! Servers of others as child processes: started on a free port of the loopback, ended by their own process id.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a server may take to start, and a line to get into its log.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often another port is tried, where somebody took the first meanwhile.
const PORTS: usize = 5;

/// A server that runs until this is dropped.
pub(super) struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts what `command` makes for `N` free ports, until `is_ready`; what it says goes to the file `said`.
pub(super) fn start<const N: usize>(
    said: &Path,
    command: impl Fn([u16; N]) -> Command,
    is_ready: impl Fn() -> bool,
) -> (Running, [u16; N]) {
    for _ in 0..PORTS {
        let ports = std::array::from_fn(|_| free_port());
        if let Some(running) = started(said, command(ports), &is_ready) {
            return (running, ports);
        }
    }
    panic!("the server does not start: {}", text(said));
}

/// None where it ended instead of serving.
fn started(said: &Path, mut command: Command, is_ready: &impl Fn() -> bool) -> Option<Running> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = File::create(said).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    let child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}: run `cargo xtask setup` once"));
    let mut running = Running { child };
    let is_over = eventually(|| match running.child.try_wait().unwrap() {
        Some(_) => Some(true),
        None => is_ready().then_some(false),
    });
    match is_over {
        Some(is_over) => (!is_over).then_some(running),
        None => panic!("{name} does not get ready: {}", text(said)),
    }
}

/// What `look` finds, as soon as it finds something; none after a minute.
pub(super) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        sleep(Duration::from_millis(10));
    }
}

/// A file that may not be there yet.
pub(super) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
