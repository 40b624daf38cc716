//! What the agent relies on, proved on a real containerd.

use std::{collections::BTreeSet, fs, time::Duration};

use podward::testing::{
    containerd::{Class, Stdio, TaskStatus},
    time,
};

use super::{
    daemon::{daemon, logged, parent, processes_of, shell, spec},
    images::busybox,
};

const KILL: u32 = 9;

#[tokio::test]
async fn a_container_lives_logs_and_leaves_nothing() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let chain = busybox(&daemon, &client).await;
    let id = daemon.id("life");
    let new = shell(&id, &chain, "echo out; echo err >&2; exit 3");
    client.create_container(&new).await.unwrap();
    let mounts = client.prepare_snapshot(&id, &chain).await.unwrap();
    assert_eq!(
        client.prepare_snapshot(&id, &chain).await.unwrap(),
        mounts,
        "doing it again is no harm"
    );
    let log = daemon.path("pods/a/main/0.log");
    let pid = client.create_task(&id, mounts, &logged(&log)).await.unwrap();
    let task = client.task(&id).await.unwrap().unwrap();
    assert_eq!((task.pid, task.status, task.exit), (pid, TaskStatus::Created, None));
    client.start_task(&id).await.unwrap();
    let exit = client.wait_task(&id).await.unwrap();
    assert_eq!(exit.code, 3);
    let age = time::elapsed(exit.at, time::now().wall);
    assert!(age < Duration::from_mins(1), "{age:?}");
    let task = client.task(&id).await.unwrap().unwrap();
    assert_eq!((task.status, task.exit), (TaskStatus::Stopped, Some(exit)));
    client.kill_task(&id, KILL, false).await.unwrap();
    let records = client.list_containers().await.unwrap();
    assert_eq!((records.len(), &records[0].id, &records[0].labels), (1, &id, &new.labels));
    client.remove_container(&id).await.unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let mut lines: Vec<&str> = text.lines().map(|line| &line[31..]).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["stderr F err", "stdout F out"]);
    assert_eq!(client.wait_task(&id).await.unwrap_err().class(), Class::Missing);
    assert_eq!(client.start_task(&id).await.unwrap_err().class(), Class::Missing);
    client.create_container(&new).await.unwrap();
    assert_eq!(client.create_container(&new).await.unwrap_err().class(), Class::Exists);
    client.remove_container(&id).await.unwrap();
    daemon.assert_empty();
}

#[tokio::test]
async fn a_record_protects_its_snapshot_from_the_garbage_collector() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let chain = busybox(&daemon, &client).await;
    for round in 0..10 {
        let id = daemon.id(&format!("gc{round}"));
        client.create_container(&shell(&id, &chain, "exit 7")).await.unwrap();
        daemon.collect_garbage();
        let mounts = client.prepare_snapshot(&id, &chain).await.unwrap();
        daemon.collect_garbage();
        assert_eq!(client.snapshot_mounts(&id).await.unwrap(), mounts);
        if round == 0 {
            client.create_task(&id, mounts, &Stdio::default()).await.unwrap();
            client.start_task(&id).await.unwrap();
            assert_eq!(client.wait_task(&id).await.unwrap().code, 7);
        }
        client.remove_container(&id).await.unwrap();
    }
    // The proof that the collections above were real.
    let id = daemon.id("unprotected");
    client.prepare_snapshot(&id, &chain).await.unwrap();
    daemon.collect_garbage();
    assert_eq!(client.snapshot_mounts(&id).await.unwrap_err().class(), Class::Missing);
    daemon.assert_empty();
}

#[tokio::test]
async fn a_container_is_removed_from_every_half_made_state() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let chain = busybox(&daemon, &client).await;
    let states =
        ["nothing", "record", "snapshot", "created", "running", "stopped", "paused", "host pid"];
    for state in states {
        let id = daemon.id(&state.replace(' ', "-"));
        let mut new = shell(&id, &chain, "trap '' TERM; sleep 1000 & sleep 1000");
        match state {
            "host pid" => {
                // The first process leaves another behind, which only the container's cgroup knows.
                let command = "(exec sleep 1000 <&- >&- 2>&-) & echo; exit 0";
                new.spec_json = spec(command, &["pid"]).to_string().into_bytes();
            }
            "stopped" => new.spec_json = spec("exit 0", &[]).to_string().into_bytes(),
            _ => {}
        }
        let steps = states.iter().position(|known| *known == state).unwrap();
        if steps >= 1 {
            client.create_container(&new).await.unwrap();
        }
        if steps >= 2 {
            let mounts = client.prepare_snapshot(&id, &chain).await.unwrap();
            if steps >= 3 {
                client.create_task(&id, mounts, &logged(&daemon.path("x.log"))).await.unwrap();
            }
        }
        if steps >= 4 {
            client.start_task(&id).await.unwrap();
        }
        match state {
            "stopped" | "host pid" => {
                client.wait_task(&id).await.unwrap();
            }
            "paused" => {
                daemon.ctr(&["tasks", "pause", id.as_str()]);
            }
            _ => {}
        }
        client.remove_container(&id).await.unwrap_or_else(|error| panic!("{state}: {error:?}"));
        client.remove_container(&id).await.unwrap();
        daemon.assert_empty();
        assert_eq!(processes_of(&id), Vec::<i32>::new(), "{state}");
    }
    // A snapshot that lost its record.
    let id = daemon.id("orphan");
    client.prepare_snapshot(&id, &chain).await.unwrap();
    client.remove_container(&id).await.unwrap();
    daemon.assert_empty();
}

