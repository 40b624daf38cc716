//! Validation of volumes, also of those that are not mounted yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::spec::{
    names,
    report::Report,
    rules::is_windows_path,
    spot::Spot,
    validate_container::{exactly_one, quantity},
    validate_values::{Use, field_ref, not_empty, resource_ref},
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
            "configMap" | "secret" => {
                mode(&source.at("defaultMode"), report);
                files(&source, report);
                named(&source, field, report);
            }
            "downwardAPI" => {
                mode(&source.at("defaultMode"), report);
                downward(&source, report);
            }
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

/// Checks that a volume names its object; a ConfigMap's name is needed by the table.
fn named(source: &Spot, kind: &str, report: &mut Report) {
    not_empty(&source.at("name"), "name a ConfigMap", report);
    let name = source.at("secretName");
    if kind == "secret" && name.text().is_none_or(str::is_empty) {
        name.fault(report, "required field is missing", "name a Secret");
    }
}

/// Checks the files of a ConfigMap or Secret.
fn files(source: &Spot, report: &mut Report) {
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
    for item in source.at("items").items() {
        mode(&item.at("mode"), report);
        item_path(&item, report);
        let both = item.has("fieldRef").is_some() == item.has("resourceFieldRef").is_some();
        if both {
            let remedy = "write exactly one of fieldRef, resourceFieldRef";
            report.fault(&item.path, &Value::Null, "has not exactly one source", remedy);
        }
        field_ref(&item.at("fieldRef"), Use::File, report);
        resource_ref(&item.at("resourceFieldRef"), Use::File, report);
    }
}

/// Checks a projected volume.
fn projected(source: &Spot, report: &mut Report) {
    mode(&source.at("defaultMode"), report);
    let mut paths = BTreeMap::new();
    for part in source.at("sources").items() {
        exactly_one(&part, "source", report);
        for field in ["configMap", "secret"] {
            files(&part.at(field), report);
            not_empty(&part.at(field).at("name"), "name an object", report);
        }
        downward(&part.at("downwardAPI"), report);
        for field in ["configMap", "secret", "downwardAPI"] {
            apart(&part.at(field), &mut paths, report);
        }
        let token = part.at("serviceAccountToken");
        item_path(&token, report);
        token.at("expirationSeconds").within(report, 600, 1 << 32);
    }
}

/// Checks that no two sources write the same file by name; whole objects may, and the later one wins.
fn apart<'a>(source: &Spot<'a>, paths: &mut BTreeMap<&'a str, String>, report: &mut Report) {
    for item in source.at("items").items() {
        let path = item.at("path");
        let Some(text) = path.text().filter(|text| !text.is_empty()) else {
            continue;
        };
        if let Some(first) = paths.insert(text, item.path.clone()) {
            let problem = format!("{first} is written there too");
            path.fault(report, problem, "give each file a path of its own");
        }
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
