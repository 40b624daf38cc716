//! Which parts of volumes a container mounts: `subPath`, and `subPathExpr` with its variables put in.

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use super::environment::{Environment, expand_fully};
use super::fault::StartFault;
use super::mounts::Propagation;

/// A part of a volume that a container mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubPath {
    /// Which of the container's mounts.
    pub index: usize,
    /// The field with what was written there, for messages.
    pub field: String,
    /// The volume.
    pub volume: String,
    /// The path in it: relative, without `..`.
    pub path: String,
    /// How later mounts travel.
    pub propagation: Propagation,
}

/// Whether a mount is of a part of its volume.
pub fn is_partial(mount: &VolumeMount) -> bool {
    let set = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    set(&mount.sub_path) || set(&mount.sub_path_expr)
}

/// The parts that a container mounts; `own` is the environment that its manifest gives it, for `subPathExpr`.
pub fn sub_paths(container: &Container, own: &Environment) -> Result<Vec<SubPath>, StartFault> {
    let mounts = container.volume_mounts.iter().flatten().enumerate();
    mounts
        .filter(|(_, mount)| is_partial(mount))
        .map(|(index, mount)| part(index, mount, own))
        .collect()
}

/// One mount's part: its variables put in, and still within the volume.
fn part(index: usize, mount: &VolumeMount, own: &Environment) -> Result<SubPath, StartFault> {
    let plain = mount.sub_path.as_deref().filter(|path| !path.is_empty());
    let expression = mount.sub_path_expr.as_deref().unwrap_or_default();
    let name = if plain.is_some() { "subPath" } else { "subPathExpr" };
    // As it was written: what stands in variables may be secret.
    let field = format!("volumeMounts[{index}].{name}: {:?}", plain.unwrap_or(expression));
    let path = match plain {
        Some(path) => path.to_owned(),
        // A variable that is unset or empty would name another directory than meant.
        None => expand_fully(expression, own).map_err(|missing| {
            StartFault::config(format!("{field}: {missing}; set it in the container's env"))
        })?,
    };
    let fault = |problem| StartFault::config(format!("{field}: {problem}"));
    if path.starts_with('/') {
        return Err(fault("must not be an absolute path; write a path relative to the volume"));
    }
    if path.split('/').any(|part| part == "..") {
        return Err(fault("must not contain '..'; write a path below the volume"));
    }
    if path.contains('\0') {
        return Err(fault("holds a NUL byte; remove it"));
    }
    let propagation = Propagation::of(mount)?;
    Ok(SubPath { index, field, volume: mount.name.clone(), path, propagation })
}

#[cfg(test)]
mod tests {
    use crate::pod::environment::tests::{own, with_env};

    use super::*;

    fn container(mounts: &[(&str, &str)]) -> Container {
        let mounts = mounts.iter().map(|(plain, expression)| VolumeMount {
            name: "v".into(),
            mount_path: "/v".into(),
            sub_path: Some((*plain).into()),
            sub_path_expr: Some((*expression).into()),
            ..VolumeMount::default()
        });
        Container { volume_mounts: Some(mounts.collect()), ..Container::default() }
    }

    fn paths(mounts: &[(&str, &str)]) -> Result<Vec<(usize, String)>, String> {
        let variables = [("POD", "web-1"), ("EMPTY", ""), ("UP", ".."), ("ROOT", "/etc")];
        let own = own(&with_env(&variables)).unwrap();
        let found = sub_paths(&container(mounts), &own).map_err(|fault| {
            assert_eq!(fault.reason, "CreateContainerConfigError");
            fault.message
        })?;
        Ok(found.into_iter().map(|part| (part.index, part.path)).collect())
    }

    #[test]
    fn only_mounts_of_parts_are_told_and_variables_are_put_in() {
        assert_eq!(
            paths(&[("", ""), ("a/b", ""), ("", "logs/$(POD)/$$(POD)"), ("a..b", "")]).unwrap(),
            [(1, "a/b".into()), (2, "logs/web-1/$(POD)".into()), (3, "a..b".into())]
        );
    }

    #[test]
    fn a_variable_without_a_value_is_named() {
        let fault = paths(&[("", "$(NOPE)/$(EMPTY)/$(POD)/$(NOPE)")]).unwrap_err();
        assert!(fault.contains("volumeMounts[0].subPathExpr"), "{fault}");
        assert!(fault.contains("missing value for EMPTY, NOPE;"), "{fault}");
    }

    #[test]
    fn what_would_leave_the_volume_is_refused_after_expansion_too() {
        for (mounts, problem) in [
            (("/etc", ""), "subPath: \"/etc\": must not be an absolute path"),
            (("a/../../b", ""), "must not contain '..'"),
            (("", "$(ROOT)"), "subPathExpr: \"$(ROOT)\": must not be an absolute path"),
            (("", "a/$(UP)"), "must not contain '..'"),
        ] {
            let fault = paths(&[mounts]).unwrap_err();
            assert!(fault.contains(problem), "{fault}");
        }
    }
}
