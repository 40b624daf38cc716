//! Validation of values that come from elsewhere: keys of objects, fields of the pod, amounts of its containers.

use crate::base::quantity::Amount;
use crate::spec::{
    names,
    report::Report,
    spot::Spot,
    validate_container::{exactly_one, exactly_one_of},
};

/// The fields that variables and files can have.
const METADATA: &[&str] = &["metadata.name", "metadata.namespace", "metadata.uid"];

/// The maps that files can have whole, and both can have single entries of.
const MAPS: &[&str] = &["metadata.labels", "metadata.annotations"];

/// The fields that only variables can have.
const OF_VARIABLES: &[&str] = &[
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// The units that amounts of processors are counted in.
const CPU_UNITS: &[&str] = &["1m", "1"];

/// The units that all other amounts are counted in.
const UNITS: &[&str] =
    &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

/// Where a value is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// In an environment variable.
    Variable,
    /// As a file of a volume.
    File,
}

/// Checks a container's environment variables.
pub fn environment(container: &Spot, report: &mut Report) {
    for variable in container.at("env").items() {
        variable.at("name").check(report, names::variable);
        let Some(from) = variable.has("valueFrom") else {
            continue;
        };
        if variable.at("value").text().is_some_and(|value| !value.is_empty()) {
            from.fault(report, "stands beside a value", "keep one of the two");
        }
        exactly_one(&from, "source", report);
        field_ref(&from.at("fieldRef"), Use::Variable, report);
        resource_ref(&from.at("resourceFieldRef"), Use::Variable, report);
        for reference in ["configMapKeyRef", "secretKeyRef"] {
            for (field, remedy) in [("name", "name an object"), ("key", "name a key")] {
                not_empty(&from.at(reference).at(field), remedy, report);
            }
        }
    }
    for source in container.at("envFrom").items() {
        exactly_one_of(&source, &["configMapRef", "secretRef"], report);
        for reference in ["configMapRef", "secretRef"] {
            not_empty(&source.at(reference).at("name"), "name an object", report);
        }
        if source.at("prefix").text().is_some_and(|prefix| !prefix.is_empty()) {
            source.at("prefix").check(report, names::variable);
        }
    }
}

/// Reports a text that is there and empty.
pub fn not_empty(spot: &Spot, remedy: &str, report: &mut Report) {
    if spot.text() == Some("") {
        spot.fault(report, "is empty", remedy);
    }
}

/// Checks a field of the pod.
pub fn field_ref(field: &Spot, by: Use, report: &mut Report) {
    field.at("apiVersion").one_of(report, &["v1"]);
    let path = field.at("fieldPath");
    let Some(text) = path.text() else {
        return;
    };
    if let Some((map, key)) = text.strip_suffix("']").and_then(|text| text.split_once("['")) {
        let rule = if map == "metadata.labels" { names::label_key } else { names::annotation_key };
        if !MAPS.contains(&map) {
            path.fault(
                report,
                "has no entries",
                "write metadata.labels['key'] or metadata.annotations['key']",
            );
        } else if let Err(remedy) = rule(key) {
            path.fault(report, "the key is not well-formed", remedy);
        }
    } else if MAPS.contains(&text) {
        if by == Use::Variable {
            let remedy =
                format!("write one entry such as {text}['key'], or use a volume downwardAPI");
            path.fault(report, "is a whole map, which fits no variable", remedy);
        }
    } else if by == Use::File && OF_VARIABLES.contains(&text) {
        let remedy = "write a field of metadata, or use an environment variable";
        path.fault(report, "is no field for a file", remedy);
    } else if !METADATA.contains(&text) && !OF_VARIABLES.contains(&text) {
        let remedy = match by {
            Use::Variable => {
                "write a field such as metadata.name, spec.nodeName, status.hostIP or metadata.labels['key']"
            }
            Use::File => {
                "write a field such as metadata.name, metadata.labels or metadata.labels['key']"
            }
        };
        path.fault(report, "is not well-formed", remedy);
    }
}

/// Checks an amount of a container.
pub fn resource_ref(selector: &Spot, by: Use, report: &mut Report) {
    if selector.value.is_null() {
        return;
    }
    let container = selector.at("containerName");
    if by == Use::File && container.text().is_none_or(str::is_empty) {
        container.fault(report, "required field is missing", "name a container of the pod");
    }
    let resource = selector.at("resource");
    let text = resource.text().unwrap_or_default();
    let name = text.strip_prefix("limits.").or(text.strip_prefix("requests."));
    let units = match name {
        Some("cpu") => CPU_UNITS,
        Some("memory" | "ephemeral-storage") => UNITS,
        Some(name) if name.starts_with("hugepages-") => UNITS,
        _ => {
            let remedy = "write a resource such as limits.memory or requests.cpu";
            if resource.text().is_some() {
                resource.fault(report, "is not well-formed", remedy);
            }
            return;
        }
    };
    let divisor = selector.at("divisor");
    let Some(amount) = divisor.amount() else {
        if divisor.text().is_some() {
            divisor.fault(report, "is not a quantity", format!("write {}", units.join(", ")));
        }
        return;
    };
    let known = units.iter().any(|unit| Amount::parse(unit) == Ok(amount));
    if !known && !amount.is_zero() {
        let remedy = format!("write one of {}", units.join(", "));
        divisor.fault(report, "is no unit of this resource", remedy);
    }
}