#[tokio::test]
async fn a_container_outlives_containerd_and_is_waited_for_again() {
    let Some(mut daemon) = daemon().await else {
        return;
    };
    let client = daemon.ready().await;
    let chain = busybox(&daemon, &client).await;
    let id = daemon.id("outlive");
    client
        .create_container(&shell(&id, &chain, "while echo tick; do sleep 0.05; done"))
        .await
        .unwrap();
    let mounts = client.prepare_snapshot(&id, &chain).await.unwrap();
    let log = daemon.path("0.log");
    let pid = client.create_task(&id, mounts, &logged(&log)).await.unwrap();
    client.start_task(&id).await.unwrap();
    let waited = {
        let (waiting, id) = (client.clone(), id.clone());
        let waiting = tokio::spawn(async move { waiting.wait_task(&id).await });
        // A call on the same connection: the other has been sent before it returns.
        client.version().await.unwrap();
        tokio::task::yield_now().await;
        client.version().await.unwrap();
        daemon.kill();
        waiting.await.unwrap()
    };
    assert_eq!(waited.unwrap_err().class(), Class::Unavailable);
    for error in [
        client.version().await.unwrap_err(),
        client.list_tasks().await.unwrap_err(),
        client.image("it:1").await.unwrap_err(),
        client.import(&daemon.path("busybox.tar")).await.unwrap_err(),
        client.wait_task(&id).await.unwrap_err(),
        client.remove_container(&id).await.unwrap_err(),
        client.create_task(&id, Vec::new(), &Stdio::default()).await.unwrap_err(),
    ] {
        assert_eq!(error.class(), Class::Unavailable, "{error:?}");
    }
    let before = fs::metadata(&log).unwrap().len();
    daemon.revive().await;
    let tasks = client.list_tasks().await.unwrap();
    assert_eq!((tasks.len(), tasks[0].pid, tasks[0].status), (1, pid, TaskStatus::Running));
    assert!(fs::metadata(&log).unwrap().len() > before, "the log went on without containerd");
    client.kill_task(&id, KILL, false).await.unwrap();
    assert_eq!(client.wait_task(&id).await.unwrap().code, 137);
    client.remove_container(&id).await.unwrap();
    daemon.assert_empty();
}

#[tokio::test]
async fn a_task_whose_shim_died_has_ended() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let chain = busybox(&daemon, &client).await;
    let id = daemon.id("shim");
    client.create_container(&shell(&id, &chain, "sleep 1000")).await.unwrap();
    let mounts = client.prepare_snapshot(&id, &chain).await.unwrap();
    let pid = client.create_task(&id, mounts, &Stdio::default()).await.unwrap();
    client.start_task(&id).await.unwrap();
    let shim = parent(pid.try_into().unwrap()).unwrap();
    assert_eq!(daemon.shims(), [shim]);
    let waiting = {
        let (client, id) = (client.clone(), id.clone());
        tokio::spawn(async move { client.wait_task(&id).await })
    };
    client.version().await.unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().code, 137);
    assert_eq!(client.task(&id).await.unwrap(), None);
    client.remove_container(&id).await.unwrap();
    daemon.assert_empty();
    daemon.remove_socket(&id);
}

#[tokio::test]
async fn a_sweep_removes_what_nobody_wants_and_nothing_else() {
    let Some(daemon) = daemon().await else { return };
    let client = daemon.ready().await;
    let chain = busybox(&daemon, &client).await;
    let [wanted, unwanted, stray, snapshot, strange] =
        ["wanted", "unwanted", "stray", "snapshot", "strange"].map(|name| daemon.id(name));
    for id in [&wanted, &unwanted, &stray] {
        client.create_container(&shell(id, &chain, "sleep 1000")).await.unwrap();
        let mounts = client.prepare_snapshot(id, &chain).await.unwrap();
        client.create_task(id, mounts, &Stdio::default()).await.unwrap();
        client.start_task(id).await.unwrap();
    }
    daemon.forget(&stray).await;
    client.prepare_snapshot(&snapshot, &chain).await.unwrap();
    let mut other = shell(&strange, &chain, "exit 0");
    other.labels.clear();
    client.create_container(&other).await.unwrap();
    daemon.ctr(&["leases", "create", "--id", "dead", "podward.dev/instance=dead"]);
    daemon.ctr(&["leases", "create", "--id", "others", "a=b"]);
    let keep = BTreeSet::from([wanted.clone()]);
    let removed = client.sweep(&keep).await.unwrap();
    // The snapshot without a record may have met the garbage collector before.
    for line in [
        format!("record of task {stray}"),
        format!("container {stray}"),
        format!("container {unwanted}"),
        "content lease dead".to_owned(),
    ] {
        assert!(removed.contains(&line), "{line}: {removed:?}");
    }
    assert_eq!(client.sweep(&keep).await.unwrap(), Vec::<String>::new());
    let tasks = client.list_tasks().await.unwrap();
    assert!(matches!(tasks.as_slice(), [task] if task.id == wanted), "{tasks:?}");
    assert!(daemon.ctr(&["containers", "list", "-q"]).contains(strange.as_str()));
    assert_eq!(daemon.ctr(&["leases", "list", "-q"]), "others\n");
    daemon.ctr(&["leases", "delete", "others"]);
    for id in [wanted, strange] {
        client.remove_container(&id).await.unwrap();
    }
    daemon.assert_empty();
}
