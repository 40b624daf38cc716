//! Volumes: what containers find mounted, whatever they have built in it, and what they leave as their last words.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::support::image::{self, File};
use crate::support::leaks::mounts_below;
use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::support::{Host, on_host};

/// A script that runs `first` once, and stays when it is started again.
fn once(first: &str) -> String {
    format!("[ -e /out/once ] || {{ touch /out/once; {first}; }}; {STAY}")
}

/// What a container does before it stays: run `script`, whose output lands in `/out/said`.
fn report(script: &str) -> String {
    format!("{{ {script}; echo end; }} >/out/said.new 2>&1; mv /out/said.new /out/said; {STAY}")
}

/// Runs a set that reports once, and returns what its container said.
fn reported(host: &Host, set: &Set) -> Result<String> {
    host.write("set.yaml", &set.text())?;
    Host::reads(&host.path("out/said"), "end\n")
}

/// A file of an image.
fn file(path: &str, text: &str) -> File {
    File { path: path.into(), mode: 0o644, bytes: text.into() }
}

/// A volume of the host that every such set mounts, to report in.
fn out(host: &Host) -> Value {
    json!({"name": "out", "hostPath": {"path": host.path("out")}})
}

/// A set with `/out` and these volumes and mounts.
fn set_with(host: &Host, script: &str, volumes: &[Value], mounts: &[Value]) -> Set {
    let own = json!({"name": "out", "mountPath": "/out"});
    let (volumes, mounts) = ([&[out(host)], volumes].concat(), [&[own], mounts].concat());
    Set::named("vol")
        .script(script)
        .pod(&json!({"volumes": volumes}))
        .container(&json!({"volumeMounts": mounts}))
}

/// Waits until the container has run once and runs again, and returns its pod.
fn again(host: &Host, set: &str) -> Result<Pod> {
    host.until_pod(set, "running again", |pod| pod.running() && pod.restarts("main") == 1)
}

/// The directory of a pod.
fn pod_dir(host: &Host, pod: &Pod) -> PathBuf {
    host.path("state/pods").join(pod.uid())
}

/// Waits until a container waits for `reason`, and returns its message.
fn refused(host: &Host, set: &str, reason: &str) -> Result<String> {
    let waits = |pod: &Pod| pod.waits_for("main") == reason;
    let pod = host.until_pod(set, &format!("waiting with {reason}"), waits)?;
    let message = &pod.container("main")["state"]["waiting"]["message"];
    Ok(message.as_str().unwrap_or_default().to_owned())
}

#[test]
fn the_last_words_of_a_container_are_kept_and_shown() -> Result<()> {
    on_host(|host| {
        let words = "echo first word >/dev/termination-log; echo last word >>/dev/termination-log";
        let set =
            Set::named("words").script(&once(&format!("{words}; exit 3"))).out(&host.path("out"));
        host.write("words.yaml", &set.text())?;
        let pod = again(host, "words")?;
        assert_eq!(pod.last_end("main")["message"], "first word\nlast word\n");
        assert_eq!(pod.last_end("main")["exitCode"], 3);
        let described = host.podward(&["describe", "pod", &pod.name()])?;
        let last = described.split("Last State").nth(1).context("Last State")?;
        let line = last.lines().find(|line| line.trim_start().starts_with("Message:"));
        assert!(line.is_some_and(|line| line.ends_with("first word")), "{described}");
        // The ended attempt's file went with it; the running one has a file of its own, empty.
        let files = pod_dir(host, &pod).join("containers/main");
        host.until("only the running attempt's file to be left", || {
            let left: Vec<_> = fs::read_dir(&files)?.flatten().map(|e| e.file_name()).collect();
            Ok((left == ["1"]).then_some(()))
        })?;
        assert_eq!(fs::metadata(files.join("1/message"))?.len(), 0);
        Ok(())
    })
}

#[test]
fn any_user_leaves_a_message_also_with_a_read_only_root_and_only_its_end_counts() -> Result<()> {
    on_host(|host| {
        fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o777))?;
        let words =
            "yes 0123456789abcde | head -c 5000 >/tmp/last; echo -n END >>/tmp/last; exit 1";
        let set = Set::named("long")
            .script(&once(words))
            .container(&json!({
                "terminationMessagePath": "tmp/last",
                "securityContext": {"runAsUser": 1000, "readOnlyRootFilesystem": true},
            }))
            .out(&host.path("out"));
        host.write("long.yaml", &set.text())?;
        let pod = again(host, "long")?;
        let end = pod.last_end("main");
        let message = end["message"].as_str().context("no message")?;
        assert_eq!((message.len(), &message[4093..]), (4096, "END"));
        Ok(())
    })
}

