//! The table of keys, continued: where images come from, what they must be like, how long they stay.

use crate::base::time::go_duration;

use super::keys::{Key, PLAIN};
use super::values::{number, path, set, shown};
use super::values_images::{age, flag, patterns, shown_rules, signatures};

/// What a key of images shows.
macro_rules! of_images {
    ($field:ident) => {
        |of| of.images.$field.to_string()
    };
}

/// The keys of images.
pub(super) static IMAGE_KEYS: [Key; 12] = [
    Key {
        path: "images.authFile",
        sort: "path",
        about: "The host's credentials for registries, as docker and podman write them (`config.json` with `auths`, \
                `credHelpers`, `credsStore`). It is read again when it changes; the default file may be missing.",
        read: |tree, to, notes| set(&mut to.images.auth_file, path(tree, notes)),
        show: |of| shown(&of.images.auth_file),
        ..PLAIN
    },
    Key {
        path: "images.hostsDir",
        sort: "path",
        about: "Where mirrors, certificates and headers of registries are described, as for containerd: \
                `<registry>/hosts.toml`, `_default/hosts.toml`.",
        read: |tree, to, notes| set(&mut to.images.hosts_dir, path(tree, notes)),
        show: |of| shown(&of.images.hosts_dir),
        ..PLAIN
    },
    Key {
        path: "images.credentialProviderConfig",
        sort: "path",
        otherwise: "none",
        about: "A `CredentialProviderConfig` (`kubelet.config.k8s.io/v1`) that names the kubelet's credential provider \
                plugins to ask. It is read again when it changes.",
        read: |tree, to, notes| {
            set(&mut to.images.credential_provider_config, path(tree, notes).map(Some));
        },
        show: |of| of.images.credential_provider_config.as_deref().map(shown).unwrap_or_default(),
        ..PLAIN
    },
    Key {
        path: "images.credentialProviderBinDir",
        sort: "path",
        about: "Where those plugins lie.",
        read: |tree, to, notes| set(&mut to.images.credential_provider_bin_dir, path(tree, notes)),
        show: |of| shown(&of.images.credential_provider_bin_dir),
        ..PLAIN
    },
    Key {
        path: "images.maxParallelPulls",
        sort: "number from 1 to 100",
        about: "How many images are pulled at once; the others wait.",
        read: |tree, to, notes| {
            set(&mut to.images.max_parallel_pulls, number(tree, notes, 1..=100, 3).map(size));
        },
        show: of_images!(max_parallel_pulls),
        ..PLAIN
    },
    Key {
        path: "images.maxParallelLayers",
        sort: "number from 1 to 32",
        about: "How many layers of one image are fetched at once.",
        read: |tree, to, notes| {
            set(&mut to.images.max_parallel_layers, number(tree, notes, 1..=32, 3).map(size));
        },
        show: of_images!(max_parallel_layers),
        ..PLAIN
    },
    Key {
        path: "images.gcHighThresholdPercent",
        sort: "number from 0 to 100",
        about: "How full containerd's disk may be, in percent, before images that nobody uses are removed; \
                100 for never.",
        read: |tree, to, notes| {
            set(
                &mut to.images.gc_high_threshold_percent,
                percent(number(tree, notes, 0..=100, 85)),
            );
        },
        show: of_images!(gc_high_threshold_percent),
        ..PLAIN
    },
    Key {
        path: "images.gcLowThresholdPercent",
        sort: "number from 0 to 100",
        about: "How full the disk may be when enough images are removed; less than `images.gcHighThresholdPercent`.",
        read: |tree, to, notes| {
            set(&mut to.images.gc_low_threshold_percent, percent(number(tree, notes, 0..=100, 80)));
        },
        show: of_images!(gc_low_threshold_percent),
        ..PLAIN
    },
    Key {
        path: "images.minimumGCAge",
        sort: "duration",
        about: "How long an image stays at least after it was last used.",
        read: |tree, to, notes| set(&mut to.images.minimum_gc_age, age(tree, notes)),
        show: |of| go_duration(of.images.minimum_gc_age),
        ..PLAIN
    },
    Key {
        path: "images.policy.allowed",
        live: true,
        sort: "list of patterns",
        in_environment: false,
        otherwise: "all",
        about: "The repositories that images may come from, pulled now or here already. A pattern is a registry (`registry.example:5000`), \
                alone or with the beginning of a path (`docker.io/library/busybox`), and matches all that lies below; \
                `*` stands for any letters but `/`, so `registry.example/team/*` is everything below `team`.",
        read: |tree, to, notes| set(&mut to.images.policy.allowed, patterns(tree, notes)),
        show: |of| shown_list(of.images.policy.allowed.iter()),
        ..PLAIN
    },
    Key {
        path: "images.policy.requireDigest",
        live: true,
        sort: "`true` or `false`",
        about: "Whether only images that are named with their digest (`…@sha256:…`) may be run.",
        read: |tree, to, notes| set(&mut to.images.policy.require_digest, flag(tree, notes)),
        show: |of| of.images.policy.require_digest.to_string(),
        ..PLAIN
    },
    Key {
        path: "images.policy.signatures",
        live: true,
        sort: "list of `{match, keys}`",
        in_environment: false,
        otherwise: "none",
        about: "Whose signatures images must bear: `match` is a pattern as in `images.policy.allowed`, `keys` are files \
                with public keys (`cosign.pub`), one of which must have signed with cosign. The first item that \
                matches counts; an image that none matches needs no signature.",
        read: |tree, to, notes| to.images.policy.signatures = signatures(tree, notes),
        show: |of| shown_rules(&of.images.policy.signatures),
        ..PLAIN
    },
];

/// A small number as a count.
fn size(number: u32) -> usize {
    number as usize
}

/// A number up to 100 as a percentage.
fn percent(number: Option<u32>) -> Option<u8> {
    number.and_then(|number| u8::try_from(number).ok())
}

/// A list as text.
fn shown_list(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
