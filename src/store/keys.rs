//! The keys: this is the only file that spells one.

use crate::base::ids::{NodeName, SetKey, TemplateHash};
use crate::spec::{ObjectKey, ObjectKind};

use super::kv::Range;

/// The keys of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// What all of them begin with: `/podward/<cluster>/`.
    root: String,
}

/// A key that operators write and nodes follow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecKey {
    /// A set.
    Set(SetKey),
    /// A ConfigMap or Secret.
    Object(ObjectKey),
    /// The explicit deletion of a set.
    SetTombstone(SetKey),
    /// The explicit deletion of a ConfigMap or Secret.
    ObjectTombstone(ObjectKey),
    /// The wish that one pod be replaced: its node and its uid.
    PodTombstone(NodeName, String),
    /// What is laid over a node's own labels and taints.
    Node(NodeName),
    /// An operator's word that this store is the right one.
    Accept,
}

/// What holds a template back, or lets it go on, on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It failed.
    Condemned,
    /// Its canary nodes were well once.
    Baked,
    /// And not yet for long enough: under a store lease that nobody renews.
    Baking,
}

impl Gate {
    /// Every gate.
    pub const ALL: [Self; 3] = [Self::Condemned, Self::Baked, Self::Baking];

    /// Its word in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Condemned => "condemned",
            Self::Baked => "baked",
            Self::Baking => "baking",
        }
    }
}

impl Keys {
    /// The keys below a prefix and a cluster's name.
    pub fn new(prefix: &str, cluster: &str) -> Self {
        Self { root: format!("{}/{cluster}/", prefix.trim_end_matches('/')) }
    }

    /// What all keys begin with.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// What operators write.
    pub fn spec(&self) -> String {
        format!("{}spec/", self.root)
    }

    /// What nodes write.
    pub fn fleet(&self) -> String {
        format!("{}fleet/", self.root)
    }

    /// What a node follows: one range for each watch.
    pub fn followed(&self, node: &NodeName) -> Vec<Range> {
        let spec = self.spec();
        vec![
            Range::key(format!("{spec}accept")),
            Range::span(&format!("{spec}configmaps/"), &format!("{spec}daemonsets/")),
            Range::key(self.node_overlay(node)),
            Range::span(&format!("{spec}secrets/"), &format!("{spec}tombstones/")),
        ]
    }

    /// Every set.
    pub fn sets(&self) -> String {
        format!("{}daemonsets/", self.spec())
    }

    /// One set.
    pub fn set(&self, set: &SetKey) -> String {
        format!("{}{}/{}", self.sets(), set.namespace, set.name)
    }

    /// Every ConfigMap, or every Secret.
    pub fn objects(&self, kind: ObjectKind) -> String {
        format!("{}{}/", self.spec(), folder(kind))
    }

    /// One ConfigMap or Secret.
    pub fn object(&self, object: &ObjectKey) -> String {
        format!("{}{}/{}", self.objects(object.kind), object.namespace, object.name)
    }

    /// The history of a set.
    pub fn revisions(&self, set: &SetKey) -> String {
        format!("{}revisions/{}/{}/", self.spec(), set.namespace, set.name)
    }

    /// The histories of all sets.
    pub fn all_revisions(&self) -> String {
        format!("{}revisions/", self.spec())
    }

    /// One entry of a set's history; the number has ten digits so that keys sort as numbers do.
    pub fn revision(&self, set: &SetKey, number: i64) -> String {
        format!("{}{number:010}", self.revisions(set))
    }

    /// Every explicit deletion.
    pub fn tombstones(&self) -> String {
        format!("{}tombstones/", self.spec())
    }

    /// The explicit deletion of a set.
    pub fn set_tombstone(&self, set: &SetKey) -> String {
        format!("{}daemonsets/{}/{}", self.tombstones(), set.namespace, set.name)
    }

    /// The explicit deletion of a ConfigMap or Secret.
    pub fn object_tombstone(&self, object: &ObjectKey) -> String {
        format!("{}{}/{}/{}", self.tombstones(), folder(object.kind), object.namespace, object.name)
    }

    /// The wish that one pod be replaced.
    pub fn pod_tombstone(&self, node: &NodeName, uid: &str) -> String {
        format!("{}pods/{node}/{uid}", self.tombstones())
    }

    /// What is laid over the labels and taints of nodes.
    pub fn node_overlays(&self) -> String {
        format!("{}nodes/", self.spec())
    }

    /// What is laid over the labels and taints of one node.
    pub fn node_overlay(&self, node: &NodeName) -> String {
        format!("{}{node}", self.node_overlays())
    }

