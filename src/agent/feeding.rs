//! Starts what brings news from afar: one task for each page, one for the store.

use std::{borrow::Cow, fs, io::ErrorKind, path::Path, pin::Pin, sync::Arc};

use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::config::{EtcdSettings, SourceSettings};
use crate::store::{self, Keys};

use super::{
    app::AppError,
    feeds::News,
    handle::Handle,
    http_feed::{self, HttpFeed, Page},
    reconciler::Reconciler,
    sets,
    store_guard::Guard,
    store_link::{self, Link},
    store_view::{self, Open, View},
};

/// A task that brings news until the agent stops.
pub(super) type Feeder = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What brings news to this reconciler.
pub(super) fn feeders(
    reconciler: &Reconciler,
    guard: Guard,
    handle: &Handle,
    news: &mpsc::UnboundedSender<News>,
    stop: &watch::Receiver<bool>,
) -> Vec<Feeder> {
    let mut feeders = Vec::new();
    let settings = &reconciler.settings;
    if !settings.etcd.endpoints.is_empty() {
        let link = link(reconciler, guard, handle.clone(), news.clone());
        feeders.push(Box::pin(link.run(stop.clone())) as Feeder);
    }
    for (index, source) in settings.sources.iter().enumerate() {
        let SourceSettings::Http(http) = source else { continue };
        let feed = HttpFeed {
            index,
            request: Arc::new(http_feed::request(http)),
            interval: http.interval,
            validation: settings.field_validation,
            trust: Arc::clone(&reconciler.trust),
            news: news.clone(),
            poke: Arc::clone(&reconciler.feeds.poke),
            page: Page::default(),
        };
        feeders.push(Box::pin(feed.run(stop.clone())) as Feeder);
    }
    feeders
}

/// The link to the store.
fn link(
    reconciler: &Reconciler,
    guard: Guard,
    handle: Handle,
    news: mpsc::UnboundedSender<News>,
) -> Link {
    let settings = &reconciler.settings;
    let keys = Keys::new(&settings.etcd.prefix, &settings.cluster);
    let trust = Arc::clone(&reconciler.trust);
    let open: Open = Arc::new(move |key, value| {
        trust.open(&store_view::origin(key), value).map(Cow::into_owned)
    });
    let view = View::new(
        keys.clone(),
        reconciler.node.name.clone(),
        settings.field_validation,
        open,
        reconciler.known_of_store(),
        guard.memory.overlay.clone(),
    );
    let link = store_link::Settings {
        store: store_settings(&settings.etcd),
        keys,
        node: reconciler.node.name.clone(),
        install_id: reconciler.install_id.clone(),
        source: settings.sources.iter().position(|source| *source == SourceSettings::Etcd),
        lease_ttl: settings.etcd.lease_ttl,
        trust: Arc::clone(&reconciler.trust),
        boot_id: reconciler.effects.facts.boot_id.clone(),
        turns: reconciler.turns.keeps,
        pace: None,
        poke: Arc::clone(&reconciler.feeds.poke),
    };
    Link::new(link, handle, news, view, guard)
}

/// The store's settings by the configuration.
pub fn store_settings(etcd: &EtcdSettings) -> store::Settings {
    store::Settings {
        endpoints: etcd.endpoints.clone(),
        ca_file: etcd.ca_file.clone(),
        cert_file: etcd.cert_file.clone(),
        key_file: etcd.key_file.clone(),
        username: etcd.username.clone(),
        password_file: etcd.password_file.clone(),
        timeout: etcd.timeout,
    }
}

/// The identity of this installation, made at the first start.
pub(super) fn install_id(state: &Path) -> Result<String, AppError> {
    let path = state.join("install-id");
    let prepare = |source| AppError::Prepare { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(prepare(error)),
        _ => {}
    }
    let id = Uuid::new_v4().to_string();
    sets::write(&path, format!("{id}\n").as_bytes()).map_err(prepare)?;
    Ok(id)
}
