//! Measures how costs grow with the number of targets, and writes docs/curves.md and its plots.

use crate::clients::{Clients, PYTHON_TUF, TOUGH, TUF_JS};
use crate::generated::{Generated, names};
use crate::large::thousands;
use crate::plot::{Curve, svg};
use crate::row::{OURS, Unit, in_turns};
use crate::{Setup, server::Server};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use xtask::say;

/// The plots: file name, title and unit.
const PLOTS: [(&str, &str, Unit); 3] = [
    ("curve-first-get", "First get", Unit::Seconds),
    ("curve-second-get", "Second get", Unit::Seconds),
    ("curve-bytes", "Bytes downloaded by the first get", Unit::Bytes),
];

/// A repository of a certain size, and the clients that are measured with it, each with its number of rounds.
struct Step {
    made: Generated,
    clients: Vec<(&'static str, usize)>,
}

/// The points of each curve, by the index of the plot and the name of the curve.
type Curves = BTreeMap<(usize, String), Vec<(f64, f64)>>;

/// Measures all sizes, and writes docs/curves.md and its plots. If `quick` is set, measures only small sizes and writes
/// nothing into docs/.
pub(crate) fn run(setup: &Setup, quick: bool) -> Result<(), String> {
    let mut curves = Curves::new();
    for step in steps(quick) {
        measure(setup, &step, &mut curves)?;
    }
    let page = page(&curves);
    say::line(&page);
    for (number, (name, title, unit)) in PLOTS.into_iter().enumerate() {
        let plot = svg(title, &drawn(&curves, number), if unit == Unit::Seconds { seconds } else { bytes });
        let folder = if quick { setup.scratch.clone() } else { setup.project.join("docs") };
        std::fs::write(folder.join(format!("{name}.svg")), plot).map_err(|error| error.to_string())?;
    }
    if !quick {
        std::fs::write(setup.project.join("docs/curves.md"), page).map_err(|error| error.to_string())?;
        say::line("written: docs/curves.md and its plots");
    }
    Ok(())
}

/// Other implementations are not measured at the largest sizes, at which they would take minutes or use all memory.
fn steps(quick: bool) -> Vec<Step> {
    let largest = if quick { 4 } else { 7 };
    let mut steps = Vec::new();
    for decade in 3..=largest {
        let targets = 10_usize.pow(decade);
        let rounds = if decade < 6 { 3 } else { 1 };
        let mut flat = vec![(OURS, 3)];
        if decade < 7 {
            flat.extend([(PYTHON_TUF, rounds), (TOUGH, rounds)]);
        }
        if decade < 5 {
            flat.push((TUF_JS, 1));
        }
        steps.push(Step { made: Generated::flat(targets, "ed25519"), clients: flat });
        let bits = if quick { 8 } else { 14 };
        steps.push(Step { made: Generated::bins(targets, bits, "prefix"), clients: vec![(OURS, 3), (PYTHON_TUF, 3)] });
    }
    steps
}

fn measure(setup: &Setup, step: &Step, curves: &mut Curves) -> Result<(), String> {
    let Generated { targets, form, .. } = step.made;
    let what = if form == "flat" { "flat" } else { "bins" };
    say::line(format!("{} targets, {what}", thousands(targets)));
    let folder = step.made.folder(setup)?;
    let server = Server::start(&folder)?;
    let clients = Clients::new(setup, &folder, &server.url, &format!("curves-{form}-{targets}"));
    let names = names(&folder)?.into_iter().take(1).collect::<Vec<_>>();
    let mut add = |plot: usize, program: &str, value: Option<f64>| {
        let points = curves.entry((plot, format!("{program}, {what}"))).or_default();
        points.extend(value.map(|value| (targets as f64, value)));
    };
    for (program, _) in step.clients.iter().filter(|(program, _)| [OURS, PYTHON_TUF].contains(program)) {
        server.take_log();
        let first = in_turns(vec![clients.first(program, 1, &names)]);
        let bytes = server.take_log().bytes as f64;
        add(2, program, first.first().and_then(crate::row::Series::median).map(|_| bytes));
    }
    let first = step.clients.iter().map(|(program, rounds)| clients.first(program, *rounds, &names));
    let first = in_turns(first.collect());
    let able = step.clients.iter().zip(&first).filter(|(_, first)| first.median().is_some());
    let second = in_turns(able.map(|((program, rounds), _)| clients.second(program, *rounds, &names)).collect());
    for (plot, all) in [first, second].iter().enumerate() {
        for series in all {
            say::line(format!("  {}: {}", series.program, series.text(Unit::Seconds)));
            add(plot, series.program, series.median());
        }
    }
    Ok(())
}

fn drawn(curves: &Curves, plot: usize) -> Vec<Curve> {
    let of_plot = curves.iter().filter(|((number, _), _)| *number == plot);
    of_plot.map(|((_, name), points)| Curve { name: name.clone(), points: points.clone() }).collect()
}

fn page(curves: &Curves) -> String {
    let mut page = "# How costs grow\n\n\
        This page is written by `cargo xtask bench --curves`. python-tuf made the repositories and signed them with \
        ed25519. A repository has either one flat list of targets, or 16,384 bins by hash prefix. Each measurement \
        runs in a new process, over HTTP on loopback (only the client tough reads from the disk). The first get of a target starts \
        with only the shipped root. The second get fetches the same target again, and uses the stored metadata. The \
        last column of each table shows the exponent e of the growth n^e. With e = 1, costs grow in proportion to the \
        size; with e = 0, they do not grow. The exponent is the slope of the least-squares line through the \
        logarithms of the three largest sizes and their costs. A program is not measured at sizes at which it would \
        take minutes or use all of the memory, so its curve ends before the largest size.\n"
        .to_owned();
    for (number, (name, title, unit)) in PLOTS.into_iter().enumerate() {
        let _ = writeln!(page, "\n## {title}\n\n![{title}]({name}.svg)\n");
        let drawn = drawn(curves, number);
        let mut sizes: Vec<usize> = drawn.iter().flat_map(|curve| curve.points.iter().map(|(x, _)| size(*x))).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let heads: Vec<_> = sizes.iter().map(|size| thousands(*size)).collect();
        let _ = writeln!(page, "| | {} | exponent |\n|---|{}---|", heads.join(" | "), "---|".repeat(sizes.len()));
        for curve in drawn {
            let value = |size_wanted: &usize| curve.points.iter().find(|(x, _)| size(*x) == *size_wanted);
            let cells = sizes.iter().map(|size| value(size).map_or(String::new(), |(_, y)| unit.text(*y)));
            let exponent = curve.shown_exponent().unwrap_or_default();
            let _ = writeln!(page, "| {} | {} | {exponent} |", curve.name, cells.collect::<Vec<_>>().join(" | "));
        }
    }
    page
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes are integers")]
fn size(x: f64) -> usize {
    x.round() as usize
}

fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{:.0} ms", value * 1e3) } else { format!("{value:.0} s") }
}

fn bytes(value: f64) -> String {
    match value {
        0.0..1e3 => format!("{value:.0} B"),
        1e3..1e6 => format!("{:.0} kB", value / 1e3),
        1e6..1e9 => format!("{:.0} MB", value / 1e6),
        _ => format!("{:.0} GB", value / 1e9),
    }
}
