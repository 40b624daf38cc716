//! Work under way. All of it is one kind of task, for tokio's code for a kind is large and there are dozens of works.

use std::{
    ops::{Deref, DerefMut},
    pin::Pin,
};

use tokio::task::{AbortHandle, JoinSet};

use super::reconciler::Done;

/// A set of works, each of which ends with what is [`Done`].
#[derive(Debug, Default)]
pub(super) struct Works(JoinSet<Done>);

impl Works {
    /// Begins one more.
    pub(super) fn spawn(
        &mut self,
        work: impl Future<Output = Done> + Send + 'static,
    ) -> AbortHandle {
        let work: Pin<Box<dyn Future<Output = Done> + Send>> = Box::pin(work);
        self.0.spawn(work)
    }
}

impl Deref for Works {
    type Target = JoinSet<Done>;

    fn deref(&self) -> &JoinSet<Done> {
        &self.0
    }
}

impl DerefMut for Works {
    fn deref_mut(&mut self) -> &mut JoinSet<Done> {
        &mut self.0
    }
}
