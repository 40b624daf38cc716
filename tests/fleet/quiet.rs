//! A fleet to which nothing happens writes nothing.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::hosts::on_store;
use crate::support::set::Set;
use crate::support::wait::{PATIENCE, clock, patiently};

#[test]
fn an_idle_fleet_makes_no_new_revision_within_a_minute() -> Result<()> {
    on_store(5, 1, |fleet| {
        fleet.apply(&Set::named("web"))?;
        fleet.each(|host| host.runs("web"))?;
        // What was told last of the starts may still be on its way.
        let mut seen = (0, clock());
        let settled = patiently("the fleet to have said everything", PATIENCE, || {
            let revision = fleet.etcd()?.revision()?;
            if revision != seen.0 {
                seen = (revision, clock());
            }
            Ok((seen.1.elapsed() > Duration::from_secs(4)).then_some(revision))
        })?;
        let start = clock();
        while start.elapsed() < Duration::from_mins(1) {
            thread::park_timeout(Duration::from_mins(1).saturating_sub(start.elapsed()));
        }
        assert_eq!(fleet.etcd()?.revision()?, settled, "an idle fleet writes");
        assert_eq!(fleet.keys("fleet/alive/")?.len(), 5, "every host is alive all the while");
        Ok(())
    })
}
