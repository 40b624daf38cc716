//! `podward store status`: every member of the store, and whether this host takes it for the right one.

use std::{collections::BTreeSet, fs, io::Write, process::ExitCode};

use serde_json::Value;

use crate::base::keyed::distinct;
use crate::config::Settings;
use crate::store::{self, Header, Status, Store};

use super::{failure::Outcome, store_client, table::Table};

/// Asks each member for itself. Exit code 1 when one has a problem.
pub async fn run(settings: &Settings, out: &mut dyn Write) -> Outcome {
    let connection = store_client::required(settings)?;
    let titles = ["ENDPOINT", "VERSION", "LEADER", "REVISION", "SIZE", "CLUSTER ID", "STATUS"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    let mut headers = Vec::new();
    let mut well = true;
    for endpoint in &connection.endpoints {
        let (cells, header) = match ask(&connection, endpoint).await {
            Ok(status) => (cells(&status), Some(status.header)),
            Err(error) => {
                let nothing = ["<unknown>"; 5].map(str::to_owned);
                (nothing.into_iter().chain([error.to_string()]).collect(), None)
            }
        };
        well &= cells.last().is_some_and(|status: &String| status == "ok");
        headers.extend(header);
        rows.push(std::iter::once(endpoint.clone()).chain(cells).collect());
    }
    Table::default().print(&rows, out)?;
    let clusters: BTreeSet<u64> = distinct(headers.iter().map(|header| header.cluster_id));
    if clusters.len() > 1 {
        well = false;
        writeln!(out, "\nThe endpoints belong to {} clusters; name those of one.", clusters.len())?;
    }
    let newest = headers.into_iter().max_by_key(|header| header.revision);
    if let Some((agrees, line)) = newest.and_then(|header| judgement(settings, header)) {
        well &= agrees;
        writeln!(out, "\n{line}")?;
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What one member says.
async fn ask(connection: &store::Settings, endpoint: &str) -> Result<Status, store::Error> {
    Store::connect_to(connection, endpoint).await?.status().await
}

/// A member's cells.
fn cells(status: &Status) -> Vec<String> {
    let problem =
        if status.problems.is_empty() { "ok".to_owned() } else { status.problems.join(", ") };
    vec![
        status.version.clone(),
        if status.leads { "yes" } else { "no" }.to_owned(),
        status.header.revision.to_string(),
        format!(
            "{:.1} MB",
            f64::from(u32::try_from(status.size >> 10).unwrap_or(u32::MAX)) / 1024.0
        ),
        format!("{:x}", status.header.cluster_id),
        if status.has_leader { problem } else { "no leader".to_owned() },
    ]
}

/// Whether this host's agent takes the store for the right one, by what it remembers; `None` where none has run.
fn judgement(settings: &Settings, header: Header) -> Option<(bool, String)> {
    let path = settings.paths.state.join("store.json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => return Some((true, format!("This host: {}: {error}", path.display()))),
    };
    let memory: Value = serde_json::from_slice(&text).unwrap_or_default();
    let cluster = memory.get("clusterId").and_then(Value::as_u64).unwrap_or(0);
    let revision = memory.get("revision").and_then(Value::as_i64).unwrap_or(0);
    Some(if cluster == 0 {
        (true, "This host has not met a store yet; it takes the first that answers.".to_owned())
    } else if cluster != header.cluster_id {
        let text = format!(
            "This host knows cluster {cluster:x} and takes nothing from this one (StoreForeign). When it is the right \
             one: podward store accept"
        );
        (false, text)
    } else if revision > header.revision {
        let text = format!(
            "This host has seen revision {revision} and takes nothing from an older copy (StoreRegressed). When it is \
             the right one: podward store accept"
        );
        (false, text)
    } else {
        (true, format!("This host takes it for the right one; it has seen revision {revision}."))
    })
}
