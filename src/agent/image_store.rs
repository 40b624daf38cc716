//! containerd's store of images as the agent looks at it: what is in it, how full its disk is, and what a removal frees.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::OnceCell;
use tracing::warn;

use crate::base::errors::Chain;
use crate::host::disk_space;
use crate::image::collect::{Disk, Stored};
use crate::runtime::containerd::StoredImage;

use super::{
    effects::{Effects, blocking},
    images::archived_names,
};

/// Where containerd keeps its data when it does not tell.
const USUAL_PLACE: &str = "/var/lib/containerd";

/// The directories whose file systems images fill, asked for once.
pub(super) type Places = Arc<OnceCell<Vec<PathBuf>>>;

/// The images in containerd's store.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The images.
    pub images: Vec<Stored>,
    /// Names that archives in the images' directory stand for.
    pub archived: BTreeSet<String>,
}

impl Effects {
    /// How full the fullest of the file systems is that images fill.
    pub(super) async fn image_disk(
        &self,
        places: &Places,
        state: &Path,
    ) -> Result<(PathBuf, Disk), String> {
        let places = places.get_or_init(|| self.image_places(state)).await.clone();
        let measured = blocking(move || {
            let measure = |place: PathBuf| match disk_space::measure(&place) {
                Ok(disk) => Ok((place, disk)),
                Err(error) => Err(format!("ask how full {} is: {error}", place.display())),
            };
            places.into_iter().map(measure).collect::<Result<Vec<_>, _>>()
        });
        let disks = measured.await?;
        let fullest = disks.into_iter().max_by_key(|(_, disk)| disk.percent());
        fullest.ok_or_else(|| "containerd keeps its data nowhere".to_owned())
    }

    /// Where containerd keeps images; a guess where it does not tell.
    async fn image_places(&self, state: &Path) -> Vec<PathBuf> {
        let told = self.daemon.call(|| self.daemon.client.data_dirs()).await;
        let why = match told {
            Ok(places) if !places.is_empty() => return places,
            Ok(_) => "it tells no directory".to_owned(),
            Err(error) => Chain(&error).to_string(),
        };
        let usual = Path::new(USUAL_PLACE);
        let guess = if usual.is_dir() { usual } else { state };
        warn!(path = %guess.display(), error = why, "containerd does not tell where it keeps images; this is watched");
        vec![guess.to_owned()]
    }

    /// The images that are there.
    pub(super) async fn image_listing(&self, state: &Path) -> Result<Listing, String> {
        let images = self.daemon.call(|| self.daemon.client.stored_images()).await;
        let images = images.map_err(|error| Chain(&error).to_string())?;
        let state = state.to_owned();
        let archived = blocking(move || archived_names(&state)).await;
        Ok(Listing { images: images.into_iter().map(stored).collect(), archived })
    }

    /// Removes an image with all of its names and says how many bytes came free by it: its layers are gone when this
    /// returns, unless others share them.
    pub(super) async fn free_image(
        &self,
        image: &Stored,
        places: &Places,
        state: &Path,
    ) -> Result<u64, String> {
        let (_, before) = self.image_disk(places, state).await?;
        let removed =
            self.daemon.call(|| self.daemon.client.remove_image(&image.names, true)).await;
        removed.map_err(|error| Chain(&error).to_string())?;
        let (_, after) = self.image_disk(places, state).await?;
        Ok(after.available.saturating_sub(before.available))
    }
}

/// An image of containerd's as the decision sees it.
fn stored(image: StoredImage) -> Stored {
    let StoredImage { names, target, manifest, size, created, updated, pinned, .. } = image;
    Stored { names, digest: target, manifest, size, created, updated, pinned }
}
