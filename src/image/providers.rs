//! The kubelet's credential provider plugins as values: their configuration, what is asked of them, what they answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::credentials::{Keyring, Place, is_program};

/// The version of requests and answers that we speak.
const API: &str = "credentialprovider.kubelet.k8s.io/v1";
/// The version of the configuration that we read.
const CONFIG_API: &str = "kubelet.config.k8s.io/v1";

/// One plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The name of its program.
    pub name: String,
    /// What it is asked about.
    places: Vec<Place>,
    /// How long an answer holds that does not say so itself.
    default_cache: Duration,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, beside what every program gets.
    pub env: Vec<(String, String)>,
}

/// What an answer holds for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One repository.
    Image(String),
    /// One registry.
    Registry(String),
    /// Everything that the plugin is asked about.
    Global,
}

/// What a plugin answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The credentials.
    pub keyring: Keyring,
    /// What it holds for.
    pub scope: Scope,
    /// How long it holds; zero for this once.
    pub cache: Duration,
}

impl Provider {
    /// Reads a `CredentialProviderConfig`; the fault names the field and the remedy.
    pub fn read_all(config: &Value) -> Result<Vec<Self>, String> {
        if config["apiVersion"] != CONFIG_API || config["kind"] != "CredentialProviderConfig" {
            return Err(format!(
                "is no CredentialProviderConfig; write apiVersion: {CONFIG_API} and kind: CredentialProviderConfig"
            ));
        }
        let Some(providers) = config["providers"].as_array().filter(|list| !list.is_empty()) else {
            return Err("providers: is empty; name one plugin, or remove the key".to_owned());
        };
        let read = |(at, one)| Self::read(one).map_err(|fault| format!("providers[{at}].{fault}"));
        providers.iter().enumerate().map(read).collect()
    }

    /// Reads one plugin.
    fn read(one: &Value) -> Result<Self, String> {
        let name = one["name"].as_str().filter(|name| is_program(name));
        let name =
            name.ok_or("name: is no name of a program in images.credentialProviderBinDir")?;
        if one["apiVersion"] != API {
            return Err(format!("apiVersion: is not one that is spoken here; write {API}"));
        }
        if !one["tokenAttributes"].is_null() {
            return Err("tokenAttributes: there are no service accounts here; remove it".to_owned());
        }
        let places = texts(&one["matchImages"]).filter(|list| !list.is_empty());
        let places =
            places.ok_or("matchImages: is no list of images such as *.registry.example")?;
        let args = texts(&one["args"]).ok_or("args: is no list of texts")?;
        let default_cache = one["defaultCacheDuration"].as_str().and_then(duration);
        let env = one["env"].as_array().map_or(&[][..], Vec::as_slice).iter().map(|variable| {
            Some((variable["name"].as_str()?.to_owned(), variable["value"].as_str()?.to_owned()))
        });
        Ok(Self {
            name: name.to_owned(),
            places: places.iter().map(|place| Place::parse(place)).collect(),
            default_cache: default_cache
                .ok_or("defaultCacheDuration: is no duration such as 10m or 12h")?,
            args,
            env: env.collect::<Option<_>>().ok_or("env: is no list of {name, value}")?,
        })
    }

    /// Whether it is asked about a repository.
    pub fn serves(&self, repository: &str) -> bool {
        self.places.iter().any(|place| place.fits(repository))
    }

    /// What it is asked.
    pub fn request(repository: &str) -> String {
        json!({"kind": "CredentialProviderRequest", "apiVersion": API, "image": repository})
            .to_string()
    }

    /// Reads its answer to that. No fault repeats what was answered.
    pub fn answer(&self, repository: &str, bytes: &[u8]) -> Result<Answer, String> {
        let answer: Value = serde_json::from_slice(bytes)
            .map_err(|error| format!("its answer is no JSON: {error}"))?;
        if answer["apiVersion"] != API || answer["kind"] != "CredentialProviderResponse" {
            return Err(format!("its answer is no CredentialProviderResponse of {API}"));
        }
        let registry = || repository.split('/').next().unwrap_or_default().to_owned();
        let scope = match answer["cacheKeyType"].as_str() {
            Some("Image") => Scope::Image(repository.to_owned()),
            Some("Registry") => Scope::Registry(registry()),
            Some("Global") => Scope::Global,
            _ => return Err("its cacheKeyType is none of Image, Registry and Global".to_owned()),
        };
        let cache = match &answer["cacheDuration"] {
            Value::Null => self.default_cache,
            written => written
                .as_str()
                .and_then(duration)
                .ok_or("its cacheDuration is no duration such as 10m or 12h")?,
        };
        let mut faults = Vec::new();
        let keyring = match &answer["auth"] {
            Value::Null => Keyring::default(),
            Value::Object(auth) => Keyring::of_auths("its auth", auth, &mut faults),
            _ => return Err("its auth is no mapping".to_owned()),
        };
        match faults.pop() {
            Some(fault) => Err(fault),
            None => Ok(Answer { keyring, scope, cache }),
        }
    }
}

