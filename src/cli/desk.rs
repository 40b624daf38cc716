//! Where operators' verbs read and write the shared store: values in and out, and transactions that never undo what
//! somebody else wrote in between.

use std::{process::ExitCode, time::Duration};

use serde_json::{Map, Value};

use crate::base::ids::{SetKey, TemplateHash};
use crate::config::Settings;
use crate::fleet::revision::Entry;
use crate::spec::{self, FieldValidation, ObjectKey, ObjectKind, Outcome};
use crate::store::{self, Compare, Keys, Kv, Op, Range, Txn};

use super::{
    Globals,
    failure::Failure,
    fleet_view::{FleetView, Wish},
    signing,
    store_client::{self, Fleet, refusal},
};

/// The most bytes that one object may have: as in Kubernetes.
pub const MAX_DOCUMENT: usize = 1 << 20;
/// The most bytes that etcd takes in one transaction by default, less what surrounds the values.
const MAX_TXN: usize = (3 << 19) - (16 << 10);
/// How often a change is tried against other writers.
pub const TRIES: u32 = 5;

/// The store as operators' verbs use it.
#[derive(Debug)]
pub struct Desk {
    /// The store.
    pub fleet: Fleet,
    /// What signs.
    settings: Settings,
}

/// What an operator writes whole: a set, a ConfigMap or a Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A set.
    Set(SetKey),
    /// A ConfigMap or Secret.
    Object(ObjectKey),
}

impl Place {
    /// The word and the name that messages use: `daemonset.apps/web`.
    pub fn shown(&self) -> String {
        match self {
            Self::Set(set) => format!("daemonset.apps/{}", set.name),
            Self::Object(object) => format!("{}/{}", object.kind, object.name),
        }
    }

    /// The word and the name as messages about absence write them: `daemonsets.apps "web"`.
    pub fn quoted(&self) -> String {
        match self {
            Self::Set(set) => format!("daemonsets.apps {:?}", set.name),
            Self::Object(object) => format!("{}s {:?}", object.kind, object.name),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Set(set) => &set.namespace,
            Self::Object(object) => &object.namespace,
        }
    }

    /// What a tombstone calls it: `daemonsets/ns/name`.
    pub fn buried_as(&self) -> String {
        match self {
            Self::Set(set) => format!("daemonsets/{set}"),
            Self::Object(ObjectKey { kind, namespace, name }) => {
                format!("{kind}s/{namespace}/{name}")
            }
        }
    }

    /// Its key.
    pub fn key(&self, keys: &Keys) -> String {
        match self {
            Self::Set(set) => keys.set(set),
            Self::Object(object) => keys.object(object),
        }
    }

    /// The key of its deletion.
    pub fn tombstone(&self, keys: &Keys) -> String {
        match self {
            Self::Set(set) => keys.set_tombstone(set),
            Self::Object(object) => keys.object_tombstone(object),
        }
    }

    /// A place by its kind.
    pub fn object(kind: ObjectKind, namespace: &str, name: &str) -> Self {
        Self::Object(ObjectKey { kind, namespace: namespace.into(), name: name.into() })
    }
}

/// What stands at a place, read at one revision.
#[derive(Debug)]
pub struct Standing {
    /// The place.
    pub place: Place,
    /// What is there.
    pub live: Option<Value>,
    /// The revision that wrote it; 0 for none.
    pub revision: i64,
    /// Whether it is signed.
    pub signed: bool,
    /// The deletion's record.
    pub tombstone: Option<Value>,
    /// The revision that wrote that; 0 for none.
    tombstone_revision: i64,
    /// A set's history.
    pub history: Vec<Entry>,
}

impl Standing {
    /// What must still hold when it is written over.
    pub fn unchanged(&self, keys: &Keys) -> Vec<Compare> {
        vec![
            Compare::ModRevision(self.place.key(keys), self.revision),
            Compare::ModRevision(self.place.tombstone(keys), self.tombstone_revision),
        ]
    }

    /// The newest entry of a set's history.
    pub fn newest(&self) -> Option<&Entry> {
        self.history.iter().max_by_key(|entry| entry.number)
    }

    /// The generation that was deleted; 0 without.
    pub fn buried(&self) -> i64 {
        self.tombstone.as_ref().and_then(|value| value["generation"].as_i64()).unwrap_or(0)
    }
}

impl Desk {
    /// Connects to the store that the settings name.
    pub async fn open(globals: &Globals) -> anyhow::Result<Self> {
        let settings = globals.fleet_settings()?;
        let fleet = store_client::connect(&settings).await?;
        Ok(Self { fleet, settings })
    }

    /// Objects of the fleet.
    pub fn view(&self, wish: Wish) -> anyhow::Result<FleetView> {
        Ok(FleetView::new(&self.fleet, &self.connection()?, wish))
    }

    /// How to reach the store again.
    pub fn connection(&self) -> anyhow::Result<store::Settings> {
        store_client::required(&self.settings)
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.fleet.keys
    }

    /// Reads ranges at one revision.
    pub async fn read(&self, ranges: &[Range]) -> anyhow::Result<Vec<Kv>> {
        Ok(self.fleet.store.list_all(ranges).await.map_err(refusal)?.1)
    }

