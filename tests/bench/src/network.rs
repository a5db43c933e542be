//! Measures a refresh and the download of many small targets over a network with a long round trip.

use crate::clients::{Clients, PYTHON_TUF, TUF_JS};
use crate::generated::{Generated, names};
use crate::large::thousands;
use crate::process::Used;
use crate::proxy::Proxy;
use crate::report::Report;
use crate::row::{Bar, OURS, Row, Unit, in_turns};
use crate::{Setup, server::Server};
use std::time::Duration;

/// The limit of 150 ms is 1.5 round trips: one round trip for the request, and half a round trip for the client's own
/// work.
const REFRESH: Bar = Bar { text: "1 round trip", ratios: &[], most: Some(0.150), memory: None };
const MANY: Bar = Bar { text: "10× python-tuf", ratios: &[(PYTHON_TUF, 10.0)], most: None, memory: None };

pub(crate) fn run(setup: &Setup, report: &mut Report) -> Result<(), String> {
    let files = setup.sizes.small_files;
    let made = Generated { real: files, ..Generated::flat(files, "ed25519") }.folder(setup)?;
    let server = Server::start(&made)?;
    let proxy = Proxy::start(server.address, Duration::from_millis(100))?;
    let clients = Clients::new(setup, &made, &proxy.url, "refresh");
    let again = |program| {
        let clients = &clients;
        clients.contestant(program, 5, move || Ok(Used { seconds: clients.refresh_again(program)?, memory: 0.0 }))
    };
    let series = in_turns([OURS, PYTHON_TUF, TUF_JS].map(again).into());
    let trips = series.first().and_then(crate::row::Series::median).unwrap_or_default() / 0.1;
    let work = "refresh with nothing new, 100 ms round trip, open connection";
    // The measured time includes the client's own work, so anything below 1.5 round trips counts as one round trip.
    let also = Some((format!("{trips:.2} round trips"), trips < 1.5));
    report.row(&Row::new(work, &REFRESH, Unit::Seconds, &series, also));

    let proxy = Proxy::start(server.address, Duration::from_millis(20))?;
    let clients = Clients::new(setup, &made, &proxy.url, "many");
    let names = names(&made)?;
    let contestants =
        [(OURS, 5), (PYTHON_TUF, 3), (TUF_JS, 1)].map(|(program, rounds)| clients.first(program, rounds, &names));
    let work = format!("{} targets of 10 KiB, 20 ms round trip", thousands(files));
    report.row(&Row::new(&work, &MANY, Unit::Seconds, &in_turns(contestants.into()), None));
    Ok(())
}
