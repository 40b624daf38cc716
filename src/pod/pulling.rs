//! A container's wait for its image: sought here, pulled, and pulled again ever more seldom.

use std::time::Duration;

use crate::base::{backoff::Backoff, time::Now};

use super::{
    containers::State,
    fault::{PULL_BACK_OFF, PULL_ERROR, StartFault},
    machine::{Effect, Pod, note, warning},
    record::PinnedImage,
};

/// How long a failed pull is shown as such before it is shown as a wait for the next one.
const SHOWN: Duration = Duration::from_secs(3);

/// Whether the reason is one that a new image may cure.
pub(super) fn wants_image(reason: &str) -> bool {
    matches!(reason, PULL_ERROR | PULL_BACK_OFF | "ErrImageNeverPull")
}

impl Pod {
    /// Has the image of a container brought here.
    pub(super) fn pull(&mut self, name: &str, faults: Backoff, out: &mut Vec<Effect>) {
        self.containers.insert(name.to_owned(), State::Pulling { faults });
        out.push(Effect::PullImage { container: name.to_owned() });
    }

    /// The image is here: it is the container's for as long as the pod lives, whatever its name will mean by then.
    pub(super) fn image_ready(
        &mut self,
        name: &str,
        image: PinnedImage,
        message: String,
        out: &mut Vec<Effect>,
    ) {
        let Some(State::Pulling { faults }) = self.containers.get(name) else { return };
        // What earlier pulls earned is forgiven; an image that was here and is pulled again and again is not.
        let known = self.record.containers.get(name).is_some_and(|record| record.image.is_some());
        let faults = if known { *faults } else { Backoff::default() };
        self.record_of(name).image = Some(image);
        out.push(Effect::Save);
        out.push(note("Pulled", message));
        self.start(name, faults, None, out);
    }

    /// The image could not be had: it is tried again, ever more seldom.
    pub(super) fn pull_failed(
        &mut self,
        now: Now,
        name: &str,
        fault: StartFault,
        out: &mut Vec<Effect>,
    ) {
        let Some(State::Pulling { faults }) = self.containers.get(name) else { return };
        let mut faults = *faults;
        let wait = faults.next(self.policy.image);
        let shown = if fault.reason == PULL_ERROR { SHOWN.min(wait / 2) } else { wait };
        let event = match fault.reason {
            "ErrImageNeverPull" => "ErrImageNeverPull",
            "InvalidImageName" | "ImageInspectError" => "InspectFailed",
            _ => "Failed",
        };
        out.push(warning(event, fault.message.clone()));
        out.push(warning("Failed", format!("Error: {}", fault.reason)));
        let state = State::Waiting {
            reason: fault.reason,
            message: fault.message,
            retry_at: Some(now.mono + shown),
            faults,
        };
        self.containers.insert(name.to_owned(), state);
    }

    /// From the failure of a pull to the wait for the next one.
    pub(super) fn wait_to_pull(&mut self, now: Now, name: &str, out: &mut Vec<Effect>) {
        let Some(State::Waiting { message, faults, .. }) = self.containers.get(name) else {
            return;
        };
        let (wait, faults) = (faults.delay(), *faults);
        let text = format!("Back-off pulling image {:?}", self.image_name(name));
        let state = State::Waiting {
            reason: PULL_BACK_OFF,
            message: format!("{text}: {PULL_ERROR}: {message}"),
            retry_at: Some(now.mono + wait.saturating_sub(SHOWN.min(wait / 2))),
            faults,
        };
        self.containers.insert(name.to_owned(), state);
        out.push(note("BackOff", text));
        out.push(warning("Failed", format!("Error: {PULL_BACK_OFF}")));
    }

    /// The image of a container as its template names it.
    pub(super) fn image_name(&self, name: &str) -> &str {
        let container = self.record.container(name);
        container.and_then(|container| container.image.as_deref()).unwrap_or_default()
    }
}
