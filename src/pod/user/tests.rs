//! Tables for users, groups and `runAsNonRoot`.

use k8s_openapi::api::core::v1::{PodSecurityContext, SecurityContext};

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    # a comment\n\
    broken:x:many:1\n\
    app:x:1000:1001:App:/home/app:/bin/sh\n\
    nobody:x:65534:65534::/:/sbin/nologin\n";

const GROUP: &str = "root:x:0:root\n\
    wheel:x:10:root,app\n\
    app:x:1001:app\n\
    disk:x:6:app,root\n\
    empty:x:77:\n";

/// What a spec and an image ask for.
#[derive(Default)]
struct Case {
    pod_user: Option<i64>,
    user: Option<i64>,
    group: Option<i64>,
    image: &'static str,
    non_root: bool,
    supplemental: &'static [i64],
    strict: bool,
}

impl Case {
    fn request(&self) -> Result<UserRequest, StartFault> {
        let spec = PodSpec {
            security_context: Some(PodSecurityContext {
                run_as_user: self.pod_user,
                run_as_non_root: self.non_root.then_some(true),
                supplemental_groups: Some(self.supplemental.to_vec()),
                supplemental_groups_policy: self.strict.then(|| "Strict".into()),
                ..PodSecurityContext::default()
            }),
            ..PodSpec::default()
        };
        let container = Container {
            security_context: Some(SecurityContext {
                run_as_user: self.user,
                run_as_group: self.group,
                ..SecurityContext::default()
            }),
            ..Container::default()
        };
        let image = ImageConfig { user: self.image.into(), ..ImageConfig::default() };
        user_request(&spec, &container, &image)
    }

    fn resolve(&self, passwd: &str, group: &str) -> Result<(u32, u32, Vec<u32>), String> {
        self.request()
            .and_then(|request| resolve_user(&request, passwd, group))
            .map(|user| (user.uid, user.gid, user.additional_gids))
            .map_err(|fault| fault.message)
    }
}

#[test]
fn users_and_groups_come_from_the_spec_then_the_image() {
    let none = Case::default;
    for (case, expected) in [
        (none(), (0, 0, vec![0, 10, 6])),
        (Case { image: "app", ..none() }, (1000, 1001, vec![1001, 10, 6])),
        (Case { image: "1000", ..none() }, (1000, 1001, vec![1001, 10, 6])),
        // The image's group part counts for nothing, as in Kubernetes.
        (Case { image: "1000:7", ..none() }, (1000, 1001, vec![1001, 10, 6])),
        (Case { image: "4242:7", ..none() }, (4242, 0, vec![0])),
        (Case { image: "app", user: Some(65534), ..none() }, (65534, 65534, vec![65534])),
        (Case { pod_user: Some(1000), user: Some(4242), ..none() }, (4242, 0, vec![0])),
        (Case { pod_user: Some(1000), ..none() }, (1000, 1001, vec![1001, 10, 6])),
        (Case { group: Some(5), ..none() }, (0, 5, vec![5, 10, 6])),
        (Case { user: Some(4242), group: Some(5), ..none() }, (4242, 5, vec![5])),
        (Case { image: "app", group: Some(10), ..none() }, (1000, 10, vec![10, 6])),
        (Case { supplemental: &[6, 99], ..none() }, (0, 0, vec![0, 10, 6, 99])),
        (Case { supplemental: &[99], strict: true, ..none() }, (0, 0, vec![0, 99])),
    ] {
        assert_eq!(case.resolve(PASSWD, GROUP), Ok(expected));
    }
}

#[test]
fn an_image_without_accounts_runs_numbers_only() {
    assert_eq!(Case::default().resolve("", ""), Ok((0, 0, vec![0])));
    let named = Case { image: "app", ..Case::default() };
    assert!(named.resolve("", "").unwrap_err().contains("unable to find user app"));
}

#[test]
fn numbers_alone_need_no_lookup() {
    let case =
        Case { user: Some(7), group: Some(8), supplemental: &[9], strict: true, ..Case::default() };
    assert_eq!(
        case.request(),
        Ok(UserRequest::Known(User { uid: 7, gid: 8, additional_gids: vec![8, 9] }))
    );
}

#[test]
fn non_root_is_held_before_anything_runs() {
    let case = || Case { non_root: true, ..Case::default() };
    for (case, message) in [
        (Case { user: Some(0), ..case() }, "container's runAsUser breaks non-root policy"),
        (case(), "container has runAsNonRoot and image will run as root"),
        (Case { image: "0:5", ..case() }, "container has runAsNonRoot and image will run as root"),
        (
            Case { image: "app", ..case() },
            "container has runAsNonRoot and image has non-numeric user (app), cannot verify user \
             is non-root",
        ),
    ] {
        let fault = case.request().unwrap_err();
        assert_eq!((fault.reason, fault.message.as_str()), ("CreateContainerConfigError", message));
    }
    for case in [Case { image: "1000", ..case() }, Case { user: Some(1), image: "0", ..case() }] {
        assert!(case.request().is_ok());
    }
}

#[test]
fn ids_beyond_the_kernels_are_refused() {
    for id in [-1, 1 << 31, i64::MAX] {
        let fault = Case { user: Some(id), ..Case::default() }.request().unwrap_err();
        assert!(fault.message.contains(&id.to_string()), "{fault}");
    }
}
