//! Floor 9: the only floor that spawns tasks; it brings decisions and effects together.

mod actions;
pub mod app;
mod commands;
mod daemon;
mod desire;
mod effects;
mod execs;
pub mod handle;
mod images;
mod objects;
mod reconciler;
mod records;
mod recovery;
mod removal;
mod sessions;
mod sets;
mod sources;
mod start;
pub mod wire;
