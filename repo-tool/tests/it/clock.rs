//! Nothing is published while this machine's clock is far behind the time at which the published metadata was signed.

use chrono::TimeDelta;
use lastmile_repo_tool::{ClockCheck, Draft, Error, Invocation, PublicationError, Signing};

use crate::world::{World, is_published};

fn is_behind<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Publication(PublicationError::ClockBehind { .. })))
}

#[test]
fn c6_nothing_is_published_while_the_clock_is_far_behind() {
    let mut world = World::new();
    world.add("a", "1");
    let right = world.now;
    let before = world.files("metadata");
    for (hours, is_refused) in [(0, false), (23, false), (25, true), (24 * 400, true)] {
        let mut world = world.copy();
        world.now = right - TimeDelta::hours(hours);
        assert_eq!(is_behind(&world.add_as(&world.invocation(), "b", "2")), is_refused, "{hours} hours");
        assert_eq!(world.files("metadata") == before, is_refused, "{hours} hours");
        assert_eq!(is_behind(&world.renew()), is_refused, "{hours} hours");
    }
    world.now = right - TimeDelta::days(30);
    // A dry run returns the same error.
    let mut repository = world.open();
    assert!(is_behind(&repository.plan(Draft::renew_online_roles(), Signing::Never).map(drop)));
    drop(repository);
    let error = world.add_as(&world.invocation(), "b", "2").unwrap_err().to_string();
    assert!(error.contains("this machine's clock reads 20") && error.contains("--skip-clock-check"), "{error}");
    // Users can skip the check, for example if the last metadata was signed while the clock was fast.
    let trusting = Invocation { clock: ClockCheck::Ignore, ..world.invocation() };
    assert!(is_published(&world.add_as(&trusting, "b", "2").unwrap()));
    // The newest metadata has now been signed with the current clock, so the check succeeds again.
    assert!(is_published(&world.add("c", "3")));
}

#[test]
fn c6_a_shortened_lifetime_is_not_mistaken_for_a_slow_clock() {
    let world = World::new();
    world.add("a", "1");
    let mut config = world.open().config.clone();
    config.edit_roles(|name, role| {
        if name == "snapshot" {
            role.set_expires_days(2);
        }
    });
    std::fs::write(world.layout().config(), config.text()).unwrap();
    assert!(is_published(&world.add("b", "2")));
}
