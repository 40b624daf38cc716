//! Accounts out of layers, with and without the kernel's help.

use std::os::unix::fs::symlink;

use nix::sys::stat::{SFlag, mknod};
use nix::unistd::mkfifo;

use crate::host::mounts::table;
use crate::host::tests::as_root;

use nix::mount::{MsFlags, mount};

use super::*;

/// Layers in a temporary directory, the topmost first.
struct Layers {
    dir: tempfile::TempDir,
    count: usize,
}

impl Layers {
    fn new(count: usize) -> Self {
        let layers = Self { dir: tempfile::tempdir().unwrap(), count };
        for index in 0..count {
            fs::create_dir(layers.at(index, "")).unwrap();
        }
        layers
    }

    fn at(&self, layer: usize, path: &str) -> PathBuf {
        self.dir.path().join(format!("l{layer}")).join(path)
    }

    fn write(&self, layer: usize, path: &str, text: &str) {
        let path = self.at(layer, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn whiteout(&self, layer: usize, path: &str) {
        let path = self.at(layer, path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknod(&path, SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
    }

    /// The mount that containerd would name: the topmost layer is the container's own.
    fn overlay(&self) -> Vec<MountPoint> {
        let path = |index| self.at(index, "").display().to_string();
        let path = |index| path(index).trim_end_matches('/').to_owned();
        let lower: Vec<String> = (1..self.count).map(path).collect();
        let work = self.dir.path().join("work").display().to_string();
        vec![MountPoint {
            kind: "overlay".into(),
            source: "overlay".into(),
            target: String::new(),
            options: vec![
                "index=off".into(),
                format!("workdir={work}"),
                format!("upperdir={}", path(0)),
                format!("lowerdir={}", lower.join(":")),
            ],
        }]
    }

    /// The texts, and whether the kernel was not needed for them.
    fn read(&self) -> (String, String, bool) {
        let layers = layers(&self.overlay()).unwrap();
        let alone =
            [PASSWD, GROUP].iter().all(|path| matches!(look_up(&layers, path), Ok(Found::Text(_))));
        let (passwd, group) = read_accounts(&self.overlay()).unwrap();
        (passwd, group, alone)
    }
}

fn found(passwd: &str, group: &str, alone: bool) -> (String, String, bool) {
    (passwd.into(), group.into(), alone)
}

#[test]
fn the_topmost_layer_with_the_file_counts() {
    let layers = Layers::new(4);
    layers.write(2, PASSWD, "middle");
    layers.write(3, PASSWD, "bottom");
    assert_eq!(layers.read(), found("middle", "", true));
    layers.write(2, GROUP, "groups");
    assert_eq!(layers.read(), found("middle", "groups", true));
    layers.write(0, PASSWD, "own");
    layers.write(0, GROUP, "own groups");
    assert_eq!(layers.read(), found("own", "own groups", true));
}

#[test]
fn what_a_layer_deleted_is_gone() {
    if !as_root("what_a_layer_deleted_is_gone") {
        return;
    }
    let layers = Layers::new(3);
    layers.write(2, PASSWD, "bottom");
    layers.write(2, GROUP, "groups");
    layers.whiteout(1, PASSWD);
    layers.write(1, GROUP, "newer");
    assert_eq!(layers.read(), found("", "newer", true));
    let layers = Layers::new(3);
    layers.write(2, PASSWD, "bottom");
    layers.whiteout(1, "etc");
    assert_eq!(layers.read(), found("", "", true));
}

#[test]
fn the_kernel_is_asked_where_a_layer_may_hide_those_below() {
    if !as_root("the_kernel_is_asked_where_a_layer_may_hide_those_below") {
        return;
    }
    let layers = Layers::new(3);
    layers.write(1, "etc/motd", "hello");
    layers.write(2, PASSWD, "bottom");
    assert_eq!(layers.read(), found("bottom", "", false));
    // The kernel itself marks a directory that was made anew where a layer below has one.
    let merged = layers.at(0, "merged");
    fs::create_dir(&merged).unwrap();
    let at = |path: PathBuf| path.display().to_string().trim_end_matches('/').to_owned();
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        at(layers.at(2, "")),
        at(layers.at(1, "")),
        at(layers.at(0, "work"))
    );
    fs::create_dir(layers.at(0, "work")).unwrap();
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(data.as_str()))
        .unwrap();
    let anew =
        fs::remove_dir_all(merged.join("etc")).and_then(|()| fs::create_dir(merged.join("etc")));
    nix::mount::umount(&merged).unwrap();
    anew.unwrap();
    assert_eq!(layers.read(), found("", "", false));
}

#[test]
fn symlinks_are_followed_through_all_layers_but_never_out_of_the_image() {
    if !as_root("symlinks_are_followed_through_all_layers_but_never_out_of_the_image") {
        return;
    }
    let layers = Layers::new(3);
    fs::create_dir(layers.at(1, "etc")).unwrap();
    symlink("/usr/passwd", layers.at(1, PASSWD)).unwrap();
    symlink("../../../../../../etc/group", layers.at(1, GROUP)).unwrap();
    layers.write(2, "usr/passwd", "linked");
    // The second link leads to itself, not to the host's file.
    let error = read_accounts(&layers.overlay()).unwrap_err().to_string();
    assert!(error.contains("/etc/group of the image"), "{error}");
    fs::remove_file(layers.at(1, GROUP)).unwrap();
    assert_eq!(layers.read(), found("linked", "", false));
    let left = table().unwrap();
    assert!(!left.iter().any(|entry| {
        entry.kind == "overlay"
            && entry.options.iter().any(|o| o.contains(layers.dir.path().to_str().unwrap()))
    }));
}

#[test]
fn a_single_layer_needs_no_overlay() {
    let layers = Layers::new(1);
    layers.write(0, "usr/etc/passwd", "one");
    symlink("/usr/etc", layers.at(0, "etc")).unwrap();
    let bind = MountPoint {
        kind: "bind".into(),
        source: layers.at(0, "").display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..MountPoint::default()
    };
    assert_eq!(read_accounts(&[bind]).unwrap(), ("one".into(), String::new()));
}

#[test]
fn a_pipe_in_the_files_place_does_not_hang() {
    let layers = Layers::new(1);
    fs::create_dir(layers.at(0, "etc")).unwrap();
    mkfifo(&layers.at(0, PASSWD), Mode::S_IRUSR).unwrap();
    let error = look_up(&[layers.at(0, "")], PASSWD).err().unwrap();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn many_layers_fit_into_one_page_of_options() {
    if !as_root("many_layers_fit_into_one_page_of_options") {
        return;
    }
    let layers = Layers::new(120);
    layers.write(1, "etc/motd", "hello");
    layers.write(119, PASSWD, "bottom");
    assert!(layers.overlay()[0].options[3].len() > 2000);
    assert_eq!(layers.read(), found("bottom", "", false));
}
