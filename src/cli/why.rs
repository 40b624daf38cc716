//! `podward why`: whether a set belongs on a node, clause by clause.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use k8s_openapi::api::apps::v1::DaemonSet;

use crate::base::fault::Fault;
use crate::base::ids::SetKey;
use crate::cli::{contents, decode, documents};
use crate::node::eligibility::id;
use crate::node::{Node, Report, eligibility};

/// The versions under which DaemonSets were ever published.
const SET_VERSIONS: [&str; 3] = ["apps/v1", "apps/v1beta2", "extensions/v1beta1"];
/// What may stand before the name of a set.
const SET_WORDS: [&str; 5] = ["ds", "daemonset", "daemonsets", "daemonset.apps", "daemonsets.apps"];
/// How the paths of clauses begin that the human form shortens.
const POD_PATH: &str = "spec.template.spec.";
/// And those below the required node affinity.
const REQUIRED_PATH: &str = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";

/// How many other objects are named where the one looked for is missing.
const SHOWN_KINDS: usize = 5;

/// Arguments of `podward why`.
#[derive(Debug, Clone, clap::Args)]
pub struct WhyArgs {
    /// The set to ask the agent about, as ds/NAME
    #[arg(value_name = "ds/NAME", conflicts_with = "file")]
    pub set: Option<String>,
    /// Its namespace
    #[arg(short, long, default_value = "default", conflicts_with = "file")]
    pub namespace: String,
    /// A file of `DaemonSets` to evaluate without an agent; `-` reads standard input
    #[arg(short, long = "filename", value_name = "FILE", requires = "node")]
    pub file: Option<PathBuf>,
    /// A file with a v1 Node to evaluate them on
    #[arg(long, value_name = "NODE.yaml", requires = "file", conflicts_with = "set")]
    pub node: Option<PathBuf>,
    /// How to print the answer
    #[arg(short, long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// The forms of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A verdict line and one line per clause
    Human,
    /// One object, or an array when there are several answers
    Json,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question<'a> {
    /// A set that the agent knows.
    OfAgent(SetKey),
    /// The sets of a file on the node of another.
    OfFiles {
        /// The file of sets.
        file: &'a Path,
        /// The file of the node.
        node: &'a Path,
    },
}

impl WhyArgs {
    /// What is asked; an error is one of usage.
    pub fn question(&self) -> Result<Question<'_>, String> {
        match (&self.file, &self.node, &self.set) {
            (Some(file), Some(node), None) => Ok(Question::OfFiles { file, node }),
            (None, None, Some(set)) => match set.split_once('/') {
                Some((word, name)) if SET_WORDS.contains(&word) && !name.is_empty() => {
                    Ok(Question::OfAgent(SetKey::new(&self.namespace, name)))
                }
                _ => Err(format!("{set:?} names no set; write ds/NAME, such as ds/node-exporter")),
            },
            _ => Err("give either ds/NAME or both -f FILE and --node NODE.yaml".into()),
        }
    }
}

/// What validation finds in a file of sets, given by name and contents.
pub type Validation<'a> = &'a dyn Fn(&str, &[u8]) -> Vec<Fault>;

/// Answers for the sets of `file` on the node of `node`; gives the exit code: 0 when all of both
/// files was evaluated, else 1. Faults go to `errors`, and what is readable is answered all the same;
/// what only validation refuses is a warning.
pub fn answer_of_files(
    (file, node): (&Path, &Path),
    output: Output,
    validation: Validation<'_>,
    answers: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<u8> {
    let mut read = Vec::new();
    for path in [file, node] {
        match contents::of(path) {
            Ok(found) => read.push(found),
            Err(fault) => writeln!(errors, "error: {fault}")?,
        }
    }
    let [(set_origin, sets), (node_origin, nodes)] = read.as_slice() else {
        return Ok(1);
    };
    let answer = evaluate((set_origin, sets), (node_origin, nodes));
    // A fault is told once, as the error that it is.
    let mut of_validation =
        if answer.faults.is_empty() { validation(set_origin, sets) } else { vec![] };
    // What was taken as it was meant is told once, with what it was taken for.
    let told = |fault: &Fault| answer.warnings.iter().any(|warning| warning.path == fault.path);
    of_validation.retain(|fault| fault.path.is_empty() || !told(fault));
    for warning in of_validation.iter().chain(&answer.warnings) {
        writeln!(errors, "warning: {warning}")?;
    }
    for fault in &answer.faults {
        writeln!(errors, "error: {fault}")?;
    }
    match (output, answer.reports.as_slice()) {
        (_, []) => {}
        (Output::Json, [one]) => writeln!(answers, "{}", pretty(one))?,
        (Output::Json, several) => writeln!(answers, "{}", pretty(&several))?,
        (Output::Human, reports) => {
            let texts: Vec<String> = reports.iter().map(render).collect();
            answers.write_all(texts.join("\n").as_bytes())?;
        }
    }
    Ok(u8::from(!answer.faults.is_empty()))
}

/// A report or a list of them as indented JSON.
fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("texts, numbers and lists are always JSON")
}

