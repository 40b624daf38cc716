//! Pods as systemd slices: systemd owns the tree, so it is asked and never bypassed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::base::ids::PodUid;
use crate::pod::resources::{Resources, cpu_weight};

use super::cgroup::CgroupError;

/// Where systemd keeps properties that were set until the next boot.
const RUNTIME_PROPERTIES: &str = "/run/systemd/system.control";

/// The systemd of this machine.
#[derive(Clone, Debug)]
pub(super) struct Systemd {
    /// The parent slice's name without its suffix: `podward`.
    parent: String,
    /// The tool that talks to it.
    systemctl: PathBuf,
    /// Where properties set at run time leave files.
    properties: PathBuf,
}

impl Systemd {
    /// systemd with a parent such as `podward` or `podward/test`.
    pub(super) fn new(parent: &str) -> Self {
        Self {
            parent: parent.replace('/', "-"),
            systemctl: "systemctl".into(),
            properties: RUNTIME_PROPERTIES.into(),
        }
    }

    /// The pod's slice. A dash nests slices, so the uid's dashes become underscores.
    pub(super) fn slice(&self, pod: &PodUid) -> String {
        format!("{}-pod{}.slice", self.parent, pod.as_str().replace('-', "_"))
    }

    /// The pod that a slice belongs to.
    pub(super) fn pod_of(&self, slice: &str) -> Option<PodUid> {
        let name = slice.strip_prefix(&self.parent)?.strip_prefix("-pod")?;
        Some(PodUid::new(name.strip_suffix(".slice")?.replace('_', "-")))
    }

    /// The parent slice's path in a hierarchy: `a-b.slice` lies in `a.slice`.
    pub(super) fn parent_path(&self) -> PathBuf {
        let mut path = PathBuf::new();
        for (end, _) in self.parent.match_indices('-') {
            path.push(format!("{}.slice", &self.parent[..end]));
        }
        path.join(format!("{}.slice", self.parent))
    }

    /// Sets the slice's limits before it exists: systemd applies them when the first container's scope makes it.
    pub(super) fn set_limits(
        &self,
        pod: &PodUid,
        limits: &Resources,
        v2: bool,
    ) -> Result<(), CgroupError> {
        let properties = properties(limits, v2);
        let slice = self.slice(pod);
        let mut words = vec!["set-property", "--runtime", &slice];
        words.extend(properties.iter().map(String::as_str));
        self.run(&words)
    }

    /// Stops the slice with everything in it, and forgets its limits.
    pub(super) fn remove(&self, pod: &PodUid, there: bool) -> Result<(), CgroupError> {
        let slice = self.slice(pod);
        if there {
            self.run(&["stop", &slice])?;
        }
        if self.properties.join(format!("{slice}.d")).exists() {
            // Nothing is loaded any more that a reload, which is dear on a host of many units, would have to change.
            self.run(&["revert", "--no-reload", &slice])?;
        }
        Ok(())
    }

    /// Runs systemctl.
    fn run(&self, words: &[&str]) -> Result<(), CgroupError> {
        let failed = |message: String| CgroupError::Systemctl {
            command: format!("systemctl {}", words.join(" ")),
            message,
        };
        let output = Command::new(Path::new(&self.systemctl))
            .args(words)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(failed(if said.is_empty() { output.status.to_string() } else { said }))
    }
}

/// The properties of a pod. The weight is always among them: without one a slice has the same as a pod that asks for
/// a whole processor, also where the pod asks for nothing.
fn properties(limits: &Resources, v2: bool) -> Vec<String> {
    let mut list = vec![if v2 {
        format!("CPUWeight={}", cpu_weight(limits.cpu_shares))
    } else {
        format!("CPUShares={}", limits.cpu_shares)
    }];
    if let Some(quota) = limits.cpu_quota {
        // Tenths of a percent of one processor, which is as fine as Kubernetes' thousandths.
        let tenths = i128::from(quota) * 1000 / i128::from(limits.cpu_period.max(1));
        list.push(format!("CPUQuota={}.{}%", tenths / 10, tenths % 10));
    }
    if let Some(limit) = limits.memory_limit {
        let name = if v2 { "MemoryMax" } else { "MemoryLimit" };
        list.push(format!("{name}={limit}"));
    }
    list
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const UID: &str = "0b6e-11-aa";

    fn limits(cpu_shares: u64, cpu_quota: Option<i64>, memory_limit: Option<i64>) -> Resources {
        Resources { cpu_shares, cpu_quota, cpu_period: 100_000, memory_limit }
    }

    #[test]
    fn slices_are_named_so_that_they_do_not_nest() {
        let systemd = Systemd::new("podward");
        let pod = PodUid::new(UID);
        assert_eq!(systemd.slice(&pod), "podward-pod0b6e_11_aa.slice");
        assert_eq!(systemd.pod_of("podward-pod0b6e_11_aa.slice"), Some(pod));
        assert_eq!(systemd.pod_of("podward-other.slice"), None);
        assert_eq!(systemd.parent_path(), Path::new("podward.slice"));
        assert_eq!(
            Systemd::new("podward/test").parent_path(),
            Path::new("podward.slice/podward-test.slice")
        );
    }

    #[test]
    fn limits_become_properties_of_either_kernel_interface() {
        for (limits, v2, expected) in [
            (limits(2, None, None), true, &["CPUWeight=1"][..]),
            (limits(2, None, None), false, &["CPUShares=2"]),
            (limits(1024, None, None), true, &["CPUWeight=100"]),
            (
                limits(512, Some(50_000), Some(1 << 20)),
                true,
                &["CPUWeight=59", "CPUQuota=50.0%", "MemoryMax=1048576"],
            ),
            (
                limits(512, Some(1_500), Some(1 << 20)),
                false,
                &["CPUShares=512", "CPUQuota=1.5%", "MemoryLimit=1048576"],
            ),
        ] {
            assert_eq!(properties(&limits, v2), expected, "{limits:?}");
        }
    }

    #[test]
    fn the_tool_is_called_with_the_slice_and_its_failure_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (tool, log) = (dir.path().join("systemctl"), dir.path().join("log"));
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\n[ \"$1\" != revert ] || {{ echo broken >&2; exit 1; }}\n",
            log.display()
        );
        fs::write(&tool, script).unwrap();
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
        let systemd = Systemd {
            systemctl: tool,
            properties: dir.path().to_owned(),
            ..Systemd::new("podward")
        };
        let pod = PodUid::new("u");
        systemd.set_limits(&pod, &limits(2, None, None), true).unwrap();
        systemd.set_limits(&pod, &limits(1024, None, None), true).unwrap();
        systemd.remove(&pod, false).unwrap();
        systemd.remove(&pod, true).unwrap();
        fs::create_dir(dir.path().join("podward-podu.slice.d")).unwrap();
        assert_eq!(
            systemd.remove(&pod, false).unwrap_err().to_string(),
            "systemctl revert --no-reload podward-podu.slice failed: broken"
        );
        assert_eq!(
            fs::read_to_string(log).unwrap(),
            "set-property --runtime podward-podu.slice CPUWeight=1\n\
             set-property --runtime podward-podu.slice CPUWeight=100\nstop podward-podu.slice\n\
             revert --no-reload podward-podu.slice\n"
        );
    }
}
