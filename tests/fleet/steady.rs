//! What every test about faults asks: did all that ran run on, as the same processes?

use anyhow::{Result, ensure};

use crate::hosts::{Fleet, Running};
use crate::support::set::Set;

/// What runs on each host.
pub(crate) type Everywhere = Vec<Vec<Running>>;

/// Has the set `web` run on every host, and returns what runs then.
pub(crate) fn settled(fleet: &Fleet) -> Result<Everywhere> {
    fleet.apply(&Set::named("web"))?;
    fleet.each(|host| host.runs("web"))?;
    fleet.running()
}

/// Whether all that ran runs on: same containers, same processes, same start times.
pub(crate) fn unchanged(fleet: &Fleet, before: &Everywhere) -> Result<()> {
    for (host, (before, now)) in fleet.hosts.iter().zip(before.iter().zip(fleet.running()?)) {
        let gone: Vec<_> = before.iter().filter(|one| !now.contains(one)).collect();
        ensure!(gone.is_empty(), "on {} these ended: {gone:?}; now {now:?}", host.name);
    }
    Ok(())
}

/// Whether every host follows the store: a new set comes, and what ran runs on.
pub(crate) fn follows(fleet: &Fleet, name: &str, before: &Everywhere) -> Result<()> {
    fleet.apply(&Set::named(name))?;
    fleet.each(|host| host.runs(name))?;
    unchanged(fleet, before)
}
