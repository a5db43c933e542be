//! Checks the files in docs/recipes.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cli::program;

mod container;
mod pipelines;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const VERIFIER: &str = "systemd-analyze";

#[test]
fn systemd_accepts_the_units_and_the_timer() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recipes");
    let folder = tempfile::tempdir().unwrap();
    let mut verify = Command::new(VERIFIER);
    verify.arg("verify");
    for name in ["lastmile-push.service", "lastmile-push.timer", "lastmile-monitor.service"] {
        let text = fs::read_to_string(recipes.join(name)).unwrap();
        let program = program("lastmile-repo");
        // systemd checks that the programs exist.
        let text = text.replace("/usr/bin/lastmile-repo", program.to_str().unwrap());
        fs::write(folder.path().join(name), text).unwrap();
        verify.arg(folder.path().join(name));
    }
    let Ok(output) = verify.output() else {
        lastmile_tests::say(&format!("NOT CHECKED: {VERIFIER} is not installed"));
        return;
    };
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && !printed.contains("lastmile-push.") && !printed.contains("lastmile-monitor."),
        "{printed}"
    );
}
