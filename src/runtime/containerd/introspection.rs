//! Where containerd keeps layers and blobs, so that the right file system can be asked how full it is.

use std::path::PathBuf;

use containerd_client::services::v1::PluginsRequest;

use super::{Containerd, client::call, error::Error};

impl Containerd {
    /// The directories of the snapshotter and of the content store. A snapshotter that is a program of its own tells
    /// nothing of its place.
    pub async fn data_dirs(&self) -> Result<Vec<PathBuf>, Error> {
        let snapshotter = &self.settings().snapshotter;
        let filters = vec![
            format!("type==\"io.containerd.snapshotter.v1\",id==\"{snapshotter}\""),
            "type==\"io.containerd.content.v1\"".to_owned(),
        ];
        let mut service = self.client().introspection();
        let request = self.client().request(PluginsRequest { filters });
        let reply = call("ask", "where it keeps images", service.plugins(request)).await?;
        let roots =
            reply.plugins.into_iter().filter_map(|mut plugin| plugin.exports.remove("root"));
        Ok(roots.map(PathBuf::from).filter(|root| root.is_absolute()).collect())
    }
}
