//! Parses the pipelines in docs/recipes/README.md with PyYAML, and runs their commands with a folder as the
//! destination.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use super::run;
use crate::cli::program;

const DAY: u64 = 86_400;

/// The arguments that name the destination in the recipes.
const DESTINATION: &str = "s3://packages/it --region eu-central-1";

fn pipeline(heading: &str) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(tests.join("../docs/recipes/README.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let text = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let python = tests.join("../target/interop/s3-venv/bin/python");
    assert!(python.exists(), "{} is missing; run `cargo xtask setup`", python.display());
    // YAML 1.1 reads the key `on` as a boolean. The conversion to JSON turns the key into a string.
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1]), default=str))";
    serde_json::from_str(&run(Command::new(python).args(["-c", script, text]))).unwrap()
}

/// A repository that was pushed to a folder four days ago, so its timestamp is due for renewal.
struct Pushed {
    folder: TempDir,
}

impl Pushed {
    fn new() -> Pushed {
        let pushed = Pushed { folder: tempfile::tempdir().unwrap() };
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() - 4 * DAY;
        for line in ["init owner --unencrypted-keys", "push -C owner --to www"] {
            let mut command = Command::new(program("lastmile-repo"));
            command.args(line.split(' ')).current_dir(&pushed.folder);
            command.env("LASTMILE_REPO_CONFIG", pushed.folder.path().join("owner.toml"));
            run(command.env("SOURCE_DATE_EPOCH", before.to_string()));
        }
        fs::create_dir_all(pushed.folder.path().join("work")).unwrap();
        fs::create_dir_all(pushed.folder.path().join("temp")).unwrap();
        pushed
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn root_digest(&self) -> String {
        let digest = run(Command::new("sha256sum").arg(self.path("owner/metadata/1.root.json")));
        digest.split(' ').next().unwrap().to_owned()
    }

    /// Returns a command that runs a script as a CI runner does, with the folder `www` as the destination.
    fn script(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        let path =
            format!("{}:{}", program("lastmile-repo").parent().unwrap().display(), std::env::var("PATH").unwrap());
        command.args(["-e", "-o", "pipefail", "-c", &script.replace(DESTINATION, &self.path("www"))]);
        command.current_dir(self.path("work")).env_clear().env("PATH", path).env("HOME", self.path("work"));
        command
    }

    /// Checks that the timestamp was renewed and pushed.
    fn check(&self) {
        let served = fs::read_to_string(self.path("www/metadata/timestamp.json")).unwrap();
        assert!(served.contains("\"version\":2"), "{served}");
    }
}

#[test]
fn the_steps_for_github_actions_renew_and_push_and_only_one_step_sees_the_keys() {
    let workflow = pipeline("GitHub Actions");
    let pushed = Pushed::new();
    assert_eq!(workflow["concurrency"]["group"], "push-packages");
    assert_eq!(workflow["concurrency"]["cancel-in-progress"], false);
    assert_eq!(workflow["permissions"], serde_json::json!({ "id-token": "write" }));
    let job = &workflow["jobs"]["push"];
    let key = |role: &str| fs::read_to_string(pushed.path(&format!("owner/keys/{role}-1.pem"))).unwrap();
    // A runner replaces expressions, and removes the line break at the end of a secret.
    let expanded = |text: &str| {
        text.replace("${{ vars.LASTMILE_REPO_ROOT_SHA256 }}", &pushed.root_digest())
            .replace("${{ secrets.TIMESTAMP_KEY }}", key("timestamp").trim_end())
            .replace("${{ secrets.SNAPSHOT_KEY }}", key("snapshot").trim_end())
            .replace("${{ runner.temp }}", &pushed.path("temp"))
    };
    let variables = |value: &Value| -> Vec<(String, String)> {
        let members = value.as_object().into_iter().flatten();
        members.map(|(name, value)| (name.clone(), expanded(value.as_str().unwrap()))).collect()
    };
    let mut with_secrets = 0;
    for step in job["steps"].as_array().unwrap() {
        let Some(script) = step["run"].as_str() else {
            assert!(step["uses"].is_string(), "{step}");
            continue;
        };
        with_secrets += usize::from(step.to_string().contains("secrets."));
        let mut command = pushed.script(script);
        command.envs(variables(&job["env"])).envs(variables(&step["env"])).env("RUNNER_TEMP", pushed.path("temp"));
        let printed = run(&mut command);
        assert!(!printed.contains("PRIVATE KEY"), "{printed}");
    }
    assert_eq!(with_secrets, 1);
    pushed.check();
}

#[test]
fn the_script_for_gitlab_ci_renews_and_pushes_and_leaves_no_key_behind() {
    let job = &pipeline("GitLab CI")["push"];
    let pushed = Pushed::new();
    assert_eq!(job["resource_group"], "push-packages");
    assert_eq!(job["variables"], serde_json::json!({ "LASTMILE_REPO_ROOT_SHA256": "$ROOT_SHA256" }));
    // GitLab runs the lines of a script in one shell.
    let lines: Vec<&str> = job["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let mut command = pushed.script(&lines.join("\n"));
    command.env("TMPDIR", pushed.path("temp")).env("LASTMILE_REPO_ROOT_SHA256", pushed.root_digest());
    command.env("TIMESTAMP_KEY_FILE", pushed.path("owner/keys/timestamp-1.pem"));
    command.env("SNAPSHOT_KEY_FILE", pushed.path("owner/keys/snapshot-1.pem"));
    run(&mut command);
    pushed.check();
    assert_eq!(fs::read_dir(pushed.path("temp")).unwrap().count(), 0);
    assert!(!Path::new(&pushed.path("work/packages/keys")).exists());
}
