//! Starts servers as child processes on free ports of the loopback interface.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The time limit for the start of a server and for a line in its log.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The number of attempts to start a server. Each attempt uses new ports, because another process may take a free port
/// first.
const PORTS: usize = 5;

pub(super) struct Running {
    child: Child,
}

impl Running {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Another process may take the port before it is used.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts a server, and waits until `is_ready` returns `true`. `command` gets `N` free ports and returns the command that
/// starts the server. The output of the server goes to the file `output`.
pub(super) fn start<const N: usize>(
    output: &Path,
    command: impl Fn([u16; N]) -> Command,
    is_ready: impl Fn() -> bool,
) -> (Running, [u16; N]) {
    for _ in 0..PORTS {
        let ports = std::array::from_fn(|_| free_port());
        if let Some(running) = started(output, command(ports), &is_ready) {
            return (running, ports);
        }
    }
    panic!("the server did not start: {}", text(output));
}

/// Returns `None` if the server exits before it is ready.
fn started(output: &Path, mut command: Command, is_ready: &impl Fn() -> bool) -> Option<Running> {
    let name = command.get_program().to_string_lossy().into_owned();
    let file = File::create(output).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let child =
        command.spawn().unwrap_or_else(|error| panic!("{name}: {error}; run `cargo xtask setup` to install it"));
    let mut running = Running { child };
    let is_over = eventually(|| match running.child.try_wait().unwrap() {
        Some(_) => Some(true),
        None => is_ready().then_some(false),
    });
    match is_over {
        Some(is_over) => (!is_over).then_some(running),
        None => panic!("{name} was not ready in time: {}", text(output)),
    }
}

/// Calls `look` repeatedly until it returns `Some`. Returns `None` after [`TIMEOUT`].
pub(super) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        sleep(Duration::from_millis(10));
    }
}

/// Returns the content of a file, or an empty string if the file does not exist yet.
pub(super) fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Returns the port in the URL that a server prints after the text `before`.
pub(super) fn announced(output: &Path, before: &str) -> Option<u16> {
    let text = text(output);
    let (_, rest) = text.split_once(&format!("{before}http://127.0.0.1:"))?;
    rest.split_once('\n')?.0.trim().parse().ok()
}
