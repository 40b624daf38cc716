//! What people run DaemonSets for: a node exporter, a log shipper, a program that mounts something on the host.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::{Value, json};

use crate::support::image::{self, File, IMAGE};
use crate::support::leaks::{mounts_below, share};
use crate::support::manifest::{containers, daemon_set, examples, published};
use crate::support::set::{STAY, Set};
use crate::support::wait::{PATIENCE, patiently};
use crate::support::{Host, able, on_host};

/// Debian's node exporter, as `scripts/setup` unpacks it; none, told loudly, where that was not done.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn exporter() -> Result<Option<PathBuf>> {
    let target = Path::new(env!("CARGO_BIN_EXE_podward")).ancestors().nth(2);
    let package = target.context("the target directory")?.join("vendors/node-exporter");
    let binary = package.join("usr/bin/prometheus-node-exporter");
    if !able()? || binary.exists() {
        return Ok(Some(binary).filter(|binary| binary.exists()));
    }
    ensure!(std::env::var_os("CI").is_none(), "there is no {}: run `make setup`", binary.display());
    eprintln!("SKIPPED: there is no {}; `make setup` fetches it", binary.display());
    Ok(None)
}

/// The shared libraries of a program, its loader included.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let text = String::from_utf8(output.stdout)?;
    let paths =
        text.lines().filter_map(|line| line.split_whitespace().find(|w| w.starts_with('/')));
    Ok(paths.map(str::to_owned).collect())
}

/// A file of this machine at a path of an image.
fn file(path: &str, from: &Path) -> Result<File> {
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    Ok(File { path: path.into(), mode: 0o755, bytes })
}

