//! Kubernetes resources as the kernel takes them: CPU shares, quota, memory limit, for a container and for its pod.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::base::quantity::Amount;

/// The CFS period that quotas are measured against, in microseconds.
pub const CPU_PERIOD: u64 = 100_000;

/// The shares of a container that asks for no CPU; also the least that the kernel takes.
pub const MIN_SHARES: u64 = 2;

/// The most shares that the kernel takes.
const MAX_SHARES: u64 = 262_144;

/// The least quota that the kernel takes, in microseconds.
const MIN_QUOTA: i64 = 1000;

/// Limits in the kernel's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// The CPU weight on cgroup v1's scale.
    pub cpu_shares: u64,
    /// CPU time per period in microseconds; `None` is without limit.
    pub cpu_quota: Option<i64>,
    /// The period in microseconds.
    pub cpu_period: u64,
    /// Bytes of memory; `None` is without limit.
    pub memory_limit: Option<i64>,
}

/// Which of a container's two lists of amounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `resources.requests`, a missing one taken from the limit.
    Requests,
    /// `resources.limits`.
    Limits,
}

/// The amount that a container declares; `None` when it says nothing. Unreadable amounts were refused with the spec.
pub fn declared(container: &Container, side: Side, name: &str) -> Option<Amount> {
    let resources = container.resources.as_ref()?;
    let find = |list: &Option<std::collections::BTreeMap<_, _>>| {
        list.as_ref().and_then(|list| list.get(name)).and_then(
            |quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity| {
                Amount::parse(&quantity.0).ok()
            },
        )
    };
    match side {
        Side::Requests => find(&resources.requests).or_else(|| find(&resources.limits)),
        Side::Limits => find(&resources.limits),
    }
}

/// The limits of one container's own cgroup.
pub fn container_resources(container: &Container) -> Resources {
    let request = declared(container, Side::Requests, "cpu").map_or(0, Amount::milli);
    let limit = declared(container, Side::Limits, "cpu").map_or(0, Amount::milli);
    let memory = declared(container, Side::Limits, "memory").map_or(0, Amount::value);
    Resources {
        cpu_shares: shares(request),
        cpu_quota: quota(limit),
        cpu_period: CPU_PERIOD,
        memory_limit: (memory > 0).then_some(memory),
    }
}

/// The limits of the pod's cgroup: the sum of its containers; a limit only where every container has it.
pub fn pod_resources(spec: &PodSpec) -> Resources {
    let everywhere = |name: &str| {
        all_containers(spec).all(|container| {
            declared(container, Side::Limits, name).is_some_and(|amount| !amount.is_zero())
        })
    };
    let cpu_limit = pod_total(spec, |c| declared(c, Side::Limits, "cpu").map_or(0, Amount::milli));
    let memory_limit =
        pod_total(spec, |c| declared(c, Side::Limits, "memory").map_or(0, Amount::value));
    let requests = pod_total(spec, |c| declared(c, Side::Requests, "cpu").map_or(0, Amount::milli));
    Resources {
        cpu_shares: shares(requests),
        cpu_quota: if everywhere("cpu") { quota(cpu_limit) } else { None },
        cpu_period: CPU_PERIOD,
        memory_limit: (memory_limit > 0 && everywhere("memory")).then_some(memory_limit),
    }
}

/// Every container that ever runs in the pod.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// What the pod needs at its hungriest moment: an init container runs alone, a restartable one stays.
fn pod_total(spec: &PodSpec, amount: impl Fn(&Container) -> i64) -> i64 {
    let mut staying = 0i64;
    let mut initialising = 0i64;
    for container in spec.init_containers.iter().flatten() {
        let own = amount(container);
        if container.restart_policy.as_deref() == Some("Always") {
            staying = staying.saturating_add(own);
            initialising = initialising.max(staying);
        } else {
            initialising = initialising.max(staying.saturating_add(own));
        }
    }
    let regular = spec.containers.iter().fold(0i64, |sum, c| sum.saturating_add(amount(c)));
    regular.saturating_add(staying).max(initialising)
}

/// Thousandths of a processor as CPU shares.
fn shares(milli: i64) -> u64 {
    u64::try_from(milli.saturating_mul(1024) / 1000).unwrap_or(0).clamp(MIN_SHARES, MAX_SHARES)
}

