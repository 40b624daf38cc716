//! The wait for an image.

use std::time::Duration;

use super::{SECOND, later, record, sandbox_ready, starts};
use crate::base::time::{self, Now};
use crate::pod::{
    containers::State,
    fault::{IMAGE_GONE, StartFault},
    machine::{Effect, Input, Pod, Policy},
    record::PinnedImage,
};

/// A pod that is about to have its image pulled.
fn pulling(now: Now) -> Pod {
    let mut record = record(&["a"]);
    record.containers.clear();
    let (mut pod, _) = Pod::new(record, Policy::default());
    assert_eq!(pulls(&pod.step(now, sandbox_ready())), 1);
    pod
}

fn pulls(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::PullImage { .. })).count()
}

fn failed() -> Input {
    let fault = StartFault { reason: "ErrImagePull", message: "no".into() };
    Input::PullFailed { container: "a".into(), fault }
}

fn ready(digest: &str) -> Input {
    let image = PinnedImage { digest: digest.into(), ..PinnedImage::default() };
    Input::ImageReady { container: "a".into(), image, message: "here".into() }
}

fn reason(pod: &Pod) -> &'static str {
    match &pod.containers["a"] {
        State::Waiting { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_container_starts_once_its_image_is_here_and_keeps_that_image() {
    let now = time::now();
    let mut pod = pulling(now);
    let effects = pod.step(now, ready("sha256:1"));
    assert_eq!(starts(&effects), [0]);
    assert!(effects.contains(&Effect::Save), "{effects:?}");
    assert_eq!(pod.record.containers["a"].image.as_ref().unwrap().digest, "sha256:1");
    // A second answer, as after a lost sandbox, changes nothing.
    assert_eq!(pod.step(now, ready("sha256:2")), []);
    assert_eq!(pod.record.containers["a"].image.as_ref().unwrap().digest, "sha256:1");
}

#[test]
fn a_pull_that_failed_is_shown_as_such_and_then_as_the_wait_for_the_next() {
    let mut now = time::now();
    let mut pod = pulling(now);
    for wait in [10, 20, 40, 80, 160, 300, 300] {
        pod.step(now, failed());
        assert_eq!(reason(&pod), "ErrImagePull");
        let begun = now;
        now = later(now, pod.deadline().unwrap() - now.mono);
        assert_eq!(pulls(&pod.step(now, Input::Deadline)), 0);
        assert_eq!(reason(&pod), "ImagePullBackOff");
        now = later(now, pod.deadline().unwrap() - now.mono);
        assert_eq!(now.mono - begun.mono, wait * SECOND);
        assert_eq!(pulls(&pod.step(now, Input::Deadline)), 1);
    }
}

#[test]
fn an_image_that_arrives_ends_the_wait() {
    let now = time::now();
    let mut pod = pulling(now);
    pod.step(now, failed());
    assert_eq!(pulls(&pod.step(now, Input::ImagesChanged)), 1);
}

#[test]
fn a_pod_that_stops_does_not_wait_for_its_pull() {
    let now = time::now();
    let mut pod = pulling(now);
    let delete = Input::Delete { grace: Duration::ZERO, cause: String::new() };
    assert!(pod.step(now, delete).contains(&Effect::RemovePod));
    assert_eq!(pod.step(now, ready("sha256:1")), []);
    pod.step(now, Input::PodRemoved);
    assert!(pod.gone());
}

#[test]
fn an_image_that_went_under_a_pod_is_brought_back_without_a_loop() {
    let mut now = time::now();
    let mut pod = pulling(now);
    pod.step(now, ready("sha256:1"));
    let gone = || StartFault { reason: IMAGE_GONE, message: "gone".into() };
    let start_failed =
        |attempt| Input::StartFailed { container: "a".into(), attempt, fault: gone() };
    assert_eq!(pulls(&pod.step(now, start_failed(0))), 1);
    assert_eq!(starts(&pod.step(now, ready("sha256:1"))), [0]);
    assert_eq!(pulls(&pod.step(now, start_failed(0))), 0, "the second time it waits");
    now = later(now, pod.deadline().unwrap() - now.mono);
    assert_eq!(starts(&pod.step(now, Input::Deadline)), [0]);
}
