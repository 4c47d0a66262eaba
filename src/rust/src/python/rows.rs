//! User records in columns into the builders of their routes, without an object for each.

use super::arrow::bytes_of;
use super::builder::{sound, Builder};
use super::routes::Routes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Partition keys and data of user records without explicit hash keys and tags. See `wire.core.Rows`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Rows {
    keys: Values,
    data: Values,
}

/// The values of a column: all of them, one after the other, and where each begins and the last ends.
struct Values {
    ends: Vec<i64>,
    bytes: PyBuffer<u8>,
}

impl Values {
    fn new(py: Python<'_>, (bytes, ends): (PyBuffer<u8>, PyBuffer<i64>)) -> PyResult<Self> {
        if bytes_of(&bytes).is_none() {
            return Err(PyValueError::new_err("a column is not contiguous"));
        }
        Ok(Values { ends: ends.to_vec(py)?, bytes })
    }

    #[inline]
    fn get(&self, nth: usize) -> Option<&[u8]> {
        let bytes = bytes_of(&self.bytes)?;
        bytes.get(usize::try_from(self.ends[nth]).ok()?..usize::try_from(self.ends[nth + 1]).ok()?)
    }

    fn count(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }
}

#[pymethods]
impl Rows {
    #[new]
    fn new(py: Python<'_>, keys: (PyBuffer<u8>, PyBuffer<i64>), data: (PyBuffer<u8>, PyBuffer<i64>)) -> PyResult<Self> {
        let rows = Rows { keys: Values::new(py, keys)?, data: Values::new(py, data)? };
        if rows.keys.count() != rows.data.count() {
            return Err(PyValueError::new_err("there are not as many partition keys as data"));
        }
        Ok(rows)
    }

    /// Fill the open builders of the routes from a row on, for as long as it is simple; the first row for which it was
    /// not, or how many rows there are.
    fn fill(&self, py: Python<'_>, start: usize, routes: &Bound<'_, Routes>) -> PyResult<usize> {
        let routes = routes.get();
        let for_all = routes.builder_of_all(py)?; // nothing of the application runs meanwhile, so it stays the same
        let count = self.keys.count();
        for nth in start..count {
            let key = self.keys.get(nth).and_then(|key| std::str::from_utf8(key).ok()).and_then(sound);
            let (Some(key), Some(data)) = (key, self.data.get(nth)) else { return Ok(nth) };
            let is_taken = match &for_all {
                Some(builder) => builder.get().take_sound(key, data),
                None => routes.builder(&PyString::new(py, key))?.is_some_and(|one| takes(&one, key, data)),
            };
            if !is_taken {
                return Ok(nth);
            }
        }
        Ok(count)
    }
}

#[inline]
fn takes(builder: &Bound<'_, Builder>, key: &str, data: &[u8]) -> bool {
    builder.get().take_sound(key, data)
}