/// Packs a program of this machine with its libraries into an image that runs it at `entry`.
fn pack(archive: &Path, reference: &str, program: &Path, entry: &str) -> Result<()> {
    let mut files = vec![file(entry, program)?];
    for library in libraries(program)? {
        files.push(file(&library, Path::new(&library))?);
    }
    image::pack(archive, &[reference], &json!({"Entrypoint": [entry], "User": "nobody"}), &files)
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// What an HTTP server on this machine answers; empty while it does not.
fn scrape(port: u16, path: &str) -> String {
    let asked = || -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    asked().unwrap_or_default()
}

/// Runs a node exporter's set with Debian's program in the vendor's image, and reads its metrics.
fn runs_and_is_scraped(set: &Value) -> Result<()> {
    let Some(program) = exporter()? else {
        return Ok(());
    };
    on_host(|host| {
        let mut set = set.clone();
        let container = &mut containers(&mut set)?[0];
        let reference = container["image"].as_str().context("an image")?.to_owned();
        let port = free_port()?;
        for argument in container["args"].as_array_mut().context("arguments")? {
            if argument.as_str().is_some_and(|text| text.starts_with("--web.listen-address=")) {
                *argument = json!(format!("--web.listen-address=127.0.0.1:{port}"));
            }
        }
        for published in container["ports"].as_array_mut().into_iter().flatten() {
            published["containerPort"] = json!(port);
            published["hostPort"] = json!(port);
        }
        pack(&host.path("state/images/exporter.tar"), &reference, &program, "/bin/node_exporter")?;
        host.write("node-exporter.yaml", &set.to_string())?;
        let pod = host.running("node-exporter")?;
        let answer = patiently("metrics", PATIENCE, || {
            Ok(Some(scrape(port, "/metrics")).filter(|answer| answer.contains("node_load1 ")))
        })?;
        // Of the host, not of the pod: its kernel, its memory, its processors' time, its root file system.
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        for metric in [
            &format!("release=\"{}\"", release.trim()),
            "node_memory_MemTotal_bytes",
            "node_cpu_seconds_total{cpu=\"0\"",
            "node_filesystem_size_bytes{",
            "mountpoint=\"/\"",
        ] {
            assert!(answer.contains(metric), "no {metric} in {answer}");
        }
        let pid = host.pid_of(&pod.id("node-exporter"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        assert!(status.contains("Uid:\t65534\t65534"), "{status}");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mounts"))?;
        let seen: Vec<&str> = mounts.lines().filter(|line| line.contains(" /host/")).collect();
        assert!(!seen.is_empty(), "{mounts}");
        for path in ["/host/sys", "/host/root", "/host/proc"] {
            let at = seen.iter().find(|line| line.split(' ').nth(1) == Some(path));
            let read_only = |line: &&&str| {
                line.split(' ').nth(3).is_some_and(|options| options.split(',').any(|o| o == "ro"))
            };
            assert!(at.is_none_or(|line| read_only(&line)), "{path}: {seen:#?}");
        }
        Ok(())
    })
}

#[test]
fn a_node_exporter_is_scraped() -> Result<()> {
    let mut set = daemon_set(&published().join("node-exporter.yaml"))?;
    // The proxy beside it asks an API server whether a scraper may scrape.
    containers(&mut set)?.retain(|container| container["name"] == "node-exporter");
    runs_and_is_scraped(&set)
}

#[test]
fn the_node_exporter_of_the_examples_is_scraped() -> Result<()> {
    runs_and_is_scraped(&daemon_set(&examples().join("node-exporter.yaml"))?)
}

#[test]
fn a_log_shipper_reads_its_neighbours_lines_at_the_stock_paths() -> Result<()> {
    on_host(|host| {
        let script = format!(
            "echo before; until [ -e /out/more ]; do usleep 20000; done; echo after; {STAY}"
        );
        host.write("web.yaml", &Set::named("web").script(&script).out(&host.path("out")).text())?;
        let web = host.running("web")?;
        Host::reads(&host.log_path(&web, "main", 0), "before")?;

        let script = "trap 'exit 0' TERM; for at in containers pods; do
            case $at in containers) set -- /var/log/containers/web-*_default_main-*.log;; pods) set -- /var/log/pods/default_web-*/main/0.log;; esac
            tail -n +1 -F \"$1\" >/out/$at &
        done; wait";
        let logs = host.path("logs");
        let mounts = json!([
            {"name": "containers", "mountPath": "/var/log/containers", "readOnly": true},
            {"name": "pods", "mountPath": "/var/log/pods", "readOnly": true},
            // Where this host's symlinks lead; on others that is /var/log/pods.
            {"name": "pods", "mountPath": logs, "readOnly": true},
            {"name": "out", "mountPath": "/out"},
        ]);
        let shipper = Set::named("shipper").pod(&json!({
            "containers": [{"name": "main", "image": IMAGE, "command": ["sh", "-c", script], "volumeMounts": mounts}],
            "volumes": [
                {"name": "containers", "hostPath": {"path": host.path("containers")}},
                {"name": "pods", "hostPath": {"path": logs}},
                {"name": "out", "hostPath": {"path": host.path("out")}},
            ],
        }));
        host.write("shipper.yaml", &shipper.text())?;
        for at in ["containers", "pods"] {
            Host::reads(&host.path("out").join(at), " stdout F before\n")?;
        }
        fs::write(host.path("out/more"), "")?;
        for at in ["containers", "pods"] {
            Host::reads(&host.path("out").join(at), " stdout F after\n")?;
        }
        Ok(())
    })
}

/// A set whose container sees a volume at `/shared`, with propagation.
fn mounter(name: &str, script: &str, propagation: &str, volume: &Value) -> Set {
    let mut volume = volume.clone();
    volume["name"] = json!("shared");
    Set::named(name).pod(&json!({"volumes": [volume]})).script(script).container(&json!({
        "securityContext": {"privileged": true},
        "volumeMounts": [{"name": "shared", "mountPath": "/shared", "mountPropagation": propagation}],
    }))
}

#[test]
fn a_mount_made_in_a_pod_shows_on_the_host_and_goes_with_the_pod() -> Result<()> {
    on_host(|host| {
        let shared = host.path("shared");
        share(&shared)?;
        // As CSI drivers and their like do: whoever mounts on the host takes it away again.
        let script = "trap 'umount /shared/made; exit 0' TERM; mkdir -p /shared/made; mount -t tmpfs made /shared/made; echo here >/shared/made/file; while :; do sleep 1000 & wait $!; done";
        let set =
            mounter("mounter", script, "Bidirectional", &json!({"hostPath": {"path": shared}}));
        host.write("mounter.yaml", &set.text())?;
        host.running("mounter")?;
        Host::reads(&shared.join("made/file"), "here")?;
        assert!(mounts_below(&shared).contains(&shared.join("made")));
        host.remove("mounter.yaml")?;
        host.gone("mounter")?;
        assert!(!shared.join("made/file").exists());
        assert!(!mounts_below(&shared).contains(&shared.join("made")));
        Ok(umount2(&shared, MntFlags::MNT_DETACH)?)
    })
}

#[test]
fn a_mount_that_a_killed_pod_left_in_its_own_volume_goes_with_the_pod() -> Result<()> {
    let Some(mut host) = Host::new()? else {
        return Ok(());
    };
    host.offer_image()?;
    let state = host.path("state");
    share(&state)?;
    host.start_agent()?;
    let tested = (|| {
        let script = "mkdir -p /shared/made; mount -t tmpfs made /shared/made; echo here >/shared/made/file; exec sleep 100000";
        let set = mounter("mounter", script, "Bidirectional", &json!({"emptyDir": {}}))
            .pod(&json!({"terminationGracePeriodSeconds": 1}));
        host.write("mounter.yaml", &set.text())?;
        let pod = host.running("mounter")?;
        let made = |host: &Host| {
            mounts_below(&host.path("state")).into_iter().find(|path| path.ends_with("made"))
        };
        let at = patiently("the mount to show on the host", PATIENCE, || Ok(made(&host)))?;
        assert!(at.display().to_string().contains(&pod.uid()), "{}", at.display());
        host.remove("mounter.yaml")?;
        host.gone("mounter")?;
        patiently("the mount to be gone", PATIENCE, || Ok(made(&host).is_none().then_some(())))
    })();
    umount2(&state, MntFlags::MNT_DETACH)?;
    tested.and_then(|()| host.leave_nothing()).map_err(|error| error.context(host.last_words()))
}

#[test]
fn a_mount_made_on_the_host_shows_in_a_pod_that_asks_for_it() -> Result<()> {
    on_host(|host| {
        let shared = host.path("shared");
        share(&shared)?;
        fs::create_dir(shared.join("late"))?;
        let script = "for at in /shared/late /alone/late; do echo $at; done >/dev/null; until [ -e /shared/late/file ]; do usleep 20000; done; [ -e /alone/late/file ] && echo both || echo one";
        let set = Set::named("watcher")
            .pod(&json!({
                "volumes": [
                    {"name": "shared", "hostPath": {"path": shared}},
                    {"name": "out", "hostPath": {"path": host.path("out")}},
                ],
            }))
            .script(&format!("{{ {script}; }} >/out/said; {STAY}"))
            .container(&json!({"volumeMounts": [
                {"name": "shared", "mountPath": "/shared", "mountPropagation": "HostToContainer"},
                {"name": "shared", "mountPath": "/alone", "mountPropagation": "None"},
                {"name": "out", "mountPath": "/out"},
            ]}));
        host.write("watcher.yaml", &set.text())?;
        host.running("watcher")?;
        let late = shared.join("late");
        mount(Some("late"), &late, Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        fs::write(late.join("file"), "")?;
        let said = Host::reads(&host.path("out/said"), "\n");
        umount2(&late, MntFlags::MNT_DETACH)?;
        umount2(&shared, MntFlags::MNT_DETACH)?;
        assert_eq!(said?, "one\n");
        Ok(())
    })
}
