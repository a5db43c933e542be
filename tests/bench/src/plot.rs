//! Plots with logarithmic axes, as SVG.
//!
//! The benches use this module instead of the crate `plotters`, so they have few dependencies and build quickly on a
//! new machine.

use std::fmt::Write as _;
use std::ops::Range;

#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) name: String,
    /// The points in ascending order of x. All values are greater than zero.
    pub(crate) points: Vec<(f64, f64)>,
}

impl Curve {
    /// Returns the exponent e for which y grows like x^e, or `None` if there are fewer than two points. It is the slope
    /// of the least-squares line through the logarithms of the three rightmost points. Constant costs matter least in
    /// these points.
    pub(crate) fn exponent(&self) -> Option<f64> {
        let last = self.points.len().saturating_sub(3);
        let logs: Vec<(f64, f64)> = self.points.iter().skip(last).map(|(x, y)| (x.ln(), y.ln())).collect();
        let count = logs.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
        let x = mean(|log| log.0);
        let y = mean(|log| log.1);
        let across: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
        let along: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
        (logs.len() > 1).then(|| across / along)
    }

    /// Returns the exponent with two decimals. Adding 0.0 turns −0 into 0.
    pub(crate) fn shown_exponent(&self) -> Option<String> {
        let rounded = (self.exponent()? * 100.0).round() / 100.0;
        Some(format!("{:.2}", rounded + 0.0))
    }
}

/// Most people can distinguish these colours, on white and on black.
const COLOURS: [&str; 6] = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#cc79a7"];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
/// The horizontal range of the curves. The numbers of the y axis are to the left of this range, and the names of the
/// curves are to the right of it.
const ACROSS: Range<f64> = 70.0..520.0;
const DOWN: Range<f64> = 50.0..360.0;

struct Axis {
    decades: Range<i32>,
    position: Range<f64>,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64> + Clone, position: Range<f64>) -> Self {
        let least = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let most = values.fold(0.0, f64::max).log10().ceil();
        Self { decades: whole(least)..whole(most).max(whole(least) + 1), position }
    }

    fn at(&self, value: f64) -> f64 {
        let start = f64::from(self.decades.start);
        let end = f64::from(self.decades.end);
        let part = (value.log10() - start) / (end - start);
        self.position.start + part * (self.position.end - self.position.start)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.decades.start..=self.decades.end).map(|decade| 10_f64.powi(decade))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the exponent of a decade is a small integer")]
fn whole(decade: f64) -> i32 {
    decade as i32
}

/// `tick` formats a value of the y axis. Curves without points are left out.
pub(crate) fn svg(title: &str, curves: &[Curve], tick: fn(f64) -> String) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter());
    let across = Axis::new(points().map(|point| point.0), ACROSS);
    let down = Axis::new(points().map(|point| point.1), DOWN.end..DOWN.start);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{}\" y=\"28\" font-size=\"16\">{title}</text>\n",
        ACROSS.start
    );
    for value in across.ticks() {
        let x = across.at(value);
        line(&mut svg, (x, DOWN.start), (x, DOWN.end));
        text(&mut svg, (x, DOWN.end + 20.0), "middle", &power(value));
    }
    for value in down.ticks() {
        let y = down.at(value);
        line(&mut svg, (ACROSS.start, y), (ACROSS.end, y));
        text(&mut svg, (ACROSS.start - 8.0, y + 4.0), "end", &tick(value));
    }
    text(&mut svg, (f64::midpoint(ACROSS.start, ACROSS.end), DOWN.end + 44.0), "middle", "targets");
    let shown = curves.iter().filter(|curve| !curve.points.is_empty());
    for (number, (curve, colour)) in shown.zip(COLOURS.iter().cycle()).enumerate() {
        let places: Vec<_> = curve.points.iter().map(|(x, y)| (across.at(*x), down.at(*y))).collect();
        let path: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
        let y = DOWN.start + 10.0 + 24.0 * number as f64;
        let x = ACROSS.end + 16.0;
        let _ = writeln!(svg, "<circle cx=\"{x}\" cy=\"{:.1}\" r=\"5\" fill=\"{colour}\"/>", y - 4.5);
        let exponent = curve.shown_exponent().map_or(String::new(), |exponent| format!(", n^{exponent}"));
        text(&mut svg, (x + 12.0, y), "start", &(curve.name.clone() + &exponent));
    }
    svg += "</svg>\n";
    svg
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#ddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, at: (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{text}</text>", at.0, at.1);
}

/// Formats a power of ten, such as `10⁶`.
fn power(value: f64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let decade = whole(value.log10().round()).unsigned_abs() as usize;
    format!("10{}", DIGITS.get(decade).copied().unwrap_or('?'))
}

#[cfg(test)]
mod tests {
    use super::{Curve, svg};

    fn curve(power: f64) -> Curve {
        let points = [1e3, 1e4, 1e5, 1e6].map(|x: f64| (x, 0.002 * x.powf(power))).to_vec();
        Curve { name: "a".into(), points }
    }

    #[test]
    fn the_exponent_is_the_slope_of_the_logarithms() {
        for power in [0.0, 0.5, 1.0] {
            assert!((curve(power).exponent().unwrap() - power).abs() < 1e-9);
        }
        assert_eq!(Curve { name: String::new(), points: vec![(1.0, 1.0)] }.exponent(), None);
        assert_eq!([-0.001, 1.0].map(|power| curve(power).shown_exponent().unwrap()), ["0.00", "1.00"]);
    }

    #[test]
    fn every_point_is_drawn_inside_the_plot() {
        let svg = svg("title", &[curve(1.0), curve(0.0)], |value| format!("{value} s"));
        assert_eq!(svg.matches("<circle").count(), 2 * (4 + 1));
        assert!(svg.contains("10⁶") && svg.contains("n^1.00") && !svg.contains("NaN"));
        for number in svg.split("cy=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!((0.0..420.0).contains(&number.parse::<f64>().unwrap()), "{number}");
        }
    }
}
