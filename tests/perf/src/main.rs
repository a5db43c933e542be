//! Runs inner loops of the libraries. `cargo xtask test` counts their instructions, and `cargo xtask bench` measures
//! their times.
//!
//! `loops --list` prints the names of the loops. `loops NAME` runs one loop once, for callgrind. `loops` measures all
//! loops and prints one line for each: the name, the description and the median in nanoseconds, separated by tabs.

mod inputs;

use std::hint::black_box;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use inputs::{Failed, Signed};
use lastmile_keys::{PrivateKey, Scheme, Signer as _};
use lastmile_metadata::{
    Envelope, Json, Limits, PathPattern, RoleName, Snapshot, SuccinctRoles, TargetPath, Targets, Threshold, Verified,
};

/// Runs a loop on its prepared input. Returns `false` if the result is wrong.
type Ready = Box<dyn Fn() -> bool>;

struct Loop {
    name: &'static str,
    does: &'static str,
    prepare: fn() -> Result<Ready, Failed>,
}

const LOOPS: [Loop; 9] = [
    Loop {
        name: "canonical-form",
        does: "canonical form of an indented file with 10,000 targets",
        prepare: canonical_form,
    },
    Loop { name: "verify-role", does: "verify (ed25519) and parse a role with 10,000 targets", prepare: verify_role },
    Loop {
        name: "verify-snapshot",
        does: "verify (ed25519) and parse a snapshot of 16,384 bins",
        prepare: verify_snapshot,
    },
    Loop { name: "verify-ed25519", does: "verify ed25519 over 1 KiB", prepare: || verify(Scheme::Ed25519) },
    Loop { name: "verify-ecdsa-p256", does: "verify ecdsa-p256 over 1 KiB", prepare: || verify(Scheme::EcdsaP256) },
    Loop { name: "look-up-target", does: "look up one of 10,000 targets", prepare: look_up_target },
    Loop { name: "find-bin", does: "find one of 16,384 bins", prepare: find_bin },
    Loop { name: "match-path", does: "match a path of three segments", prepare: match_path },
    Loop {
        name: "match-hostile-path",
        does: "match a hostile pattern with a path of 10,000 letters",
        prepare: match_hostile_path,
    },
];

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some("--list") => LOOPS.iter().try_for_each(|each| Ok(writeln!(io::stdout(), "{}", each.name)?)),
        Some(name) => LOOPS.iter().find(|each| each.name == name).map_or(Err("no such loop".into()), run_once),
        None => LOOPS.iter().try_for_each(time),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run_once(each: &Loop) -> Result<(), Failed> {
    let ready = (each.prepare)()?;
    if counted(&ready) { Ok(()) } else { Err(format!("{} fails", each.name).into()) }
}

/// callgrind counts only the instructions inside this function, because `cargo xtask` passes its name to callgrind.
#[inline(never)]
fn counted(ready: &Ready) -> bool {
    ready()
}

/// With this many samples, the median is stable.
const SAMPLES: usize = 31;
/// The minimum duration of a sample, which is much longer than the resolution of the clock.
const SAMPLE: Duration = Duration::from_millis(10);

fn time(each: &Loop) -> Result<(), Failed> {
    let ready = (each.prepare)()?;
    let started = Instant::now();
    let mut times = 0_u32;
    while started.elapsed() < SAMPLE {
        if !ready() {
            return Err(format!("{} fails", each.name).into());
        }
        times += 1;
    }
    let mut samples = [Duration::ZERO; SAMPLES];
    for sample in &mut samples {
        let started = Instant::now();
        (0..times).for_each(|_| {
            black_box(ready());
        });
        *sample = started.elapsed() / times;
    }
    samples.sort();
    let median = samples.get(SAMPLES / 2).map_or(0, Duration::as_nanos);
    writeln!(io::stdout(), "{}\t{}\t{median}", each.name, each.does)?;
    Ok(())
}

fn canonical_form() -> Result<Ready, Failed> {
    let text = inputs::indented(&inputs::targets());
    Ok(Box::new(move || Json::parse(black_box(&text)).is_ok()))
}

fn verify_role() -> Result<Ready, Failed> {
    let signed = Signed::new(&inputs::targets())?;
    let role = RoleName::TARGETS;
    let limits = Limits::default();
    Ok(Box::new(move || Verified::<Targets>::of_file(&role, signed.file.clone(), &signed.ring, &limits).is_ok()))
}

fn verify_snapshot() -> Result<Ready, Failed> {
    let signed = Signed::new(&inputs::snapshot())?;
    let role = RoleName::SNAPSHOT;
    let limits = Limits::default();
    Ok(Box::new(move || Verified::<Snapshot>::of_file(&role, signed.file.clone(), &signed.ring, &limits).is_ok()))
}

fn verify(scheme: Scheme) -> Result<Ready, Failed> {
    let message = vec![7; 1024];
    let key = PrivateKey::from_seed(scheme, &[7; 32])?;
    let signature = key.sign(&message)?;
    let key = key.public_key().clone();
    Ok(Box::new(move || key.verify(black_box(&message), &signature)))
}

fn look_up_target() -> Result<Ready, Failed> {
    let envelope = Envelope::<Targets>::parse(&RoleName::TARGETS, Signed::new(&inputs::targets())?.file)?;
    let targets = envelope.unverified(&RoleName::TARGETS)?;
    let path = TargetPath::new(inputs::target_name(7_777))?;
    Ok(Box::new(move || targets.target(black_box(&path)).is_some()))
}

fn find_bin() -> Result<Ready, Failed> {
    let path = TargetPath::new(inputs::target_name(7_777))?;
    let bins = SuccinctRoles::new(Vec::new(), Threshold::ONE, 14, "bin")?;
    Ok(Box::new(move || bins.contains(&bins.role_for(black_box(&path)))))
}

fn match_path() -> Result<Ready, Failed> {
    let pattern = PathPattern::new("linux/*/app-?.?.tar.gz");
    let path = TargetPath::new("linux/x86_64/app-1.2.tar.gz")?;
    Ok(Box::new(move || pattern.matches(black_box(&path))))
}

fn match_hostile_path() -> Result<Ready, Failed> {
    let pattern = PathPattern::new("*a*a*a*a*b");
    let path = TargetPath::new("a".repeat(10_000))?;
    Ok(Box::new(move || !pattern.matches(black_box(&path))))
}