#[test]
fn the_log_speaks_for_a_failed_container_without_a_message() -> Result<()> {
    on_host(|host| {
        let policy = json!({"terminationMessagePolicy": "FallbackToLogsOnError"});
        let script =
            once("for i in $(seq 1 500); do echo line $i; done; echo the cause >&2; exit 4");
        let fails = Set::named("fails").script(&script).container(&policy);
        let says = Set::named("says")
            .script(&once("echo in the log; echo -n own words >/dev/termination-log; exit 4"))
            .container(&policy);
        let ends = Set::named("ends").script(&once("echo in the log; exit 0")).container(&policy);
        let mut sets = vec![];
        for (name, set) in [("fails", fails), ("says", says), ("ends", ends)] {
            let dir = host.path(&format!("out/{name}"));
            fs::create_dir(&dir)?;
            sets.push(set.out(&dir).text());
        }
        host.write("sets.yaml", &sets.join("---\n"))?;
        let pod = again(host, "fails")?;
        let end = pod.last_end("main");
        let message = end["message"].as_str().context("no message")?.to_owned();
        assert!(message.ends_with("line 500\nthe cause\n"), "{message}");
        assert!(message.len() <= 2048 && !message.contains("line 420\n"), "{message}");
        assert_eq!(end["exitCode"], 4);
        assert_eq!(again(host, "says")?.last_end("main")["message"], "own words");
        assert_eq!(again(host, "ends")?.last_end("main")["message"], Value::Null);
        Ok(())
    })
}

#[test]
fn a_container_that_ends_while_no_agent_runs_is_heard_too() -> Result<()> {
    on_host(|host| {
        let script = once(
            "until [ -e /out/go ]; do sleep 0.02; done; echo -n alone >/dev/termination-log; exit 5",
        );
        let logs = once("until [ -e /out/go ]; do sleep 0.02; done; echo unheard; exit 6");
        let one = Set::named("alone").script(&script);
        let other = Set::named("unheard")
            .script(&logs)
            .container(&json!({"terminationMessagePolicy": "FallbackToLogsOnError"}));
        for (set, name) in [(one, "alone"), (other, "unheard")] {
            fs::create_dir(host.path(&format!("out/{name}")))?;
            host.write(
                &format!("{name}.yaml"),
                &set.out(&host.path(&format!("out/{name}"))).text(),
            )?;
            host.running(name)?;
            Host::reads(&host.path(&format!("out/{name}/once")), "")?;
        }
        host.kill_agent()?;
        fs::write(host.path("out/alone/go"), "")?;
        fs::write(host.path("out/unheard/go"), "")?;
        crate::support::wait::patiently("both to end", crate::support::wait::PATIENCE, || {
            let tasks = host.containerd.tasks()?;
            Ok(tasks.iter().all(|task| task.status == "STOPPED").then_some(()))
        })?;
        host.start_agent()?;
        for (name, code, message) in [("alone", 5, "alone"), ("unheard", 6, "unheard\n")] {
            let pod = again(host, name)?;
            let end = pod.last_end("main");
            assert_eq!((&end["exitCode"], &end["message"]), (&json!(code), &json!(message)));
        }
        Ok(())
    })
}

