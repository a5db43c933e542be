//! What a long road costs: refreshing, and many small targets.

use super::clients::{PYTHON_TUF, TUF_JS, Visit};
use super::data::{Made, names};
use super::large::thousands;
use super::process::Used;
use super::proxy::Proxy;
use super::report::Report;
use super::row::{Bar, OURS, Row, Unit, in_turns};
use super::{Place, server::Server};
use std::time::Duration;

/// Half a round trip is for what is not the road.
const REFRESH: Bar = Bar { text: "1 round trip", ratios: &[], most: Some(0.150), memory: None };
const MANY: Bar = Bar { text: "10× python-tuf", ratios: &[(PYTHON_TUF, 10.0)], most: None, memory: None };

pub(crate) fn run(place: &Place, report: &mut Report) -> Result<(), String> {
    let files = place.sizes.small_files;
    let made = Made { real: files, ..Made::flat(files, "ed25519") }.folder(place)?;
    let server = Server::start(&made)?;
    let proxy = Proxy::start(server.address, Duration::from_millis(100))?;
    let visit = Visit::new(place, &made, &proxy.url, "refresh");
    let again = |program| {
        let visit = &visit;
        visit.contestant(program, 5, move || Ok(Used { seconds: visit.refresh_again(program)?, memory: 0.0 }))
    };
    let series = in_turns([OURS, PYTHON_TUF, TUF_JS].map(again).into());
    let trips = series.first().and_then(super::row::Series::median).unwrap_or_default() / 0.1;
    let work = "refresh with nothing new, 100 ms round trip, connection open";
    // A round trip and a little is one.
    let also = Some((format!("{trips:.2} round trips"), trips < 1.5));
    report.row(&Row::new(work, &REFRESH, Unit::Seconds, &series, also));

    let proxy = Proxy::start(server.address, Duration::from_millis(20))?;
    let visit = Visit::new(place, &made, &proxy.url, "many");
    let names = names(&made)?;
    let contestants =
        [(OURS, 5), (PYTHON_TUF, 3), (TUF_JS, 1)].map(|(program, rounds)| visit.first(program, rounds, &names));
    let work = format!("{} targets of 10 KiB, 20 ms round trip", thousands(files));
    report.row(&Row::new(&work, &MANY, Unit::Seconds, &in_turns(contestants.into()), None));
    Ok(())
}
