//! shardpack's native core: aggregates read and written without protobuf, and MD5 in lanes.
//!
//! `md5`, `wire`, `pack` and `columns` know nothing of Python; `python` binds them.

pub mod columns;
pub mod md5;
pub mod pack;
#[cfg(feature = "python")]
mod python;
pub mod wire;
