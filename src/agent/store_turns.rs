//! Where the link to the store meets turns: it lets the keeper go on, and tells what the gates of sets say.

use std::collections::BTreeMap;

use crate::base::{ids::SetKey, keyed::keyed};
use crate::fleet::records;
use crate::store::{Change, Gate, Kv, Range, Store, Watch};

use super::{
    feeds::News,
    store_link::{Link, Over},
    turn_keeper::{Hands, Round},
    turns::SetGates,
};

impl Link {
    /// Goes on with the turns, and listens to what those wait for that cannot go on: from now on, for etcd catches up with a
    /// watch from a revision of the past ten times a second only, and whoever listens looks once more.
    pub(super) async fn take_turns(
        &mut self,
        store: &Store,
        watch: &mut Watch,
    ) -> Result<(), Over> {
        let (publisher, handle) = (&mut self.publisher, &self.handle);
        let mut hands = Hands { store, publisher, handle };
        loop {
            if Box::pin(self.keeper.round(&mut hands)).await? == Round::Fenced {
                return Err(Over::Again);
            }
            let ranges = self.keeper.listens_to();
            let anew = ranges != self.keeper.heard;
            if anew {
                store.watch_beside(watch, &ranges).await?;
                self.keeper.heard = ranges;
            }
            if !self.keeper.listens(anew) {
                return Ok(());
            }
        }
    }

    /// Takes the gates as they are now, with the histories of sets of which a template failed.
    pub(super) async fn gates_changed(&mut self, store: &Store) -> Result<(), Over> {
        let keys = self.settings.keys.clone();
        let mut sets: BTreeMap<SetKey, SetGates> = BTreeMap::new();
        for kv in self.gates.values() {
            let Some((set, gate, hash)) = keys.parse_gate(&kv.key) else { continue };
            let of = sets.entry(set).or_default();
            match gate {
                Gate::Condemned => {
                    // One that cannot be read holds every claim all the same: that is to be told.
                    of.gates.condemned.push(hash.clone());
                    if let Some(word) = records::read(&kv.value) {
                        of.condemned.insert(hash, word);
                    }
                }
                Gate::Baked => of.gates.baked.push(hash),
                Gate::Baking => of.gates.baking.push(hash),
            }
        }
        for (set, of) in sets.iter_mut().filter(|(_, of)| !of.condemned.is_empty()) {
            let key = keys.set(set);
            let ranges = [Range::key(&key), Range::prefix(keys.revisions(set))];
            let (_, kvs) = store.list_all(&ranges).await?;
            let (own, revisions): (Vec<Kv>, Vec<Kv>) =
                kvs.into_iter().partition(|kv| kv.key == key);
            if let Some(own) = own.first() {
                of.history = self.view.history(&key, own, revisions);
            }
        }
        self.keeper.gates = keyed(sets.iter().map(|(set, of)| (set.clone(), of.gates.clone())));
        self.send(News::Gates(sets));
        Ok(())
    }

    /// Takes the changes of gates out of others; `true` when there were any.
    pub(super) fn take_gates(&mut self, changes: &mut Vec<Change>) -> bool {
        let prefix = self.settings.keys.all_gates();
        let before = changes.len();
        changes.retain(|change| {
            if !change.key().starts_with(&prefix) {
                return true;
            }
            match change {
                Change::Put(kv) => drop(self.gates.insert(kv.key.clone(), kv.clone())),
                Change::Delete(key, _) => drop(self.gates.remove(key)),
            }
            false
        });
        changes.len() < before
    }
}
