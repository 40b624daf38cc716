//! Who may pull what: docker's configuration files, and which of their entries fits an image.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use k8s_openapi::api::core::v1::LocalObjectReference;
use serde_json::{Map, Value};

use crate::spec::{Object, ObjectKey, ObjectKind, Objects};

use super::pattern::{canonical, glob};

/// Base64 with or without padding, as docker and the kubelet take it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is shown to a registry. Its `Debug` hides it: secrets reach no log.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token with which the registry's token server is asked (docker's `identitytoken`).
    Identity(String),
    /// A token that is shown to the registry as it is (docker's `registrytoken`).
    Registry(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(hidden)",
            Self::Identity(_) => "Identity(hidden)",
            Self::Registry(_) => "Registry(hidden)",
        })
    }
}

/// Where an entry is good for: a registry and the beginning of a path.
///
/// As in the kubelet, `*` stands for any letters within one label of the host, the number of labels and the port must be
/// the image's, and the path is compared by its letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The host and the port.
    host: String,
    /// The path, with its first slash; empty for all of the registry.
    path: String,
}

impl Place {
    /// Reads a key of docker's files, such as `https://index.docker.io/v1/` or `*.registry.example/team`.
    pub fn parse(text: &str) -> Self {
        let text = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or(text);
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let path = path.trim_end_matches('/');
        // Docker's old keys name the version of the protocol.
        let version = |path: &str| path.starts_with("/v1") || path.starts_with("/v2");
        let path = match path.get(3..) {
            Some(rest) if version(path) && (rest.is_empty() || rest.starts_with('/')) => rest,
            _ => path,
        };
        Self { host: canonical(host), path: path.to_owned() }
    }

    /// Whether it fits a repository such as `docker.io/library/busybox`, or a registry.
    pub fn fits(&self, repository: &str) -> bool {
        let (host, path) = repository.split_at(repository.find('/').unwrap_or(repository.len()));
        let host = canonical(host);
        let (name, port) = host.split_once(':').unwrap_or((&host, ""));
        let (own_name, own_port) = self.host.split_once(':').unwrap_or((&self.host, ""));
        let (labels, own_labels) = (name.split('.'), own_name.split('.'));
        port == own_port
            && labels.clone().count() == own_labels.clone().count()
            && own_labels.zip(labels).all(|(pattern, label)| glob(pattern, label))
            && path.starts_with(&self.path)
    }
}

/// Logins and what they are good for, from one file or Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keyring {
    /// The logins, the most specific first.
    entries: Vec<(Place, Login)>,
    /// Docker's credential helpers of single registries.
    helpers: Vec<(Place, String)>,
    /// Docker's credential helper of all registries.
    store: Option<String>,
}

impl Keyring {
    /// Reads a docker `config.json`. With it comes what is wrong; good entries count all the same. No text repeats a value.
    pub fn of_config(origin: &str, bytes: &[u8]) -> (Self, Vec<String>) {
        const KNOWN: [&str; 3] = ["auths", "credHelpers", "credsStore"];
        let mut faults = Vec::new();
        let Some(map) = object(origin, bytes, &mut faults) else {
            return (Self::default(), faults);
        };
        if !map.is_empty() && !KNOWN.iter().any(|key| map.contains_key(*key)) {
            faults.push(format!(
                "{origin}: has no auths; write what docker login writes to config.json"
            ));
        }
        let none = Map::new();
        let auths = map.get("auths").and_then(Value::as_object).unwrap_or(&none);
        let mut keyring = Self::of_auths(&format!("{origin}: auths"), auths, &mut faults);
        let helpers = map.get("credHelpers").and_then(Value::as_object).unwrap_or(&none);
        for (place, name) in helpers {
            match name.as_str().filter(|name| is_program(name)) {
                Some(name) => keyring.helpers.push((Place::parse(place), name.to_owned())),
                None => faults.push(format!(
                    "{origin}: credHelpers[{place:?}]: is no name of a helper; write ecr-login for docker-credential-ecr-login"
                )),
            }
        }
        match map.get("credsStore").map(|name| (name, name.as_str())) {
            None | Some((_, Some(""))) => {}
            Some((_, Some(name))) if is_program(name) => keyring.store = Some(name.to_owned()),
            Some(_) => faults.push(format!(
                "{origin}: credsStore: is no name of a helper; write pass for docker-credential-pass"
            )),
        }
        (keyring, faults)
    }

