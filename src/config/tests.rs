//! Tests of the settings: what a file means, every fault at once, and the reference page.

use std::{fs, path::Path};

use super::settings::LogSettings;
use super::*;

/// Reads a text as the file `c.yaml`.
fn read(text: &str) -> Result<Settings, Vec<String>> {
    let (mut settings, mut faults) = (Settings::default(), Vec::new());
    read::file("c.yaml", text, &mut settings, &mut faults);
    if faults.is_empty() {
        Ok(settings)
    } else {
        Err(faults.iter().map(ToString::to_string).collect())
    }
}

#[test]
fn a_full_file_sets_every_key() {
    let settings = read(
        "cluster: edge\n\
         node: {name: host-1, protected: [disktype, a/b], labels: {disktype: ssd, empty: ''}, taints: [{key: a/b, value: c, effect: NoExecute}, {key: d, effect: NoSchedule}]}\n\
         sources:\n- file: {path: /a}\n- file:\n    path: /b.yaml\n\
         - http: {url: \"https://h/x?y=1\", interval: 1m, timeout: 5s, maxSize: 1Mi, caFile: /ca, certFile: /c, keyFile: /k, tokenFile: /t}\n\
         - http: {url: \"http://h:80/\", username: u, passwordFile: /p}\n- etcd: {}\n\
         etcd:\n  endpoints: [https://10.0.0.1:2379, \"https://[::1]:2379/\"]\n  prefix: /p/q\n  caFile: /ca\n  certFile: /c\n  keyFile: /k\n  \
         username: u\n  passwordFile: /p\n  leaseTtl: 1h\n  timeout: 10s\n\
         metrics: {listen: \"[::1]:9577\"}\ntrustedKeys: [/a.pub, /b.pub]\nsignKey: /a.pem\n\
         objectsDir: /o\n\
         containerd: {address: /c.sock, namespace: mine, snapshotter: native, runtime: io.containerd.runc.v2, cgroupDriver: cgroupfs, pull: transfer}\n\
         cgroupParent: /kube\n\
         paths: {state: /s, run: /r, podLogs: /p, containerLogs: /c}\n\
         logs: {maxSize: 1Mi, maxFiles: 2}\n\
         fieldValidation: Warn\n\
         crashLoopBackOff: {maxContainerRestartPeriod: 1m30s}\n\
         images:\n  authFile: /a.json\n  hostsDir: /h\n  credentialProviderConfig: /p.yaml\n  credentialProviderBinDir: /p\n  \
         maxParallelPulls: 1\n  maxParallelLayers: 8\n  gcHighThresholdPercent: 100\n  gcLowThresholdPercent: 0\n  minimumGCAge: 36h\n  \
         policy:\n    allowed: [r.example/team/*, localhost:5000]\n    requireDigest: true\n    \
         signatures:\n    - {match: r.example, keys: [/k1.pub, /k2.pub]}\n",
    )
    .unwrap();
    assert_eq!(settings.node.labels["disktype"], "ssd");
    assert_eq!(
        settings.node.taints.iter().map(values::shown_taint).collect::<Vec<_>>(),
        ["a/b=c:NoExecute", "d:NoSchedule"]
    );
    assert_eq!(settings.sources.len(), 5);
    let SourceSettings::Http(page) = &settings.sources[2] else { panic!("{:?}", settings.sources) };
    assert_eq!((page.max_size, page.timeout.as_secs(), page.interval.as_secs()), (1 << 20, 5, 60));
    assert_eq!(settings.sources[4], SourceSettings::Etcd);
    assert_eq!(settings.etcd.endpoints, ["https://10.0.0.1:2379", "https://[::1]:2379"]);
    assert_eq!(settings.etcd.lease_ttl.as_secs(), 3600);
    assert_eq!(settings.containerd.cgroup_driver, CgroupDriver::Cgroupfs);
    assert_eq!(settings.containerd.pull, PullBy::Transfer);
    assert_eq!(settings.images.max_parallel_layers, 8);
    assert_eq!(settings.images.policy.signatures[0].keys.len(), 2);
    assert_eq!(settings.logs, LogSettings { max_size: 1 << 20, max_files: 2 });
    assert_eq!(settings.max_container_restart_period.as_secs(), 90);
    assert_eq!(settings.control_socket(), Path::new("/r/podward.sock"));
    let untouched: Vec<_> = keys()
        .filter(|key| (key.show)(&settings) == (key.show)(&Settings::default()))
        .map(|key| key.path)
        .collect();
    assert_eq!(untouched, ["containerd.runtime", "cdiDirs", "socket"]);
}

