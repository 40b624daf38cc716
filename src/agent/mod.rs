//! Floor 9: the only floor that spawns tasks; it brings decisions and effects together.

pub mod app;
mod commands;
mod daemon;
mod desire;
mod disk_watch;
mod effects;
pub mod handle;
mod image_volumes;
mod images;
mod messages;
mod objects;
mod reconciler;
mod records;
mod recovery;
mod removal;
mod sets;
mod sources;
mod start;
mod start_mounts;
pub mod wire;
