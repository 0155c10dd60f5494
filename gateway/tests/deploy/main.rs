//! The files of `deploy/`, checked with the programs that they are for, before the real gateway.
//!
//! ```text
//! haproxy, nginx      started from those very files, two gateways behind them
//! prometheus          rules and configuration; every query of dashboard and alerts against real /metrics
//! systemd, dockerfile, compose, helm   what systemd-analyze, hadolint, schemas and Helm itself say of them
//! ```
//!
//! In:  `deploy/`, what `./test.sh` installs (Debian's packages, `.tests/deploy`), the gateway's binary.
//! Out: a test per promise that the files make.
//!
//! Holds always: nothing but addresses is replaced in a file before it is run; a program that is
//! missing fails the test and says what installs it; every process ends with its test.

mod compose;
mod dashboard;
mod dockerfile;
mod health;
mod helm;
mod load_balancers;
mod programs;
mod prometheus;
mod queries;
mod systemd;

/// The binary under test.
pub(crate) const GATEWAY: &str = env!("CARGO_BIN_EXE_tidegate");
