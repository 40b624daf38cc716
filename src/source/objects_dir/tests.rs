//! What the objects' directory serves, and what it does not.

use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use super::*;

/// An objects' directory and what was read of it.
struct Dir {
    dir: tempfile::TempDir,
    read: Objects,
}

impl Dir {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), read: Objects::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that only its owner can reach.
    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        let parent = path.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        for dir in parent.ancestors().take_while(|dir| *dir != self.dir.path()) {
            self.mode(dir.strip_prefix(self.dir.path()).unwrap().to_str().unwrap(), 0o700);
        }
        fs::write(path, bytes).unwrap();
        self.mode(name, 0o600);
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// Reads it; the faults as text, without the directory's own path.
    fn read(&mut self) -> Vec<String> {
        let owner = fs::metadata(self.dir.path()).unwrap().uid();
        self.read_as(owner)
    }

    fn read_as(&mut self, owner: u32) -> Vec<String> {
        let reading = read_objects_dir(self.dir.path(), owner, &self.read);
        self.read = reading.objects;
        let root = format!("{}/", self.dir.path().display());
        reading.faults.iter().map(|fault| fault.to_string().replace(&root, "")).collect()
    }

    /// A value of what was read.
    fn value(&self, kind: ObjectKind, name: &str, key: &str) -> Option<&[u8]> {
        let object = ObjectKey { kind, namespace: "ns".into(), name: name.into() };
        self.read.get(&object)?.value(key)
    }
}

use ObjectKind::{ConfigMap, Secret};

#[test]
fn each_file_is_a_key_and_its_bytes_are_the_value() {
    let mut dir = Dir::new();
    dir.write("ns/secrets/api/key", b"k\n");
    dir.write("ns/configmaps/web/a.conf", b"text");
    dir.write("ns/configmaps/web/logo", &[0xff, 0]);
    dir.write("ns/configmaps/web/.hidden", b"x");
    dir.write("README", b"x");
    fs::create_dir_all(dir.path("ns/configmaps/empty")).unwrap();
    assert_eq!(dir.read(), [""; 0]);
    assert_eq!(dir.value(Secret, "api", "key"), Some(&b"k\n"[..]));
    assert_eq!(dir.value(ConfigMap, "web", "a.conf"), Some(&b"text"[..]));
    let web = ObjectKey { kind: ConfigMap, namespace: "ns".into(), name: "web".into() };
    assert_eq!(dir.read[&web].binary["logo"], [0xff, 0]);
    assert_eq!(dir.read[&web].keys().count(), 2);
    assert_eq!(dir.read.len(), 3, "an object without keys is one");
    assert_eq!(place(Path::new("/o"), &web), Path::new("/o/ns/configmaps/web"));
}

#[test]
fn a_directory_that_is_not_there_is_none() {
    let reading = read_objects_dir(Path::new("/nowhere/objects"), 0, &Objects::new());
    assert!(reading.objects.is_empty() && reading.faults.is_empty());
}

#[test]
fn keys_are_read_through_the_links_of_a_mount() {
    let mut dir = Dir::new();
    dir.write("ns/secrets/api/..v1/key", b"1");
    dir.write("ns/secrets/api/..v2/key", b"2");
    symlink("..v1", dir.path("ns/secrets/api/..data")).unwrap();
    symlink("..data/key", dir.path("ns/secrets/api/key")).unwrap();
    assert_eq!(dir.read(), [""; 0]);
    assert_eq!(dir.value(Secret, "api", "key"), Some(&b"1"[..]));
    symlink("..v2", dir.path("ns/secrets/api/..new")).unwrap();
    fs::rename(dir.path("ns/secrets/api/..new"), dir.path("ns/secrets/api/..data")).unwrap();
    dir.read();
    assert_eq!(dir.value(Secret, "api", "key"), Some(&b"2"[..]));
}

