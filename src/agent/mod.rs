//! Floor 9: the only floor that spawns tasks; it brings decisions and effects together.

mod actions;
pub mod app;
mod cdi;
mod commands;
mod configs;
mod confine;
mod daemon;
mod desire;
mod disk_watch;
mod effects;
mod execs;
pub mod handle;
mod health;
mod holder;
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
