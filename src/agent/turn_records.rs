//! The turns of this host on its disk: what it may disturb, what it came from, and how often it was booted meanwhile. A host
//! that boots without a store goes on in its turn.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Instant,
};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::base::{
    ids::{SetKey, TemplateHash},
    time,
};
use crate::rollout::{
    breaker::{self, Boot},
    turn::{Turn, Verdict},
};

use super::{
    checked,
    handle::{HeldTurn, TurnsTold},
    sets,
    turns::SetGates,
};

/// The version of the file's shape that this build writes.
const VERSION: u32 = 1;

/// A turn of this host.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// The turn.
    pub turn: Turn,
    /// The template that the node came from.
    #[serde(default)]
    pub previous: Option<PodTemplateSpec>,
    /// Boots in which the turn was found open.
    #[serde(default)]
    boots: Vec<Boot>,
    /// Why the template is not tried again here within this turn.
    #[serde(default)]
    pub barred: Option<Verdict>,
    /// Whether the leave to disturb the pod is taken back: the turn may be over already.
    #[serde(default)]
    pub revoked: bool,
    /// Whether this is on the disk.
    #[serde(skip)]
    pub saved: bool,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    /// The shape's version.
    version: u32,
    /// The turns by `namespace/name`.
    turns: BTreeMap<String, Record>,
}

/// The turns of this host.
#[derive(Debug)]
pub(super) struct Turns {
    /// The file.
    path: PathBuf,
    /// Those that are held.
    pub records: BTreeMap<SetKey, Record>,
    /// Why others are not taken, in a word and in a sentence.
    pub waits: BTreeMap<SetKey, (&'static str, String)>,
    /// The gates of sets; `None` until the store was heard.
    pub gates: Option<BTreeMap<SetKey, SetGates>>,
    /// The templates that the fleet wants here and that this host does not run, for they are barred.
    pub detours: BTreeMap<SetKey, TemplateHash>,
    /// Since when sets that no store coordinates want another template, and which.
    pub splays: BTreeMap<SetKey, (TemplateHash, Instant)>,
    /// Whether an agent runs here: one pass takes no turns.
    pub keeps: bool,
}

impl Turns {
    /// Loads the turns, and notes which boot this is. A torn file is set aside and named: the store knows the turns, too.
    pub(super) fn load(state: &Path, boot_id: &str, keeps: bool) -> Self {
        let path = state.join("turns.json");
        let mut records = read(&path).unwrap_or_else(|error| {
            let aside = path.with_extension("json.bad");
            let _ = fs::rename(&path, &aside);
            warn!(
                "{} cannot be used ({error}); it was set aside as {}",
                path.display(),
                aside.display()
            );
            BTreeMap::new()
        });
        let now = time::now().wall;
        let mut booted = false;
        for record in records.values_mut() {
            record.saved = true;
            if breaker::note(&mut record.boots, &record.turn.boot_id, boot_id, now) {
                booted = true;
                record.barred =
                    record.barred.take().or_else(|| breaker::verdict(&record.boots, now));
            }
        }
        let mut turns = Self {
            path,
            records,
            waits: BTreeMap::new(),
            gates: None,
            detours: BTreeMap::new(),
            splays: BTreeMap::new(),
            keeps,
        };
        if booted {
            turns.save();
        }
        turns
    }

    /// The templates that this host may have to go back to.
    pub(super) fn previous(&self) -> impl Iterator<Item = (&SetKey, &PodTemplateSpec)> {
        self.records.iter().filter_map(|(key, record)| Some((key, record.previous.as_ref()?)))
    }

    /// Whether no turn is known here.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes the file before anything that it says is acted upon. It is small, and this is seldom.
    fn save(&mut self) {
        let turns = self.records.iter().map(|(key, record)| (key.to_string(), record.clone()));
        let file = File { version: VERSION, turns: turns.collect() };
        let written = serde_json::to_value(file)
            .and_then(checked::text)
            .map_err(io::Error::other)
            .and_then(|text| sets::write(&self.path, &text));
        let saved = written.is_ok();
        if let Err(error) = written {
            error!(%error, "failed to write the turns; no pod is disturbed before they are");
        }
        for record in self.records.values_mut() {
            record.saved = saved;
        }
    }

