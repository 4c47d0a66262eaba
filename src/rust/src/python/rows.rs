//! User records in columns into the builders of their routes, without an object for each.

use super::builder::{sound, Builder};
use super::lent::Values;
use super::routes::Routes;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::Arc;

/// Partition keys and data of user records without explicit hash keys and tags. See `wire.core.Rows`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Rows {
    pub keys: Values,
    pub data: Arc<Values>,
}

#[pymethods]
impl Rows {
    #[new]
    fn new(keys: (PyBuffer<u8>, PyBuffer<u8>), data: (PyBuffer<u8>, PyBuffer<u8>)) -> PyResult<Self> {
        let rows = Rows { keys: Values::new(keys)?, data: Arc::new(Values::new(data)?) };
        if rows.keys.count() != rows.data.count() {
            return Err(PyValueError::new_err("there are not as many partition keys as data"));
        }
        Ok(rows)
    }

    /// Fill the open builders of the routes from a row on, for as long as it is simple; the first row for which it was
    /// not, or how many rows there are.
    fn fill(&self, py: Python<'_>, start: usize, routes: &Bound<'_, Routes>) -> PyResult<usize> {
        let routes = routes.get();
        if let Some(builder) = routes.builder_of_all(py)? {
            return Ok(builder.get().take_rows(self, start, routes.most)); // nothing of the application runs, so it stays the same
        }
        for nth in start..self.keys.count() {
            let key = self.keys.get(nth).and_then(|key| std::str::from_utf8(key).ok()).and_then(sound);
            let Some(key) = key else { return Ok(nth) };
            if !routes
                .builder(&PyString::new(py, key))?
                .is_some_and(|builder| builder.get().take_row(self, nth, routes.most))
            {
                return Ok(nth);
            }
        }
        Ok(self.keys.count())
    }

    /// Have builders copy what they only refer to, so that no columns need be kept for them.
    #[staticmethod]
    fn let_go(builders: Vec<Bound<'_, Builder>>) {
        for builder in builders {
            builder.get().give_back();
        }
    }
}