    /// Reads what stands at a place.
    pub async fn standing(&self, place: &Place) -> anyhow::Result<Standing> {
        let keys = self.keys();
        let (key, tombstone) = (place.key(keys), place.tombstone(keys));
        let mut ranges = vec![Range::key(&key), Range::key(&tombstone)];
        if let Place::Set(set) = place {
            ranges.push(Range::prefix(keys.revisions(set)));
        }
        let mut standing = Standing {
            place: place.clone(),
            live: None,
            revision: 0,
            signed: false,
            tombstone: None,
            tombstone_revision: 0,
            history: Vec::new(),
        };
        for kv in self.read(&ranges).await? {
            let value = opened(&kv.value);
            if kv.key == key {
                // What is no object can be written over and deleted all the same.
                standing.live = Some(value.unwrap_or_else(|| Map::new().into()));
                standing.revision = kv.mod_revision;
                standing.signed = is_signed(&kv.value);
            } else if kv.key == tombstone {
                standing.tombstone = value;
                standing.tombstone_revision = kv.mod_revision;
            } else if let Some(value) = value {
                standing.history.push(Entry::of(&value));
            }
        }
        Ok(standing)
    }

    /// Puts an operator's value, signed where a key is configured.
    pub fn put(&self, key: String, value: &Value, lease: i64) -> anyhow::Result<Op> {
        let plain = value.to_string();
        if plain.len() > MAX_DOCUMENT {
            return Err(Failure::hinted(
                format!(
                    "{key}: has {} bytes; at most {MAX_DOCUMENT} (1 MiB) are stored",
                    plain.len()
                ),
                "split it, or bring large files to the hosts by an image or a hostPath",
            ));
        }
        let value = signing::seal(&self.settings, plain.into_bytes())?;
        Ok(Op::Put { key, value, lease })
    }

    /// Refuses to write an unsigned value over a signed one: nodes that trust keys would not follow it.
    pub fn may_replace(&self, signed: bool, what: &str) -> anyhow::Result<()> {
        if !signed || self.settings.sign_key.is_some() {
            return Ok(());
        }
        Err(Failure::hinted(
            format!("{what} is signed, and there is no key to sign the new one with"),
            "name it by --sign-key FILE or signKey in the settings; where nothing is signed any more, delete it first",
        ))
    }

    /// Runs a transaction; false when somebody else was faster.
    pub async fn commit(&self, txn: &Txn) -> anyhow::Result<bool> {
        let bytes: usize = txn.then.iter().map(size).sum();
        if bytes > MAX_TXN {
            return Err(Failure::hinted(
                format!("{bytes} bytes are more than etcd takes at once ({MAX_TXN})"),
                "make the object smaller; a set is stored with what was applied and with its history",
            ));
        }
        let outcome = self.fleet.store.txn(txn).await.map_err(|error| {
            let unsure = error.is_connection();
            let error = refusal(error);
            if unsure {
                error.context("whether it was written is not known; run the command again")
            } else {
                error
            }
        })?;
        Ok(outcome.succeeded)
    }

    /// Waits a moment after somebody else was faster; gives up after the last try.
    pub async fn after_conflict(&self, attempt: u32, what: &str) -> anyhow::Result<()> {
        if attempt + 1 >= TRIES {
            return Err(Failure::hinted(
                format!(
                    "{what} was changed by others {TRIES} times while this was written; nothing was"
                ),
                "run the command again",
            ));
        }
        // Writers that met once shall not meet again.
        let spread = u64::from(std::process::id() % 16 + 1) * 4 * u64::from(attempt + 1);
        tokio::time::sleep(Duration::from_millis(spread)).await;
        Ok(())
    }
}

/// How many bytes an operation carries.
fn size(op: &Op) -> usize {
    match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete(range)
        | Op::Get(range)
        | Op::Count(range)
        | Op::Names(range)
        | Op::Before(range, _) => range.from.len(),
    }
}

/// A value as it was before it was signed; `None` for what is no JSON object.
pub fn opened(bytes: &[u8]) -> Option<Value> {
    let plain = signing::open(bytes)?;
    serde_json::from_slice(&plain).ok().filter(Value::is_object)
}

/// Whether a value is in an envelope.
pub fn is_signed(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes).is_ok_and(|value| value["payloadType"].is_string())
}

/// The identity of a set's template; otherwise why it is no set that can run.
pub fn checked(
    set: &Value,
    origin: &str,
    validation: FieldValidation,
) -> Result<TemplateHash, Vec<String>> {
    let text = set.to_string();
    let reading = spec::read(origin, text.as_bytes(), validation);
    let mut faults: Vec<String> = reading.faults.iter().map(ToString::to_string).collect();
    for document in &reading.documents {
        if let Outcome::Set(set) = &document.outcome {
            return Ok(set.hash.clone());
        }
        faults.extend(super::manifests::complaints(document));
    }
    if faults.is_empty() {
        faults.push(format!("{origin}: is no DaemonSet"));
    }
    Err(faults)
}

/// What a verb that changes one thing after another says at its end: the last failure is everybody's.
pub fn ending(failed: Option<anyhow::Error>) -> anyhow::Result<ExitCode> {
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}
