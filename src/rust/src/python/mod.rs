//! The thin binding: what `shardpack.wire._native` offers to `shardpack.wire.native_core`, which is its only user.
//!
//! What it raises are the classes of `errors.py`, with the words of the pure core: both have the same errors.

mod adding;
mod aggregate;
mod arrow;
mod builder;
mod bulk;
mod columns;
mod errors;
mod flat;
mod lent;
mod objects;
mod response;
mod routes;
mod rows;

use crate::{frame, md5, memory, read};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

pub use aggregate::{Aggregate, Texts};

/// Work on fewer bytes than this is done before other threads have noticed that they may run.
pub const WORTH_DETACHING: usize = 8 * 1024;

/// Free-threaded Python included. Threads share what is made once and never changes: types, names, the classes of records,
/// the way to make MD5. They share counters, which are atomic; buffers to use again, of which each is in one pair of hands
/// at a time (`memory`); and the state of builders and iterators, each behind a lock of its own. `docs/native-threads.md`
/// goes through all of it.
#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Aggregate>()?;
    module.add_class::<adding::Adding>()?;
    module.add_class::<builder::Builder>()?;
    module.add_class::<bulk::Ends>()?;
    module.add_class::<columns::Cut>()?;
    module.add_class::<columns::Spread>()?;
    module.add_class::<flat::Flat>()?;
    module.add_class::<routes::Routes>()?;
    module.add_class::<rows::Rows>()?;
    module.add_function(wrap_pyfunction!(path, module)?)?;
    module.add_function(wrap_pyfunction!(keep_nothing, module)?)?;
    module.add_function(wrap_pyfunction!(read_one, module)?)?;
    module.add_function(wrap_pyfunction!(read_many, module)?)?;
    module.add_function(wrap_pyfunction!(is_aggregated, module)?)?;
    module.add_function(wrap_pyfunction!(from_base64, module)?)?;
    module.add_function(wrap_pyfunction!(outside, module)?)?;
    module.add_function(wrap_pyfunction!(response::cut_records, module)?)?;
    module.add_function(wrap_pyfunction!(builder::build_many, module)?)?;
    module.add_function(wrap_pyfunction!(adding::fill, module)?)?;
    module.add_function(wrap_pyfunction!(bulk::checked, module)?)?;
    module.add_function(wrap_pyfunction!(bulk::measured, module)?)?;
    module.add_function(wrap_pyfunction!(bulk::divided, module)?)?;
    module.add_function(wrap_pyfunction!(bulk::counted_on, module)?)?;
    module.add_function(wrap_pyfunction!(columns::cut, module)?)?;
    Ok(())
}

/// How MD5 is made here: "avx512", "avx2", "sse2", "neon", "portable" or "scalar".
#[pyfunction]
fn path() -> &'static str {
    md5::path().name()
}

/// Keep no memory that is given up, and leave the C library's allocator as it is.
#[pyfunction]
fn keep_nothing() {
    memory::keep_nothing();
}

/// One aggregate, or an error that says what is wrong with it.
#[pyfunction]
#[pyo3(name = "read")]
fn read_one(py: Python<'_>, blob: &Bound<'_, PyBytes>) -> PyResult<Aggregate> {
    let bytes = blob.as_bytes();
    let parsed = if bytes.len() < WORTH_DETACHING { read::read(bytes) } else { py.detach(|| read::read(bytes)) };
    match parsed {
        Ok(parsed) => Ok(Aggregate::new(blob, parsed, &mut Texts::default())),
        Err(fault) => Err(errors::raised(py, &fault)?),
    }
}

/// Several, whose checksums are made side by side; None for what is no sound aggregate.
#[pyfunction]
fn read_many<'py>(py: Python<'py>, blobs: Vec<Bound<'py, PyBytes>>) -> Vec<Option<Aggregate>> {
    let slices: Vec<&[u8]> = blobs.iter().map(|blob| blob.as_bytes()).collect();
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    let parsed =
        if bytes < WORTH_DETACHING { read::read_many(&slices) } else { py.detach(|| read::read_many(&slices)) };
    let mut texts = Texts::of_many(blobs.len());
    let made = blobs.iter().zip(parsed).map(|(blob, parsed)| Some(Aggregate::new(blob, parsed?, &mut texts)));
    made.collect()
}

/// Whether it is an aggregate by its magic, length and checksum.
#[pyfunction]
fn is_aggregated(py: Python<'_>, blob: &Bound<'_, PyBytes>) -> bool {
    let blob = blob.as_bytes();
    let Some(body) = frame::body(blob).filter(|body| !body.is_empty()) else {
        return false;
    };
    let digest = if body.len() < WORTH_DETACHING { md5::digest(body) } else { py.detach(|| md5::digest(body)) };
    frame::is_sound(blob, &digest)
}

/// The places of those partition keys whose hash key is not from one number to another, both inclusive.
#[pyfunction]
fn outside(partition_keys: Vec<Bound<'_, PyString>>, first: u128, last: u128) -> PyResult<Vec<usize>> {
    let texts = partition_keys.iter().map(|key| key.to_str().map(str::as_bytes)).collect::<PyResult<Vec<_>>>()?;
    let hash_keys = md5::digests(&texts).into_iter().map(u128::from_be_bytes);
    Ok(hash_keys.enumerate().filter(|(_, hash_key)| !(first..=last).contains(hash_key)).map(|(nth, _)| nth).collect())
}

/// The bytes that base64 text stands for; None if it is not strictly that.
#[pyfunction]
fn from_base64<'py>(py: Python<'py>, text: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let Ok(text) = text.to_str() else { return Ok(None) };
    decoded(py, text.as_bytes())
}

/// See `from_base64`.
fn decoded<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let Ok(length) = base64_simd::STANDARD.decoded_length(text) else { return Ok(None) };
    memory::count_made(length);
    objects::NewBytes::written(py, length, |out| {
        let written = base64_simd::STANDARD.decode(text, base64_simd::Out::from_uninit_slice(out));
        written.is_ok_and(|written| written.len() == length)
    })
}

/// A list of as many objects as an iterator gives.
fn list<'py>(
    py: Python<'py>,
    objects: impl IntoIterator<Item = Bound<'py, PyAny>, IntoIter: ExactSizeIterator>,
) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, objects)
}
