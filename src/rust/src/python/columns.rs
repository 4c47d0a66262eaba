//! `columns` for `shardpack.arrow`, which makes Arrow arrays of the buffers without looking at them.

use super::objects::NewBytes;
use crate::columns::{self, Dictionary};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Offsets, bytes and indices of a dictionary array.
type Texts<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Counts by blob, and negative for what was left alone (see `Columns::counts`); number of records; partition keys; explicit hash keys, and which records have one;
/// data's offsets and bytes. All numbers have 32 bits.
type Found<'py> =
    (Bound<'py, PyBytes>, usize, Texts<'py>, Texts<'py>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Cut the user records out of blobs.
///
/// `data`: all of them, one after the other, less than 2^31 bytes, which nobody changes meanwhile; `ends`: where each
/// begins, and where the last ends.
#[pyfunction]
pub fn cut<'py>(py: Python<'py>, data: PyBuffer<u8>, ends: PyBuffer<i64>) -> PyResult<Found<'py>> {
    let ends = ends.to_vec(py)?;
    if !data.is_c_contiguous() {
        return Err(PyValueError::new_err("data is not contiguous"));
    }
    // SAFETY: the buffer is contiguous, and stays where it is for as long as `data` is held; it is one of Arrow's, which
    // do not change.
    let bytes = unsafe { std::slice::from_raw_parts(data.buf_ptr().cast::<u8>(), data.len_bytes()) };
    let blob = |pair: &[i64]| bytes.get(usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?);
    let blobs: Option<Vec<&[u8]>> = ends.windows(2).map(blob).collect();
    let Some(blobs) = blobs.filter(|_| bytes.len() <= i32::MAX as usize) else {
        return Err(PyValueError::new_err("ends do not lie in data, or it has 2^31 bytes or more"));
    };
    let columns = py.detach(|| columns::cut(&blobs));
    let mut out = NewBytes::of(py, &[], columns.data_size())?;
    let to = out.as_mut();
    py.detach(|| columns.write_data(&blobs, to));
    Ok((
        numbers(py, &columns.counts),
        columns.count(),
        texts(py, &columns.partition_keys),
        texts(py, &columns.explicit_hash_keys),
        PyBytes::new(py, &columns.validity),
        numbers(py, &columns.data_offsets),
        out.finish(),
    ))
}

fn texts<'py>(py: Python<'py>, dictionary: &Dictionary) -> Texts<'py> {
    (numbers(py, &dictionary.offsets), PyBytes::new(py, &dictionary.bytes), numbers(py, &dictionary.indices))
}

fn numbers<'py>(py: Python<'py>, numbers: &[i32]) -> Bound<'py, PyBytes> {
    // SAFETY: numbers are bytes, four each, and any bytes will do.
    let bytes = unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast::<u8>(), std::mem::size_of_val(numbers)) };
    PyBytes::new(py, bytes)
}