impl Scope {
    /// Whether an answer with this scope tells about a repository.
    pub fn covers(&self, repository: &str) -> bool {
        match self {
            Self::Image(image) => image == repository,
            Self::Registry(registry) => repository.split('/').next() == Some(registry),
            Self::Global => true,
        }
    }
}

/// A list of texts; empty when nothing is written.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// A duration as Go writes it, such as `1h30m0s` or `0.5s`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let end = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let (unit, after) = rest[digits..].split_at(end);
        total += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = after;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(total).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::credentials::Login;

    /// A configuration with one plugin, some of whose fields are laid over.
    #[expect(clippy::needless_pass_by_value, reason = "tests read better so")]
    fn config(over: Value) -> Value {
        let mut provider = json!({
            "name": "ecr", "matchImages": ["*.dkr.example", "r.example/team"], "defaultCacheDuration": "12h",
            "apiVersion": API, "args": ["get"], "env": [{"name": "A", "value": "b"}],
        });
        provider.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        json!({"apiVersion": CONFIG_API, "kind": "CredentialProviderConfig", "providers": [provider]})
    }

    /// The plugin of that configuration.
    fn provider() -> Provider {
        Provider::read_all(&config(json!({}))).unwrap().remove(0)
    }

    #[test]
    fn a_plugin_is_read_and_asked_about_its_images() {
        let provider = provider();
        assert_eq!(provider.name, "ecr");
        assert_eq!(provider.args, ["get"]);
        assert_eq!(provider.env, [("A".to_owned(), "b".to_owned())]);
        assert!(provider.serves("1.dkr.example/x") && provider.serves("r.example/team/x"));
        assert!(!provider.serves("dkr.example/x") && !provider.serves("r.example/x"));
    }

    #[test]
    fn a_fault_of_the_configuration_names_the_field() {
        for (over, fault) in [
            (json!({"name": "../x"}), "providers[0].name: is no name of a program"),
            (json!({"apiVersion": "v2"}), "providers[0].apiVersion: is not one that is spoken"),
            (json!({"matchImages": []}), "providers[0].matchImages: is no list"),
            (json!({"defaultCacheDuration": "soon"}), "providers[0].defaultCacheDuration: is no"),
            (json!({"tokenAttributes": {}}), "providers[0].tokenAttributes: there are no"),
            (json!({"env": [{"name": "A"}]}), "providers[0].env: is no list"),
        ] {
            let said = Provider::read_all(&config(over)).unwrap_err();
            assert!(said.starts_with(fault), "{said}");
        }
        assert!(Provider::read_all(&json!({"kind": "Pod"})).unwrap_err().starts_with("is no Cred"));
    }

    #[test]
    fn an_answer_says_what_it_holds_for_and_how_long() {
        let answer = |over: Value| {
            let mut answer = json!({
                "apiVersion": API, "kind": "CredentialProviderResponse", "cacheKeyType": "Registry",
                "auth": {"*.dkr.example": {"username": "AWS", "password": "secret"}},
            });
            answer.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
            provider().answer("1.dkr.example/x", answer.to_string().as_bytes())
        };
        let found = answer(json!({})).unwrap();
        assert_eq!(found.cache, Duration::from_hours(12));
        let login = Login::Password { user: "AWS".to_owned(), password: "secret".to_owned() };
        assert_eq!(found.keyring.logins("1.dkr.example/y"), [login]);
        assert!(found.scope.covers("1.dkr.example/y") && !found.scope.covers("2.dkr.example/y"));
        let found = answer(json!({"cacheKeyType": "Image", "cacheDuration": "1m0.5s"})).unwrap();
        assert_eq!(found.cache, Duration::from_millis(60_500));
        assert!(found.scope.covers("1.dkr.example/x") && !found.scope.covers("1.dkr.example/y"));
        assert!(answer(json!({"cacheKeyType": "Global"})).unwrap().scope.covers("2.dkr.example/y"));
        assert_eq!(answer(json!({"auth": null})).unwrap().keyring, Keyring::default());
        for (over, fault) in [
            (json!({"cacheKeyType": "All"}), "its cacheKeyType is none of"),
            (json!({"kind": "Pod"}), "its answer is no CredentialProviderResponse"),
            (json!({"auth": {"a": {"username": "x"}}}), "its auth[\"a\"]: has a username without"),
        ] {
            let said = answer(over).unwrap_err();
            assert!(said.starts_with(fault), "{said}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in [("0", 0), ("5m0s", 300_000), ("1.5h", 5_400_000), ("250ms", 250)] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "m", "5d", "-1s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
