//! What the fuzz targets do with an input: one function per target, one file per crate under test.
//!
//! In:  bytes.
//! Out: nothing; a function panics if what it checks does not hold.
//!
//! The functions are here rather than in `fuzz_targets/` so that the crate's own tests replay the
//! kept inputs through the very same code, without a fuzzer.

pub mod bus;
pub mod flow;
pub mod model;
pub mod vtl;
