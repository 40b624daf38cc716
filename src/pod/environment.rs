//! A container's environment, and `$(NAME)` references into it.

use k8s_openapi::api::core::v1::Container;

/// Where commands are sought when neither image nor container says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An ordered environment: names are unique, a later value takes an earlier one's place.
pub type Environment = Vec<(String, String)>;

/// All that the process finds in its environment: defaults, the image's part, the container's part.
pub fn environment(container: &Container, image_env: &[String], hostname: &str) -> Environment {
    let mut all = vec![("PATH".to_owned(), DEFAULT_PATH.to_owned())];
    if container.tty == Some(true) {
        put(&mut all, "TERM", "xterm".into());
    }
    put(&mut all, "HOSTNAME", hostname.into());
    for entry in image_env {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        put(&mut all, name, value.into());
    }
    for (name, value) in own_environment(container) {
        put(&mut all, &name, value);
    }
    all
}

/// The container's own part. A reference sees what stands above it, never the image's part.
pub fn own_environment(container: &Container) -> Environment {
    let mut own = Environment::new();
    for entry in container.env.iter().flatten() {
        let value = expand(entry.value.as_deref().unwrap_or_default(), &own);
        put(&mut own, &entry.name, value);
    }
    own
}

/// Sets a variable where it stands, or at the end.
fn put(environment: &mut Environment, name: &str, value: String) {
    match environment.iter_mut().find(|(known, _)| known == name) {
        Some(entry) => entry.1 = value,
        None => environment.push((name.to_owned(), value)),
    }
}

/// Replaces `$(NAME)` by the variable's value and `$$` by `$`; everything else, unknown names too, stays as it is.
pub fn expand(text: &str, environment: &[(String, String)]) -> String {
    let value = |name: &str| environment.iter().find(|(known, _)| known == name);
    expand_with(text, |name| value(name).map(|(_, value)| value.clone()))
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
pub mod tests {
    use k8s_openapi::api::core::v1::EnvVar;

    use super::*;

    /// A container with these variables.
    pub fn with_env(env: &[(&str, &str)]) -> Container {
        let env = env.iter().map(|(name, value)| EnvVar {
            name: (*name).into(),
            value: Some((*value).into()),
            value_from: None,
        });
        Container { name: "c".into(), env: Some(env.collect()), ..Container::default() }
    }

    fn pairs(list: &[(&str, &str)]) -> Environment {
        list.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn references_expand_as_kubernetes_expands_them() {
        let known = pairs(&[("A", "1"), ("B", "$(A)"), ("EMPTY", ""), ("ä", "umlaut")]);
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1"),
            ("x$(A)y$(A)z", "x1y1z"),
            ("$(B)", "$(A)"),
            ("[$(EMPTY)]", "[]"),
            ("$(MISSING)", "$(MISSING)"),
            ("$()", "$()"),
            ("$$", "$"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$$$$(A)", "$$(A)"),
            ("$", "$"),
            ("a$", "a$"),
            ("$A", "$A"),
            ("${A}", "${A}"),
            ("$(A", "$(A"),
            ("$(A$$", "$(A$"),
            ("$(A$(B)", "$(A$(B)"),
            ("$ (A)", "$ (A)"),
            ("$(ä)€$é", "umlaut€$é"),
            ("$(A))", "1)"),
        ] {
            assert_eq!(expand(text, &known), expected, "{text}");
        }
    }

    #[test]
    fn a_variable_sees_those_above_it_only() {
        let container = with_env(&[
            ("LATER", "$(BASE)"),
            ("BASE", "b"),
            ("SELF", "$(SELF)"),
            ("SELF", "$(SELF)+$(BASE)"),
            ("BASE", "$(BASE)2"),
            ("PATH_LIKE", "$(PATH)"),
        ]);
        assert_eq!(
            own_environment(&container),
            pairs(&[
                ("LATER", "$(BASE)"),
                ("BASE", "b2"),
                ("SELF", "$(SELF)+b"),
                ("PATH_LIKE", "$(PATH)"),
            ])
        );
    }

    #[test]
    fn the_container_overrides_the_image_and_the_image_the_defaults() {
        let mut container = with_env(&[("MODE", "own"), ("EMPTY", "")]);
        let image = ["MODE=image".into(), "LANG=C".into(), "HOSTNAME=image".into(), "FLAG".into()];
        assert_eq!(
            environment(&container, &image, "node-1"),
            pairs(&[
                ("PATH", DEFAULT_PATH),
                ("HOSTNAME", "image"),
                ("MODE", "own"),
                ("LANG", "C"),
                ("FLAG", ""),
                ("EMPTY", ""),
            ])
        );
        container.tty = Some(true);
        assert_eq!(
            environment(&container, &["PATH=/bin".into()], "node-1"),
            pairs(&[
                ("PATH", "/bin"),
                ("TERM", "xterm"),
                ("HOSTNAME", "node-1"),
                ("MODE", "own"),
                ("EMPTY", ""),
            ])
        );
    }
}