/// Thousandths of a processor as CPU time per period.
fn quota(milli: i64) -> Option<i64> {
    // CPU_PERIOD / 1000 microseconds for each thousandth.
    (milli > 0).then(|| milli.saturating_mul(100).max(MIN_QUOTA))
}

/// CPU shares on cgroup v2's scale of weights, by the curve that keeps the defaults of both (1024 and 100) together.
pub fn cpu_weight(shares: u64) -> u64 {
    let clamped = shares.clamp(MIN_SHARES, MAX_SHARES);
    if clamped == MIN_SHARES {
        return 1;
    }
    let log = f64::from(u32::try_from(clamped).unwrap_or(u32::MAX)).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // A hair below, so that an exact power does not round up by the last bit of a float.
    let weight = (10f64.powf(exponent) - 1e-9).ceil().clamp(1.0, 10_000.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 1..=10000 above"
    )]
    let weight = weight as u64;
    weight
}

#[cfg(test)]
pub mod tests {
    use k8s_openapi::api::core::v1::ResourceRequirements;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use super::*;

    /// A container with the amounts `(name, request, limit)`; an empty text leaves one out.
    pub fn container(name: &str, amounts: &[(&str, &str, &str)]) -> Container {
        let pick = |choose: fn(&(&str, &str, &str)) -> String| {
            let list: std::collections::BTreeMap<_, _> = amounts
                .iter()
                .map(|entry| (entry.0.to_owned(), Quantity(choose(entry))))
                .filter(|(_, quantity)| !quantity.0.is_empty())
                .collect();
            (!list.is_empty()).then_some(list)
        };
        Container {
            name: name.into(),
            resources: Some(ResourceRequirements {
                requests: pick(|entry| entry.1.into()),
                limits: pick(|entry| entry.2.into()),
                claims: None,
            }),
            ..Container::default()
        }
    }

    #[test]
    fn a_containers_amounts_become_kernel_units() {
        for (request, limit, memory, shares, quota, bytes) in [
            ("", "", "", 2, None, None),
            ("0", "", "", 2, None, None),
            ("1", "", "", 1024, None, None),
            ("100m", "500m", "64Mi", 102, Some(50_000), Some(67_108_864)),
            ("", "500m", "", 512, Some(50_000), None),
            ("0", "500m", "", 2, Some(50_000), None),
            ("1m", "1m", "", 2, Some(1000), None),
            ("1000", "", "", 262_144, None, None),
        ] {
            let got = container_resources(&container(
                "c",
                &[("cpu", request, limit), ("memory", "", memory)],
            ));
            assert_eq!(
                (got.cpu_shares, got.cpu_quota, got.memory_limit),
                (shares, quota, bytes),
                "request {request:?} limit {limit:?} memory {memory:?}"
            );
        }
    }

    #[test]
    fn a_pod_has_a_limit_only_where_every_container_has_one() {
        let both = container("a", &[("cpu", "100m", "200m"), ("memory", "", "1Mi")]);
        let memory_only = container("b", &[("cpu", "150m", ""), ("memory", "", "2Mi")]);
        let spec = PodSpec { containers: vec![both, memory_only], ..PodSpec::default() };
        assert_eq!(
            pod_resources(&spec),
            Resources {
                cpu_shares: 256,
                cpu_quota: None,
                cpu_period: CPU_PERIOD,
                memory_limit: Some(3 << 20),
            }
        );
    }

    #[test]
    fn an_init_container_counts_alone_and_a_sidecar_stays() {
        let mut sidecar = container("side", &[("cpu", "100m", "")]);
        sidecar.restart_policy = Some("Always".into());
        let spec = PodSpec {
            init_containers: Some(vec![sidecar, container("init", &[("cpu", "1", "")])]),
            containers: vec![container("main", &[("cpu", "500m", "")])],
            ..PodSpec::default()
        };
        assert_eq!(pod_resources(&spec).cpu_shares, 1126);
    }

    #[test]
    fn shares_become_weights_on_the_newer_curve() {
        for (shares, weight) in [
            (0, 1),
            (2, 1),
            (102, 17),
            (512, 59),
            (1024, 100),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }
}