    /// Reads docker's older `.dockercfg`, which is the inside of `auths`.
    pub fn of_dockercfg(origin: &str, bytes: &[u8]) -> (Self, Vec<String>) {
        let mut faults = Vec::new();
        let map = object(origin, bytes, &mut faults).unwrap_or_default();
        (Self::of_auths(origin, &map, &mut faults), faults)
    }

    /// Reads entries by their registries.
    pub fn of_auths(origin: &str, map: &Map<String, Value>, faults: &mut Vec<String>) -> Self {
        let mut entries = Vec::new();
        for (place, entry) in map {
            match login(entry) {
                Ok(Some(login)) => entries.push((Place::parse(place), login)),
                // Docker leaves an empty entry where a helper has the password.
                Ok(None) => {}
                Err(problem) => faults.push(format!("{origin}[{place:?}]: {problem}")),
            }
        }
        // Backwards by their letters: a longer path comes before a shorter one and a name before a star, as in the kubelet.
        entries.sort_by(|(a, _), (b, _)| (&b.host, &b.path).cmp(&(&a.host, &a.path)));
        Self { entries, ..Self::default() }
    }

    /// The logins for a repository such as `docker.io/library/busybox`, or a registry; the most specific first.
    pub fn logins(&self, repository: &str) -> Vec<Login> {
        let fitting = self.entries.iter().filter(|(place, _)| place.fits(repository));
        fitting.map(|(_, login)| login.clone()).collect()
    }

    /// The name of docker's credential helper to ask about a repository.
    pub fn helper(&self, repository: &str) -> Option<&str> {
        let fitting = self.helpers.iter().find(|(place, _)| place.fits(repository));
        fitting.map(|(_, name)| name).or(self.store.as_ref()).map(String::as_str)
    }
}

/// The credentials of a pod's `imagePullSecrets`, in their order. With them comes what is wrong, Secret by Secret: as with
/// the kubelet, the pull goes on without the others.
pub fn of_secrets(
    names: &[LocalObjectReference],
    namespace: &str,
    objects: &Objects,
) -> (Vec<Keyring>, Vec<String>) {
    let (mut keyrings, mut problems) = (Vec::new(), Vec::new());
    for name in names.iter().map(|reference| &reference.name) {
        let key = ObjectKey {
            kind: ObjectKind::Secret,
            namespace: namespace.to_owned(),
            name: name.clone(),
        };
        let Some(object) = objects.get(&key) else {
            problems.push(format!("{key} not found"));
            continue;
        };
        let (keyring, faults) = of_secret(&key.to_string(), object);
        problems.extend(faults);
        keyrings.push(keyring);
    }
    (keyrings, problems)
}

/// The credentials of one Secret, by the key that its type demands.
fn of_secret(origin: &str, object: &Object) -> (Keyring, Vec<String>) {
    let (mut keyring, faults) = if let Some(bytes) = object.value(".dockerconfigjson") {
        Keyring::of_config(&format!("{origin}: .dockerconfigjson"), bytes)
    } else if let Some(bytes) = object.value(".dockercfg") {
        Keyring::of_dockercfg(&format!("{origin}: .dockercfg"), bytes)
    } else {
        let problem = "has neither .dockerconfigjson nor .dockercfg; make it with kubectl create secret docker-registry";
        (Keyring::default(), vec![format!("{origin} {problem}")])
    };
    // What a Secret says starts no program on the host.
    (keyring.helpers, keyring.store) = (Vec::new(), None);
    (keyring, faults)
}

/// A JSON object out of bytes.
fn object(origin: &str, bytes: &[u8], faults: &mut Vec<String>) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(map)) => return Some(map),
        Ok(_) => faults.push(format!("{origin}: is not a JSON object")),
        // The parser's message tells what it waited for and where, not what it found.
        Err(error) => faults.push(format!("{origin}: is not JSON: {error}")),
    }
    None
}