    /// Takes what the keeper knows; `true` when a turn is another one than before.
    pub(super) fn take(
        &mut self,
        told: TurnsTold,
        previous: impl Fn(&SetKey, &str) -> Option<PodTemplateSpec>,
    ) -> bool {
        self.waits = told.waits;
        let mut changed = false;
        self.records.retain(|key, _| {
            let unknown = told.members.contains(key) && !told.known.contains(key);
            let stays = told.held.contains_key(key) || unknown;
            changed |= !stays;
            stays
        });
        for (key, HeldTurn { turn, revoked }) in told.held {
            if let Some(record) = self.records.get_mut(&key) {
                changed |= record.turn != turn || record.revoked != revoked || !record.saved;
                record.revoked = revoked;
                if record.turn.to != turn.to {
                    (record.boots, record.barred) = (Vec::new(), None);
                }
                record.turn = turn;
                continue;
            }
            let previous = previous(&key, &turn.from);
            let (boots, barred) = (Vec::new(), None);
            let record = Record { turn, previous, boots, barred, revoked, saved: false };
            self.records.insert(key, record);
            changed = true;
        }
        if changed {
            self.save();
        }
        changed
    }
}

/// Reads the file; none is an empty one.
fn read(path: &Path) -> io::Result<BTreeMap<SetKey, Record>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let file: File = serde_json::from_value(checked::object(&text)?)?;
    if file.version != VERSION {
        return Err(io::Error::other(format!("version {}", file.version)));
    }
    let record = |(key, record): (String, Record)| {
        let (namespace, name) = key.split_once('/')?;
        Some((SetKey::new(namespace, name), record))
    };
    Ok(file.turns.into_iter().filter_map(record).collect())
}

#[cfg(test)]
mod tests {
    use crate::rollout::turn::TurnKind;

    use super::*;

    fn told(set: &SetKey, turn: Option<&Turn>) -> TurnsTold {
        let held = turn.map(|turn| HeldTurn { turn: turn.clone(), revoked: false });
        TurnsTold {
            members: [set.clone()].into(),
            known: [set.clone()].into(),
            held: held.map(|held| (set.clone(), held)).into_iter().collect(),
            waits: BTreeMap::new(),
        }
    }

    fn turn(to: &str) -> Turn {
        Turn {
            kind: TurnKind::Replace,
            from: "old".into(),
            to: TemplateHash::new(to),
            since: time::now().wall,
            boot_id: "first".into(),
            domain: String::new(),
            failed: None,
        }
    }

    fn take(turns: &mut Turns, told: TurnsTold) -> bool {
        turns.take(told, |_, _| Some(PodTemplateSpec::default()))
    }

    #[test]
    fn a_turn_outlives_the_agent_and_the_host_until_the_store_says_that_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let set = SetKey::new("default", "web");
        let mut turns = Turns::load(dir.path(), "first", true);
        let held = turn("new");
        assert!(take(&mut turns, told(&set, Some(&held))));
        assert!(!take(&mut turns, told(&set, Some(&held))), "no news");
        let mut turns = Turns::load(dir.path(), "second", true);
        assert!(turns.records[&set].saved && turns.records[&set].boots.len() == 1);
        let unread = TurnsTold { members: [set.clone()].into(), ..TurnsTold::default() };
        assert!(!take(&mut turns, unread), "a session that has read nothing yet ends nothing");
        assert!(turns.records.contains_key(&set));
        assert!(take(&mut turns, told(&set, None)));
        assert!(Turns::load(dir.path(), "second", true).is_empty());
    }

    #[test]
    fn two_boots_in_a_turn_bar_its_template_until_the_turn_goes_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let set = SetKey::new("default", "web");
        take(&mut Turns::load(dir.path(), "first", true), told(&set, Some(&turn("new"))));
        assert!(Turns::load(dir.path(), "second", true).records[&set].barred.is_none());
        assert!(Turns::load(dir.path(), "third", true).records[&set].barred.is_some());
        let mut turns = Turns::load(dir.path(), "third", true);
        assert_eq!(
            turns.records[&set].barred.as_ref().unwrap().reason,
            "BootLoop",
            "it is remembered"
        );
        take(&mut turns, told(&set, Some(&turn("newer"))));
        assert!(turns.records[&set].barred.is_none());
    }

    #[test]
    fn a_torn_file_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("turns.json"), "{\"version\": 1, \"tur").unwrap();
        assert!(Turns::load(dir.path(), "first", true).is_empty());
        assert!(dir.path().join("turns.json.bad").exists());
    }
}