    /// An operator's word that this store is the right one.
    pub fn accept(&self) -> String {
        format!("{}accept", self.spec())
    }

    /// Every node's record.
    pub fn nodes(&self) -> String {
        format!("{}nodes/", self.fleet())
    }

    /// A node's record of itself.
    pub fn node(&self, node: &NodeName) -> String {
        format!("{}{node}", self.nodes())
    }

    /// Every node's sign of life.
    pub fn alive_all(&self) -> String {
        format!("{}alive/", self.fleet())
    }

    /// A node's sign of life.
    pub fn alive(&self, node: &NodeName) -> String {
        format!("{}{node}", self.alive_all())
    }

    /// The sets that a node has written member keys for: one index, changed in the same transactions.
    pub fn memberships(&self, node: &NodeName) -> String {
        format!("{}memberships/{node}", self.fleet())
    }

    /// What nodes say of all sets.
    pub fn fleet_sets(&self) -> String {
        format!("{}sets/", self.fleet())
    }

    /// That nodes should run a set.
    pub fn members(&self, set: &SetKey) -> String {
        self.part(set, "member")
    }

    /// That a node should run a set, and how that goes.
    pub fn member(&self, set: &SetKey, node: &NodeName) -> String {
        format!("{}{node}", self.members(set))
    }

    /// Which nodes say that their pod of a set is available.
    pub fn availables(&self, set: &SetKey) -> String {
        self.part(set, "available")
    }

    /// That a node's pod of a set is available.
    pub fn available(&self, set: &SetKey, node: &NodeName) -> String {
        format!("{}{node}", self.availables(set))
    }

    /// Which nodes are in their turns.
    pub fn turns(&self, set: &SetKey) -> String {
        self.part(set, "turn")
    }

    /// A node's turn.
    pub fn turn(&self, set: &SetKey, node: &NodeName) -> String {
        format!("{}{node}", self.turns(set))
    }

    /// Which nodes wait for a turn.
    pub fn queues(&self, set: &SetKey) -> String {
        self.part(set, "queue")
    }

    /// That a node waits for a turn.
    pub fn queue(&self, set: &SetKey, node: &NodeName) -> String {
        format!("{}{node}", self.queues(set))
    }

    /// Which members have a pod of a template.
    pub fn at_all(&self, set: &SetKey, hash: &str) -> String {
        format!("{}{hash}/", self.part(set, "at"))
    }

    /// That a member has a pod of a template: an index of the members, changed in the same transactions.
    pub fn at(&self, set: &SetKey, hash: &str, node: &NodeName) -> String {
        format!("{}{node}", self.at_all(set, hash))
    }

    /// Which members are of the canary.
    pub fn canaries(&self, set: &SetKey) -> String {
        self.part(set, "canary")
    }

    /// That a member is of the canary: an index of the members, too.
    pub fn canary(&self, set: &SetKey, node: &NodeName) -> String {
        format!("{}{node}", self.canaries(set))
    }

    /// What nodes say of a set.
    pub fn of_set(&self, set: &SetKey) -> String {
        format!("{}{}/{}/", self.fleet_sets(), set.namespace, set.name)
    }

    /// A part of that.
    fn part(&self, set: &SetKey, part: &str) -> String {
        format!("{}{part}/", self.of_set(set))
    }

    /// What the queue of a set goes by, beside the nodes in it.
    pub fn queue_marks(&self, set: &SetKey) -> String {
        format!("{}queues/{}/{}/", self.fleet(), set.namespace, set.name)
    }

    /// Which node entered the queue of a set last.
    pub fn entered(&self, set: &SetKey) -> String {
        format!("{}entered", self.queue_marks(set))
    }

    /// The last claim of a set.
    pub fn claimed(&self, set: &SetKey) -> String {
        format!("{}claimed", self.queue_marks(set))
    }

    /// The gates of all sets.
    pub fn all_gates(&self) -> String {
        format!("{}rollouts/", self.fleet())
    }

    /// The gates of a set.
    pub fn gates(&self, set: &SetKey) -> String {
        format!("{}{}/{}/", self.all_gates(), set.namespace, set.name)
    }

    /// One gate of a set.
    pub fn gate(&self, set: &SetKey, gate: Gate, hash: &TemplateHash) -> String {
        format!("{}{}/{hash}", self.gates(set), gate.as_str())
    }

    /// The set, the gate and the template of a gate's key.
    pub fn parse_gate(&self, key: &str) -> Option<(SetKey, Gate, TemplateHash)> {
        let parts: Vec<&str> = key.strip_prefix(&self.all_gates())?.split('/').collect();
        match *parts.as_slice() {
            [namespace, name, gate, hash] => {
                let gate = Gate::ALL.into_iter().find(|known| known.as_str() == gate)?;
                Some((SetKey::new(namespace, name), gate, TemplateHash::new(hash)))
            }
            _ => None,
        }
    }

