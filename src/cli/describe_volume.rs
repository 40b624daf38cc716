//! The volumes' part of a description.

use k8s_openapi::api::core::v1::{ProjectedVolumeSource, Volume};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::page::Page;

/// Adds the volumes of a template or a pod.
pub fn volumes(page: &mut Page, volumes: &[Volume], template: bool) {
    let (space, name_space) = if template { ("  ", " ") } else { ("", "") };
    if volumes.is_empty() {
        return page.line(format_args!("{space}Volumes:\t<none>"));
    }
    page.line(format_args!("{space}Volumes:"));
    for volume in volumes {
        page.line(format_args!("  {name_space}{}:", volume.name));
        source(page, volume);
    }
}

/// What is behind a volume.
fn source(page: &mut Page, volume: &Volume) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if let Some(path) = &volume.host_path {
        page.field(2, "Type", "HostPath (bare host directory volume)");
        page.field(2, "Path", &path.path);
        page.field(2, "HostPathType", text(&path.type_));
    } else if let Some(empty) = &volume.empty_dir {
        page.field(2, "Type", "EmptyDir (a temporary directory that shares a pod's lifetime)");
        page.field(2, "Medium", text(&empty.medium));
        let limit = empty.size_limit.as_ref().map(|Quantity(limit)| limit.as_str());
        page.field(2, "SizeLimit", limit.unwrap_or("<unset>"));
    } else if let Some(secret) = &volume.secret {
        page.field(2, "Type", "Secret (a volume populated by a Secret)");
        page.field(2, "SecretName", text(&secret.secret_name));
        page.field(2, "Optional", secret.optional.unwrap_or_default());
    } else if let Some(map) = &volume.config_map {
        page.field(2, "Type", "ConfigMap (a volume populated by a ConfigMap)");
        page.field(2, "Name", &map.name);
        page.field(2, "Optional", map.optional.unwrap_or_default());
    } else if let Some(api) = &volume.downward_api {
        page.field(2, "Type", "DownwardAPI (a volume populated by information about the pod)");
        page.line("    Items:");
        for item in api.items.iter().flatten() {
            let field = item.field_ref.as_ref().map(|field| field.field_path.as_str());
            page.line(format_args!("      {} -> {}", field.unwrap_or_default(), item.path));
        }
    } else if let Some(projected) = &volume.projected {
        self::projected(page, projected);
    } else if let Some(csi) = &volume.csi {
        page.field(2, "Type", "CSI (a Container Storage Interface (CSI) volume source)");
        page.field(2, "Driver", &csi.driver);
    } else {
        page.line("  <unknown>");
    }
}

/// The sources of a projected volume.
fn projected(page: &mut Page, projected: &ProjectedVolumeSource) {
    let kind = "Projected (a volume that contains injected data from multiple sources)";
    page.field(2, "Type", kind);
    for source in projected.sources.iter().flatten() {
        if let Some(secret) = &source.secret {
            page.field(2, "SecretName", &secret.name);
        } else if let Some(map) = &source.config_map {
            page.field(2, "ConfigMapName", &map.name);
        } else if source.downward_api.is_some() {
            page.field(2, "DownwardAPI", "true");
        } else if let Some(token) = &source.service_account_token {
            page.field(2, "TokenExpirationSeconds", token.expiration_seconds.unwrap_or(3600));
        }
    }
}
