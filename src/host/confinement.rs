//! What confines processes on this host: seccomp profiles in files, `AppArmor` profiles in the kernel.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::runtime::LinuxSeccomp;

use crate::pod::apparmor::{DEFAULT_PROFILE, DEFAULT_TEXT};
use crate::pod::fault::StartFault;

/// Where the kernel lists the `AppArmor` profiles that are loaded.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";

/// Where the tool that loads profiles may be.
const PARSERS: [&str; 3] =
    ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser", "/usr/bin/apparmor_parser"];

/// Reads a seccomp profile of the operator's.
pub fn seccomp_profile(dir: &Path, name: &str) -> Result<LinuxSeccomp, StartFault> {
    let path = dir.join(name);
    let cannot = |why: String| {
        StartFault::create(format!(
            "cannot load seccomp profile {:?}: {why}",
            path.display().to_string()
        ))
    };
    let text = fs::read(&path).map_err(|error| cannot(error.to_string()))?;
    serde_json::from_slice(&text)
        .map_err(|error| cannot(format!("{error}; write it in the form of the OCI runtime spec")))
}

/// Whether the kernel filters system calls.
pub fn seccomp_enabled() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Seccomp:"))
}

/// Whether `AppArmor` is there and on.
pub fn app_armor_enabled() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|text| text.trim() == "Y")
}

/// The `AppArmor` profiles that are loaded, the default one among them where it can be: loading it is tried each
/// time it is missing.
pub fn app_armor_profiles() -> io::Result<Vec<String>> {
    let mut loaded = profile_names(&fs::read_to_string(PROFILES)?);
    let missing = !loaded.iter().any(|name| name == DEFAULT_PROFILE);
    if missing && let Some(parser) = PARSERS.iter().map(PathBuf::from).find(|path| path.exists()) {
        load(&parser)?;
        loaded = profile_names(&fs::read_to_string(PROFILES)?);
    }
    Ok(loaded)
}

/// The names in the kernel's list: each line is a name and its mode in parentheses.
fn profile_names(list: &str) -> Vec<String> {
    let name = |line: &str| line.rsplit_once(" (").map_or(line, |(name, _)| name).to_owned();
    list.lines().map(name).collect()
}

/// Loads the default profile.
fn load(parser: &Path) -> io::Result<()> {
    let mut child =
        Command::new(parser).arg("-Kr").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(DEFAULT_TEXT.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {}: {words}", parser.display(), output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_read_and_what_is_wrong_with_one_is_said_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let good = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}"#;
        fs::write(dir.path().join("good.json"), good).unwrap();
        fs::write(dir.path().join("bad.json"), r#"{"defaultAction": "ALLOW"}"#).unwrap();
        assert_eq!(seccomp_profile(dir.path(), "good.json").unwrap().syscalls().iter().len(), 1);
        for name in ["bad.json", "missing.json"] {
            let fault = seccomp_profile(dir.path(), name).unwrap_err();
            assert_eq!(fault.reason, "CreateContainerError");
            assert!(fault.message.contains(&format!("{}/{name}", dir.path().display())), "{fault}");
        }
    }

    #[test]
    fn names_of_profiles_are_what_stands_before_their_mode() {
        let list = "cri-containerd.apparmor.d (enforce)\n/usr/bin/man (complain)\na b (kill)\n";
        assert_eq!(profile_names(list), ["cri-containerd.apparmor.d", "/usr/bin/man", "a b"]);
    }
}
