//! Which test proves what `docs/support.md` says of a field that works.
//!
//! A path is written as in the table; `*` stands for any letters of one name, and `**` at the end for all that is below as well.
//! Of several paths that fit a field the one with the most letters counts. A test is written as `cargo test` prints it, with `it::`
//! before those of `tests/it`, so that it can be looked up and run by that name. What is refused or ignored needs no line here:
//! [`REFUSED`] and [`IGNORED`] try each such row.

use super::proofs_volume::VOLUME;

/// The test that uses each refused field and demands that its set does not run.
pub const REFUSED: &str = "spec::tests::support::each_refused_field_keeps_its_set_from_running";
/// The test that uses each ignored field and demands that it is named and its set runs.
pub const IGNORED: &str = "spec::tests::support::each_ignored_field_is_named_and_its_set_runs";

/// A path below a section, and the tests that prove it.
pub(super) type Line = (&'static str, &'static [&'static str]);
/// What every path of a section begins with, and its lines.
type Section = (&'static str, &'static [Line]);

/// The table.
const PROOFS: &[Section] = &[
    ("", SET),
    ("spec.template.spec.", POD),
    ("spec.template.spec.containers[].", CONTAINER),
    ("spec.template.spec.volumes[].", VOLUME),
];

/// The set.
const SET: &[Line] = &[
    ("apiVersion", &["spec::tests::reading::retired_versions_are_read_with_the_defaults_of_old"]),
    ("kind", &["it::bad_input::a_wrong_kind_is_ignored_with_its_reason"]),
    ("metadata", &["it::fields::names_labels_and_annotations_are_shown_as_written"]),
    ("metadata.annotations.{}", &["it::fields::names_labels_and_annotations_are_shown_as_written"]),
    ("metadata.labels.{}", &["it::fields::names_labels_and_annotations_are_shown_as_written"]),
    ("metadata.name", &["it::running::a_set_in_the_directory_becomes_one_running_pod"]),
    ("metadata.namespace", &["it::running::sets_of_the_same_name_live_in_their_namespaces"]),
    ("spec", &["it::running::a_set_in_the_directory_becomes_one_running_pod"]),
    (
        "spec.minReadySeconds",
        &["it::fields::a_pod_is_available_only_after_the_time_that_it_must_be_ready"],
    ),
    (
        "spec.revisionHistoryLimit",
        &["fleet::revision::tests::a_history_grows_with_new_templates_only"],
    ),
    ("spec.selector**", &["spec::tests::rules::the_selector_must_match_the_template"]),
    ("spec.template", &["it::living::a_changed_template_replaces_the_pod"]),
    ("spec.template.metadata", &["it::fields::names_labels_and_annotations_are_shown_as_written"]),
    (
        "spec.template.metadata.annotations.{}",
        &[
            "it::fields::names_labels_and_annotations_are_shown_as_written",
            "spec::tests::rules::what_restricts_is_refused_until_it_is_honoured",
        ],
    ),
    (
        "spec.template.metadata.labels.{}",
        &["it::fields::names_labels_and_annotations_are_shown_as_written"],
    ),
    ("spec.template.spec", &["it::running::a_set_in_the_directory_becomes_one_running_pod"]),
    ("spec.updateStrategy", &["it::living::a_changed_template_replaces_the_pod"]),
    ("spec.updateStrategy.type", &["it::living::on_delete_waits_for_the_operator"]),
    (
        "spec.updateStrategy.rollingUpdate",
        &["it::fields::a_surge_starts_the_new_pod_before_the_old_one_goes"],
    ),
    (
        "spec.updateStrategy.rollingUpdate.maxSurge",
        &["it::fields::a_surge_starts_the_new_pod_before_the_old_one_goes"],
    ),
    (
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
        &[
            "it::living::a_changed_template_replaces_the_pod",
            "spec::tests::rules::the_update_strategy_is_checked",
        ],
    ),
];

/// The pod.
const POD: &[Line] = &[
    ("affinity**", &["node::cases::every_case_of_the_table_is_decided_as_kubernetes_does"]),
    (
        "containers[]",
        &["it::running::containers_of_one_pod_share_a_shim_an_ipc_namespace_and_volumes"],
    ),
    (
        "dnsConfig**",
        &[
            "it::fields::a_pod_finds_the_resolver_and_the_hosts_that_it_asks_for",
            "pod::dns::tests::the_pods_own_configuration_adds_up_or_stands_alone",
        ],
    ),
    (
        "dnsPolicy",
        &[
            "it::fields::a_pod_finds_the_resolver_and_the_hosts_that_it_asks_for",
            "spec::tests::rules::what_restricts_is_refused_until_it_is_honoured",
        ],
    ),
    ("hostAliases[]**", &["it::fields::a_pod_finds_the_resolver_and_the_hosts_that_it_asks_for"]),
    ("hostIPC", &["it::running::host_namespaces_are_the_hosts"]),
    ("hostNetwork", &["it::running::host_namespaces_are_the_hosts"]),
    ("hostPID", &["it::running::host_namespaces_are_the_hosts"]),
    ("hostUsers", &["spec::tests::support::a_field_that_depends_on_its_value_is_decided_by_it"]),
    ("hostname", &["it::fields::a_pod_on_the_hosts_network_keeps_the_hosts_name"]),
    (
        "imagePullSecrets[]**",
        &[
            "it::credentials::a_guarded_registry_opens_for_the_pods_own_secret_alone",
            "it::credentials::the_older_form_of_a_secret_and_the_hosts_own_file_open_a_registry_too",
            "pull::logins::tests::the_pods_credentials_come_first_and_none_comes_twice",
        ],
    ),
    (
        "initContainers[]",
        &[
            "it::lifecycle::init_containers_run_to_their_end_one_after_the_other_before_the_rest",
            "it::lifecycle::a_sidecar_starts_before_and_ends_after_what_it_serves",
            "it::whole::a_pod_with_everything_begins_lives_and_ends_in_order",
        ],
    ),
    ("nodeName", &["node::cases::every_case_of_the_table_is_decided_as_kubernetes_does"]),
    (
        "nodeSelector.{}",
        &["it::living::a_label_brings_a_set_and_its_loss_takes_it_away_without_a_restart"],
    ),
    ("os", &["spec::tests::support::a_field_that_depends_on_its_value_is_decided_by_it"]),
    ("os.name", &["spec::tests::support::a_field_that_depends_on_its_value_is_decided_by_it"]),
    (
        "restartPolicy",
        &[
            "it::living::a_container_that_succeeds_is_started_again_too",
            "spec::tests::rules::the_pod_is_checked",
        ],
    ),
    ("securityContext", &["it::fields::the_pods_user_and_groups_are_those_of_its_containers"]),
    ("securityContext.fsGroup", &["it::volumes::the_pods_own_volumes_belong_to_its_group"]),
    (
        "securityContext.fsGroupChangePolicy",
        &["it::volumes::the_pods_own_volumes_belong_to_its_group"],
    ),
    (
        "securityContext.runAs*",
        &["it::fields::the_pods_user_and_groups_are_those_of_its_containers"],
    ),
    (
        "securityContext.runAsNonRoot",
        &["it::fields::a_container_that_may_not_be_root_is_held_and_says_so"],
    ),
    (
        "securityContext.supplementalGroups[]",
        &["it::fields::the_pods_user_and_groups_are_those_of_its_containers"],
    ),
    (
        "securityContext.supplementalGroupsPolicy",
        &["it::fields::the_pods_user_and_groups_are_those_of_its_containers"],
    ),
    (
        "setHostnameAsFQDN",
        &["spec::tests::support::a_field_that_depends_on_its_value_is_decided_by_it"],
    ),
    ("subdomain", &["it::fields::a_pod_on_the_hosts_network_keeps_the_hosts_name"]),
    (
        "terminationGracePeriodSeconds",
        &["it::living::stopping_asks_first_and_kills_after_the_grace_period"],
    ),
    (
        "tolerations[]**",
        &[
            "it::living::a_no_execute_taint_evicts_at_once_or_after_the_tolerated_time",
            "node::cases::every_case_of_the_table_is_decided_as_kubernetes_does",
        ],
    ),
    (
        "volumes[]",
        &["it::running::containers_of_one_pod_share_a_shim_an_ipc_namespace_and_volumes"],
    ),
    (
        "shareProcessNamespace",
        &[
            "it::process::containers_that_share_their_processes_see_each_other_below_a_first_process_that_is_not_theirs",
        ],
    ),
    (
        "securityContext.appArmorProfile**",
        &[
            "it::process::an_apparmor_profile_that_cannot_be_enforced_is_refused_in_the_kubelets_words",
            "pod::apparmor::tests::field_annotation_and_pod_are_heard_in_this_order",
        ],
    ),
    (
        "securityContext.seccompProfile**",
        &["it::process::privilege_and_the_containers_own_word_lift_the_pods_filter"],
    ),
];

/// Each container.
const CONTAINER: &[Line] = &[
    (
        "args[]",
        &["it::running::command_arguments_environment_and_directory_are_as_kubernetes_makes_them"],
    ),
    (
        "command[]",
        &["it::running::command_arguments_environment_and_directory_are_as_kubernetes_makes_them"],
    ),
    (
        "env[]",
        &["it::running::command_arguments_environment_and_directory_are_as_kubernetes_makes_them"],
    ),
    (
        "env[].*",
        &["it::running::command_arguments_environment_and_directory_are_as_kubernetes_makes_them"],
    ),
    (
        "env[].valueFrom**",
        &[
            "it::content::variables_come_from_objects_the_pod_and_its_resources",
            "it::content::a_variable_whose_object_is_missing_is_named_and_heals_without_a_new_pod",
        ],
    ),
    ("envFrom[]**", &["it::content::variables_come_from_objects_the_pod_and_its_resources"]),
    (
        "image",
        &[
            "it::running::a_missing_image_is_named_and_its_arrival_is_noticed",
            "spec::tests::rules::what_kubernetes_takes_and_no_host_can_start_is_refused_but_not_invalid",
        ],
    ),
    (
        "imagePullPolicy",
        &[
            "it::pulling::an_image_that_is_not_here_is_pulled_once_and_told_of",
            "it::pulling::the_policy_always_asks_what_a_tag_means_for_each_new_pod",
            "spec::tests::reading::the_pull_policy_follows_the_tag",
        ],
    ),
    ("name", &["it::running::containers_of_one_pod_share_a_shim_an_ipc_namespace_and_volumes"]),
    (
        "ports[]**",
        &[
            "spec::tests::container_rules::ports_are_checked",
            "it::vendors::a_node_exporter_is_scraped",
        ],
    ),
    (
        "ports[].hostIP",
        &["spec::tests::support::a_field_that_depends_on_its_value_is_decided_by_it"],
    ),
    (
        "resources",
        &["it::running::resources_become_cgroups_and_the_service_class_decides_who_dies_first"],
    ),
    (
        "resources.limits.{}",
        &[
            "it::running::resources_become_cgroups_and_the_service_class_decides_who_dies_first",
            "it::living::memory_over_the_limit_is_told_from_other_kills",
            "pod::oci::tests::limits_reach_the_containers_cgroup",
        ],
    ),
    (
        "resources.requests.{}",
        &[
            "it::running::resources_become_cgroups_and_the_service_class_decides_who_dies_first",
            "pod::oci::tests::limits_reach_the_containers_cgroup",
        ],
    ),
    ("securityContext", &["it::running::user_capabilities_and_privilege_escalation_are_as_asked"]),
    (
        "securityContext.capabilities**",
        &["it::running::user_capabilities_and_privilege_escalation_are_as_asked"],
    ),
    (
        "securityContext.*",
        &["it::running::user_capabilities_and_privilege_escalation_are_as_asked"],
    ),
    (
        "securityContext.privileged",
        &["it::running::a_privileged_container_has_every_capability_and_the_hosts_devices"],
    ),
    (
        "securityContext.procMount",
        &["spec::tests::support::a_field_that_depends_on_its_value_is_decided_by_it"],
    ),
    (
        "securityContext.runAsNonRoot",
        &["it::fields::a_container_that_may_not_be_root_is_held_and_says_so"],
    ),
    (
        "terminationMessagePath",
        &[
            "it::volumes::the_last_words_of_a_container_are_kept_and_shown",
            "it::volumes::any_user_leaves_a_message_also_with_a_read_only_root_and_only_its_end_counts",
        ],
    ),
    (
        "terminationMessagePolicy",
        &["it::volumes::the_log_speaks_for_a_failed_container_without_a_message"],
    ),
    ("volumeMounts[]", &["it::running::a_read_only_volume_refuses_writes"]),
    ("volumeMounts[].mountPath", &["it::running::a_read_only_volume_refuses_writes"]),
    (
        "volumeMounts[].mountPropagation",
        &[
            "it::vendors::a_mount_made_in_a_pod_shows_on_the_host_and_goes_with_the_pod",
            "it::vendors::a_mount_made_on_the_host_shows_in_a_pod_that_asks_for_it",
            "it::volumes::mounts_travel_as_their_propagation_says",
        ],
    ),
    ("volumeMounts[].name", &["it::running::a_read_only_volume_refuses_writes"]),
    ("volumeMounts[].readOnly", &["it::running::a_read_only_volume_refuses_writes"]),
    (
        "volumeMounts[].recursiveReadOnly",
        &["it::volumes::a_mount_is_read_only_all_the_way_down_when_that_is_asked"],
    ),
    (
        "volumeMounts[].subPath",
        &[
            "it::volumes::parts_of_volumes_are_made_found_and_named_by_variables",
            "it::volumes::no_symlink_in_a_volume_leads_a_mount_out_of_it",
            "it::volumes::a_link_that_a_container_swaps_in_before_it_restarts_is_not_followed",
        ],
    ),
    (
        "volumeMounts[].subPathExpr",
        &[
            "it::volumes::parts_of_volumes_are_made_found_and_named_by_variables",
            "it::volumes::a_variable_without_a_value_names_no_directory",
        ],
    ),
    (
        "workingDir",
        &["it::running::command_arguments_environment_and_directory_are_as_kubernetes_makes_them"],
    ),
    (
        "env[].valueFrom.*KeyRef.optional",
        &["pod::references::tests::what_is_optional_is_never_missing"],
    ),
    (
        "env[].valueFrom.fieldRef**",
        &[
            "it::content::variables_come_from_objects_the_pod_and_its_resources",
            "pod::downward::tests::fields_are_those_that_the_pod_object_shows",
        ],
    ),
    (
        "env[].valueFrom.resourceFieldRef**",
        &[
            "it::content::variables_come_from_objects_the_pod_and_its_resources",
            "pod::downward::tests::amounts_are_counted_in_their_divisor_and_rounded_up",
        ],
    ),
    ("envFrom[].*Ref.optional", &["pod::references::tests::what_is_optional_is_never_missing"]),
    ("lifecycle", &["it::whole::a_pod_with_everything_begins_lives_and_ends_in_order"]),
    (
        "lifecycle.postStart",
        &[
            "it::lifecycle::a_post_start_hook_holds_up_readiness_and_the_next_container",
            "it::lifecycle::a_failed_post_start_hook_restarts_its_container",
        ],
    ),
    (
        "lifecycle.preStop",
        &[
            "it::lifecycle::a_pre_stop_hook_runs_before_the_stop_signal",
            "it::lifecycle::a_pre_stop_hook_that_hangs_is_left_behind_when_the_grace_is_over",
        ],
    ),
    (
        "lifecycle.postStart.exec**",
        &["it::lifecycle::a_post_start_hook_holds_up_readiness_and_the_next_container"],
    ),
    ("lifecycle.preStop.exec**", &["it::lifecycle::a_pre_stop_hook_runs_before_the_stop_signal"]),
    ("lifecycle.p*.httpGet**", &["it::fields::probes_and_hooks_ask_for_pages_with_their_headers"]),
    (
        "lifecycle.p*.httpGet.scheme",
        &[
            "net::tests::a_certificate_is_believed_whoever_made_it",
            "pod::action::tests::a_page_is_asked_of_the_pod_unless_a_host_is_named",
        ],
    ),
    ("lifecycle.p*.sleep**", &["it::lifecycle::a_hook_may_sleep"]),
    (
        "lifecycle.stopSignal",
        &["it::process::a_containers_own_stop_signal_is_the_one_that_it_gets"],
    ),
    (
        "livenessProbe",
        &[
            "it::probes::a_failing_liveness_probe_restarts_the_container",
            "pod::tests::probing::a_container_whose_liveness_fails_is_stopped_by_the_probes_grace_and_started_again",
        ],
    ),
    ("readinessProbe", &["it::probes::an_exec_probe_makes_a_container_ready_and_unready"]),
    (
        "startupProbe",
        &[
            "it::probes::the_other_probes_wait_for_the_startup_probe_which_restarts_what_never_starts",
        ],
    ),
    (
        "*Probe.exec**",
        &[
            "it::probes::an_exec_probe_makes_a_container_ready_and_unready",
            "it::probes::a_failing_liveness_probe_restarts_the_container",
            "it::probes::the_other_probes_wait_for_the_startup_probe_which_restarts_what_never_starts",
        ],
    ),
    (
        "*Probe.failureThreshold",
        &[
            "pod::probes::tests::only_as_many_equal_answers_in_a_row_as_the_threshold_settle_a_probe",
        ],
    ),
    (
        "*Probe.grpc**",
        &[
            "net::tests::a_health_service_is_asked_by_name",
            "pod::action::tests::grpc_asks_the_pod_by_number",
        ],
    ),
    ("*Probe.httpGet**", &["it::fields::probes_and_hooks_ask_for_pages_with_their_headers"]),
    (
        "*Probe.httpGet.port",
        &["it::probes::http_and_tcp_probes_reach_the_pod_by_number_and_by_the_ports_name"],
    ),
    (
        "*Probe.httpGet.scheme",
        &[
            "net::tests::a_certificate_is_believed_whoever_made_it",
            "pod::action::tests::a_page_is_asked_of_the_pod_unless_a_host_is_named",
        ],
    ),
    (
        "*Probe.initialDelaySeconds",
        &[
            "pod::probes::tests::a_probe_runs_after_its_delay_and_then_each_period_without_making_up_for_lost_turns",
        ],
    ),
    (
        "*Probe.periodSeconds",
        &[
            "pod::probes::tests::a_probe_runs_after_its_delay_and_then_each_period_without_making_up_for_lost_turns",
        ],
    ),
    (
        "*Probe.successThreshold",
        &[
            "pod::probes::tests::only_as_many_equal_answers_in_a_row_as_the_threshold_settle_a_probe",
        ],
    ),
    (
        "*Probe.tcpSocket**",
        &[
            "it::probes::http_and_tcp_probes_reach_the_pod_by_number_and_by_the_ports_name",
            "it::probes::a_port_that_nobody_listens_on_fails_the_probe_with_the_reason",
        ],
    ),
    ("*Probe.tcpSocket.host", &["it::fields::probes_and_hooks_ask_for_pages_with_their_headers"]),
    (
        "*Probe.terminationGracePeriodSeconds",
        &[
            "pod::tests::probing::a_container_whose_liveness_fails_is_stopped_by_the_probes_grace_and_started_again",
        ],
    ),
    (
        "readinessProbe.terminationGracePeriodSeconds",
        &["spec::tests::container_rules::probes_and_hooks_are_checked_although_they_are_not_run"],
    ),
    (
        "*Probe.timeoutSeconds",
        &["it::probes::a_probe_that_takes_too_long_fails_and_leaves_no_process"],
    ),
    (
        "restartPolicy",
        &["it::lifecycle::a_container_of_its_own_policy_ends_and_the_pod_is_renewed"],
    ),
    (
        "restartPolicyRules[]**",
        &[
            "it::lifecycle::a_rule_restarts_a_container_that_its_policy_would_leave",
            "pod::restart::tests::a_container_is_started_again_by_its_rules_then_its_policy_then_the_pods",
        ],
    ),
    (
        "securityContext.appArmorProfile**",
        &[
            "it::process::an_apparmor_profile_that_cannot_be_enforced_is_refused_in_the_kubelets_words",
            "pod::apparmor::tests::field_annotation_and_pod_are_heard_in_this_order",
        ],
    ),
    (
        "securityContext.seccompProfile**",
        &[
            "it::process::the_default_seccomp_profile_filters_and_nothing_does_without_one",
            "it::process::a_seccomp_profile_of_the_operators_is_named_when_it_is_missing_and_taken_when_it_is_there",
        ],
    ),
    (
        "stdin",
        &["it::process::a_terminal_is_one_its_output_is_logged_in_lines_and_reading_from_it_waits"],
    ),
    (
        "tty",
        &["it::process::a_terminal_is_one_its_output_is_logged_in_lines_and_reading_from_it_waits"],
    ),
    ("resizePolicy[]**", &["it::process::new_limits_reach_a_running_pod_without_a_restart"]),
];

/// The tests for a field: of the longest path that fits.
pub fn proof(path: &str) -> &'static [&'static str] {
    fitting(path).map_or(&[], |(_, _, tests)| tests)
}

/// Section, path and tests of the line that counts for a field.
fn fitting(path: &str) -> Option<(&'static str, &'static str, &'static [&'static str])> {
    let lines = PROOFS.iter().flat_map(|(section, lines)| {
        lines.iter().map(move |(pattern, tests)| (*section, *pattern, *tests))
    });
    lines
        .filter(|(section, pattern, _)| {
            path.strip_prefix(section).is_some_and(|rest| fits(pattern, rest))
        })
        .max_by_key(|(section, pattern, _)| section.len() + pattern.replace('*', "").len())
}

