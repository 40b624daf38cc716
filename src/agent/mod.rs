//! Floor 9: the only floor that spawns tasks; it brings decisions and effects together.

mod actions;
pub mod app;
mod commands;
mod configs;
mod confine;
mod daemon;
mod desire;
mod effects;
mod execs;
pub mod handle;
mod health;
mod holder;
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
