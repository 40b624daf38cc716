//! A container's environment, and `$(NAME)` references into it.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Deref;

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, EnvVarSource};

use crate::spec::ObjectKind;

use super::fault::StartFault;
use super::values::Values;

/// Where commands are sought when neither image nor container says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An ordered environment: names are unique, a later value takes an earlier one's place. Its `Debug` tells names
/// only: values may be secrets, and secrets reach no log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Sets a variable where it stands, or at the end.
    fn put(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl From<Vec<(String, String)>> for Environment {
    /// The variables as they are; no name stands twice.
    fn from(variables: Vec<(String, String)>) -> Self {
        Self(variables)
    }
}

impl Deref for Environment {
    type Target = [(String, String)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// All that the process finds in its environment: defaults, the image's part, and over them the container's own.
pub fn environment(
    container: &Container,
    own: &Environment,
    image_env: &[String],
    hostname: &str,
) -> Environment {
    let mut all = Environment::default();
    all.put("PATH", DEFAULT_PATH.into());
    if container.tty == Some(true) {
        all.put("TERM", "xterm".into());
    }
    all.put("HOSTNAME", hostname.into());
    for entry in image_env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        all.put(name, value.into());
    }
    for (name, value) in own.iter() {
        all.put(name, value.clone());
    }
    all
}

/// The container's own part: whole objects first, then single variables. A reference sees what stands above it,
/// never the image's part; a value from elsewhere is taken as it is.
pub fn own_environment(
    container: &Container,
    values: &Values<'_>,
) -> Result<Environment, StartFault> {
    let mut own = Environment::default();
    for source in container.env_from.iter().flatten() {
        put_all(source, values, &mut own)?;
    }
    for entry in container.env.iter().flatten() {
        let written = entry.value.as_deref().unwrap_or_default();
        let value = match &entry.value_from {
            Some(source) if written.is_empty() => value_from(container, entry, source, values)?,
            _ => Some(expand(written, &own)),
        };
        if let Some(value) = value {
            own.put(&entry.name, value);
        }
    }
    Ok(own)
}

/// Takes every key of an object that can be the name of a variable.
fn put_all(
    source: &EnvFromSource,
    values: &Values<'_>,
    own: &mut Environment,
) -> Result<(), StartFault> {
    let (kind, name, optional) = match (&source.config_map_ref, &source.secret_ref) {
        (Some(map), _) => (ObjectKind::ConfigMap, &map.name, map.optional),
        (None, Some(secret)) => (ObjectKind::Secret, &secret.name, secret.optional),
        (None, None) => return Ok(()),
    };
    let object = match values.object(kind, name) {
        Ok(object) => object,
        Err(_) if optional == Some(true) => return Ok(()),
        Err(missing) => return Err(StartFault::config(missing.to_string())),
    };
    let prefix = source.prefix.as_deref().unwrap_or_default();
    for (key, value) in &object.data {
        let variable = format!("{prefix}{key}");
        if is_name(&variable) {
            own.put(&variable, text(kind, name, key, value)?);
        }
    }
    Ok(())
}

/// The value of a variable that comes from elsewhere; `None` when it is optional and not there.
fn value_from(
    container: &Container,
    entry: &EnvVar,
    source: &EnvVarSource,
    values: &Values<'_>,
) -> Result<Option<String>, StartFault> {
    let named = |problem: String| StartFault::config(format!("env: {}: {problem}", entry.name));
    if let Some(field) = &source.field_ref {
        return values.downward.field(&field.field_path).map(Some).map_err(named);
    }
    if let Some(resource) = &source.resource_field_ref {
        return values.downward.resource(resource, Some(container)).map(Some).map_err(named);
    }
    let (kind, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref) {
        (Some(map), _) => (ObjectKind::ConfigMap, &map.name, &map.key, map.optional),
        (None, Some(secret)) => (ObjectKind::Secret, &secret.name, &secret.key, secret.optional),
        (None, None) => return Err(named("this kind of valueFrom is not supported".into())),
    };
    let found = values.object(kind, name).and_then(|object| {
        // What a ConfigMap keeps as binaryData is for files.
        object.data.get(key).ok_or_else(|| values.without(kind, name, key))
    });
    match found {
        Ok(value) => text(kind, name, key, value).map(Some),
        Err(_) if optional == Some(true) => Ok(None),
        Err(missing) => Err(StartFault::config(missing.to_string())),
    }
}

/// A value as a variable can hold it. The kernel ends variables with a zero byte.
fn text(kind: ObjectKind, name: &str, key: &str, value: &[u8]) -> Result<String, StartFault> {
    let text = std::str::from_utf8(value).ok().filter(|text| !text.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| {
        StartFault::config(format!(
            "{kind} \"{name}\": the value of key {key} is no text that a variable can hold; mount it \
             as a file of a volume"
        ))
    })
}

/// Whether a variable can have this name; a key of an object may be none.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| (' '..='~').contains(&c) && c != '=')
}

/// Replaces `$(NAME)` by the variable's value and `$$` by `$`; everything else, unknown names too, stays as it is.
pub fn expand(text: &str, environment: &[(String, String)]) -> String {
    let value = |name: &str| environment.iter().find(|(known, _)| known == name);
    expand_with(text, |name| value(name).map(|(_, value)| value.clone()))
}

/// The same where nothing may stay open, as in `subPathExpr`: a variable that is not set, or empty, is an error.
pub fn expand_fully(text: &str, environment: &[(String, String)]) -> Result<String, String> {
    let mut missing = BTreeSet::new();
    let expanded = expand_with(text, |name| {
        let found = environment.iter().find(|(known, value)| known == name && !value.is_empty());
        if found.is_none() {
            missing.insert(name.to_owned());
        }
        found.map(|(_, value)| value.clone())
    });
    if missing.is_empty() {
        return Ok(expanded);
    }
    let names: Vec<String> = missing.into_iter().collect();
    Err(format!("missing value for {}", names.join(", ")))
}

/// The same with values from wherever; each name is asked for once for every time that it stands there.
pub fn expand_with(text: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        rest = if let Some(escaped) = after.strip_prefix('$') {
            out.push('$');
            escaped
        } else if let Some((name, tail)) = reference {
            match value(name) {
                Some(value) => out.push_str(&value),
                None => out.extend(["$(", name, ")"]),
            }
            tail
        } else {
            out.push('$');
            after
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
pub mod tests;
