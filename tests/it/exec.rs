//! Commands that people run in containers.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::support::containerd::processes;
use crate::support::pod::Pod;
use crate::support::set::{STAY, Set};
use crate::support::wait::patiently;
use crate::support::{Host, on_host};

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The pod of a set that just stays.
fn stage(host: &Host) -> Result<Pod> {
    host.write("stage.yaml", &Set::named("stage").also("side", STAY).text())?;
    host.running("stage")
}

/// `podward exec` of a script in the first container.
fn exec(host: &Host, pod: &Pod, flags: &[&str], script: &str) -> Command {
    let name = pod.name();
    let mut words = vec!["exec", &name, "-c", "main"];
    words.extend(flags);
    words.extend(["--", "sh", "-c", script]);
    host.command(&words)
}

/// What a command said and how it ended; its input is `input`.
fn fed(mut command: Command, input: &[u8]) -> Result<Output> {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn()?;
    let mut stdin = child.stdin.take().context("its input is piped")?;
    let input = input.to_owned();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    ensure!(feeder.join().is_ok(), "the input was not taken");
    Ok(output)
}

/// Waits until a process with these words is there, or is not.
fn await_process(words: [&str; 2], there: bool) -> Result<()> {
    let seen = || !processes(|command| command == words).is_empty();
    patiently(&format!("{words:?} to be there: {there}"), PATIENCE, || {
        Ok((seen() == there).then_some(()))
    })
}

/// Nothing of a command is left in the pod's run directory.
fn no_pipes(host: &Host, pod: &Pod) -> Result<()> {
    let pipes = host.path("run/pods").join(pod.uid()).join("exec");
    patiently("the pipes to go", PATIENCE, || {
        let left = fs::read_dir(&pipes).map_or(0, Iterator::count);
        Ok((left == 0).then_some(()))
    })
}

#[test]
fn a_commands_streams_and_exit_code_are_ours() -> Result<()> {
    on_host(|host| {
        let pod = stage(host)?;
        let said = fed(exec(host, &pod, &["-i"], "cat; echo bad >&2; exit 7"), b"fed\n")?;
        assert_eq!(said.status.code(), Some(7));
        assert_eq!(String::from_utf8(said.stdout)?, "fed\n");
        assert_eq!(String::from_utf8(said.stderr)?, "bad\n");
        let deaf = fed(exec(host, &pod, &[], "cat; echo $FROM_IMAGE; pwd"), b"unheard")?;
        assert_eq!(String::from_utf8(deaf.stdout)?, "yes\n/srv\n");
        no_pipes(host, &pod)
    })
}

#[test]
fn large_input_and_output_arrive_whole_also_in_two_at_once() -> Result<()> {
    on_host(|host| {
        let pod = stage(host)?;
        let input = vec![b'x'; 5 << 20];
        let other = exec(host, &pod, &["-i"], "cat");
        let copy = input.clone();
        let beside = std::thread::spawn(move || fed(other, &copy));
        let counted = fed(exec(host, &pod, &["-i"], "wc -c"), &input)?;
        assert_eq!(String::from_utf8(counted.stdout)?.trim(), input.len().to_string());
        let echoed = beside.join().expect("the other did not panic")?;
        assert_eq!(echoed.stdout.len(), input.len());
        Ok(())
    })
}

#[test]
fn a_terminal_has_the_size_and_the_keys_of_ours() -> Result<()> {
    on_host(|host| {
        let pod = stage(host)?;
        let plain = exec(
            host,
            &pod,
            &["-it"],
            "trap 'echo; echo caught; exit 5' INT; stty size; echo $TERM; while :; do sleep 1; done",
        );
        let words: Vec<String> = std::iter::once(plain.get_program())
            .chain(plain.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
            .collect();
        let line = format!("stty rows 33 cols 77; {}; echo code $?; stty -a", words.join(" "));
        let mut script = Command::new("script");
        script
            .args(["-qc", &line, "/dev/null"])
            .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        script.env("TERM", "vt100").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().context("script")?;
        let mut said = child.stdout.take().context("its output is piped")?;
        let mut heard = String::new();
        while !heard.contains("vt100") {
            let mut piece = [0; 1024];
            let length = said.read(&mut piece)?;
            ensure!(length > 0, "it ended early: {heard}");
            heard.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        let mut keys = child.stdin.take().context("its input is piped")?;
        keys.write_all(b"\x03")?;
        said.read_to_string(&mut heard)?;
        child.wait()?;
        assert!(heard.contains("33 77") && heard.contains("caught"), "{heard}");
        assert!(heard.contains("code 5") && heard.contains(" icanon"), "{heard}");
        Ok(())
    })
}

#[test]
fn a_command_ends_with_whoever_called_it() -> Result<()> {
    on_host(|host| {
        let pod = stage(host)?;
        let start = |words: &str| -> Result<Child> {
            Ok(exec(host, &pod, &[], &format!("{words} & wait")).spawn()?)
        };
        let mut caller = start("sleep 54321")?;
        await_process(["sleep", "54321"], true)?;
        caller.kill()?;
        caller.wait()?;
        await_process(["sleep", "54321"], false)?;
        no_pipes(host, &pod)
    })
}

#[test]
fn what_a_dead_agent_left_is_ended_by_the_next() -> Result<()> {
    on_host(|host| {
        let pod = stage(host)?;
        let mut command = exec(host, &pod, &[], "sleep 65432 & wait");
        let caller = command.stderr(Stdio::piped()).spawn()?;
        await_process(["sleep", "65432"], true)?;
        host.restart_agent()?;
        let output = caller.wait_with_output()?;
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr)?;
        assert!(said.contains("the agent went away while the command ran"), "{said}");
        await_process(["sleep", "65432"], false)?;
        no_pipes(host, &pod)?;
        assert_eq!(host.running("stage")?.restarts("main"), 0);
        Ok(())
    })
}

#[test]
fn what_cannot_run_says_why() -> Result<()> {
    on_host(|host| {
        let pod = stage(host)?;
        let name = pod.name();
        for (words, code, says) in [
            (vec!["exec", "nobody", "--", "true"], 1, "pods \"nobody\" not found"),
            (
                vec!["exec", &name, "-c", "nix", "--", "true"],
                1,
                "container nix is not valid for pod",
            ),
            (vec!["exec", &name, "--", "nothing-such"], 127, "executable file not found"),
            (vec!["exec", &name, "--", "/etc/passwd"], 126, "permission denied"),
            (
                vec!["exec", &name, "--", "true"],
                0,
                "Defaulted container \"main\" out of: main, side",
            ),
            (vec!["exec", &name, "true"], 2, "unexpected argument"),
            (vec!["exec", &name], 2, "COMMAND"),
        ] {
            let output = host.run(&words)?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
            assert!(said.contains(says), "{words:?}: {said}");
        }
        no_pipes(host, &pod)
    })
}
