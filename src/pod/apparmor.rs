//! Which `AppArmor` profile confines a container's process.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{AppArmorProfile, Container, PodSpec};

use super::fault::StartFault;
use super::security::privileged;

/// The name of the default profile: containerd's own, so that a host has one of them whoever loads it.
pub const DEFAULT_PROFILE: &str = "cri-containerd.apparmor.d";

/// The text of the default profile, which `apparmor_parser` loads.
pub const DEFAULT_TEXT: &str = include_str!("apparmor/default.profile");

/// The annotation that named a container's profile before there was a field; Kubernetes still heeds it.
const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppArmorWish {
    /// Nobody said anything: the default profile where there is one.
    Unsaid,
    /// No profile.
    Unconfined,
    /// The default profile.
    Default,
    /// A profile that the operator loaded.
    Localhost(String),
}

/// What the host can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppArmorHost<'a> {
    /// The kernel has no `AppArmor`, or it is off.
    Off,
    /// It is on, and these profiles are loaded.
    On(&'a [String]),
}

/// What a container asks for: its field, then its annotation, then the pod's field.
pub fn app_armor_wish(
    spec: &PodSpec,
    annotations: Option<&BTreeMap<String, String>>,
    container: &Container,
) -> Result<AppArmorWish, StartFault> {
    let own = container.security_context.as_ref().and_then(|own| own.app_armor_profile.as_ref());
    let pods = spec.security_context.as_ref().and_then(|pods| pods.app_armor_profile.as_ref());
    let key = format!("{ANNOTATION}{}", container.name);
    let annotation = annotations.and_then(|annotations| annotations.get(&key));
    // As in containerd: a privileged container is confined only by a profile that it names.
    if privileged(container) && !names_a_profile(own.or(pods)) {
        return Ok(AppArmorWish::Unconfined);
    }
    match (own, annotation) {
        (Some(profile), _) => by_field(profile),
        (None, Some(text)) => by_annotation(&key, text),
        (None, None) => pods.map_or(Ok(AppArmorWish::Unsaid), by_field),
    }
}

/// Whether a profile is one of the operator's.
fn names_a_profile(profile: Option<&AppArmorProfile>) -> bool {
    profile.is_some_and(|profile| profile.type_ == "Localhost")
}

/// What the field means.
fn by_field(profile: &AppArmorProfile) -> Result<AppArmorWish, StartFault> {
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Unconfined", _) => Ok(AppArmorWish::Unconfined),
        ("RuntimeDefault", _) => Ok(AppArmorWish::Default),
        ("Localhost", Some(name)) if !name.is_empty() => Ok(AppArmorWish::Localhost(name.clone())),
        (other, _) => Err(StartFault::config(format!(
            "appArmorProfile.type: {other}: names no profile; write Unconfined, RuntimeDefault, or Localhost \
             and localhostProfile"
        ))),
    }
}

/// What the annotation means.
fn by_annotation(key: &str, text: &str) -> Result<AppArmorWish, StartFault> {
    match text {
        "unconfined" => Ok(AppArmorWish::Unconfined),
        "" | "runtime/default" => Ok(AppArmorWish::Default),
        _ => match text.strip_prefix("localhost/") {
            Some(name) if !name.is_empty() => Ok(AppArmorWish::Localhost(name.to_owned())),
            _ => Err(StartFault::config(format!(
                "{key}: {text}: invalid AppArmor profile name; write runtime/default, localhost/NAME or unconfined"
            ))),
        },
    }
}

