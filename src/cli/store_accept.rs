//! `podward store accept`: an operator's word that this store is the right one, after it was restored or replaced.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, Write},
};

use clap::Args as ClapArgs;
use serde_json::Value;
use uuid::Uuid;

use crate::base::{ids::SetKey, time};
use crate::config::Settings;
use crate::fleet::records::Accept;
use crate::spec::ObjectKind;
use crate::store::{Compare, Keys, Kv, Op, Range, Txn};

use super::{failure::Failure, signing, store_client, terminal};

/// What `store accept` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Also when the store holds no set at all, which ends every pod that came from it
    #[arg(long)]
    pub empty: bool,
}

/// What the store holds.
#[derive(Debug, Default)]
struct Holdings {
    /// Sets.
    sets: BTreeSet<SetKey>,
    /// ConfigMaps and Secrets.
    objects: usize,
    /// Explicit deletions.
    tombstones: usize,
    /// What nodes said that they should run, or run.
    running: BTreeSet<SetKey>,
    /// How many nodes have a record.
    nodes: usize,
    /// What was accepted before.
    accepted: i64,
}

/// Shows what the word would mean, asks, and writes it.
pub async fn run(
    args: &Args,
    settings: &Settings,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let fleet = store_client::connect(settings).await?;
    let (spec, nodes) = (Range::prefix(fleet.keys.spec()), Range::prefix(fleet.keys.fleet()));
    let (header, kvs) =
        fleet.store.list_all(&[spec, nodes]).await.map_err(store_client::refusal)?;
    let holdings = holdings(&fleet.keys, &kvs);
    let cluster_id = format!("{:x}", header.cluster_id);
    let (at, hosts) = (fleet.store.endpoint(), &settings.cluster);
    writeln!(out, "The store at {at} is cluster {cluster_id}; it is for the hosts of {hosts:?}.")?;
    holdings.print(fleet.keys.root(), header.revision, out)?;
    out.flush()?;
    sure(args, &holdings, err)?;
    let word = Accept { id: Uuid::new_v4().to_string(), cluster_id, at: time::now().wall };
    let value = signing::seal(settings, serde_json::to_vec(&word)?)?;
    let key = fleet.keys.accept();
    let txn = Txn {
        when: vec![Compare::ModRevision(key.clone(), holdings.accepted)],
        then: vec![Op::put(key, value)],
        ..Txn::default()
    };
    let outcome = fleet.store.txn(&txn).await.map_err(store_client::refusal)?;
    anyhow::ensure!(outcome.succeeded, "somebody else accepted it just now; nothing was written");
    writeln!(out, "accepted: hosts that follow it take what it holds for what is wanted")?;
    Ok(())
}

/// Makes sure that it is meant.
fn sure(args: &Args, holdings: &Holdings, err: &mut dyn Write) -> anyhow::Result<()> {
    if holdings.sets.is_empty() && !(args.empty && args.yes) {
        return Err(Failure::hinted(
            "the store holds no set; accepting it would end every pod that came from it",
            "apply the sets first, or say --empty --yes when nothing is to run",
        ));
    }
    if args.yes {
        return Ok(());
    }
    if !terminal::there() {
        return Err(Failure::hinted(
            "nobody can be asked here whether this is meant",
            "say --yes when it is",
        ));
    }
    write!(err, "Is this the store that the hosts are to follow? [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    let yes = matches!(answer.trim(), "y" | "Y" | "yes");
    anyhow::ensure!(yes, "nothing was written");
    Ok(())
}

/// What keys say.
fn holdings(keys: &Keys, kvs: &[Kv]) -> Holdings {
    let mut found = Holdings::default();
    let kinds = [ObjectKind::ConfigMap, ObjectKind::Secret].map(|kind| keys.objects(kind));
    for kv in kvs {
        let parts =
            |prefix: &str| kv.key.strip_prefix(prefix).and_then(|rest| rest.split_once('/'));
        if let Some((namespace, name)) = parts(&keys.sets()) {
            found.sets.insert(SetKey::new(namespace, name));
        } else if let Some((set, _)) = keys.parse_member(&kv.key) {
            found.running.insert(set);
        } else if kv.key.starts_with(&keys.pods()) {
            found.running.extend(owner(&kv.value));
        } else if kv.key.starts_with(&keys.nodes()) {
            found.nodes += 1;
        } else if kv.key.starts_with(&keys.tombstones()) {
            found.tombstones += 1;
        } else if kv.key == keys.accept() {
            found.accepted = kv.mod_revision;
        } else if kinds.iter().any(|prefix| kv.key.starts_with(prefix)) {
            found.objects += 1;
        }
    }
    found
}

/// The set that a pod's record names.
fn owner(pod: &[u8]) -> Option<SetKey> {
    let pod: Value = serde_json::from_slice(pod).ok()?;
    let namespace = pod.pointer("/metadata/namespace")?.as_str()?;
    let owners = pod.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["kind"] == "DaemonSet")?;
    Some(SetKey::new(namespace, owner.get("name")?.as_str()?))
}

