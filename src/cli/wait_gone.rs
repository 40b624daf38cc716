//! Waiting until pods are gone from the fleet: with a bar on a terminal, with lines elsewhere.

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal, Write},
    time::Duration,
};

use serde_json::Value;

use crate::base::{keyed::distinct, time};

use super::desk::Desk;
use super::failure::Failure;
use super::fleet_view::Wish;
use super::resource::Kind;

/// How wide the bar is.
const BAR: usize = 24;
/// How many nodes are named.
const NAMED: usize = 5;
/// How long a pod may take that nobody asks about.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// Waits until none of these pods is left; `what` is said of the object, for at most a time that is not 0.
pub async fn pods(
    desk: &Desk,
    namespace: Option<String>,
    meant: &dyn Fn(&Value) -> bool,
    (what, timeout): (&str, Duration),
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut view = desk.view(Wish { kind: Kind::Pod, namespace, name: None })?;
    let timeout = if timeout.is_zero() { FOREVER } else { timeout };
    let until = tokio::time::Instant::from_std(time::now().mono + timeout);
    let mut progress = Progress { live: io::stderr().is_terminal(), ..Progress::default() };
    loop {
        let Ok(list) = tokio::time::timeout_at(until, view.next()).await else {
            progress.end(err)?;
            return Err(Failure::hinted(
                format!("timed out waiting for {what}: {}", progress.last),
                "the deletion stands; `podward get pods -A -o wide` shows what is left",
            ));
        };
        let left: Vec<Value> = list?.into_iter().filter(|pod| meant(pod)).collect();
        if left.is_empty() {
            return Ok(progress.end(err)?);
        }
        progress.show(&left, err)?;
    }
}

/// How far it is, on somebody's screen.
#[derive(Debug, Default)]
struct Progress {
    /// Whether the line is rewritten.
    live: bool,
    /// How many pods there were at most.
    most: usize,
    /// What was said last.
    last: String,
}

impl Progress {
    /// Shows what is left.
    fn show(&mut self, left: &[Value], err: &mut dyn Write) -> io::Result<()> {
        self.most = self.most.max(left.len());
        let said = std::mem::replace(&mut self.last, told(left));
        if self.live {
            let gone = self.most - left.len();
            let full = gone * BAR / self.most.max(1);
            let (done, rest) = ("#".repeat(full), "-".repeat(BAR - full));
            write!(err, "\r[{done}{rest}] {gone}/{} pods gone; {}\x1b[K", self.most, self.last)?;
        } else if said != self.last {
            writeln!(err, "{}", self.last)?;
        }
        err.flush()
    }

    /// Takes the line away.
    fn end(&self, err: &mut dyn Write) -> io::Result<()> {
        if self.live && !self.last.is_empty() { write!(err, "\r\x1b[K") } else { Ok(()) }
    }
}

/// What is waited for: how many pods, on which nodes, and on which of them in vain.
fn told(left: &[Value]) -> String {
    let node = |pod: &Value| pod["spec"]["nodeName"].as_str().unwrap_or("?").to_owned();
    let lost = |pod: &&Value| pod["status"]["reason"] == "NodeLost";
    let dead: BTreeSet<String> = distinct(left.iter().filter(lost).map(node));
    let all: BTreeSet<String> = distinct(left.iter().map(node).filter(|name| !dead.contains(name)));
    let names = |nodes: &BTreeSet<String>| {
        let named: Vec<&str> = nodes.iter().take(NAMED).map(String::as_str).collect();
        let more = nodes.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}", named.join(", "))
    };
    let plural = if left.len() == 1 { "pod" } else { "pods" };
    let mut text = format!("waiting for {} {plural}", left.len());
    if !all.is_empty() {
        text = format!("{text} on {}", names(&all));
    }
    if !dead.is_empty() {
        let gone = "no sign of life: a pod there goes when its node comes back, or with `podward delete node`";
        text = format!("{text}; {}: {gone}", names(&dead));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(node: &str, lost: bool) -> Value {
        let reason = if lost { "NodeLost" } else { "" };
        json!({"spec": {"nodeName": node}, "status": {"reason": reason}})
    }

    #[test]
    fn it_says_where_pods_are_and_where_none_will_go_by_itself() {
        assert_eq!(told(&[pod("n1", false)]), "waiting for 1 pod on n1");
        let mixed = told(&[pod("n1", false), pod("n2", true), pod("n3", false)]);
        assert!(mixed.starts_with("waiting for 3 pods on n1, n3; n2: no sign of life"), "{mixed}");
        let many: Vec<Value> = (0..7).map(|n| pod(&format!("n{n}"), false)).collect();
        assert_eq!(told(&many), "waiting for 7 pods on n0, n1, n2, n3, n4 and 2 more");
    }

    #[test]
    fn lines_come_only_when_they_say_something_new() {
        let (mut out, mut progress) = (Vec::new(), Progress::default());
        for _ in 0..3 {
            progress.show(&[pod("n1", false)], &mut out).unwrap();
        }
        assert_eq!(String::from_utf8(out).unwrap(), "waiting for 1 pod on n1\n");
        let (mut out, mut progress) = (Vec::new(), Progress { live: true, ..Progress::default() });
        progress.show(&[pod("n1", false), pod("n2", false)], &mut out).unwrap();
        progress.show(&[pod("n2", false)], &mut out).unwrap();
        assert!(
            String::from_utf8(out).unwrap().contains("[############------------] 1/2 pods gone")
        );
    }
}
