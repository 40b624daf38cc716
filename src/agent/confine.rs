//! What confines a container that is about to start: its wishes met by what this host has.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;
use tracing::warn;

use crate::base::errors::Chain;
use crate::host::confinement::{app_armor_profiles, seccomp_profile};
use crate::pod::{
    apparmor::{AppArmorHost, AppArmorWish, app_armor_profile, app_armor_wish},
    confinement::{Confinement, Seccomp},
    fault::StartFault,
    record::PodRecord,
    seccomp::{SeccompWish, seccomp_wish},
};

use super::effects::{Effects, blocking};

impl Effects {
    /// What confines the container, or why it cannot be confined as it asks.
    pub(super) async fn confinement(
        self: &Arc<Self>,
        record: &PodRecord,
        container: &Container,
    ) -> Result<Confinement, StartFault> {
        let annotations =
            record.template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
        let seccomp = seccomp_wish(record.spec(), container)?;
        let app_armor = app_armor_wish(record.spec(), annotations, container)?;
        if seccomp != SeccompWish::Unconfined && !self.host.confines.seccomp {
            return Err(StartFault::create("seccomp is not supported by this kernel"));
        }
        let effects = Arc::clone(self);
        blocking(move || effects.meet(seccomp, &app_armor)).await
    }

    /// Reads what the wishes name.
    fn meet(
        &self,
        seccomp: SeccompWish,
        app_armor: &AppArmorWish,
    ) -> Result<Confinement, StartFault> {
        let seccomp = match seccomp {
            SeccompWish::Unconfined => Seccomp::Unconfined,
            SeccompWish::Default => Seccomp::Default,
            SeccompWish::Localhost(name) => {
                Seccomp::Own(Box::new(seccomp_profile(&self.paths.seccomp, &name)?))
            }
        };
        if !self.host.confines.app_armor || *app_armor == AppArmorWish::Unconfined {
            let app_armor = app_armor_profile(app_armor, AppArmorHost::Off)?;
            return Ok(Confinement { seccomp, app_armor });
        }
        let profiles = app_armor_profiles().unwrap_or_else(|error| {
            warn!(error = %Chain(&error), "cannot load the default AppArmor profile");
            Vec::new()
        });
        let app_armor = app_armor_profile(app_armor, AppArmorHost::On(&profiles))?;
        Ok(Confinement { seccomp, app_armor })
    }
}