#[test]
fn empty_files_and_keys_without_values_mean_the_defaults() {
    for text in ["", "# only a comment\n", "---\n", "node:\n", "node: {labels: }\nlogs: ~\n", "{}"]
    {
        assert_eq!(read(text), Ok(Settings::default()), "{text:?}");
    }
}

#[test]
fn all_faults_come_at_once_each_with_line_path_and_remedy() {
    let faults = read(
        "clutser: a\n\
         node:\n  name: Host_1\n  labels:\n    disktype: yes\n    -bad: x\n  taints:\n  - key: a\n    effect: NoRun\n  - {value: b}\n\
         sources:\n- fil: {path: x}\n- file: {path: rel}\n- file: {}\n- network: {}\n\
         logs: {maxSize: 10, maxFiles: 1}\n\
         network: {}\n\
         crashLoopBackOff: {maxContainerRestartPeriod: 10m}\n\
         containerd: [a]\n\
         socket: /x\n",
    )
    .unwrap_err();
    assert_eq!(
        faults,
        [
            "c.yaml:1: clutser: unknown key; did you mean cluster?",
            "c.yaml:3: node.name: \"Host_1\": not a node name; use at most 253 lower-case letters, digits, - and ., with a letter or digit at each end",
            "c.yaml:5: node.labels[disktype]: true: not a text; put it in quotes",
            "c.yaml:6: node.labels[-bad]: not a label key; write it as disktype or example.com/disktype",
            "c.yaml:9: node.taints[0].effect: \"NoRun\": not a choice; write one of: NoSchedule, PreferNoSchedule, NoExecute",
            "c.yaml:10: node.taints[1]: {…}: no key; write key and effect",
            "c.yaml:10: node.taints[1]: {…}: no effect; write key and effect",
            "c.yaml:12: sources[0].fil: unknown key; did you mean file?",
            "c.yaml:13: sources[1].file.path: \"rel\": not an absolute path; begin it with /",
            "c.yaml:14: sources[2].file: {…}: no path; write path: /etc/podward/manifests or another",
            "c.yaml:15: sources[3].network: not in this version; remove it",
            "c.yaml:16: logs.maxSize: 10: not a size of 4Ki or more; write a quantity such as 10Mi",
            "c.yaml:16: logs.maxFiles: 1: not a number from 2 to 1000; write a number such as 5",
            "c.yaml:17: network: not in this version; remove it",
            "c.yaml:18: crashLoopBackOff.maxContainerRestartPeriod: \"10m\": not a duration from 1s to 5m; write a duration such as 1m30s",
            "c.yaml:19: containerd: […]: not a mapping; write keys and values",
            "c.yaml:20: socket: unknown key; known here: cluster, node, sources, objectsDir, containerd, cgroupParent, paths, cdiDirs, logs, fieldValidation, crashLoopBackOff, etcd, trustedKeys, signKey, metrics, images",
        ]
    );
}

