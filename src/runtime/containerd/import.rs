//! Importing an image archive: a file becomes blobs, names and snapshots.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use tokio::{sync::mpsc, task};

use super::{
    Containerd,
    archive::{self, Contents, Sending},
    content::Blob,
    error::{Class, Error},
    layout::{Bytes, Plan},
    leases::ContentLease,
};
use crate::base::{errors::Chain, keyed::distinct};
use crate::image::documents::Platform;

impl Containerd {
    /// Imports every named image of an archive (OCI layout or `docker save`; plain, gzip or zstd), unpacks
    /// it, and returns the names. Images that are there already under these names are replaced.
    pub async fn import(&self, archive: &Path) -> Result<Vec<String>, Error> {
        let _turn = self.shared.importing.lock().await;
        let plan = read_plan(archive).await?;
        let lease = self.content_lease().await.map_err(|source| failed(archive, source))?;
        let outcome = self.import_under(&lease, archive, plan).await;
        self.finish_lease(&lease, outcome).await
    }

    /// Imports while a lease holds what nothing else holds yet.
    async fn import_under(
        &self,
        lease: &ContentLease,
        archive: &Path,
        plan: Plan,
    ) -> Result<Vec<String>, Error> {
        let missing =
            self.write_made(lease, plan.blobs).await.map_err(|source| failed(archive, source))?;
        self.write_entries(lease, archive, missing).await?;
        for (name, target) in &plan.images {
            self.name_image(name, target).await.map_err(|source| failed(archive, source))?;
        }
        let names: Vec<String> = plan.images.into_keys().collect();
        for name in &names {
            if self.image(name).await.map_err(|source| failed(archive, source))?.is_none() {
                let problem = format!("{name} was removed while it was imported");
                return Err(broken(archive, problem));
            }
        }
        Ok(names)
    }

    /// Writes the blobs that we made ourselves and returns those that must come out of the archive.
    async fn write_made(
        &self,
        lease: &ContentLease,
        blobs: BTreeMap<String, (Blob, Bytes)>,
    ) -> Result<BTreeMap<usize, Blob>, Error> {
        let mut missing = BTreeMap::new();
        for (blob, bytes) in blobs.into_values() {
            if self.keep_blob(lease, &blob).await? {
                continue;
            }
            match bytes {
                Bytes::Entry(ordinal) => {
                    missing.insert(ordinal, blob);
                }
                Bytes::Made(bytes) => {
                    let (sender, mut pieces) = mpsc::channel(1);
                    sender.try_send(bytes).expect("the channel is new and has room");
                    drop(sender);
                    self.write_blob(lease, &blob, &mut pieces).await?;
                }
            }
        }
        Ok(missing)
    }

    /// Writes blobs out of the archive.
    async fn write_entries(
        &self,
        lease: &ContentLease,
        archive: &Path,
        mut missing: BTreeMap<usize, Blob>,
    ) -> Result<(), Error> {
        if missing.is_empty() {
            return Ok(());
        }
        let wanted: BTreeSet<usize> = distinct(missing.keys().copied());
        let (sender, mut entries) = mpsc::channel::<Sending>(1);
        let path = archive.to_owned();
        let reader = task::spawn_blocking(move || archive::send(&path, &wanted, &sender));
        while let Some((ordinal, mut pieces)) = entries.recv().await {
            let Some(blob) = missing.remove(&ordinal) else {
                continue;
            };
            self.write_blob(lease, &blob, &mut pieces).await.map_err(|source| {
                match source.class() {
                    // containerd checks sizes and digests: the file is not what it was a moment ago.
                    Class::Other | Class::Invalid if !source.disk_full() => {
                        broken(archive, Chain(&source).to_string())
                    }
                    _ => failed(archive, source),
                }
            })?;
        }
        finish(reader).await.map_err(|error| broken(archive, error.to_string()))?;
        match missing.into_values().next() {
            None => Ok(()),
            Some(blob) => {
                let problem =
                    format!("{} is gone from it: it changed while it was read", blob.digest);
                Err(broken(archive, problem))
            }
        }
    }
}

/// Reads an archive's table of contents and what it means.
async fn read_plan(archive: &Path) -> Result<Plan, Error> {
    let path: PathBuf = archive.to_owned();
    let contents = finish(task::spawn_blocking(move || Contents::read(&path)))
        .await
        .map_err(|error| broken(archive, unreadable(&error)))?;
    Plan::of(&contents, &Platform::of_host()).map_err(|problem| broken(archive, problem))
}

/// Joins a reader.
async fn finish<T>(reader: task::JoinHandle<io::Result<T>>) -> io::Result<T> {
    reader.await.map_err(io::Error::other)?
}

/// Why an archive could not be read to its end.
fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::IsADirectory => {
            format!("cannot be opened: {error}")
        }
        _ => format!("cannot be read as a tar archive (plain, gzip or zstd): {}", Chain(error)),
    }
}

/// An archive at fault.
fn broken(archive: &Path, problem: String) -> Error {
    Error::Archive { path: archive.to_owned(), problem }
}

/// A call at fault.
fn failed(archive: &Path, source: Error) -> Error {
    Error::Import { path: archive.to_owned(), source: Box::new(source) }
}