#[test]
fn a_secret_that_others_can_read_is_not_served() {
    let mut dir = Dir::new();
    dir.write("ns/secrets/api/key", b"hunter2");
    dir.write("ns/secrets/other/key", b"x");
    dir.write("ns/configmaps/web/key", b"x");
    dir.mode("ns/configmaps/web/key", 0o644);
    dir.read();
    for (name, mode, shown, all) in
        [("ns/secrets/api/key", 0o640, "0640", ""), ("ns/secrets/api", 0o755, "0755", "-R ")]
    {
        dir.mode(name, mode);
        let faults = dir.read();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let start = format!("{name}: has mode {shown}, open to others; a Secret from it");
        assert!(faults[0].starts_with(&start), "{faults:?}");
        assert!(faults[0].ends_with(&format!("; chmod {all}go= {name}")), "{faults:?}");
        assert!(!faults[0].contains("hunter2"));
        assert_eq!(dir.value(Secret, "api", "key"), None);
        assert!(dir.value(Secret, "other", "key").is_some(), "and hides no other");
        dir.mode(name, 0o700);
        assert_eq!(dir.read(), [""; 0]);
        assert!(dir.value(Secret, "api", "key").is_some());
    }
    dir.mode("ns/secrets", 0o711);
    assert_eq!(dir.read().len(), 1);
    assert!(dir.value(Secret, "other", "key").is_none());
    assert!(dir.value(ConfigMap, "web", "key").is_some());
    dir.mode("ns/secrets", 0o700);
    let owner = fs::metadata(dir.dir.path()).unwrap().uid();
    let faults = dir.read_as(owner + 1);
    assert!(faults[0].starts_with(&format!("ns/secrets: belongs to uid {owner};")), "{faults:?}");
}

#[test]
fn what_cannot_be_read_keeps_its_last_good_version() {
    let mut dir = Dir::new();
    dir.write("ns/configmaps/web/key", b"good");
    dir.read();
    for name in ["a,b", "..bad"] {
        dir.write(&format!("ns/configmaps/web/{name}"), b"x");
    }
    // A name that begins with a dot is no key at all.
    let faults = dir.read();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("ns/configmaps/web/a,b: is not named like a key; "));
    assert_eq!(dir.value(ConfigMap, "web", "key"), Some(&b"good"[..]));
    fs::remove_file(dir.path("ns/configmaps/web/a,b")).unwrap();

    symlink("nowhere", dir.path("ns/configmaps/web/link")).unwrap();
    assert!(dir.read()[0].contains("web/link: cannot be read: No such file"));
    assert_eq!(dir.value(ConfigMap, "web", "key"), Some(&b"good"[..]));
    fs::remove_file(dir.path("ns/configmaps/web/link")).unwrap();

    fs::create_dir(dir.path("ns/configmaps/web/dir")).unwrap();
    assert!(dir.read()[0].starts_with("ns/configmaps/web/dir: is no file"));
    fs::remove_dir(dir.path("ns/configmaps/web/dir")).unwrap();

    dir.write("ns/configmaps/web/big", &vec![b'x'; MAX_OBJECT]);
    assert!(dir.read()[0].starts_with("ns/configmaps/web: its files have more than 1048576 bytes"));
    assert_eq!(dir.value(ConfigMap, "web", "key"), Some(&b"good"[..]));
    fs::remove_dir_all(dir.path("ns/configmaps/web")).unwrap();
    assert_eq!(dir.read(), [""; 0]);
    assert!(dir.read.is_empty(), "what is removed is gone");
}

#[test]
fn directories_with_other_names_are_pointed_out() {
    let mut dir = Dir::new();
    dir.write("ns/configmap/web/key", b"x");
    dir.write("Ns_/configmaps/web/key", b"x");
    dir.write("ns/configmaps/Web/key", b"x");
    let faults = dir.read();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("neither configmaps nor secrets")));
    assert!(dir.read.is_empty());
}
