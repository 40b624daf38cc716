//! Which test proves what `docs/support.md` says of a field of a volume; the form is that of `proofs.rs`.

use super::proofs::Line;

/// Each volume.
pub(super) const VOLUME: &[Line] = &[
    ("emptyDir", &["it::running::containers_of_one_pod_share_a_shim_an_ipc_namespace_and_volumes"]),
    ("emptyDir.medium", &["it::fields::a_volume_in_memory_is_as_large_as_it_may_be"]),
    (
        "emptyDir.sizeLimit",
        &[
            "it::fields::a_volume_in_memory_is_as_large_as_it_may_be",
            "it::volumes::a_pod_whose_volume_outgrows_its_limit_is_evicted_and_replaced",
        ],
    ),
    ("hostPath", &["it::running::a_read_only_volume_refuses_writes"]),
    (
        "configMap**",
        &[
            "it::content::a_volume_shows_keys_with_paths_and_modes_and_can_only_be_read",
            "it::content::files_of_a_running_container_follow_their_object_also_through_kills_of_the_agent",
            "pod::payload::tests::what_is_optional_may_be_missing",
        ],
    ),
    ("downwardAPI**", &["it::content::a_downward_volume_shows_the_pods_name_and_labels"]),
    ("projected**", &["it::content::projected_volumes_merge_objects_and_the_pods_own_facts"]),
    (
        "secret**",
        &[
            "it::content::secrets_lie_in_memory_with_the_mode_that_was_asked_for",
            "pod::payload::tests::items_choose_keys_paths_and_modes",
        ],
    ),
    (
        "hostPath.path",
        &[
            "it::running::a_read_only_volume_refuses_writes",
            "spec::tests::rules::what_restricts_is_refused_until_it_is_honoured",
        ],
    ),
    (
        "hostPath.type",
        &[
            "it::running::a_host_path_of_the_wrong_type_is_said_and_mended_without_a_restart_of_anything",
            "host::volumes::tests::each_type_takes_what_kubernetes_takes",
            "it::volumes::a_pod_that_mounts_a_socket_and_a_device_of_the_host_uses_them",
        ],
    ),
    (
        "image**",
        &["it::volumes::an_image_is_mounted_as_a_volume_and_nothing_of_it_can_be_changed_or_run"],
    ),
    (
        "image.pullPolicy",
        &["it::volumes::a_pod_waits_for_the_image_of_its_volume_and_goes_on_when_it_comes"],
    ),
    ("name", &["it::running::containers_of_one_pod_share_a_shim_an_ipc_namespace_and_volumes"]),
];