/// One entry; `None` when it is empty. The problem never says what was found.
fn login(entry: &Value) -> Result<Option<Login>, &'static str> {
    if !entry.is_object() {
        return Err("is not an object; write {\"auth\": \"…\"}");
    }
    let mut texts = BTreeMap::new();
    for name in ["registrytoken", "identitytoken", "auth", "username", "password"] {
        match &entry[name] {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => {
                texts.insert(name, text.as_str());
            }
            _ => return Err("has a value that is not a text"),
        }
    }
    if let Some(token) = texts.get("registrytoken") {
        return Ok(Some(Login::Registry((*token).to_owned())));
    }
    if let Some(token) = texts.get("identitytoken") {
        return Ok(Some(Login::Identity((*token).to_owned())));
    }
    if let Some(auth) = texts.get("auth") {
        const PROBLEM: &str = "auth is not base64 of user:password; run docker login again";
        let decoded = BASE64.decode(auth.trim()).ok().and_then(|raw| String::from_utf8(raw).ok());
        let decoded = decoded.ok_or(PROBLEM)?;
        let (user, password) = decoded.split_once(':').ok_or(PROBLEM)?;
        // Docker once padded passwords with zeros.
        let password = password.trim_matches('\0').to_owned();
        return Ok(Some(Login::Password { user: user.to_owned(), password }));
    }
    match (texts.get("username"), texts.get("password")) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) => {
            Ok(Some(Login::Password { user: (*user).to_owned(), password: (*password).to_owned() }))
        }
        (Some(_), None) => Err("has a username without a password"),
        (None, Some(_)) => Err("has a password without a username"),
    }
}

