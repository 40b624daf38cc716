//! The table of keys, continued: the shared store, whom to believe, and where metrics are served.

use crate::base::time::go_millis;

use super::keys::{Key, PLAIN};
use super::values::{directories, path, set, shown, text};
use super::values_sources::{
    LEASE, TIMEOUT, endpoints, listen, prefix, protected, shown_paths, span,
};

/// A key of the store that names a file.
macro_rules! file_of_etcd {
    ($path:literal, $field:ident, $about:literal) => {
        Key {
            path: $path,
            sort: "path",
            otherwise: "none",
            about: $about,
            read: |tree, to, notes| set(&mut to.etcd.$field, path(tree, notes).map(Some)),
            show: |of| of.etcd.$field.as_deref().map(shown).unwrap_or_default(),
            ..PLAIN
        }
    };
}

/// The keys of the store and of trust.
pub(super) static SOURCE_KEYS: [Key; 13] = [
    Key {
        path: "node.protected",
        sort: "list of keys",
        in_environment: false,
        live: true,
        otherwise: "none",
        about: "The keys of labels and taints that `podward label`, `taint` and `cordon` cannot change on this host from afar.",
        read: |tree, to, notes| set(&mut to.node.protected, protected(tree, notes)),
        show: |of| of.node.protected.join(", "),
        ..PLAIN
    },
    Key {
        path: "etcd.endpoints",
        sort: "list of URLs, or one text with commas",
        flag: Some("--etcd"),
        otherwise: "none",
        about: "The members of the shared store, such as `https://10.0.0.1:2379`; each is tried when another one fails. \
                Without `sources`, the store is a source after the directory of manifests.",
        read: |tree, to, notes| to.etcd.endpoints = endpoints(tree, notes),
        show: |of| of.etcd.endpoints.join(","),
        ..PLAIN
    },
    Key {
        path: "etcd.prefix",
        about: "What all keys begin with; the cluster's name follows.",
        read: |tree, to, notes| set(&mut to.etcd.prefix, prefix(tree, notes)),
        show: |of| of.etcd.prefix.clone(),
        ..PLAIN
    },
    file_of_etcd!(
        "etcd.caFile",
        ca_file,
        "The authority of the members' certificates, in PEM, beside the system's."
    ),
    file_of_etcd!(
        "etcd.certFile",
        cert_file,
        "This host's certificate, where the store asks for one."
    ),
    file_of_etcd!("etcd.keyFile", key_file, "The key of that certificate."),
    Key {
        path: "etcd.username",
        otherwise: "none",
        about: "The user of the store, where that is not told by a certificate.",
        read: |tree, to, notes| {
            set(&mut to.etcd.username, text(tree, notes).map(|name| Some(name.to_owned())));
        },
        show: |of| of.etcd.username.clone().unwrap_or_default(),
        ..PLAIN
    },
    file_of_etcd!("etcd.passwordFile", password_file, "The file with the user's password."),
    Key {
        path: "etcd.leaseTtl",
        sort: "duration from `10s` to `1h`",
        about: "How long this host counts as alive without a sign of life.",
        read: |tree, to, notes| set(&mut to.etcd.lease_ttl, span(tree, notes, LEASE)),
        show: |of| go_millis(of.etcd.lease_ttl),
        ..PLAIN
    },
    Key {
        path: "etcd.timeout",
        sort: "duration from `1s` to `10m`",
        about: "How long an answer of the store may take.",
        read: |tree, to, notes| set(&mut to.etcd.timeout, span(tree, notes, TIMEOUT)),
        show: |of| go_millis(of.etcd.timeout),
        ..PLAIN
    },
    Key {
        path: "trustedKeys",
        sort: "list of paths",
        in_environment: false,
        otherwise: "none",
        about: "Public ed25519 keys in PEM. With any, only what one of them signed is followed, from every source; \
                see `podward sign`. The files are read again when they change.",
        read: |tree, to, notes| set(&mut to.trusted_keys, directories(tree, notes)),
        show: |of| shown_paths(&of.trusted_keys),
        ..PLAIN
    },
    Key {
        path: "signKey",
        sort: "path",
        flag: Some("--sign-key"),
        otherwise: "none",
        about: "The private ed25519 key in PEM that `apply` and the other verbs sign with what they write into the store. \
                It belongs on operators' machines, not on the fleet's hosts.",
        read: |tree, to, notes| set(&mut to.sign_key, path(tree, notes).map(Some)),
        show: |of| of.sign_key.as_deref().map(shown).unwrap_or_default(),
        ..PLAIN
    },
    Key {
        path: "metrics.listen",
        sort: "address and port",
        otherwise: "nowhere",
        about: "Where metrics are served by HTTP, such as `127.0.0.1:9577`.",
        read: |tree, to, notes| listen(tree, to, notes),
        show: |of| of.metrics.map(|address| address.to_string()).unwrap_or_default(),
        ..PLAIN
    },
];
