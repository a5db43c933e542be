//! Runs a target of `tests/fuzz` under libFuzzer. The environment variable `FUZZ_TARGET` selects the target.
//!
//! `FUZZ_TARGET=list` prints the names of the targets. `FUZZ_SEEDS=FOLDER` writes the target's seed inputs to that
//! folder.
#![no_main]

use std::sync::OnceLock;
use std::{env, fs, process};

use lastmile_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: choose(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(input);
    }
});

fn choose() {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        process::exit(0);
    }
    let Some(target) = lastmile_fuzz::target(&name) else {
        eprintln!("FUZZ_TARGET is {name:?}, which is not the name of a target");
        process::exit(2);
    };
    if let Ok(folder) = env::var("FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(format!("{folder}/seed-{number}"), seed).expect("the seeds can be written");
        }
        process::exit(0);
    }
    TARGET.get_or_init(|| target);
}