impl Holdings {
    /// Says what there is, and what would end.
    fn print(&self, root: &str, revision: i64, out: &mut dyn Write) -> std::io::Result<()> {
        let names = |sets: &[&SetKey]| {
            let names: Vec<String> = sets.iter().map(ToString::to_string).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        writeln!(out, "Below {root} it holds, at revision {revision}:")?;
        writeln!(out, "  sets:        {}", names(&self.sets.iter().collect::<Vec<_>>()))?;
        writeln!(out, "  objects:     {} ConfigMaps and Secrets", self.objects)?;
        writeln!(out, "  tombstones:  {}", self.tombstones)?;
        writeln!(out, "  nodes:       {} have a record here", self.nodes)?;
        let ending: Vec<&SetKey> = self.running.difference(&self.sets).collect();
        if !ending.is_empty() {
            writeln!(out, "Nodes run what it does not hold, and would end it: {}", names(&ending))?;
        } else if self.nodes == 0 {
            writeln!(
                out,
                "No node has a record here, so what they run that it does not hold is not known."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: String, value: &str) -> Kv {
        let value = value.as_bytes().to_vec();
        Kv { key, value, create_revision: 1, mod_revision: 7, lease: 0 }
    }

    #[test]
    fn what_would_end_is_named() {
        let keys = Keys::new("/podward", "default");
        let node = crate::base::ids::NodeName::new("n1");
        let (kept, lost) = (SetKey::new("web", "nginx"), SetKey::new("web", "old"));
        let pod = r#"{"metadata":{"namespace":"web","ownerReferences":[{"kind":"DaemonSet","name":"older"}]}}"#;
        let kvs = [
            kv(keys.set(&kept), "{}"),
            kv(keys.set_tombstone(&lost), "{}"),
            kv(keys.accept(), "{}"),
            kv(keys.member(&lost, &node), "{}"),
            kv(keys.member(&kept, &node), "{}"),
            kv(keys.node(&node), "{}"),
            kv(keys.pod(&node, "web", "older-x"), pod),
            kv(format!("{}web/settings", keys.objects(ObjectKind::ConfigMap)), "{}"),
        ];
        let holdings = holdings(&keys, &kvs);
        assert_eq!((holdings.objects, holdings.tombstones, holdings.nodes), (1, 1, 1));
        assert_eq!(holdings.accepted, 7);
        let mut out = Vec::new();
        holdings.print(keys.root(), 9, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("would end it: web/old, web/older"), "{text}");
    }

    #[test]
    fn an_empty_store_takes_two_words() {
        let mut err = Vec::new();
        let mut sure = |yes, empty| sure(&Args { yes, empty }, &Holdings::default(), &mut err);
        assert!(sure(true, false).is_err() && sure(false, true).is_err());
        assert!(sure(true, true).is_ok());
    }
}
