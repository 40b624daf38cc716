//! Termination messages: where a container leaves word of its end, and how much of that is kept.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use super::mounts::normal_path;
use super::resources::all_containers;

/// Where the file is mounted unless the container says otherwise.
const DEFAULT_PATH: &str = "/dev/termination-log";

/// How much of the file's end is read.
pub const FILE_LIMIT: usize = 4096;

/// How many lines of the log stand in for a file that is empty.
pub const LOG_LINES: u64 = 80;

/// How much of those lines' end is kept.
pub const LOG_LIMIT: usize = 2048;

/// What the messages of a pod's containers may hold together.
const POD_LIMIT: usize = 12 << 10;

/// The path in the container under which it finds the file; `None` where a volume is mounted instead.
pub fn message_path(container: &Container) -> Option<String> {
    let asked = container.termination_message_path.as_deref().filter(|path| !path.is_empty());
    let path = normal_path(asked.unwrap_or(DEFAULT_PATH));
    let taken = container
        .volume_mounts
        .iter()
        .flatten()
        .any(|mount| normal_path(&mount.mount_path) == path);
    (!taken).then_some(path)
}

/// What becomes of one container's last words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageRule {
    /// Whether the log speaks for a container that failed and left no message.
    fallback: bool,
    /// How much the message may hold.
    limit: usize,
}

impl MessageRule {
    /// The rule for one of a pod's containers.
    pub fn of(spec: &PodSpec, container: &Container) -> Self {
        let policy = container.termination_message_policy.as_deref();
        let count = all_containers(spec).count().max(1);
        Self {
            fallback: policy == Some("FallbackToLogsOnError"),
            limit: FILE_LIMIT.min(POD_LIMIT / count),
        }
    }

    /// Whether the log is asked, given what the file held and how the process ended.
    pub fn asks_log(self, written: &[u8], exit_code: u32) -> bool {
        self.fallback && written.is_empty() && exit_code != 0
    }

    /// The message that is kept of these bytes.
    pub fn message(self, said: &[u8]) -> String {
        let mut text = String::from_utf8_lossy(said).into_owned();
        text.truncate(text.floor_char_boundary(self.limit));
        text
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::VolumeMount;

    use super::*;

    fn container(path: &str, policy: &str) -> Container {
        Container {
            termination_message_path: Some(path.into()),
            termination_message_policy: Some(policy.into()),
            ..Container::default()
        }
    }

    #[test]
    fn the_file_is_where_the_container_wants_it_unless_a_volume_is_there() {
        let path = |path| message_path(&container(path, "File"));
        assert_eq!(path("").as_deref(), Some("/dev/termination-log"));
        assert_eq!(path("log/last/").as_deref(), Some("/log/last"));
        assert_eq!(message_path(&Container::default()).as_deref(), Some("/dev/termination-log"));
        let mut covered = container("/log/last", "File");
        covered.volume_mounts =
            Some(vec![VolumeMount { mount_path: "log//last/".into(), ..VolumeMount::default() }]);
        assert_eq!(message_path(&covered), None);
    }

    #[test]
    fn the_log_speaks_for_a_failure_without_a_message_only() {
        let spec = PodSpec::default();
        let falls_back = MessageRule::of(&spec, &container("", "FallbackToLogsOnError"));
        assert!(falls_back.asks_log(b"", 1));
        assert!(!falls_back.asks_log(b"", 0));
        assert!(!falls_back.asks_log(b"said", 1));
        assert!(!MessageRule::of(&spec, &container("", "File")).asks_log(b"", 1));
    }

    #[test]
    fn many_containers_share_what_a_pod_may_say() {
        let of = |count: usize| {
            let containers = vec![Container::default(); count];
            let spec = PodSpec { containers, ..PodSpec::default() };
            MessageRule::of(&spec, &Container::default()).message("ä".repeat(3000).as_bytes()).len()
        };
        assert_eq!([of(1), of(3), of(4), of(5)], [4096, 4096, 3072, 2456]);
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        let rule = MessageRule::of(&PodSpec::default(), &Container::default());
        assert_eq!(rule.message(b"a\xffb"), "a\u{fffd}b");
    }
}