    /// Every pod.
    pub fn pods(&self) -> String {
        format!("{}pods/", self.fleet())
    }

    /// The pods of a node.
    pub fn pods_of(&self, node: &NodeName) -> String {
        format!("{}{node}/", self.pods())
    }

    /// A pod.
    pub fn pod(&self, node: &NodeName, namespace: &str, pod: &str) -> String {
        format!("{}{namespace}/{pod}", self.pods_of(node))
    }

    /// Every event.
    pub fn events(&self) -> String {
        format!("{}events/", self.fleet())
    }

    /// The events of a node.
    pub fn events_of(&self, node: &NodeName) -> String {
        format!("{}{node}/", self.events())
    }

    /// An event, by the name that its node gave it.
    pub fn event(&self, node: &NodeName, name: &str) -> String {
        format!("{}{name}", self.events_of(node))
    }

    /// What a key below `spec/` names; `None` for others, and for those that nodes do not follow.
    pub fn parse_spec(&self, key: &str) -> Option<SpecKey> {
        let parts: Vec<&str> = key.strip_prefix(&self.spec())?.split('/').collect();
        Some(match *parts.as_slice() {
            ["accept"] => SpecKey::Accept,
            ["daemonsets", namespace, name] => SpecKey::Set(SetKey::new(namespace, name)),
            ["nodes", node] => SpecKey::Node(NodeName::new(node)),
            ["tombstones", "daemonsets", namespace, name] => {
                SpecKey::SetTombstone(SetKey::new(namespace, name))
            }
            ["tombstones", "pods", node, uid] => {
                SpecKey::PodTombstone(NodeName::new(node), uid.to_owned())
            }
            ["tombstones", kind, namespace, name] => {
                SpecKey::ObjectTombstone(object_key(kind, namespace, name)?)
            }
            [kind, namespace, name] => SpecKey::Object(object_key(kind, namespace, name)?),
            _ => return None,
        })
    }

    /// The set and the node of a member key.
    pub fn parse_member(&self, key: &str) -> Option<(SetKey, NodeName)> {
        let parts: Vec<&str> = key.strip_prefix(&self.fleet_sets())?.split('/').collect();
        match *parts.as_slice() {
            [namespace, name, "member", node] => {
                Some((SetKey::new(namespace, name), NodeName::new(node)))
            }
            _ => None,
        }
    }
}

/// The folder of a kind.
fn folder(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::ConfigMap => "configmaps",
        ObjectKind::Secret => "secrets",
    }
}

/// The key of an object in a folder.
fn object_key(kind: &str, namespace: &str, name: &str) -> Option<ObjectKey> {
    let kinds = [ObjectKind::ConfigMap, ObjectKind::Secret];
    let kind = kinds.into_iter().find(|known| folder(*known) == kind)?;
    Some(ObjectKey { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_what_they_name() {
        let keys = Keys::new("/podward/", "default");
        let set = SetKey::new("web", "nginx");
        assert_eq!(keys.set(&set), "/podward/default/spec/daemonsets/web/nginx");
        let object =
            ObjectKey { kind: ObjectKind::Secret, namespace: "web".into(), name: "tls".into() };
        let node = NodeName::new("n1");
        for (key, meant) in [
            (keys.set(&set), SpecKey::Set(set.clone())),
            (keys.set_tombstone(&set), SpecKey::SetTombstone(set.clone())),
            (keys.object(&object), SpecKey::Object(object.clone())),
            (keys.object_tombstone(&object), SpecKey::ObjectTombstone(object.clone())),
            (keys.pod_tombstone(&node, "u"), SpecKey::PodTombstone(node.clone(), "u".into())),
            (keys.node_overlay(&node), SpecKey::Node(node.clone())),
            (keys.accept(), SpecKey::Accept),
        ] {
            assert_eq!(keys.parse_spec(&key), Some(meant), "{key}");
        }
        assert_eq!(keys.parse_spec(&keys.revision(&set, 3)), None);
        assert_eq!(keys.parse_member(&keys.member(&set, &node)), Some((set.clone(), node.clone())));
        let hash = TemplateHash::new("abc");
        for gate in Gate::ALL {
            let meant = Some((set.clone(), gate, hash.clone()));
            assert_eq!(keys.parse_gate(&keys.gate(&set, gate, &hash)), meant);
        }
        assert_eq!(keys.at(&set, "abc", &node), "/podward/default/fleet/sets/web/nginx/at/abc/n1");
    }
}
