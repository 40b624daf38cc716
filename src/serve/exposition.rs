//! What is counted, written as Prometheus reads it. Every figure is taken when it is asked for; nothing is kept between.

use std::{collections::BTreeMap, fmt, fs};

use jiff::Timestamp;
use nix::unistd::{SysconfVar, sysconf};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};

use crate::agent::handle::{MetricsReport, SourceHealth, StoreState};
use crate::base::time;

/// The labels of a sample.
type Labels = Vec<(&'static str, String)>;

/// One metric with its samples.
#[derive(Debug)]
struct Family {
    /// Its name; a counter's gets `_total` behind it.
    name: &'static str,
    /// What it means.
    help: &'static str,
    /// Whether it only grows.
    counts: bool,
    /// Its samples.
    samples: Vec<(Labels, f64)>,
}

/// All metrics of one moment.
#[derive(Debug)]
struct Page(Vec<Family>);

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, counts, samples } in &self.0 {
            let kind = if *counts { MetricType::Counter } else { MetricType::Gauge };
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for (labels, value) in samples {
                // Braces with nothing between them are read by few.
                if labels.is_empty() {
                    sample(&mut metric, *counts, *value)?;
                } else {
                    sample(&mut metric.encode_family(labels)?, *counts, *value)?;
                }
            }
        }
        Ok(())
    }
}

/// One figure.
fn sample(encoder: &mut MetricEncoder<'_>, counts: bool, value: f64) -> fmt::Result {
    if counts {
        encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    } else {
        encoder.encode_gauge(&value)
    }
}

/// The page.
pub fn text(report: &MetricsReport) -> Result<String, fmt::Error> {
    let mut families = of_agent(report);
    families.extend(of_sources(report, time::now().wall));
    families.extend(of_process(report.started));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page(families)));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// A gauge of one sample.
fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    Family { name, help, counts: false, samples: vec![(Labels::new(), value)] }
}

/// A gauge with a sample for each value of a label.
fn by(
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counted: &BTreeMap<&'static str, u64>,
) -> Family {
    let sample =
        |(value, count): (&&str, &u64)| (vec![(label, (*value).to_owned())], float(*count));
    Family { name, help, counts: false, samples: counted.iter().map(sample).collect() }
}

/// A count as the format wants it.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}

/// 1 for yes.
fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

/// Seconds from then to now; a clock that was set back gives none.
fn since(then: Timestamp, now: Timestamp) -> f64 {
    now.duration_since(then).as_secs_f64().max(0.0)
}

/// Of pods, sets and the build.
fn of_agent(report: &MetricsReport) -> Vec<Family> {
    let build =
        vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("node", report.node.clone())];
    let containerd = flag(report.containerd);
    vec![
        Family {
            name: "podward_build_info",
            help: "The agent's version and the node's name",
            counts: false,
            samples: vec![(build, 1.0)],
        },
        by("podward_pods", "Pods on this node by phase", "phase", &report.pods),
        by("podward_sets", "Sets by how they stand on this node", "state", &report.sets),
        Family {
            name: "podward_container_restarts",
            help: "How often containers were started again",
            counts: true,
            samples: vec![(Labels::new(), float(report.restarts))],
        },
        gauge("podward_faults", "Faults of sources and objects", float(report.faults)),
        gauge("podward_containerd_up", "Whether containerd answers", containerd),
    ]
}

/// Of the sources and the store.
fn of_sources(report: &MetricsReport, now: Timestamp) -> Vec<Family> {
    let named = |name: &str| vec![("source", name.to_owned())];
    let age = |source: &SourceHealth| {
        source.last_good.map(|good| (named(&source.name), since(good, now)))
    };
    let fault = |source: &SourceHealth| (named(&source.name), flag(!source.fault.is_empty()));
    let mut families = vec![
        Family {
            name: "podward_source_age_seconds",
            help: "Time since a source from afar last answered well",
            counts: false,
            samples: report.sources.iter().filter_map(age).collect(),
        },
        Family {
            name: "podward_source_fault",
            help: "Whether a source cannot be read",
            counts: false,
            samples: report.sources.iter().map(fault).collect(),
        },
    ];
    if let Some(store) = &report.store {
        let ready = store.state == StoreState::Ready;
        let state = vec![("state", store.state.reason().to_owned())];
        families.push(gauge(
            "podward_store_up",
            "Whether etcd answers and is the right one",
            flag(ready),
        ));
        families.push(Family {
            name: "podward_store_since_seconds",
            help: "For how long etcd has been in this state",
            counts: false,
            samples: vec![(state, since(store.since, now))],
        });
    }
    families
}