#[test]
fn parts_of_volumes_are_made_found_and_named_by_variables() -> Result<()> {
    on_host(|host| {
        fs::create_dir_all(host.path("data/conf"))?;
        fs::write(host.path("data/conf/app.ini"), "given\n")?;
        fs::set_permissions(host.path("data"), fs::Permissions::from_mode(0o2770))?;
        let script = report(
            "cat /etc/app.ini; echo made >/logs/x; echo new >/fresh/y; ls /fresh; ls -a /logs | grep -c .",
        );
        let set = set_with(
            host,
            &script,
            &[
                json!({"name": "data", "hostPath": {"path": host.path("data")}}),
                json!({"name": "scratch", "emptyDir": {}}),
            ],
            &[
                json!({"name": "data", "mountPath": "/etc/app.ini", "subPath": "conf/app.ini", "readOnly": true}),
                json!({"name": "data", "mountPath": "/logs", "subPathExpr": "logs/$(POD)-$(NODE)/deep"}),
                json!({"name": "scratch", "mountPath": "/fresh", "subPath": "a/b"}),
            ],
        )
        .container(&json!({"env": [
            {"name": "POD", "value": "web"}, {"name": "NODE", "value": "n1"},
        ]}));
        assert_eq!(reported(host, &set)?, "given\ny\n3\nend\n");
        assert_eq!(fs::read_to_string(host.path("data/logs/web-n1/deep/x"))?, "made\n");
        let mode = fs::metadata(host.path("data/logs/web-n1"))?.mode() & 0o7777;
        assert_eq!(mode, 0o2770, "made with the mode of the volume's root");
        let pod = host.running("vol")?;
        let parts = pod_dir(host, &pod).join("volume-subpaths");
        assert!(parts.join("data/main/1").is_file() && parts.join("scratch/main/3").is_dir());
        host.remove("set.yaml")?;
        host.gone("vol")?;
        assert!(host.path("data/conf/app.ini").exists(), "the host's files stay");
        Ok(())
    })
}

#[test]
fn a_variable_without_a_value_names_no_directory() -> Result<()> {
    on_host(|host| {
        let scratch = json!({"name": "scratch", "emptyDir": {}});
        let mount = json!({"name": "scratch", "mountPath": "/s", "subPathExpr": "logs/$(NOBODY)"});
        let set = set_with(host, STAY, &[scratch], &[mount]);
        host.write("set.yaml", &set.text())?;
        let message = refused(host, "vol", "CreateContainerConfigError")?;
        assert!(message.contains("volumeMounts[1].subPathExpr"), "{message}");
        assert!(message.contains("missing value for NOBODY"), "{message}");
        Ok(())
    })
}

#[test]
fn no_symlink_in_a_volume_leads_a_mount_out_of_it() -> Result<()> {
    on_host(|host| {
        fs::create_dir(host.path("secret"))?;
        fs::write(host.path("secret/key"), "secret")?;
        for (name, link, part) in [
            ("root", "/", "trap/etc"),
            ("absolute", host.path("secret").to_str().context("path")?, "trap"),
            ("up", "../secret", "trap"),
            ("chain", "hop", "trap/key"),
            ("made", "../secret", "trap/new/dir"),
        ] {
            let data = host.path("data");
            let _ = fs::remove_dir_all(&data);
            fs::create_dir(&data)?;
            symlink(link, data.join("trap"))?;
            symlink("./../../../../../../../../../../../etc", data.join("hop"))?;
            let set = set_with(
                host,
                STAY,
                &[json!({"name": "data", "hostPath": {"path": data}})],
                &[json!({"name": "data", "mountPath": "/d", "subPath": part})],
            );
            let text = set.text().replace("\"vol\"", &format!("{name:?}"));
            host.write("set.yaml", &text)?;
            let message = refused(host, name, "CreateContainerConfigError")?;
            assert!(message.contains("volumeMounts[1].subPath"), "{name}: {message}");
            assert!(message.contains("leads out of the volume"), "{name}: {message}");
            host.remove("set.yaml")?;
            host.gone(name)?;
        }
        assert_eq!(fs::read_dir(host.path("secret"))?.count(), 1, "something was made outside");
        Ok(())
    })
}

#[test]
fn a_link_that_a_container_swaps_in_before_it_restarts_is_not_followed() -> Result<()> {
    on_host(|host| {
        fs::create_dir(host.path("secret"))?;
        fs::write(host.path("secret/key"), "secret")?;
        let secret = host.path("secret").display().to_string();
        let script = format!(
            "ls /part >>/out/seen; cd /all && mv data aside && ln -s {secret} data; exit 1"
        );
        let set = set_with(
            host,
            &script,
            &[json!({"name": "scratch", "emptyDir": {}})],
            &[
                json!({"name": "scratch", "mountPath": "/all"}),
                json!({"name": "scratch", "mountPath": "/part", "subPath": "data"}),
            ],
        );
        host.write("set.yaml", &set.text())?;
        let message = refused(host, "vol", "CreateContainerConfigError")?;
        assert!(message.contains("leads out of the volume"), "{message}");
        assert!(!fs::read_to_string(host.path("out/seen"))?.contains("key"));
        // Mended from outside, it starts again.
        let pod = host.pods_of("vol")?.remove(0);
        let volume = pod_dir(host, &pod).join("volumes/kubernetes.io~empty-dir/scratch");
        fs::remove_file(volume.join("data"))?;
        host.until("another run", || {
            let seen = host.pods_of("vol")?.first().map_or(0, |pod| pod.restarts("main"));
            Ok((seen >= 1).then_some(()))
        })?;
        Ok(())
    })
}