/// The answers for two files, and what is wrong with these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// One report for each set on each node.
    pub reports: Vec<Report>,
    /// What Kubernetes would refuse, while it has a meaning to the rules of eligibility.
    pub warnings: Vec<Fault>,
    /// What cannot be read.
    pub faults: Vec<Fault>,
}

/// Evaluates every set of one file on the node (or on each node) of another; both are given by name
/// and contents. Nothing is validated: an illegal affinity or toleration has a meaning, too.
pub fn evaluate(sets: (&str, &[u8]), nodes: (&str, &[u8])) -> Answer {
    let mut answer = Answer::default();
    let mut found_nodes = Vec::new();
    take(nodes, "Node", &["v1"], &mut answer, |answer, document| {
        let decoded = decode::node(nodes.0, document)?;
        let node = Node::from_object(nodes.0, &decoded.object)?;
        answer.warnings.extend(decoded.warnings);
        answer.warnings.extend(node.faults(nodes.0));
        found_nodes.push(node);
        Ok(())
    });
    let mut found_sets: Vec<DaemonSet> = Vec::new();
    take(sets, "DaemonSet", &SET_VERSIONS, &mut answer, |answer, document| {
        let decoded = decode::set(sets.0, document)?;
        answer.warnings.extend(decoded.warnings);
        found_sets.push(decoded.object);
        Ok(())
    });
    for set in found_sets {
        let key = SetKey::new(
            set.metadata.namespace.filter(|name| !name.is_empty()).unwrap_or("default".into()),
            set.metadata.name.unwrap_or_default(),
        )
        .to_string();
        let template = set.spec.unwrap_or_default().template;
        for node in &found_nodes {
            let verdict = eligibility(node, &template);
            answer.reports.push(Report::of(&key, node.name.as_str(), &verdict));
        }
    }
    answer
}

/// Takes every object of one kind out of a file; there must be one.
fn take(
    (origin, bytes): (&str, &[u8]),
    kind: &str,
    versions: &[&str],
    answer: &mut Answer,
    mut one: impl FnMut(&mut Answer, &documents::Document<'_>) -> Result<(), Vec<Fault>>,
) {
    let (documents, faults) = documents::read(origin, bytes);
    let unreadable = !faults.is_empty();
    answer.faults.extend(faults);
    let wanted = |document: &&documents::Document<'_>| {
        document.kind == kind && versions.contains(&document.api_version.as_str())
    };
    for document in documents.iter().filter(wanted) {
        if let Err(faults) = one(answer, document) {
            answer.faults.extend(faults);
        }
    }
    if unreadable || documents.iter().any(|document| wanted(&document)) {
        return;
    }
    let mut others: Vec<String> = documents
        .iter()
        .take(SHOWN_KINDS)
        .map(|document| match (document.api_version.as_str(), document.kind.as_str()) {
            ("", "") => "a document without apiVersion and kind".to_owned(),
            (version, kind) => format!("apiVersion {version:?} kind {kind:?}"),
        })
        .collect();
    if documents.len() > SHOWN_KINDS {
        others.push(format!("and {} more", documents.len() - SHOWN_KINDS));
    }
    let holds = if others.is_empty() { "nothing".to_owned() } else { others.join(", ") };
    let problem = format!("holds no {kind} but {holds}");
    let remedy = format!("give a file with `apiVersion: {}` and `kind: {kind}`", versions[0]);
    answer.faults.push(Fault::of_file(origin, problem, remedy));
}

/// A report for people: the verdict, then a line for each clause.
pub fn render(report: &Report) -> String {
    let mut text = format!("{} on node {}: {}\n", report.set, report.node, verdict_line(report));
    for reason in &report.reasons {
        let way = if reason.holds { "yes" } else { "no " };
        // A message about a taint begins with the taint itself.
        let about = match short(&reason.clause) {
            clause if reason.message.starts_with(clause) => String::new(),
            clause => format!("{clause}: "),
        };
        // What decides nothing by itself stands below what it belongs to.
        let depth = match reason.id.as_str() {
            id::TERM => 2,
            id::EXPRESSION | id::FIELD => 4,
            _ => 0,
        };
        let _ = writeln!(text, "  {way}  {:depth$}{about}{}", "", reason.message);
    }
    text
}

/// The answer in one line.
fn verdict_line(report: &Report) -> String {
    let answer = match (report.should_run, report.should_continue) {
        (true, _) => "runs here",
        (false, true) => "does not start here, but a pod that runs here already stays",
        (false, false) => "does not run here",
    };
    match report.evict_after_seconds {
        Some(0) if report.should_continue => {
            format!("{answer}; a NoExecute taint evicts its pod at once")
        }
        Some(seconds) if report.should_continue => {
            format!("{answer}; a NoExecute taint evicts its pod after {seconds} s")
        }
        _ => answer.to_owned(),
    }
}

/// A clause without the part of its path that all share.
fn short(clause: &str) -> &str {
    let clause = clause.strip_prefix(POD_PATH).unwrap_or(clause);
    match clause.strip_prefix(REQUIRED_PATH) {
        Some("") => "required node affinity",
        Some(rest) => rest.trim_start_matches('.'),
        None => clause,
    }
}

#[cfg(test)]
mod tests;
