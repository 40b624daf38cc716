//! Sweeping: what earlier lives of the agent left in containerd and nobody wants.

use std::collections::BTreeSet;

use super::{Containerd, error::Error};
use crate::base::{errors::Errors, ids::ContainerId, keyed::distinct};

impl Containerd {
    /// Removes every container, task, snapshot and content lease of ours that is not in `keep`, and
    /// returns a line for each. Goes on to the end, whatever fails on the way.
    pub async fn sweep(&self, keep: &BTreeSet<ContainerId>) -> Result<Vec<String>, Errors> {
        let mut errors = Errors::default();
        let mut removed = Vec::new();
        for id in errors.note("list strays", self.stray_tasks().await).unwrap_or_default() {
            // Without a record there is no way to a task: give it one.
            if errors.note("record stray task", self.record_stray(&id).await).is_some() {
                removed.push(format!("record of task {id}"));
            }
        }
        let mut unwanted = BTreeSet::new();
        let records = errors.note("list", self.list_containers().await).unwrap_or_default();
        unwanted.extend(records.into_iter().map(|record| record.id));
        let snapshots = errors.note("list", self.container_snapshots().await).unwrap_or_default();
        unwanted.extend(snapshots);
        for id in unwanted.difference(keep) {
            if errors.note("sweep", self.remove_container(id).await).is_some() {
                removed.push(format!("container {id}"));
            }
        }
        for lease in errors.note("list", self.leftover_leases().await).unwrap_or_default() {
            if errors.note("sweep", self.end_lease(&lease, false).await).is_some() {
                removed.push(format!("content lease {lease}"));
            }
        }
        errors.into_result().map(|()| removed)
    }

    /// The tasks whose record is gone.
    async fn stray_tasks(&self) -> Result<Vec<ContainerId>, Error> {
        let known: BTreeSet<ContainerId> = distinct(self.container_ids().await?);
        let tasks = self.list_tasks().await?;
        Ok(tasks.into_iter().map(|task| task.id).filter(|id| !known.contains(id)).collect())
    }
}
