//! Validation of volumes, also of those that are not mounted yet.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::spec::{
    names,
    report::Report,
    rules::is_windows_path,
    spot::Spot,
    validate_container::{exactly_one, quantity},
};

/// Checks the volumes and yields their names.
pub fn volumes<'a>(volumes: &Spot<'a>, report: &mut Report) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for volume in volumes.items() {
        let name = volume.at("name");
        name.check(report, names::dns_label);
        if let Some(text) = name.text()
            && !names.insert(text)
        {
            name.fault(
                report,
                "another volume has the same name",
                "give each volume a name of its own",
            );
        }
        source(&volume, report);
    }
    names
}

/// Checks that a volume has one source, and that.
fn source(volume: &Spot, report: &mut Report) {
    let sources: Vec<(&str, Spot)> =
        volume.entries().into_iter().filter(|(field, _)| *field != "name").collect();
    if sources.len() > 1 {
        let names: Vec<&str> = sources.iter().map(|(field, _)| *field).collect();
        let problem = format!("has more than one source: {}", names.join(", "));
        report.fault(&volume.path, &Value::Null, problem, "keep one of them");
    }
    for (field, source) in sources {
        match field {
            "hostPath" => host_path(&source, report),
            "emptyDir" => quantity(&source.at("sizeLimit"), report),
            "image" => image(&source, report),
            "configMap" | "secret" => files(&source, report),
            "downwardAPI" => downward(&source, report),
            "projected" => projected(&source, report),
            _ => {}
        }
    }
}

/// What a hostPath may have to be.
const HOST_PATH_TYPES: &[&str] = &[
    "",
    "DirectoryOrCreate",
    "Directory",
    "FileOrCreate",
    "File",
    "Socket",
    "CharDevice",
    "BlockDevice",
];

/// Checks a path of the host.
fn host_path(source: &Spot, report: &mut Report) {
    source.at("type").one_of(report, HOST_PATH_TYPES);
    let path = source.at("path");
    match path.text() {
        Some("") => path.fault(report, "is empty", "write an absolute path of the host"),
        Some(text) if text.split('/').any(|part| part == "..") => {
            path.fault(report, "contains ..", "write the path without ..");
        }
        Some(text) if is_windows_path(text) => {
            let remedy = "let spec.template.spec.nodeSelector keep the set to Windows";
            report.warn(
                &path.path,
                path.value,
                "is a path of Windows, which no host here has",
                remedy,
            );
        }
        _ => {}
    }
}

/// Checks an image that is a volume.
fn image(source: &Spot, report: &mut Report) {
    source.at("pullPolicy").one_of(report, &["Always", "IfNotPresent", "Never"]);
    let reference = source.at("reference");
    match reference.text() {
        None | Some("") => {
            let remedy = "give a reference such as docker.io/library/busybox:1.36";
            reference.fault(report, "required field is missing", remedy);
        }
        Some(text) if text.trim() != text => {
            reference.fault(report, "has blanks around it", "remove them");
        }
        _ => {}
    }
}

/// Checks the files of a ConfigMap or Secret.
fn files(source: &Spot, report: &mut Report) {
    mode(&source.at("defaultMode"), report);
    for item in source.at("items").items() {
        mode(&item.at("mode"), report);
        item_path(&item, report);
        if item.at("key").text() == Some("") {
            item.at("key").fault(report, "is empty", "name a key");
        }
    }
}

/// Checks the files of the downward API.
fn downward(source: &Spot, report: &mut Report) {
    mode(&source.at("defaultMode"), report);
    for item in source.at("items").items() {
        mode(&item.at("mode"), report);
        item_path(&item, report);
        let both = item.has("fieldRef").is_some() == item.has("resourceFieldRef").is_some();
        if both {
            let remedy = "write exactly one of fieldRef, resourceFieldRef";
            report.fault(&item.path, &Value::Null, "has not exactly one source", remedy);
        }
    }
}

/// Checks a projected volume.
fn projected(source: &Spot, report: &mut Report) {
    mode(&source.at("defaultMode"), report);
    for part in source.at("sources").items() {
        exactly_one(&part, "source", report);
        for field in ["configMap", "secret"] {
            files(&part.at(field), report);
        }
        downward(&part.at("downwardAPI"), report);
        let token = part.at("serviceAccountToken");
        item_path(&token, report);
        token.at("expirationSeconds").within(report, 600, 1 << 32);
    }
}

/// Checks where a file is put.
fn item_path(item: &Spot, report: &mut Report) {
    let path = item.at("path");
    match path.text() {
        Some("") => path.fault(report, "is empty", "write a relative path"),
        Some(text) if text.starts_with("..") => {
            path.fault(report, "starts with ..", "write a path below the volume");
        }
        _ => path.check(report, names::relative_path),
    }
}

/// Checks the mode of a file.
fn mode(mode: &Spot, report: &mut Report) {
    if mode.number().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        mode.fault(report, "is no file mode", "write an octal number from 0000 to 0777");
    }
}
