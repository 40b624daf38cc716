//! `podward get`: objects as tables or documents, once or as they change.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    process::ExitCode,
};

use clap::Args as ClapArgs;
use jiff::Timestamp;
use serde_json::Value;

use crate::base::time;
use crate::spec::Selector;

use super::Globals;
use super::backend::Backend;
use super::client::{self, Wanted};
use super::document::{self, Format};
use super::failure::{self, Failure, Outcome};
use super::namespace::Namespace;
use super::resource::{self, Kind, Target};
use super::view::{self, Look, View};

/// What `get` is asked for.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct Args {
    /// TYPE [NAME...] or TYPE/NAME...; types: daemonsets (ds), pods (po), nodes (no), events (ev), revisions, configmaps (cm), secrets
    #[arg(required = true, value_name = "TYPE")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub namespace: Namespace,
    /// Only objects whose labels match, such as `app=web,tier!=db`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// Go on with each change
    #[arg(short, long)]
    pub watch: bool,
    /// Show all labels in the last column
    #[arg(long)]
    pub show_labels: bool,
    /// Show these labels in columns of their own
    #[arg(short = 'L', long, value_name = "KEY", value_delimiter = ',')]
    pub label_columns: Vec<String>,
    /// Leave the headers out
    #[arg(long)]
    pub no_headers: bool,
    /// Only events of this object
    #[arg(long = "for", value_name = "TYPE/NAME")]
    pub about: Option<String>,
}

/// Lists, and with `-w` goes on.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let query = Query::new(args)?;
    client::converse(async {
        let mut backend = Backend::open(globals, err).await?;
        if args.watch {
            query.watch(&mut backend, out).await
        } else {
            query.once(&mut backend, out, err).await
        }
    })
}

/// `get`'s arguments, checked.
struct Query<'a> {
    /// The arguments.
    args: &'a Args,
    /// The kinds and names.
    targets: Vec<Target>,
    /// The label selector.
    selector: Selector,
    /// The object whose events are wanted.
    about: Option<(Kind, String)>,
}

impl<'a> Query<'a> {
    /// Checks the arguments.
    fn new(args: &'a Args) -> anyhow::Result<Self> {
        let targets = resource::targets(&args.targets)?;
        let named = targets.iter().any(|target| !target.names.is_empty());
        let refuse = |message: &str| Err(Failure::usage(message, None));
        if named && args.selector.is_some() {
            return refuse("name cannot be provided when a selector is specified");
        }
        if named && args.namespace.all {
            return refuse("a resource cannot be retrieved by name across all namespaces");
        }
        if args.watch && targets.len() > 1 {
            return refuse("you may only specify a single resource type with --watch");
        }
        if args.about.is_some() && targets.iter().any(|target| target.kind != Kind::Event) {
            return refuse("--for is for events only");
        }
        let selector = failure::selector(args.selector.as_deref())?;
        let about = args.about.as_deref().map(resource::named).transpose()?;
        Ok(Self { args, targets, selector, about })
    }

    /// What to ask for.
    fn wanted<'t>(&'t self, target: &'t Target) -> Wanted<'t> {
        let namespaced = resource::namespaced(target.kind);
        Wanted {
            kind: target.kind,
            namespace: self.args.namespace.only().filter(|_| namespaced),
            name: match target.names.as_slice() {
                [only] => Some(only),
                _ => None,
            },
        }
    }

    /// The objects of a list that are meant, in kubectl's order.
    fn chosen(&self, target: &Target, objects: Vec<Value>) -> Vec<Value> {
        let mut objects: Vec<Value> = objects
            .into_iter()
            .filter(|object| {
                target.names.is_empty() || target.names.iter().any(|name| is(object, name))
            })
            .filter(|object| self.selector.selects(&view::labels(object)))
            .filter(|object| self.about.as_ref().is_none_or(|about| concerns(object, about)))
            .collect();
        objects.sort_by_cached_key(|object| {
            let first = match target.kind {
                Kind::Event => text(object, "/lastTimestamp").to_owned(),
                Kind::Revision => {
                    let set = text(object, "/metadata/ownerReferences/0/name");
                    let number = object["revision"].as_u64().unwrap_or_default();
                    format!("{}/{set}/{number:010}", text(object, "/metadata/namespace"))
                }
                _ => String::new(),
            };
            (first, key(object))
        });
        // Names are answered in the order in which they were asked for.
        objects.sort_by_key(|object| target.names.iter().position(|name| is(object, name)));
        objects
    }

    /// The table of a kind.
    fn view(&self, kind: Kind) -> View {
        let args = self.args;
        let look = Look {
            wide: args.output == Some(Format::Wide),
            namespaces: args.namespace.all && resource::namespaced(kind),
            types: self.targets.len() > 1,
            labels: args.show_labels,
            label_columns: args.label_columns.clone(),
            bare: args.no_headers,
        };
        View::new(kind, look)
    }

