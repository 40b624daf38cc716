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
    // The pod's runAsUser, the container's, its runAsGroup, the image's USER: uid, gid, groups.
    for (pod_user, user, group, image, expected) in [
        (None, None, None, "", (0, 0, vec![0, 10, 6])),
        (None, None, None, "app", (1000, 1001, vec![1001, 10, 6])),
        (None, None, None, "1000", (1000, 1001, vec![1001, 10, 6])),
        // The image's group part counts for nothing, as in Kubernetes.
        (None, None, None, "1000:7", (1000, 1001, vec![1001, 10, 6])),
        (None, None, None, "4242:7", (4242, 0, vec![0])),
        (None, Some(65534), None, "app", (65534, 65534, vec![65534])),
        (Some(1000), Some(4242), None, "", (4242, 0, vec![0])),
        (Some(1000), None, None, "", (1000, 1001, vec![1001, 10, 6])),
        (None, None, Some(5), "", (0, 5, vec![5, 10, 6])),
        (None, Some(4242), Some(5), "", (4242, 5, vec![5])),
        (None, None, Some(10), "app", (1000, 10, vec![10, 6])),
    ] {
        let case = Case { pod_user, user, group, image, ..Case::default() };
        assert_eq!(case.resolve(PASSWD, GROUP), Ok(expected));
    }
}

#[test]
fn the_pods_groups_join_the_images_unless_it_is_strict() {
    for (supplemental, strict, expected) in
        [(&[6, 99][..], false, (0, 0, vec![0, 10, 6, 99])), (&[99], true, (0, 0, vec![0, 99]))]
    {
        let case = Case { supplemental, strict, ..Case::default() };
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
    let as_root = "container has runAsNonRoot and image will run as root";
    for (user, image, expected) in [
        (Some(0), "", Some("container's runAsUser breaks non-root policy")),
        (None, "", Some(as_root)),
        (None, "0:5", Some(as_root)),
        (
            None,
            "app",
            Some(
                "container has runAsNonRoot and image has non-numeric user (app), cannot verify \
                 user is non-root",
            ),
        ),
        (None, "1000", None),
        (Some(1), "0", None),
    ] {
        let case = Case { user, image, non_root: true, ..Case::default() };
        let fault = case.request().err().map(|fault| (fault.reason, fault.message));
        let expected = expected.map(|text| ("CreateContainerConfigError", text.to_owned()));
        assert_eq!(fault, expected, "{image}");
    }
}

#[test]
fn ids_beyond_the_kernels_are_refused() {
    for id in [-1, 1 << 31, i64::MAX] {
        let fault = Case { user: Some(id), ..Case::default() }.request().unwrap_err();
        assert!(fault.message.contains(&id.to_string()), "{fault}");
    }
}