#[test]
fn parts_outlive_the_agent_and_are_mounted_anew_after_a_restart_of_the_host() -> Result<()> {
    on_host(|host| {
        let set = set_with(
            host,
            &format!("echo run >>/part/runs; {STAY}"),
            &[json!({"name": "data", "hostPath": {"path": host.path("data")}})],
            &[json!({"name": "data", "mountPath": "/part", "subPath": "a/b"})],
        );
        host.write("set.yaml", &set.text())?;
        let before = host.running("vol")?;
        host.restart_agent()?;
        assert_eq!(host.running("vol")?.id("main"), before.id("main"));
        let pid = host.pid_of(&before.id("main"))?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL)?;
        again(host, "vol")?;
        let point = pod_dir(host, &before).join("volume-subpaths/data/main/1");
        let count = mounts_below(host.dir()).iter().filter(|at| **at == point).count();
        assert_eq!(count, 1, "an earlier start's mount is replaced");
        host.reboot()?;
        host.until_pod("vol", "running after the restart", |pod| {
            pod.running() && pod.restarts("main") == 2
        })?;
        Host::reads(&host.path("data/a/b/runs"), "run\nrun\nrun\n")?;
        Ok(())
    })
}

#[test]
fn the_pods_own_volumes_belong_to_its_group() -> Result<()> {
    on_host(|host| {
        fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o777))?;
        fs::create_dir(host.path("data"))?;
        let script = report(
            "id -G; for d in /disk /memory; do echo x >$d/new; mkdir $d/dir; stat -c '%g %a' $d; stat -c %g $d/new $d/dir; done",
        );
        let set = set_with(
            host,
            &script,
            &[
                json!({"name": "disk", "emptyDir": {}}),
                json!({"name": "memory", "emptyDir": {"medium": "Memory"}}),
                json!({"name": "data", "hostPath": {"path": host.path("data")}}),
            ],
            &[
                json!({"name": "disk", "mountPath": "/disk"}),
                json!({"name": "memory", "mountPath": "/memory"}),
                json!({"name": "data", "mountPath": "/data"}),
            ],
        )
        .pod(&json!({"securityContext": {
            "runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000],
            "fsGroupChangePolicy": "OnRootMismatch",
        }}));
        let said = reported(host, &set)?;
        let groups: Vec<&str> = said.lines().next().unwrap_or_default().split(' ').collect();
        for group in ["2000", "3000", "4000", "63"] {
            assert!(groups.contains(&group), "{group} is not in {said}");
        }
        let rest: Vec<&str> = said.lines().skip(1).collect();
        let volume = ["3000 2777", "3000", "3000"];
        assert_eq!(rest, [&volume[..], &volume[..], &["end"][..]].concat());
        let root = fs::metadata(host.path("data"))?;
        assert_ne!(root.gid(), 3000, "a hostPath is the host's");
        Ok(())
    })
}

/// A tmpfs with another one in it, that ends with the value.
struct Nested(PathBuf);

impl Nested {
    /// Mounts it, shared or private.
    fn at(path: PathBuf, kind: &str) -> Result<Self> {
        fs::create_dir_all(&path)?;
        mount(&["-t", "tmpfs", "none"], &path)?;
        let nested = Self(path);
        mount(&[kind], &nested.0)?;
        fs::create_dir(nested.0.join("below"))?;
        mount(&["-t", "tmpfs", "none"], &nested.0.join("below"))?;
        Ok(nested)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        crate::support::leaks::unmount_below(&self.0);
    }
}

/// Runs `mount`.
fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    let status = Command::new("mount").args(arguments).arg(path).status().context("mount")?;
    ensure!(status.success(), "mount {arguments:?} {}: {status}", path.display());
    Ok(())
}