/// Of the agent's own process, under the names that every exporter uses.
fn of_process(started: Timestamp) -> Vec<Family> {
    let mut families = vec![gauge(
        "process_start_time_seconds",
        "When the agent started",
        since(Timestamp::UNIX_EPOCH, started),
    )];
    // Fields 14 and 15 of proc(5), counted behind the name, which may hold anything.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    if let Some(second) = limit(SysconfVar::CLK_TCK) {
        families.push(Family {
            name: "process_cpu_seconds",
            help: "Processor time of the agent",
            counts: true,
            samples: vec![(Labels::new(), float(ticks) / second)],
        });
    }
    let memory = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = memory.split_whitespace().nth(1).and_then(|pages| pages.parse().ok());
    if let (Some(pages), Some(page)) = (pages, limit(SysconfVar::PAGE_SIZE)) {
        let help = "Resident memory of the agent";
        families.push(gauge("process_resident_memory_bytes", help, float(pages) * page));
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // Without the one that reads the directory.
        let open = open.count().saturating_sub(1) as u64;
        families.push(gauge("process_open_fds", "Open descriptors of the agent", float(open)));
    }
    families
}

/// A figure of the kernel's.
fn limit(name: SysconfVar) -> Option<f64> {
    let value = sysconf(name).ok().flatten()?;
    u64::try_from(value).ok().filter(|value| *value > 0).map(float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::handle::StoreHealth;

    fn report() -> MetricsReport {
        MetricsReport {
            node: "n1".into(),
            started: "2026-01-31T12:00:00Z".parse().unwrap(),
            containerd: true,
            faults: 2,
            pods: BTreeMap::from([("Pending", 0), ("Running", 3)]),
            sets: BTreeMap::from([("wanted", 4)]),
            restarts: 5,
            sources: vec![
                SourceHealth {
                    name: "https://specs.test/a\"b".into(),
                    last_good: Some(time::now().wall),
                    fault: "404".into(),
                },
                SourceHealth { name: "/etc/m".into(), last_good: None, fault: String::new() },
            ],
            store: Some(StoreHealth {
                state: StoreState::Regressed,
                since: time::now().wall,
                message: String::new(),
                endpoint: String::new(),
            }),
        }
    }

    #[test]
    fn every_figure_has_its_name_type_and_labels() {
        let text = text(&report()).unwrap();
        for line in [
            "# TYPE podward_pods gauge",
            "podward_pods{phase=\"Running\"} 3.0",
            "podward_pods{phase=\"Pending\"} 0.0",
            "podward_sets{state=\"wanted\"} 4.0",
            "# TYPE podward_container_restarts counter",
            "podward_container_restarts_total 5.0",
            "podward_faults 2.0",
            "podward_containerd_up 1.0",
            "podward_source_fault{source=\"https://specs.test/a\\\"b\"} 1.0",
            "podward_source_fault{source=\"/etc/m\"} 0.0",
            "podward_store_up 0.0",
            "process_start_time_seconds 1769860800.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
        }
        for start in [
            "podward_build_info{version=\"",
            "podward_source_age_seconds{source=\"https:",
            "podward_store_since_seconds{state=\"StoreRegressed\"} ",
            "process_cpu_seconds_total ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.lines().any(|found| found.starts_with(start)), "no {start:?} in\n{text}");
        }
        assert!(
            !text.contains("podward_source_age_seconds{source=\"/etc/m\"}"),
            "a file has no age"
        );
    }

    #[test]
    fn a_host_without_a_store_says_nothing_of_one() {
        let report = MetricsReport { store: None, ..report() };
        assert!(!text(&report).unwrap().contains("podward_store"));
    }
}
