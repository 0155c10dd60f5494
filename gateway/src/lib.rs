//! Tidegate: a self-hosted real-time gateway, WebSocket first.
//!
//! This package is the program: its commands, its configuration file, its start and its end. What
//! it does with connections is in the crates beside it; `docs/architecture.md` draws them.

pub mod cli;
pub mod config;
mod demo;
mod exit;
mod health;
mod render;
mod serve;