#[test]
fn a_mount_is_read_only_all_the_way_down_when_that_is_asked() -> Result<()> {
    on_host(|host| {
        let _nested = Nested::at(host.path("nested"), "--make-private")?;
        let script = report(
            "for d in plain enabled possible; do for at in /$d /$d/below; do touch $at/$d 2>/dev/null && echo $at written; done; done",
        );
        let mount = |name: &str, mode: &str| json!({"name": "nested", "mountPath": format!("/{name}"), "readOnly": true, "recursiveReadOnly": mode});
        let set = set_with(
            host,
            &script,
            &[json!({"name": "nested", "hostPath": {"path": host.path("nested")}})],
            &[
                mount("plain", "Disabled"),
                mount("enabled", "Enabled"),
                mount("possible", "IfPossible"),
            ],
        );
        assert_eq!(reported(host, &set)?, "/plain/below written\nend\n");
        Ok(())
    })
}

#[test]
fn mounts_travel_as_their_propagation_says() -> Result<()> {
    on_host(|host| {
        let nested = Nested::at(host.path("nested"), "--make-shared")?;
        let script = "mkdir -p /both/by-container; mount -t tmpfs none /both/by-container; \
             until [ -e /none/go ]; do sleep 0.02; done; \
             for d in none host both; do echo $d $(grep -c \" /$d/late \" /proc/mounts); done; \
             umount /both/by-container";
        let mount_at = |name: &str, propagation: &str| json!({"name": "nested", "mountPath": format!("/{name}"), "mountPropagation": propagation});
        let set = set_with(
            host,
            &report(script),
            &[json!({"name": "nested", "hostPath": {"path": host.path("nested")}})],
            &[
                mount_at("none", "None"),
                mount_at("host", "HostToContainer"),
                mount_at("both", "Bidirectional"),
            ],
        )
        .container(&json!({"securityContext": {"privileged": true}}));
        host.write("set.yaml", &set.text())?;
        let point = nested.0.join("by-container");
        host.until("the container's mount to show on the host", || {
            Ok(mounts_below(&nested.0).contains(&point).then_some(()))
        })?;
        fs::create_dir(nested.0.join("late"))?;
        mount(&["-t", "tmpfs", "none"], &nested.0.join("late"))?;
        fs::write(nested.0.join("go"), "")?;
        let said = Host::reads(&host.path("out/said"), "end\n")?;
        assert_eq!(said, "none 0\nhost 1\nboth 1\nend\n");
        assert!(!mounts_below(&nested.0).contains(&point), "its end shows on the host too");
        Ok(())
    })
}

#[test]
fn directories_that_an_image_declares_are_fresh_for_each_run_and_begin_with_its_content()
-> Result<()> {
    on_host(|host| {
        let reference = "docker.io/library/declares:it";
        let config =
            json!({"Env": ["PATH=/bin"], "Volumes": {"/data": {}, "/none": {}, "/own": {}}});
        let files = [file("data/sub/given", "from the image\n"), file("own/hidden", "x")];
        image::pack(&host.path("state/images/declares.tar"), &[reference], &config, &files)?;
        let script = "{ ls /data /own; cat /data/sub/given; ls /none | wc -l; grep -c ' /data ' /proc/mounts; echo end; } \
             >>/out/said; touch /data/run /none/run; [ -e /out/once ] || { touch /out/once; exit 1; }";
        let set = set_with(
            host,
            &format!("{script}; {STAY}"),
            &[json!({"name": "own", "emptyDir": {}})],
            &[json!({"name": "own", "mountPath": "/own"})],
        )
        .container(&json!({"image": reference}));
        host.write("set.yaml", &set.text())?;
        let pod = again(host, "vol")?;
        let run = "/data:\nsub\n\n/own:\nfrom the image\n0\n1\nend\n";
        assert_eq!(Host::reads(&host.path("out/said"), &run.repeat(2))?, run.repeat(2));
        let attempts = pod_dir(host, &pod).join("containers/main");
        assert_eq!(fs::read_to_string(attempts.join("1/volumes/0/sub/given"))?, "from the image\n");
        host.until("the ended run's volumes to go with it", || {
            Ok((!attempts.join("0").exists()).then_some(()))
        })?;
        Ok(())
    })
}