/// Whether a text can be the end of a program's name.
pub(super) fn is_program(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(fits) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    /// A user's login.
    fn user(name: &str) -> Login {
        Login::Password { user: name.to_owned(), password: "secret:x".to_owned() }
    }

    /// A keyring whose entries have their own places as users.
    fn keyring(places: &[&str]) -> Keyring {
        let entry = |place: &&str| {
            ((*place).to_owned(), json!({"username": place, "password": "secret:x"}))
        };
        let mut faults = Vec::new();
        let keyring =
            Keyring::of_auths("t", &places.iter().map(entry).collect::<Map<_, _>>(), &mut faults);
        assert_eq!(faults, [""; 0]);
        keyring
    }

    #[test]
    fn each_form_of_an_entry_is_read() {
        let auths = json!({"auths": {
            "a.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="},
            "b.example": {"auth": "dXNlcjpzZWNyZXQ6eA"},
            "c.example": {"username": "user", "password": "secret:x", "email": "x@y"},
            "d.example": {"auth": "dXNlcjpzZWNyZXQ6eA==", "identitytoken": "refresh"},
            "e.example": {"registrytoken": "bearer"},
            "f.example": {},
            "g.example": {"auth": ""},
        }});
        let (keyring, faults) = Keyring::of_config("f", auths.to_string().as_bytes());
        assert_eq!(faults, [""; 0]);
        for (host, logins) in [
            ("a", vec![user("user")]),
            ("b", vec![user("user")]),
            ("c", vec![user("user")]),
            ("d", vec![Login::Identity("refresh".into())]),
            ("e", vec![Login::Registry("bearer".into())]),
            ("f", vec![]),
            ("g", vec![]),
        ] {
            assert_eq!(keyring.logins(&format!("{host}.example/x")), logins, "{host}");
        }
        let inside = auths["auths"].to_string();
        assert_eq!(Keyring::of_dockercfg("f", inside.as_bytes()).0, keyring);
    }

    #[test]
    fn an_entry_is_chosen_by_host_port_and_path_as_in_the_kubelet() {
        for (place, fitting, others) in [
            (
                "r.example",
                &["r.example", "r.example/a/b", "R.example:443/a"][..],
                &["r.example:5000/a", "x.r.example/a"][..],
            ),
            ("https://r.example/v2/", &["r.example/a"], &["s.example/a"]),
            ("http://r.example:5000", &["r.example:5000/a"], &["r.example/a"]),
            (
                "r.example/team",
                &["r.example/team/a", "r.example/team"],
                &["r.example/other/a", "r.example"],
            ),
            ("*.r.example", &["a.r.example/x"], &["r.example/x", "a.b.r.example/x"]),
            ("*.dkr.*.example:1", &["1.dkr.eu.example:1/x"], &["1.dkr.eu.example/x"]),
            ("https://index.docker.io/v1/", &["docker.io/library/busybox"], &["quay.io/a"]),
            ("docker.io", &["docker.io/library/busybox"], &[]),
        ] {
            for repository in fitting {
                assert_eq!(
                    keyring(&[place]).logins(repository),
                    [user(place)],
                    "{place} {repository}"
                );
            }
            for repository in others {
                assert_eq!(keyring(&[place]).logins(repository), [], "{place} {repository}");
            }
        }
    }

    #[test]
    fn the_most_specific_entry_comes_first() {
        let keyring = keyring(&["r.example", "*.example", "r.example/team", "r.example/team/app"]);
        let found = keyring.logins("r.example/team/app");
        let order = ["r.example/team/app", "r.example/team", "r.example", "*.example"];
        assert_eq!(found, order.map(user));
    }

    #[test]
    fn helpers_are_named_for_their_registries_and_one_for_the_rest() {
        let text = r#"{"credHelpers": {"r.example": "ecr-login"}, "credsStore": "pass"}"#;
        let (keyring, _) = Keyring::of_config("f", text.as_bytes());
        assert_eq!(keyring.helper("r.example/a"), Some("ecr-login"));
        assert_eq!(keyring.helper("s.example/a"), Some("pass"));
    }

    #[test]
    fn broken_entries_are_named_without_their_values() {
        for (text, fault) in [
            (
                r#"{"auths": {"a": {"auth": "%hidden%"}, "b.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="}}}"#,
                r#"f: auths["a"]: auth is not base64 of user:password; run docker login again"#,
            ),
            (
                r#"{"auths": {"a": {"auth": "aGlkZGVu"}, "b.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="}}}"#,
                r#"f: auths["a"]: auth is not base64 of user:password; run docker login again"#,
            ),
            (
                r#"{"auths": {"a": "hidden", "b.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="}}}"#,
                r#"f: auths["a"]: is not an object; write {"auth": "…"}"#,
            ),
            (
                r#"{"auths": {"a": {"password": "hidden"}, "b.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="}}}"#,
                r#"f: auths["a"]: has a password without a username"#,
            ),
            (
                r#"{"auths": {"b.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="}}, "credsStore": "../hidden"}"#,
                "f: credsStore: is no name of a helper; write pass for docker-credential-pass",
            ),
        ] {
            let (keyring, faults) = Keyring::of_config("f", text.as_bytes());
            assert_eq!(faults, [fault]);
            assert_eq!(keyring.logins("b.example/x"), [user("user")], "the good entry stays");
        }
        for (text, fault) in [
            ("{\"hidden\"", "f: is not JSON: EOF while parsing an object at line 1 column 9"),
            ("[]", "f: is not a JSON object"),
            (r#"{"a": {}}"#, "f: has no auths; write what docker login writes to config.json"),
        ] {
            assert_eq!(Keyring::of_config("f", text.as_bytes()).1, [fault]);
        }
        assert!(!format!("{:?}", keyring(&["a"])).contains("secret"));
    }

    #[test]
    fn secrets_of_both_types_give_their_logins_and_the_others_their_problem() {
        let secret = |key: &str, text: &str| {
            let data = [(key.to_owned(), text.as_bytes().to_vec())].into();
            Arc::new(Object { data, ..Object::default() })
        };
        let entry = r#"{"r.example": {"auth": "dXNlcjpzZWNyZXQ6eA=="}}"#;
        let config = format!(r#"{{"auths": {entry}, "credsStore": "evil"}}"#);
        let objects: Objects = [
            ("new", secret(".dockerconfigjson", &config)),
            ("old", secret(".dockercfg", entry)),
            ("other", secret("password", "hidden")),
        ]
        .into_iter()
        .map(|(name, object)| {
            let (kind, name) = (ObjectKind::Secret, name.to_owned());
            (ObjectKey { kind, namespace: "ns".to_owned(), name }, object)
        })
        .collect();
        let names = ["old", "missing", "other", "new"]
            .map(|name| LocalObjectReference { name: name.to_owned() });
        let (keyrings, problems) = of_secrets(&names, "ns", &objects);
        let found: Vec<_> = keyrings.iter().flat_map(|one| one.logins("r.example/x")).collect();
        assert_eq!(found, [user("user"), user("user")]);
        assert!(keyrings.iter().all(|one| one.helper("r.example/x").is_none()));
        assert_eq!(
            problems,
            [
                "secret \"ns/missing\" not found",
                "secret \"ns/other\" has neither .dockerconfigjson nor .dockercfg; \
                 make it with kubectl create secret docker-registry",
            ]
        );
    }
}
