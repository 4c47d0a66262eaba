//! `json` for `shardpack.aws.responses`, which has botocore read what is left.

use crate::json;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// The body of an answer of `GetRecords` with empty texts in place of its records' data, and the data; None for a body
/// that is not written as usual, or has data that is not strictly base64.
#[pyfunction]
pub fn cut_records<'py>(
    py: Python<'py>,
    body: &Bound<'py, PyBytes>,
) -> PyResult<Option<(Bound<'py, PyBytes>, Bound<'py, PyList>)>> {
    let bytes = body.as_bytes();
    let Some(texts) = json::data_of_records(bytes) else { return Ok(None) };
    let data = PyList::empty(py);
    let mut rest = Vec::with_capacity(bytes.len() - texts.iter().map(|text| text.len()).sum::<usize>());
    let mut at = 0;
    for text in texts {
        let Some(decoded) = super::decoded(py, &bytes[text.clone()])? else { return Ok(None) };
        data.append(decoded)?;
        rest.extend_from_slice(&bytes[at..text.start]);
        at = text.end;
    }
    rest.extend_from_slice(&bytes[at..]);
    Ok(Some((PyBytes::new(py, &rest), data)))
}
