//! What confines a container's process beyond its namespaces, laid over its OCI spec.

use oci_spec::runtime::{LinuxSeccomp, Spec};

use super::fault::StartFault;
use super::sandbox::HostFacts;
use super::seccomp::{ProfileFacts, default_profile};

/// What confines one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confinement {
    /// The system calls.
    pub seccomp: Seccomp,
    /// The `AppArmor` profile.
    pub app_armor: Option<String>,
}

/// Which filter of system calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Seccomp {
    /// None.
    #[default]
    Unconfined,
    /// The default one, which depends on the container's capabilities.
    Default,
    /// The operator's.
    Own(Box<LinuxSeccomp>),
}

/// Confines a container.
pub fn confine(
    spec: &mut Spec,
    confinement: &Confinement,
    host: &HostFacts,
) -> Result<(), StartFault> {
    let seccomp = match &confinement.seccomp {
        Seccomp::Unconfined => None,
        Seccomp::Own(profile) => Some(profile.as_ref().clone()),
        Seccomp::Default => {
            let capabilities = bounding(spec);
            let facts = ProfileFacts {
                arch: host.confines.arch,
                safe_ptrace: host.confines.safe_ptrace,
                capabilities: &capabilities,
            };
            Some(default_profile(&facts).map_err(|error| StartFault::create(error.to_string()))?)
        }
    };
    if let Some(linux) = spec.linux_mut().as_mut() {
        linux.set_seccomp(seccomp);
    }
    if let Some(process) = spec.process_mut().as_mut() {
        process.set_apparmor_profile(confinement.app_armor.clone());
    }
    Ok(())
}

/// The bounding capabilities of a container's process.
fn bounding(spec: &Spec) -> Vec<String> {
    let sets = spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    let bounding = sets.and_then(|sets| sets.bounding().as_ref());
    bounding.into_iter().flatten().map(|name| format!("CAP_{name}")).collect()
}
