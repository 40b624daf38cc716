//! Which ports of the host somebody listens on.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::base::ids::PodUid;

/// The states of sockets in `/proc/net` that hold a port: a TCP socket that listens, a UDP socket that is bound.
const LISTENS: &str = "0A";
/// See there.
const BOUND: &str = "07";

/// Whether somebody in the agent's own network namespace, which is the host's, holds a port and is none of these pods. What
/// cannot be told is not taken.
pub fn taken(protocol: &str, port: i32, pods: &[PodUid]) -> bool {
    let (files, state) = match protocol {
        "TCP" => (["/proc/net/tcp", "/proc/net/tcp6"], LISTENS),
        "UDP" => (["/proc/net/udp", "/proc/net/udp6"], BOUND),
        _ => return false,
    };
    let tables = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let sockets: Vec<String> = tables.flat_map(|table| holders(&table, state, port)).collect();
    !sockets.is_empty() && owners(&sockets).iter().any(|cgroups| !is_of(cgroups, pods))
}

/// The sockets of a table that are in this state at this port, as descriptors' links name them.
fn holders(table: &str, state: &str, port: i32) -> Vec<String> {
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, at) = fields.get(1)?.rsplit_once(':')?;
        let holds = i32::from_str_radix(at, 16).ok()? == port && *fields.get(3)? == state;
        holds.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The cgroups of the processes that hold one of these sockets.
fn owners(sockets: &[String]) -> Vec<String> {
    let holds = |process: &Path| {
        fs::read_dir(process.join("fd")).is_ok_and(|mut descriptors| {
            descriptors.any(|descriptor| {
                let link = descriptor.and_then(|descriptor| fs::read_link(descriptor.path()));
                link.is_ok_and(|link| {
                    sockets.iter().any(|socket| link.as_os_str() == socket.as_str())
                })
            })
        })
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let numbered = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    };
    let found = processes.filter(numbered).filter(|process| holds(process));
    found.map(|process| fs::read_to_string(process.join("cgroup")).unwrap_or_default()).collect()
}

/// Whether a process's cgroups are those of one of these pods; systemd's slices write uids with underscores.
fn is_of(cgroups: &str, pods: &[PodUid]) -> bool {
    pods.iter().any(|pod| {
        cgroups.contains(pod.as_str()) || cgroups.contains(&pod.as_str().replace('-', "_"))
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_port_is_taken_while_somebody_listens_on_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = i32::from(listener.local_addr().unwrap().port());
        assert!(taken("TCP", port, &[]));
        drop(listener);
        assert!(!taken("TCP", port, &[]));
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        assert!(taken("UDP", i32::from(socket.local_addr().unwrap().port()), &[]));
        assert!(!taken("SCTP", port, &[]));
        let own = PodUid::new("a-b");
        assert!(is_of("0::/podward/poda-b/c", std::slice::from_ref(&own)));
        assert!(is_of("0::/podward.slice/podward-poda_b.slice", &[own]));
    }
}
