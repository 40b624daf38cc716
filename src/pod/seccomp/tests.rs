//! The default profile against what containerd makes, and who asks for which profile.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};
use serde_json::Value;

use super::*;

/// The default profile on this architecture as JSON.
fn profile(capabilities: &[&str]) -> Value {
    let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
    let facts = ProfileFacts { arch: "x86_64", safe_ptrace: true, capabilities: &capabilities };
    serde_json::to_value(default_profile(&facts).unwrap()).unwrap()
}

/// Each rule as (name, everything else), which is what the filter is made of: their order means nothing.
fn rules(profile: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for rule in profile["syscalls"].as_array().unwrap() {
        let mut rest = rule.clone();
        let names = rest.as_object_mut().unwrap().remove("names").unwrap();
        for name in names.as_array().unwrap() {
            found.insert((name.as_str().unwrap().to_owned(), rest.to_string()));
        }
    }
    found
}

#[test]
fn the_default_profile_is_containerds() {
    let given: Value = serde_json::from_str(include_str!("containerd-2.1.json")).unwrap();
    let ours = profile(&["CAP_CHOWN", "CAP_SYS_CHROOT"]);
    assert_eq!(ours["defaultAction"], given["defaultAction"]);
    assert_eq!(ours["architectures"], given["architectures"]);
    assert_eq!(rules(&ours), rules(&given));
}

#[test]
fn capabilities_open_their_calls_and_the_administrators_open_clone() {
    let plain = rules(&profile(&[]));
    let names = |rules: &BTreeSet<(String, String)>| -> BTreeSet<String> {
        rules.iter().map(|(name, _)| name.clone()).collect()
    };
    assert!(!names(&plain).contains("chroot") && !names(&plain).contains("mount"));
    let admin = profile(&["CAP_SYS_ADMIN"]);
    for name in ["mount", "unshare", "setns", "bpf", "syslog"] {
        assert!(names(&rules(&admin)).contains(name), "{name}");
    }
    let clones: Vec<_> = rules(&admin).into_iter().filter(|(name, _)| name == "clone3").collect();
    assert!(clones.len() == 1 && clones[0].1.contains("ALLOW"), "{clones:?}");
}

#[test]
fn architecture_and_kernel_open_theirs() {
    let made = |arch, safe_ptrace| {
        let facts = ProfileFacts { arch, safe_ptrace, capabilities: &[] };
        serde_json::to_value(default_profile(&facts).unwrap()).unwrap()
    };
    let has = |profile: &Value, name: &str| rules(profile).iter().any(|(known, _)| known == name);
    assert!(has(&made("x86_64", true), "ptrace") && !has(&made("x86_64", false), "ptrace"));
    assert!(
        has(&made("aarch64", true), "cacheflush") && !has(&made("aarch64", true), "arch_prctl")
    );
    assert_eq!(made("riscv64", true).get("architectures"), None);
    let s390: Vec<_> =
        rules(&made("s390x", true)).into_iter().filter(|(name, _)| name == "clone").collect();
    assert!(s390[0].1.contains("\"index\":1"), "{s390:?}");
}

#[test]
fn the_containers_word_beats_the_pods_and_privilege_both() {
    let said = |kind: &str, path: Option<&str>| {
        Some(SeccompProfile { type_: kind.into(), localhost_profile: path.map(Into::into) })
    };
    let wish = |pod: Option<SeccompProfile>, own: Option<SeccompProfile>, privileged| {
        let spec = PodSpec {
            security_context: Some(PodSecurityContext {
                seccomp_profile: pod,
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        };
        let container = Container {
            security_context: Some(SecurityContext {
                seccomp_profile: own,
                privileged: Some(privileged),
                ..SecurityContext::default()
            }),
            ..Container::default()
        };
        seccomp_wish(&spec, &container)
    };
    let default = || said("RuntimeDefault", None);
    assert_eq!(wish(None, None, false), Ok(SeccompWish::Unconfined));
    assert_eq!(wish(default(), None, false), Ok(SeccompWish::Default));
    assert_eq!(wish(default(), said("Unconfined", None), false), Ok(SeccompWish::Unconfined));
    assert_eq!(wish(default(), default(), true), Ok(SeccompWish::Unconfined));
    let named = SeccompWish::Localhost("profiles/audit.json".into());
    assert_eq!(wish(default(), said("Localhost", Some("profiles/audit.json")), false), Ok(named));
    for path in [Some("/etc/passwd"), Some("../x"), Some("a/../../x"), Some(""), None] {
        assert!(wish(None, said("Localhost", path), false).is_err(), "{path:?}");
    }
}