/// Whether a path is one of those that a pattern stands for.
fn fits(pattern: &str, path: &str) -> bool {
    if let Some(start) = pattern.strip_suffix("**") {
        let all = start.is_empty();
        let depth = start.matches('.').count();
        let end = path.match_indices('.').nth(depth).map_or(path.len(), |(at, _)| at);
        return all || fits(start, &path[..end]);
    }
    let (names, letters) = (path.split('.'), pattern.split('.'));
    names.clone().count() == letters.clone().count()
        && names.zip(letters).all(|(name, letters)| match letters.split_once('*') {
            Some((start, end)) => {
                name.len() >= start.len() + end.len()
                    && name.starts_with(start)
                    && name.ends_with(end)
            }
            None => name == letters,
        })
}

/// Every test that is named here, and every line that proves no field of `paths`.
pub fn audit(paths: &[String]) -> (Vec<&'static str>, Vec<String>) {
    let mut idle = Vec::new();
    for (section, lines) in PROOFS {
        for (pattern, _) in *lines {
            let counts = |path: &String| {
                fitting(path)
                    .is_some_and(|(above, below, _)| (above, below) == (*section, *pattern))
            };
            if !paths.iter().any(counts) {
                idle.push(format!("{section}{pattern}"));
            }
        }
    }
    let named = PROOFS.iter().flat_map(|(_, lines)| *lines).flat_map(|(_, tests)| *tests);
    (named.chain([&REFUSED, &IGNORED]).copied().collect(), idle)
}
