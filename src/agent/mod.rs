//! Floor 9: the only floor that spawns tasks; it brings decisions and effects together.

pub mod app;
mod commands;
mod daemon;
mod desire;
mod effects;
mod files;
pub mod handle;
mod images;
mod objects;
mod reconciler;
mod records;
mod recovery;
mod removal;
mod sets;
mod sources;
mod start;
pub mod wire;
