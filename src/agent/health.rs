//! Probes and hooks of a container, resolved and carried out.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Container;

use crate::pod::{
    action::{Action, Asker, Outcome},
    machine::{Hook, Input},
    probes::{self, ProbeKind},
    record::PodRecord,
};

use super::{actions::Errand, effects::Effects};

/// The address at which a pod on the host's network is asked when the host has none.
const LOOPBACK: &str = "127.0.0.1";

impl Effects {
    /// Runs a probe once.
    pub async fn probe(
        self: Arc<Self>,
        record: PodRecord,
        container: String,
        attempt: u32,
        kind: ProbeKind,
    ) -> Input {
        let resolved = self.resolve(&record, &container, |own, ip| {
            let probe = kind.of(own).ok_or_else(|| format!("no {} probe", kind.word()))?;
            Ok((Action::of_probe(probe, own, ip)?, probes::timeout(probe)))
        });
        let outcome = match resolved {
            Ok((action, timeout)) => {
                let id = match kind {
                    ProbeKind::Startup => "probe-startup",
                    ProbeKind::Liveness => "probe-liveness",
                    ProbeKind::Readiness => "probe-readiness",
                };
                let (pod, container, limit) = (record.uid, container.clone(), Some(timeout));
                let asker = Asker::Probe;
                self.act(Errand { pod, container, attempt, id, action, asker, limit }).await
            }
            Err(text) => Outcome::Error(text),
        };
        Input::Probed { container, attempt, kind, outcome }
    }

    /// Runs a hook.
    pub async fn hook(
        self: Arc<Self>,
        record: PodRecord,
        container: String,
        attempt: u32,
        hook: Hook,
        timeout: Option<Duration>,
    ) -> Input {
        let resolved = self.resolve(&record, &container, |own, ip| {
            let lifecycle = own.lifecycle.as_ref();
            let handler = lifecycle.and_then(|lifecycle| match hook {
                Hook::PostStart => lifecycle.post_start.as_ref(),
                Hook::PreStop => lifecycle.pre_stop.as_ref(),
            });
            Action::of_hook(handler.ok_or("no such hook")?, own, ip)
        });
        let outcome = match resolved {
            Ok(action) => {
                let id = match hook {
                    Hook::PostStart => "hook-post-start",
                    Hook::PreStop => "hook-pre-stop",
                };
                let (pod, container, limit) = (record.uid, container.clone(), timeout);
                let asker = Asker::Hook;
                self.act(Errand { pod, container, attempt, id, action, asker, limit }).await
            }
            Err(text) => Outcome::Error(text),
        };
        Input::HookDone { container, attempt, hook, outcome }
    }

    /// Makes every choice: which container it is, and at which address its pod is found.
    fn resolve<T>(
        &self,
        record: &PodRecord,
        container: &str,
        choose: impl FnOnce(&Container, &str) -> Result<T, String>,
    ) -> Result<T, String> {
        let own = record
            .container(container)
            .ok_or_else(|| format!("the pod's template has no container {container}"))?;
        let address = self.facts.addresses.first().map(ToString::to_string);
        choose(own, address.as_deref().unwrap_or(LOOPBACK))
    }
}