#[test]
fn faults_of_images_name_value_and_remedy() {
    let faults = read(
        "containerd: {pull: daemon}\n\
         images:\n  authFile: a.json\n  maxParallelPulls: 0\n  maxParallelLayers: 33\n  gcHighThresholdPercent: 101\n  minimumGCAge: soon\n  \
         policy:\n    allowed: [busybox]\n    requireDigest: often\n    signatures:\n    - {match: r.example}\n    \
         - {match: r.example/a:1, keys: [k.pub], key: x}\n    - {match: r.example, keys: []}\n",
    )
    .unwrap_err();
    assert_eq!(
        faults,
        [
            "c.yaml:1: containerd.pull: \"daemon\": not a choice; write one of: client, transfer",
            "c.yaml:3: images.authFile: \"a.json\": not an absolute path; begin it with /",
            "c.yaml:4: images.maxParallelPulls: 0: not a number from 1 to 100; write a number such as 3",
            "c.yaml:5: images.maxParallelLayers: 33: not a number from 1 to 32; write a number such as 3",
            "c.yaml:6: images.gcHighThresholdPercent: 101: not a number from 0 to 100; write a number such as 85",
            "c.yaml:7: images.minimumGCAge: \"soon\": not a duration; write a duration such as 2m or 24h",
            "c.yaml:9: images.policy.allowed[0]: \"busybox\": does not begin with a registry; write it in full, such as docker.io/library/busybox",
            "c.yaml:10: images.policy.requireDigest: \"often\": neither true nor false; write true or false",
            "c.yaml:12: images.policy.signatures[0]: {…}: no keys; write match and keys",
            "c.yaml:13: images.policy.signatures[1].match: \"r.example/a:1\": has a tag or a digest; write a registry or a repository, such as registry.example/team/*",
            "c.yaml:13: images.policy.signatures[1].keys[0]: \"k.pub\": not an absolute path; begin it with /",
            "c.yaml:13: images.policy.signatures[1].key: unknown key; did you mean keys?",
            "c.yaml:14: images.policy.signatures[2].keys: […]: no key; name files such as /etc/podward/keys/cosign.pub",
        ]
    );
}

/// What is wrong with a text that is loaded as a file, each fault from the key on.
fn load_text(text: &str) -> Result<Settings, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    fs::write(&file, text).unwrap();
    load(Some(&file), &Overrides::default()).map_err(|faults| {
        let said = faults.iter().map(ToString::to_string);
        said.map(|said| said.split_once("c.yaml:").unwrap().1.trim_start().to_owned()).collect()
    })
}

#[test]
fn faults_of_sources_and_of_the_store_name_value_and_remedy() {
    let faults = read(
        "sources:\n- http: {interval: 10ms, timeout: 1h, maxSize: 5Mi}\n- http: {url: \"https://me:secret@h/\"}\n- http: {url: h/x}\n\
         - http: {url: \"https://h/\", certFile: /c, passwordFile: /p}\n- http: {url: \"https://h/\", tokenFile: t, username: u, passwordFile: /p, tokn: x}\n\
         - etcd: {endpoints: []}\n- etcd:\n- http: {url: \"ftp://h/\"}\n- http: {url: \"https://h/a b\"}\n\
         etcd: {endpoints: [\"https://h\", h:2379, \"https://h:2379/x\", \"https://h:2379\", \"https://h:2379/\", \"https://me:secret@h:2379\"], prefix: podward, leaseTtl: 9s, timeout: 11m}\n\
         node: {protected: [-x]}\nmetrics: {listen: \":9577\"}\ntrustedKeys: [a.pub]\nsignKey: ''\ncluster: ..\n",
    )
    .unwrap_err();
    let address =
        "not an address by http or https; write it in full, as in https://host.example:8443/path";
    let member = "not the address of a member; write scheme, host and port and nothing else, as in https://10.0.0.1:2379";
    let secret = "an address with a user or a password in it; take them out; write username, passwordFile or tokenFile beside it";
    assert_eq!(
        faults,
        [
            "c.yaml:2: sources[0].http.interval: \"10ms\": not a duration from 1s to 24h; write a duration such as 30s",
            "c.yaml:2: sources[0].http.timeout: \"1h\": not a duration from 1s to 10m; write a duration such as 30s",
            "c.yaml:2: sources[0].http.maxSize: \"5Mi\": more than 4Mi; write 4Mi or less: more is not read from any source",
            "c.yaml:2: sources[0].http: {…}: no url; write url: https://host.example/fleet.yaml or another",
            &format!("c.yaml:3: sources[1].http.url: {secret}"),
            &format!("c.yaml:4: sources[2].http.url: \"h/x\": {address}"),
            "c.yaml:5: sources[3].http: {…}: certFile without keyFile; write both or neither",
            "c.yaml:5: sources[3].http: {…}: passwordFile without username; write both or neither",
            "c.yaml:6: sources[4].http.tokenFile: \"t\": not an absolute path; begin it with /",
            "c.yaml:6: sources[4].http.tokn: unknown key; known here: url, interval, timeout, maxSize, caFile, certFile, keyFile, tokenFile, username, passwordFile",
            "c.yaml:6: sources[4].http: {…}: tokenFile and username; keep one of them: a page is asked by one",
            "c.yaml:6: sources[4]: {…}: the same source as sources[0]; remove one of them",
            "c.yaml:7: sources[5].etcd.endpoints: not a key of this source; write etcd: {} here, and how to reach the store below etcd at the top",
            "c.yaml:8: sources[6]: {…}: the same source as sources[2]; remove one of them",
            &format!("c.yaml:9: sources[7].http.url: \"ftp://h/\": {address}"),
            &format!("c.yaml:10: sources[8].http.url: \"https://h/a b\": {address}"),
            &format!("c.yaml:11: etcd.endpoints[0]: \"https://h\": {member}"),
            &format!("c.yaml:11: etcd.endpoints[1]: \"h:2379\": {address}"),
            &format!("c.yaml:11: etcd.endpoints[2]: \"https://h:2379/x\": {member}"),
            "c.yaml:11: etcd.endpoints[4]: \"https://h:2379/\": the same member again; remove it",
            &format!("c.yaml:11: etcd.endpoints[5]: {secret}"),
            "c.yaml:11: etcd.prefix: \"podward\": not a prefix of keys; begin it with /, end it without, and use letters, digits, -, _ and ., as in /podward",
            "c.yaml:11: etcd.leaseTtl: \"9s\": not a duration from 10s to 1h; write a duration such as 30s",
            "c.yaml:11: etcd.timeout: \"11m\": not a duration from 1s to 10m; write a duration such as 30s",
            "c.yaml:12: node.protected[0]: \"-x\": not a key of a label or taint; write it as disktype or example.com/disktype",
            "c.yaml:13: metrics.listen: \":9577\": not an address and a port; write one such as 127.0.0.1:9577, for all addresses [::]:9577",
            "c.yaml:14: trustedKeys[0]: \"a.pub\": not an absolute path; begin it with /",
            "c.yaml:15: signKey: \"\": empty; write a value, or remove the key",
            "c.yaml:16: cluster: \"..\": not a name; use a letter or a digit in it",
        ]
    );
}

