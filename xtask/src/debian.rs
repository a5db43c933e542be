//! Installs programs from newer Debian suites into a folder below `target/`. The system does not change, because apt
//! runs with its own configuration, which names other folders for its state and its cache.
//!
//! The versions in these suites change, so the tests accept a range of versions. If a program cannot be installed, the
//! tests that need it are skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder for apt's files and the unpacked packages.
const FOLDER: &str = "target/interop/debian";

const SUITES: [&str; 2] = ["forky", "sid"];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package, and the versions that the tests support. `from` and `below` are major and minor numbers.
struct Package {
    name: &'static str,
    from: (u32, u32),
    below: (u32, u32),
}

/// The packages to install: programs that create and verify Sigstore bundles, and libraries whose test data contains
/// real bundles.
const PACKAGES: [Package; 4] = [
    Package { name: "cosign", from: (3, 1), below: (4, 0) },
    Package { name: "sigstore-go", from: (1, 3), below: (2, 0) },
    Package { name: "golang-github-sigstore-sigstore-go-dev", from: (1, 3), below: (2, 0) },
    Package { name: "golang-github-sigstore-cosign-v3-dev", from: (3, 1), below: (4, 0) },
];

/// Installs the packages. Returns a line of text for each package: its version, or the reason why it could not be
/// installed.
pub(crate) fn install(project: &Path) -> String {
    let folder = project.join(FOLDER);
    let mut described = Vec::new();
    let mut apt = None;
    for package in &PACKAGES {
        let record = folder.join(format!("{}.version", package.name));
        if let Ok(version) = fs::read_to_string(&record) {
            described.push(format!("{} {version}: found", package.name));
            continue;
        }
        let apt = apt.get_or_insert_with(|| Apt::prepare(&folder));
        let installed = apt.as_ref().map_err(Clone::clone).and_then(|apt| apt.unpack(package));
        let recorded = installed.and_then(|version| {
            fs::write(&record, &version).map_err(|error| format!("{}: {error}", record.display()))?;
            Ok(version)
        });
        described.push(match recorded {
            Ok(version) => format!("{} {version}: installed", package.name),
            Err(why) => format!("NOT CHECKED {}: {why}", package.name),
        });
    }
    described.join("\n  ")
}

/// A folder in which apt runs with its own configuration instead of the system's.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Writes apt's configuration and downloads the lists of packages.
    fn prepare(folder: &Path) -> Result<Self, String> {
        let apt = Self { folder: folder.to_owned() };
        let archive = archive()?;
        for subfolder in ["state/lists/partial", "cache/archives/partial", "root"] {
            let path = folder.join(subfolder);
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let at = folder.display();
        let configuration = format!(
            "Dir::State \"{at}/state\";\n\
             Dir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}/cache\";\n\
             Dir::Etc::sourcelist \"{at}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\n\
             APT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
        );
        let sources: String =
            SUITES.iter().map(|suite| format!("deb [signed-by={KEYRING}] {archive} {suite} main\n")).collect();
        for (name, text) in [("apt.conf", configuration), ("sources.list", sources), ("status", String::new())] {
            fs::write(folder.join(name), text).map_err(|error| format!("{at}/{name}: {error}"))?;
        }
        apt.run("apt-get", &["--config-file=apt.conf", "-qq", "update"])?;
        Ok(apt)
    }

    /// Downloads a package and unpacks it. Returns its version.
    fn unpack(&self, package: &Package) -> Result<String, String> {
        let output = self.run("apt-cache", &["--config-file=apt.conf", "show", "--no-all-versions", package.name])?;
        let field = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let version = field("Version:").ok_or("the suite does not have this package")?.to_owned();
        let numbers = numbers(&version);
        if numbers < package.from || numbers >= package.below {
            return Err(format!(
                "the suite has version {version}, expected {}.{} or newer, below {}.{}",
                package.from.0, package.from.1, package.below.0, package.below.1
            ));
        }
        self.run("apt-get", &["--config-file=apt.conf", "-qq", "download", package.name])?;
        let start = format!("{}_", package.name);
        let files = fs::read_dir(&self.folder).map_err(|error| error.to_string())?.filter_map(Result::ok);
        let file = files.map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&start) && name.ends_with(".deb")
        });
        let file = file.ok_or("apt-get downloaded no file")?.to_string_lossy().into_owned();
        self.run("dpkg", &["-x", &file, "root"])?;
        Ok(version)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C").current_dir(&self.folder).stdin(Stdio::null());
        output(&mut command)
    }
}

/// Returns the URI of the Debian archive from which this machine installs packages.
fn archive() -> Result<String, String> {
    if !Path::new(KEYRING).exists() {
        return Err(format!("{KEYRING} does not exist"));
    }
    let output =
        output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]).stdin(Stdio::null()))?;
    let archive = output.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    archive.map(str::to_owned).ok_or_else(|| "apt has no source for Debian's archive".into())
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} could not be run: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(format!("{name} ended with {}: {errors}", output.status))
}

/// Returns the first two numbers of an upstream version, such as 3 and 1 for `3.1.1-2`.
fn numbers(version: &str) -> (u32, u32) {
    let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
    let mut numbers = upstream.split(['.', '-', '+', '~']).map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_version_are_those_of_its_upstream_version() {
        for (version, expected) in [("3.1.1-2", (3, 1)), ("1:2.40~rc1-1", (2, 40)), ("5", (5, 0)), ("x", (0, 0))] {
            assert_eq!(numbers(version), expected, "{version}");
        }
    }
}
