//! What is wrong, as an error of `shardpack.errors`.

use crate::fault::{Fault, Kind, What};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

/// The error to raise; the outer one is of making it.
pub fn raised(py: Python<'_>, fault: &Fault) -> PyResult<PyErr> {
    let details = PyDict::new(py);
    if let What::Checksum { expected, actual } = &fault.what {
        details.set_item("expected", PyBytes::new(py, expected))?;
        details.set_item("actual", PyBytes::new(py, actual))?;
    } else {
        details.set_item("offset", fault.offset)?;
    }
    let name = match fault.kind() {
        Kind::Checksum => "ChecksumMismatchError",
        Kind::Truncated => "TruncatedError",
        Kind::Malformed => "MalformedError",
    };
    let error = py.import("shardpack.errors")?.getattr(name)?.call((fault.to_string(),), Some(&details))?;
    Ok(PyErr::from_value(error))
}