#[test]
fn what_a_store_lacks_is_told_with_what_to_write() {
    let faults =
        load_text("sources: [{etcd: {}}]\netcd: {certFile: /c, passwordFile: /p}\n").unwrap_err();
    assert_eq!(
        faults,
        [
            "sources[0].etcd: no member of the store is known; write etcd: {endpoints: [https://10.0.0.1:2379]} at the top",
            "etcd.certFile: given without etcd.keyFile; write both or neither",
            "etcd.passwordFile: given without etcd.username; write both or neither",
        ]
    );
    for (endpoints, problem) in [
        ("[http://a:1, https://b:1]", "some with TLS and some without"),
        ("[http://a:1]", "certificates are named, but the members are asked without TLS"),
    ] {
        let faults =
            load_text(&format!("etcd: {{endpoints: {endpoints}, caFile: /ca}}\n")).unwrap_err();
        assert_eq!(
            faults,
            [format!("etcd.endpoints: {problem}; write https:// before each of them")]
        );
    }
}

#[test]
fn a_store_is_a_source_where_the_file_names_none() {
    let file = |path: &str| SourceSettings::File { path: path.into() };
    let manifests = file("/etc/podward/manifests");
    let both = load_text("etcd: {endpoints: \"http://a:2379, http://b:2379\"}\n").unwrap();
    assert_eq!(both.sources, [manifests.clone(), SourceSettings::Etcd]);
    assert_eq!(both.etcd.endpoints, ["http://a:2379", "http://b:2379"]);
    let named = load_text(
        "etcd: {endpoints: [http://a:2379]}\nsources: [{file: {path: /etc/podward/manifests}}]\n",
    );
    assert_eq!(named.unwrap().sources, std::slice::from_ref(&manifests));
    assert_eq!(load_text("{}").unwrap().sources, std::slice::from_ref(&manifests));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    fs::write(&file, "").unwrap();
    let variable = ("PODWARD_ETCD_ENDPOINTS".to_owned(), "http://c:2379".to_owned());
    let overrides = Overrides::from_environment([variable].into_iter());
    let of_variable = load(Some(&file), &overrides).unwrap();
    assert_eq!(of_variable.sources, [manifests, SourceSettings::Etcd]);
    let flag = overrides.flag("--etcd", Some("d:2379,http://e:2379".to_owned()));
    let of_flag = load(Some(&file), &flag).unwrap().etcd.endpoints;
    assert_eq!(of_flag, ["http://d:2379", "http://e:2379"]);
}

