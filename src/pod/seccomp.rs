//! Which system calls a container's processes may make: the profile that is asked for, and the default one.

use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{Container, PodSpec, SeccompProfile};
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder,
    LinuxSeccompOperator, LinuxSyscall,
};

use super::fault::StartFault;
use super::security::privileged;

/// The names that the default profile allows, by group.
const DEFAULT: &str = include_str!("seccomp/default.txt");

/// The flags of `clone` that make namespaces: all but those of time, which `clone` does not take.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;

/// `AF_VSOCK`: sockets that reach beyond the machine whatever its network is.
const VSOCK: u64 = 40;

/// `ENOSYS`: programs take it as "not there" and do without.
const NOT_THERE: u32 = 38;

/// The personalities that a process may take: Linux' own, without randomised addresses, and asking which it has.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// What a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeccompWish {
    /// No profile.
    Unconfined,
    /// The default profile.
    Default,
    /// A profile of the operator's, by its path below the profiles' directory.
    Localhost(String),
}

/// What a container asks for: its own word before the pod's, and nothing for a privileged one.
pub fn seccomp_wish(spec: &PodSpec, container: &Container) -> Result<SeccompWish, StartFault> {
    if privileged(container) {
        return Ok(SeccompWish::Unconfined);
    }
    let own = container.security_context.as_ref().and_then(|own| own.seccomp_profile.as_ref());
    let pods = spec.security_context.as_ref().and_then(|pods| pods.seccomp_profile.as_ref());
    match own.or(pods) {
        None => Ok(SeccompWish::Unconfined),
        Some(profile) => wish(profile),
    }
}

/// What one profile means.
fn wish(profile: &SeccompProfile) -> Result<SeccompWish, StartFault> {
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Unconfined", _) => Ok(SeccompWish::Unconfined),
        ("RuntimeDefault", _) => Ok(SeccompWish::Default),
        // Validation says so earlier; a record may be older than this validation.
        ("Localhost", Some(path)) if stays_inside(path) => {
            Ok(SeccompWish::Localhost(path.to_owned()))
        }
        ("Localhost", path) => Err(StartFault::create(format!(
            "seccompProfile.localhostProfile: {:?}: not a relative path without ..",
            path.unwrap_or_default()
        ))),
        (other, _) => Err(StartFault::config(format!(
            "seccompProfile.type: {other}: unknown; write Unconfined, RuntimeDefault or Localhost"
        ))),
    }
}

/// Whether a path can only mean something below the directory that it is taken from.
fn stays_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// What the default profile depends on.
#[derive(Clone, Copy, Debug)]
pub struct ProfileFacts<'a> {
    /// The architecture, as Rust names it.
    pub arch: &'a str,
    /// Whether the kernel is 4.8 or newer: before, a traced process escaped its filter.
    pub safe_ptrace: bool,
    /// The container's bounding capabilities.
    pub capabilities: &'a [String],
}

/// The default profile, as containerd gives it to a container with these capabilities.
pub fn default_profile(facts: &ProfileFacts<'_>) -> Result<LinuxSeccomp, OciSpecError> {
    let has = |name: &str| facts.capabilities.iter().any(|known| known == name);
    let applies = |group: &str| match group.split_once(' ') {
        None => group == "always",
        Some(("kernel", _)) => facts.safe_ptrace,
        Some(("arch", arch)) => arch == facts.arch,
        Some((_, capability)) => has(capability),
    };
    let mut rules = vec![allow(&["socket"], &[condition(LinuxSeccompOperator::ScmpCmpNe, VSOCK)?])];
    for value in PERSONALITIES {
        rules.push(allow(&["personality"], &[condition(LinuxSeccompOperator::ScmpCmpEq, value)?]));
    }
    rules.extend(groups().filter(|(group, _)| applies(group)).map(|(_, names)| allow(&names, &[])));
    if !has("CAP_SYS_ADMIN") {
        // s390x takes the flags as the second argument.
        let index = usize::from(facts.arch == "s390x");
        rules.push(allow(&["clone"], &[no_namespaces(index)?]));
        let mut absent = allow(&["clone3"], &[]);
        absent.set_action(LinuxSeccompAction::ScmpActErrno).set_errno_ret(Some(NOT_THERE));
        rules.push(absent);
    }
    let mut profile = LinuxSeccomp::default();
    profile
        .set_default_action(LinuxSeccompAction::ScmpActErrno)
        .set_architectures(architectures(facts.arch))
        .set_syscalls(Some(rules));
    Ok(profile)
}

/// The groups of the table: heading and names.
fn groups() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    DEFAULT.split("\n[").skip(1).filter_map(|group| {
        let (heading, names) = group.split_once(']')?;
        Some((heading, names.split_whitespace().collect()))
    })
}

/// The architectures whose programs this one's kernel runs; the native one alone when nothing is said.
fn architectures(arch: &str) -> Option<Vec<Arch>> {
    match arch {
        "x86_64" => Some(vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]),
        "aarch64" => Some(vec![Arch::ScmpArchArm, Arch::ScmpArchAarch64]),
        "s390x" => Some(vec![Arch::ScmpArchS390, Arch::ScmpArchS390x]),
        _ => None,
    }
}

/// A rule that allows calls on conditions.
fn allow(names: &[&str], conditions: &[LinuxSeccompArg]) -> LinuxSyscall {
    let mut rule = LinuxSyscall::default();
    rule.set_names(names.iter().map(|name| (*name).to_owned()).collect())
        .set_action(LinuxSeccompAction::ScmpActAllow)
        .set_args((!conditions.is_empty()).then(|| conditions.to_vec()));
    rule
}

/// A condition on the first argument.
fn condition(op: LinuxSeccompOperator, value: u64) -> Result<LinuxSeccompArg, OciSpecError> {
    LinuxSeccompArgBuilder::default().index(0usize).value(value).op(op).build()
}

/// The condition that no flag which makes a namespace is set.
fn no_namespaces(index: usize) -> Result<LinuxSeccompArg, OciSpecError> {
    LinuxSeccompArgBuilder::default()
        .index(index)
        .value(NAMESPACE_FLAGS)
        .op(LinuxSeccompOperator::ScmpCmpMaskedEq)
        .build()
}

#[cfg(test)]
mod tests;