/// The profile to set, or why the container cannot be confined as it asks.
pub fn app_armor_profile(
    wish: &AppArmorWish,
    host: AppArmorHost<'_>,
) -> Result<Option<String>, StartFault> {
    let cannot = |why: String| Err(StartFault::create(format!("Cannot enforce AppArmor: {why}")));
    let profiles = match host {
        AppArmorHost::On(profiles) => profiles,
        AppArmorHost::Off => {
            return match wish {
                AppArmorWish::Localhost(name) => cannot(format!(
                    "AppArmor is not enabled on the host; profile {name:?} is asked for"
                )),
                AppArmorWish::Unsaid | AppArmorWish::Unconfined | AppArmorWish::Default => Ok(None),
            };
        }
    };
    let loaded = |name: &str| profiles.iter().any(|known| known == name);
    match wish {
        AppArmorWish::Unconfined => Ok(None),
        // Without the tool that loads it there is no default profile, and who asked for nothing gets none.
        AppArmorWish::Unsaid => Ok(loaded(DEFAULT_PROFILE).then(|| DEFAULT_PROFILE.to_owned())),
        AppArmorWish::Default if loaded(DEFAULT_PROFILE) => Ok(Some(DEFAULT_PROFILE.to_owned())),
        AppArmorWish::Default => cannot(format!(
            "profile {DEFAULT_PROFILE:?} is not loaded; install apparmor_parser, which loads it"
        )),
        AppArmorWish::Localhost(name) if loaded(name) => Ok(Some(name.clone())),
        AppArmorWish::Localhost(name) => {
            cannot(format!("profile {name:?} is not loaded; load it with apparmor_parser"))
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};

    use super::*;

    fn field(kind: &str, name: Option<&str>) -> AppArmorProfile {
        AppArmorProfile { type_: kind.into(), localhost_profile: name.map(Into::into) }
    }

    fn wish(
        pod: Option<AppArmorProfile>,
        annotation: Option<&str>,
        own: Option<AppArmorProfile>,
        privileged: bool,
    ) -> Result<AppArmorWish, StartFault> {
        let spec = PodSpec {
            security_context: Some(PodSecurityContext {
                app_armor_profile: pod,
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        };
        let container = Container {
            name: "main".into(),
            security_context: Some(SecurityContext {
                app_armor_profile: own,
                privileged: Some(privileged),
                ..SecurityContext::default()
            }),
            ..Container::default()
        };
        let annotations =
            annotation.map(|text| [(format!("{ANNOTATION}main"), text.to_owned())].into());
        app_armor_wish(&spec, annotations.as_ref(), &container)
    }

    #[test]
    fn field_annotation_and_pod_are_heard_in_this_order() {
        let default = || Some(field("RuntimeDefault", None));
        let named = |name: &str| Ok(AppArmorWish::Localhost(name.into()));
        assert_eq!(wish(None, None, None, false), Ok(AppArmorWish::Unsaid));
        assert_eq!(wish(None, None, None, true), Ok(AppArmorWish::Unconfined));
        assert_eq!(wish(default(), None, None, true), Ok(AppArmorWish::Unconfined));
        assert_eq!(wish(default(), None, Some(field("Localhost", Some("a"))), true), named("a"));
        assert_eq!(
            wish(default(), None, Some(field("Unconfined", None)), false),
            Ok(AppArmorWish::Unconfined)
        );
        assert_eq!(wish(default(), Some("localhost/b"), None, false), named("b"));
        assert_eq!(wish(None, Some("localhost/b"), default(), false), Ok(AppArmorWish::Default));
        assert_eq!(wish(None, Some("runtime/default"), None, false), Ok(AppArmorWish::Default));
        assert_eq!(wish(None, Some("unconfined"), None, false), Ok(AppArmorWish::Unconfined));
        assert!(wish(None, Some("nonsense"), None, false).is_err());
        assert!(wish(None, None, Some(field("Localhost", None)), false).is_err());
    }

    #[test]
    fn what_cannot_be_enforced_is_refused_and_what_nobody_asked_for_is_left_out() {
        let loaded = ["mine".to_owned(), DEFAULT_PROFILE.to_owned()];
        let (on, bare, off) = (AppArmorHost::On(&loaded), AppArmorHost::On(&[]), AppArmorHost::Off);
        let named = |name: &str| AppArmorWish::Localhost(name.into());
        let default = || Ok(Some(DEFAULT_PROFILE.to_owned()));
        for (wish, host, profile) in [
            (AppArmorWish::Unsaid, on, default()),
            (AppArmorWish::Unsaid, bare, Ok(None)),
            (AppArmorWish::Unsaid, off, Ok(None)),
            (AppArmorWish::Default, on, default()),
            (AppArmorWish::Default, bare, Err("apparmor_parser")),
            (AppArmorWish::Default, off, Ok(None)),
            (AppArmorWish::Unconfined, on, Ok(None)),
            (named("mine"), on, Ok(Some("mine".to_owned()))),
            (named("other"), on, Err("\"other\" is not loaded")),
            (
                named("mine"),
                off,
                Err("Cannot enforce AppArmor: AppArmor is not enabled on the host"),
            ),
        ] {
            match (app_armor_profile(&wish, host), profile) {
                (Ok(made), Ok(expected)) => assert_eq!(made, expected, "{wish:?} on {host:?}"),
                (Err(fault), Err(words)) => assert!(fault.message.contains(words), "{fault}"),
                (made, expected) => panic!("{wish:?} on {host:?}: {made:?}, not {expected:?}"),
            }
        }
    }
}