#[test]
fn metrics_are_served_nowhere_when_the_address_is_empty() {
    assert_eq!(read("metrics: {listen: ''}").unwrap().metrics, None);
    let somewhere = read("metrics: {listen: \"127.0.0.1:9577\"}").unwrap();
    assert_eq!(somewhere.metrics, "127.0.0.1:9577".parse().ok());
}

#[test]
fn the_low_mark_must_lie_below_the_high_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    fs::write(&file, "images: {gcLowThresholdPercent: 85}\n").unwrap();
    let faults = load(Some(&file), &Overrides::default()).unwrap_err();
    let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1);
    assert!(
        said[0].ends_with(
            "c.yaml: images.gcLowThresholdPercent: 85: not less than images.gcHighThresholdPercent, \
             which is 85; write a lower number here, or a higher one there"
        ),
        "{said:?}"
    );
    let variable = ("PODWARD_IMAGES_GC_HIGH_THRESHOLD_PERCENT".to_owned(), "90".to_owned());
    let overrides = Overrides::from_environment([variable].into_iter());
    assert_eq!(load(Some(&file), &overrides).unwrap().images.gc_high_threshold_percent, 90);
}

#[test]
fn broken_yaml_is_one_clear_fault() {
    for (text, fault) in [
        ("a: [1\nb: 2\n", "c.yaml:2: illegal placement of ':' indicator; "),
        ("cluster: a\ncluster: b\n", "c.yaml:2: duplicate mapping key: cluster; "),
        ("- a\n", "c.yaml:1: […]: not a mapping; "),
        ("just text", "c.yaml:1: \"just text\": not a mapping; "),
    ] {
        let faults = read(text).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with(fault), "{faults:?}");
    }
}

#[test]
fn a_missing_file_is_a_fault_only_when_it_was_named() {
    let missing = Path::new("/nonexistent/config.yaml");
    let faults = load(Some(missing), &Overrides::default()).unwrap_err();
    assert_eq!(faults[0].remedy, "name an existing file with --config");
    assert_eq!(file::text(missing, false), Ok(None));
}

#[test]
fn a_flag_goes_before_a_variable_and_a_variable_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("c.yaml");
    fs::write(&file, "cluster: of-file\nnode: {name: of-file}\n").unwrap();
    let variables = [
        ("PODWARD_CLUSTER", "of-variable"),
        ("PODWARD_NODE_NAME", "of-variable"),
        ("PODWARD_LOGS_MAX_FILES", "7"),
        ("PODWARD_PATHS_RUN", ""),
        ("PODWARD_SOMETHING_ELSE", "x"),
    ];
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let overrides = Overrides::from_environment(variables)
        .flag("--node-name", Some("of-flag".to_owned()))
        .flag("--socket", None);
    let settings = load(Some(&file), &overrides).unwrap();
    assert_eq!(settings.cluster, "of-variable");
    assert_eq!(settings.node.name.as_deref(), Some("of-flag"));
    assert_eq!(settings.logs.max_files, 7);
    let overrides = overrides.flag("--node-name", Some("A B".to_owned()));
    let faults = load(Some(&file), &overrides).unwrap_err();
    assert!(faults[0].to_string().starts_with("flag --node-name: node.name: \"A B\": not a node"));
}

#[test]
fn a_change_tells_live_keys_from_those_that_need_a_restart() {
    let old = Settings::default();
    let new =
        read("node: {labels: {a: b}}\nfieldValidation: Warn\ncluster: x\nlogs: {maxFiles: 9}\n")
            .unwrap();
    let live: Vec<_> = Settings::changed_live_keys(&old, &new).into_iter().collect();
    let restart: Vec<_> = Settings::changed_restart_keys(&old, &new).into_iter().collect();
    assert_eq!(live, ["fieldValidation", "node.labels"]);
    assert_eq!(restart, ["cluster", "logs.maxFiles"]);
}

#[test]
fn the_reference_page_follows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/config.md");
    let page = reference::reference();
    if std::env::var_os("PODWARD_BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "run PODWARD_BLESS=1 cargo test config");
    let example = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(read(example).is_ok(), "the page's example is good: {:?}", read(example));
}
