//! The directory of registries' hosts: containerd's `certs.d`, with `hosts.toml` files or docker's certificates.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::image::hosts::{self, Endpoint};

use super::PullError;

/// The hosts of a registry, the first to ask first. A directory that is not there says nothing.
pub(super) fn endpoints(root: &Path, registry: &str) -> Result<Vec<Endpoint>, PullError> {
    let wrong = |path: &Path, problem: String| PullError::File { path: path.to_owned(), problem };
    for name in hosts::directories(registry) {
        let directory = root.join(name);
        match fs::metadata(&directory) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(wrong(&directory, error.to_string())),
        }
        let file = directory.join("hosts.toml");
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| wrong(&file, error.to_string()))?,
        };
        if !text.is_empty() {
            let read = hosts::endpoints(&text, &directory, registry);
            return read.map_err(|problem| wrong(&file, problem));
        }
        let mut endpoint = Endpoint::of(registry).map_err(|problem| wrong(&directory, problem))?;
        certificates(&directory, &mut endpoint)
            .map_err(|error| wrong(&directory, error.to_string()))?;
        return Ok(vec![endpoint]);
    }
    Ok(vec![Endpoint::of(registry).map_err(|problem| wrong(root, problem))?])
}

/// Takes the certificates of a directory by docker's names: `*.crt` is believed, `*.cert` with `*.key` is shown.
fn certificates(directory: &Path, endpoint: &mut Endpoint) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // A link counts as what it leads to.
        if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()) {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    for path in &paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => endpoint.ca.push(path.clone()),
            Some("cert") => {
                let key = path.with_extension("key");
                let key = if paths.contains(&key) { key } else { path.clone() };
                endpoint.client.push((path.clone(), key));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn hosts(root: &Path, registry: &str) -> Vec<String> {
        let hosts = endpoints(root, registry).unwrap();
        hosts.iter().map(Endpoint::name).collect()
    }

    #[test]
    fn the_first_directory_that_is_there_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(hosts(&root.join("none"), "r.io:5000"), ["r.io:5000"]);
        for directory in ["_default", "r.io", "r.io:5000", "r.io_5000_"] {
            let mirror = directory.replace(['_', ':'], "x");
            write(root, &format!("{directory}/hosts.toml"), &format!("[host.\"http://{mirror}\"]"));
            let expected = if directory == "r.io" { "xdefault" } else { &mirror };
            assert_eq!(hosts(root, "r.io:5000"), [expected, "r.io:5000"], "{directory}");
        }
        assert_eq!(hosts(root, "r.io"), ["r.io", "r.io"]);
        assert_eq!(hosts(root, "other"), ["xdefault", "other"]);
        assert_eq!(hosts(root, "docker.io"), ["xdefault", "registry-1.docker.io"]);
    }

    #[test]
    fn dockers_certificates_count_where_no_file_says_more() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for file in ["b.crt", "a.crt", "c.cert", "c.key", "d.cert", "e.key", "readme"] {
            write(root, &format!("r.io/{file}"), "");
        }
        fs::create_dir(root.join("r.io/x.crt")).unwrap();
        write(root, "r.io/hosts.toml", "");
        let found = endpoints(root, "r.io").unwrap();
        let file = |name: &str| root.join("r.io").join(name);
        let [endpoint] = &found[..] else { panic!("{found:?}") };
        assert!(endpoint.own && endpoint.tls && endpoint.name() == "r.io", "{endpoint:?}");
        assert_eq!(endpoint.ca, [file("a.crt"), file("b.crt")]);
        assert_eq!(
            endpoint.client,
            [(file("c.cert"), file("c.key")), (file("d.cert"), file("d.cert"))]
        );
    }

    #[test]
    fn an_error_names_the_file() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "r.io/hosts.toml", "server = 1");
        let error = endpoints(root.path(), "r.io").unwrap_err().to_string();
        let file = root.path().join("r.io/hosts.toml");
        let expected = "server: of the type integer; write one address in quotes";
        assert_eq!(error, format!("{}: {expected}", file.display()));
    }
}