#[test]
fn an_image_is_mounted_as_a_volume_and_nothing_of_it_can_be_changed_or_run() -> Result<()> {
    on_host(|host| {
        let reference = "docker.io/library/model:it";
        let files = [file("model/weights", "1 2 3\n")];
        image::pack(&host.path("state/images/model.tar"), &[reference], &json!({}), &files)?;
        let script = report(
            "cat /model/model/weights /part/weights; touch /model/x 2>/dev/null || echo sealed; /model/bin/busybox true 2>/dev/null || echo not run",
        );
        let set = set_with(
            host,
            &script,
            &[json!({"name": "model", "image": {"reference": reference}})],
            &[
                json!({"name": "model", "mountPath": "/model"}),
                json!({"name": "model", "mountPath": "/part", "subPath": "model"}),
            ],
        );
        assert_eq!(reported(host, &set)?, "1 2 3\n1 2 3\nsealed\nnot run\nend\n");
        // The image may go, and the garbage collector may come: the volume stays for as long as its pod.
        let pod = host.running("vol")?;
        host.kill_agent()?;
        host.containerd.ctr(&["images", "rm", "--sync", reference])?;
        let volume = pod_dir(host, &pod).join("volumes/kubernetes.io~image/model");
        assert_eq!(fs::read_to_string(volume.join("model/weights"))?, "1 2 3\n");
        host.start_agent()?;
        assert_eq!(host.running("vol")?.id("main"), pod.id("main"));
        Ok(())
    })
}

#[test]
fn a_pod_waits_for_the_image_of_its_volume_and_goes_on_when_it_comes() -> Result<()> {
    on_host(|host| {
        let reference = "docker.io/library/later:it";
        let set = set_with(
            host,
            STAY,
            &[json!({"name": "later", "image": {"reference": reference, "pullPolicy": "Never"}})],
            &[json!({"name": "later", "mountPath": "/later"})],
        );
        host.write("set.yaml", &set.text())?;
        let message = refused(host, "vol", "ErrImageNeverPull")?;
        assert!(message.contains("later"), "{message}");
        image::write(&host.path("state/images/later.tar"), reference)?;
        let pod = host.running("vol")?;
        assert_eq!(host.containerd.active_snapshots()?.len(), 2);
        host.reboot()?;
        host.until_pod("vol", "running after a restart of the host", |again| {
            again.running() && again.uid() == pod.uid() && again.restarts("main") == 1
        })?;
        // A pod that goes while no agent runs is cleared away by the next one.
        host.kill_agent()?;
        fs::remove_file(host.path("state/pods").join(pod.uid()).join("pod.json"))?;
        host.start_agent()?;
        host.until_pod("vol", "another one", |next| next.running() && next.uid() != pod.uid())?;
        assert_eq!(host.containerd.active_snapshots()?.len(), 2);
        Ok(())
    })
}

#[test]
fn a_pod_whose_volume_outgrows_its_limit_is_evicted_and_replaced() -> Result<()> {
    on_host(|host| {
        let script = once("head -c 3000000 /dev/zero >/scratch/large");
        let set = set_with(
            host,
            &script,
            &[json!({"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}})],
            &[json!({"name": "scratch", "mountPath": "/scratch"})],
        );
        host.write("set.yaml", &set.text())?;
        let first = host.running("vol")?;
        let next =
            host.until_pod("vol", "another one", |pod| pod.running() && pod.uid() != first.uid())?;
        let message = "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\".";
        assert!(host.has_event("Evicted", message)?, "no event");
        assert_eq!(next.restarts("main"), 0);
        Ok(())
    })
}

#[test]
fn a_pod_that_mounts_a_socket_and_a_device_of_the_host_uses_them() -> Result<()> {
    on_host(|host| {
        let socket = host.path("host.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket)?;
        let script =
            report("test -S /sock && echo socket; test -c /zero && head -c 3 /zero | wc -c");
        let set = set_with(
            host,
            &script,
            &[
                json!({"name": "sock", "hostPath": {"path": socket, "type": "Socket"}}),
                json!({"name": "zero", "hostPath": {"path": "/dev/zero", "type": "CharDevice"}}),
            ],
            &[
                json!({"name": "sock", "mountPath": "/sock"}),
                json!({"name": "zero", "mountPath": "/zero"}),
            ],
        );
        assert_eq!(reported(host, &set)?, "socket\n3\nend\n");
        let wrong = set_with(
            host,
            STAY,
            &[json!({"name": "sock", "hostPath": {"path": socket, "type": "BlockDevice"}})],
            &[json!({"name": "sock", "mountPath": "/sock"})],
        );
        host.write("wrong.yaml", &wrong.text().replace("\"vol\"", "\"wrong\""))?;
        host.until("an event that says so", || {
            Ok(host.has_event("FailedMount", "is not a block device")?.then_some(()))
        })?;
        Ok(())
    })
}
