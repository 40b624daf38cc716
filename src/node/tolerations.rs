//! The tolerations of a DaemonSet's pod: those written in the template, and those it gets by itself.

use std::fmt;

use k8s_openapi::api::core::v1::{PodSpec, Taint};

/// The automatic tolerations as key and effect. The effect matters: `not-ready:NoSchedule`, for
/// one, is not tolerated.
const AUTOMATIC: [(&str, &str); 7] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
    // Only for pods on the host's network: the others could not run before the network does.
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
];

/// Where a toleration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Written in the template, at this index.
    Written(usize),
    /// Written in the template at this index, and overwritten by the automatic one of the same shape.
    Overwritten {
        /// The index.
        index: usize,
        /// The seconds that it loses by this.
        lost: Option<i64>,
    },
    /// Automatic.
    Automatic,
}

/// One toleration, borrowed; an absent text is an empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Toleration<'a> {
    /// The taint's key; empty for any.
    pub key: &'a str,
    /// How key and value are compared.
    pub operator: &'a str,
    /// The taint's value.
    pub value: &'a str,
    /// The taint's effect; empty for any.
    pub effect: &'a str,
    /// How long a `NoExecute` taint is tolerated; `None` for ever.
    pub seconds: Option<i64>,
    /// Where it stands.
    pub source: Source,
}

/// Why a toleration does not match a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is for another effect.
    Effect,
    /// It is for another key.
    Key,
    /// It is for another value.
    Value,
    /// Its operator is `Lt` or `Gt`, which Kubernetes has behind a gate that is off.
    GatedOperator,
    /// Its operator is none.
    UnknownOperator,
}

impl Toleration<'_> {
    /// Whether it matches a taint; the seconds play no part in it.
    pub fn matches(&self, taint: &Taint) -> Result<(), Mismatch> {
        if !self.effect.is_empty() && self.effect != taint.effect {
            return Err(Mismatch::Effect);
        }
        if !self.key.is_empty() && self.key != taint.key {
            return Err(Mismatch::Key);
        }
        match self.operator {
            "Exists" => Ok(()),
            "" | "Equal" if self.value == taint.value.as_deref().unwrap_or_default() => Ok(()),
            "" | "Equal" => Err(Mismatch::Value),
            "Lt" | "Gt" => Err(Mismatch::GatedOperator),
            _ => Err(Mismatch::UnknownOperator),
        }
    }

    /// What of it does not fit, for the operator who wrote it.
    pub fn difference(&self, mismatch: Mismatch) -> String {
        match mismatch {
            Mismatch::Effect => format!("{self} is for effect {} only", self.effect),
            Mismatch::Key => format!("{self} is for key {:?}", self.key),
            Mismatch::Value => format!("{self} is for value {:?}", self.value),
            Mismatch::GatedOperator => {
                format!("{self} compares by {}, which is not enabled in Kubernetes", self.operator)
            }
            Mismatch::UnknownOperator => {
                format!("{self} has operator {:?}; write Equal or Exists", self.operator)
            }
        }
    }
}

impl fmt::Display for Toleration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Written(index) => write!(f, "tolerations[{index}]"),
            Source::Overwritten { index, lost: None } => {
                write!(f, "the automatic toleration in place of tolerations[{index}]")
            }
            Source::Overwritten { index, lost: Some(lost) } => write!(
                f,
                "the automatic toleration in place of tolerations[{index}], whose \
                 tolerationSeconds {lost} do not count"
            ),
            Source::Automatic => {
                write!(f, "the automatic toleration of {}:{}", self.key, self.effect)
            }
        }
    }
}

/// A pod's tolerations in the order in which they are tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tolerations<'a> {
    /// All of them.
    pub all: Vec<Toleration<'a>>,
    /// Whether the one for a missing network is among the automatic ones.
    pub host_network: bool,
}

impl<'a> Tolerations<'a> {
    /// Those of the template with the automatic ones laid over them: each overwrites, in place, any
    /// written toleration of the same key, effect, operator and value, else it comes last.
    pub fn of(spec: &'a PodSpec) -> Self {
        let written = spec.tolerations.as_deref().unwrap_or_default();
        let mut all = Vec::with_capacity(written.len() + AUTOMATIC.len());
        all.extend(written.iter().enumerate().map(|(index, one)| Toleration {
            key: one.key.as_deref().unwrap_or_default(),
            operator: one.operator.as_deref().unwrap_or_default(),
            value: one.value.as_deref().unwrap_or_default(),
            effect: one.effect.as_deref().unwrap_or_default(),
            seconds: one.toleration_seconds,
            source: Source::Written(index),
        }));
        let host_network = spec.host_network == Some(true);
        for &(key, effect) in &AUTOMATIC[..AUTOMATIC.len() - usize::from(!host_network)] {
            let mut overwrote = false;
            for (index, one) in all.iter_mut().enumerate().take(written.len()) {
                let shape = (one.key, one.effect, one.operator, one.value);
                if shape == (key, effect, "Exists", "") {
                    one.source = Source::Overwritten { index, lost: one.seconds.take() };
                    overwrote = true;
                }
            }
            if !overwrote {
                all.push(Toleration {
                    key,
                    operator: "Exists",
                    value: "",
                    effect,
                    seconds: None,
                    source: Source::Automatic,
                });
            }
        }
        Self { all, host_network }
    }

    /// The first one that matches a taint: it alone decides how long the taint is tolerated.
    pub fn first_match(&self, taint: &Taint) -> Option<&Toleration<'a>> {
        self.all.iter().find(|toleration| toleration.matches(taint).is_ok())
    }

    /// What is wrong with the toleration that comes nearest to a taint that none matches: one for
    /// the same key, or for any key, that was meant for it perhaps.
    pub fn near_miss(&self, taint: &Taint) -> Option<String> {
        self.all
            .iter()
            .filter(|one| one.key == taint.key || one.key.is_empty())
            .find_map(|one| one.matches(taint).err().map(|mismatch| one.difference(mismatch)))
    }

    /// What every DaemonSet tolerates by itself, in words.
    pub fn automatic_in_words(&self) -> String {
        let mut words = String::from(
            "not-ready and unreachable:NoExecute; disk-pressure, memory-pressure, pid-pressure, \
             unschedulable",
        );
        words.push_str(if self.host_network {
            " and, with hostNetwork, network-unavailable:NoSchedule"
        } else {
            ":NoSchedule (network-unavailable only with hostNetwork)"
        });
        words
    }
}