    /// Lists once.
    async fn once(
        &self,
        backend: &mut Backend,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Outcome {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for target in &self.targets {
            let objects = backend.list(&self.wanted(target)).await?;
            let objects = self.chosen(target, objects);
            for name in &target.names {
                if !objects.iter().any(|object| is(object, name)) {
                    missing.push(format!("{} {name:?} not found", resource::plural(target.kind)));
                }
            }
            found.push((target, objects));
        }
        self.print(&found, out)?;
        let nothing = found.iter().all(|(_, objects)| objects.is_empty()) && missing.is_empty();
        if nothing && !matches!(self.args.output, Some(Format::Json | Format::Yaml)) {
            self.say_nothing(err)?;
        }
        let last = missing.pop();
        for message in missing {
            writeln!(err, "error: {message}")?;
        }
        last.map_or(Ok(ExitCode::SUCCESS), |message| Err(anyhow::Error::msg(message)))
    }

    /// Prints what was found.
    fn print(&self, found: &[(&Target, Vec<Value>)], out: &mut dyn Write) -> anyhow::Result<()> {
        let one = matches!(found, [(target, _)] if target.names.len() == 1);
        let format = self.args.output.unwrap_or(Format::Wide);
        if matches!(format, Format::Json | Format::Yaml) {
            let mut objects: Vec<Value> =
                found.iter().flat_map(|(_, objects)| objects.iter().cloned()).collect();
            if one && objects.is_empty() {
                return Ok(());
            }
            let value = if one { objects.remove(0) } else { document::list(&objects) };
            return document::print(format, Kind::Pod, &value, out);
        }
        let shown = found.iter().filter(|(_, objects)| !objects.is_empty());
        for (index, (target, objects)) in shown.enumerate() {
            if format == Format::Name {
                for object in objects {
                    document::print(format, target.kind, object, out)?;
                }
                continue;
            }
            if index > 0 {
                writeln!(out)?;
            }
            let objects: Vec<&Value> = objects.iter().collect();
            self.view(target.kind).print(&objects, time::now().wall, out)?;
        }
        Ok(())
    }

    /// Says that there is nothing, and where.
    fn say_nothing(&self, err: &mut dyn Write) -> io::Result<()> {
        let namespaced = self.targets.iter().any(|target| resource::namespaced(target.kind));
        match self.args.namespace.only().filter(|_| namespaced) {
            Some(namespace) => writeln!(err, "No resources found in {namespace} namespace."),
            None => writeln!(err, "No resources found"),
        }
    }

    /// Prints the list, then each object that changes, until the agent ends it.
    async fn watch(&self, backend: &mut Backend, out: &mut dyn Write) -> Outcome {
        let Some(target) = self.targets.first() else {
            return Ok(ExitCode::SUCCESS);
        };
        let mut view = self.view(target.kind);
        let mut lists = backend.watch(&self.wanted(target)).await?;
        let mut before = BTreeMap::new();
        while let Some(objects) = lists.next().await? {
            let objects = self.chosen(target, objects);
            let changed = changes(&mut before, objects, target.kind != Kind::Event);
            self.print_changes(target.kind, &mut view, &changed, time::now().wall, out)?;
            out.flush()?;
        }
        Err(Failure::hinted("the agent ended the watch", "see `systemctl status podward`"))
    }

    /// Prints changed objects.
    fn print_changes(
        &self,
        kind: Kind,
        view: &mut View,
        changed: &[Value],
        now: Timestamp,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        match self.args.output {
            None | Some(Format::Wide) => view.print(&changed.iter().collect::<Vec<_>>(), now, out),
            Some(format) => changed.iter().try_for_each(|object| {
                if format == Format::Yaml {
                    writeln!(out, "---")?;
                }
                document::print(format, kind, object, out)
            }),
        }
    }
}

/// The objects that are new or differ from those before, then the last state of those that went.
fn changes(
    before: &mut BTreeMap<[String; 3], Value>,
    objects: Vec<Value>,
    tell_gone: bool,
) -> Vec<Value> {
    let mut after = BTreeMap::new();
    let mut changed = Vec::new();
    for object in objects {
        if before.remove(&key(&object)).as_ref() != Some(&object) {
            changed.push(object.clone());
        }
        after.insert(key(&object), object);
    }
    let gone = std::mem::replace(before, after);
    if tell_gone {
        changed.splice(0..0, gone.into_values());
    }
    changed
}

/// What tells objects of a kind apart.
fn key(object: &Value) -> [String; 3] {
    ["/metadata/namespace", "/metadata/name", "/metadata/uid"].map(|at| text(object, at).to_owned())
}

/// A text inside an object.
fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an object has this name.
fn is(object: &Value, name: &str) -> bool {
    text(object, "/metadata/name") == name
}

/// Whether an event is about this object.
fn concerns(event: &Value, (kind, name): &(Kind, String)) -> bool {
    text(event, "/involvedObject/kind") == kind.as_str()
        && text(event, "/involvedObject/name") == name
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, phase: &str) -> Value {
        json!({"metadata": {"namespace": "x", "name": name, "uid": name}, "status": {"phase": phase}})
    }

    #[test]
    fn a_watch_tells_what_is_new_changed_or_gone() {
        let mut before = BTreeMap::new();
        let first = vec![pod("a", "Pending"), pod("b", "Running")];
        assert_eq!(changes(&mut before, first.clone(), true), first);
        let second = vec![pod("a", "Running"), pod("c", "Pending")];
        assert_eq!(
            changes(&mut before, second.clone(), true),
            [pod("b", "Running"), pod("a", "Running"), pod("c", "Pending")]
        );
        assert!(changes(&mut before, second, true).is_empty());
        assert!(changes(&mut before, vec![], false).is_empty(), "expired events are no news");
    }

    #[test]
    fn contradictory_arguments_are_refused() {
        let args = |targets: &[&str]| Args {
            targets: targets.iter().map(ToString::to_string).collect(),
            ..Args::default()
        };
        let all = Namespace { all: true, ..Namespace::default() };
        for (args, problem) in [
            (
                Args { selector: Some("a".into()), ..args(&["pod", "x"]) },
                "name cannot be provided when a selector is specified",
            ),
            (
                Args { namespace: all, ..args(&["pod", "x"]) },
                "a resource cannot be retrieved by name across all namespaces",
            ),
            (Args { about: Some("pod/x".into()), ..args(&["pods"]) }, "--for is for events only"),
        ] {
            let error = Query::new(&args).err().unwrap();
            assert_eq!(error.to_string(), problem);
        }
    }
}
