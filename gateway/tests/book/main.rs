//! The book in `docs/`, and the README: what they promise, tried.
//!
//! ```text
//! contents         the chapters' order, every link and its anchor, the commands that are named
//! configurations   each block of TOML, by `tidegate check`
//! commands         each block of shell: which test runs it, or why none does
//! first_api, calling_back, several_nodes, who_may_connect, templates, operating
//!                  the chapters, followed: their files, their commands, what they say is printed
//! ```
//!
//! In:  the pages as they stand; the gateway's binary; the packages that `./test.sh` installs.
//! Out: a failure that names the page and the block.
//!
//! Holds always: blocks are taken from the pages and changed in nothing but ports and ids, so a page
//! that is edited is tried as edited.

mod calling_back;
mod commands;
mod configurations;
mod contents;
mod first_api;
mod operating;
mod page;
mod several_nodes;
mod templates;
mod terminal;
mod who_may_connect;

/// The binary under test.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_tidegate");
