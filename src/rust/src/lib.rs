//! shardpack's native core: aggregates read and written without protobuf, and MD5 in lanes.
//!
//! One module for each step, none of which knows anything of Python: `frame` (magic and checksum), `md5` (in lanes),
//! `pack` (records in, an aggregate out) with `table` (of its keys), `number` (as it is written) and `spare` (buffers of
//! a thread), `read` into an `aggregate` (the other way), `unusual` with `walk` and `fault` (what few packers write, and
//! what is wrong with what none does), `columns` (many aggregates for Arrow), `memory` (buffers of all threads), `json`
//! (an answer of GetRecords). `python` binds them.

pub mod aggregate;
pub mod columns;
pub mod fault;
pub mod frame;
pub mod json;
pub mod md5;
pub mod memory;
mod number;
pub mod pack;
#[cfg(feature = "python")]
mod python;
pub mod read;
mod spare;
mod table;
pub mod unusual;
mod walk;
