//! Where a user record goes that has no explicit hash key.

use super::builder::{text_of, Builder};
use crate::md5;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

/// So many partition keys are remembered; others are hashed again.
const MOST_REMEMBERED: usize = 65_536;

/// See `wire.core.Routes`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Routes {
    for_all: Option<Py<PyAny>>,
    by_partition_key: Py<PyDict>,
    ends: Vec<u128>,
    by_shard: Vec<Py<PyAny>>,
    /// So many user records an aggregate may get this way.
    pub most: usize,
}

#[pymethods]
impl Routes {
    #[new]
    fn new(
        for_all: Option<Py<PyAny>>,
        by_partition_key: Py<PyDict>,
        ends: Vec<u128>,
        by_shard: Vec<Py<PyAny>>,
        most: usize,
    ) -> PyResult<Self> {
        if ends.len() != by_shard.len() {
            return Err(PyValueError::new_err("a shard has no route, or a route no shard"));
        }
        Ok(Routes { for_all, by_partition_key, ends, by_shard, most })
    }

    /// A packer that nothing has been added to can be pickled.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, routes) = (slf.py(), slf.get());
        let arguments = (
            routes.for_all.as_ref().map(|route| route.bind(py)),
            routes.by_partition_key.bind(py),
            &routes.ends,
            routes.by_shard.iter().map(|route| route.bind(py)).collect::<Vec<_>>(),
            routes.most,
        );
        Ok((slf.get_type().into_any(), arguments.into_pyobject(py)?))
    }
}

impl Routes {
    /// The open builder for a partition key, if there is one.
    #[inline]
    pub fn builder<'py>(&self, partition_key: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, Builder>>> {
        let py = partition_key.py();
        if let Some(route) = &self.for_all {
            return builder_of(route.bind(py));
        }
        if let Some(route) = self.by_partition_key.bind(py).get_item(partition_key)? {
            return builder_of(&route);
        }
        match self.of_shard(partition_key)? {
            Some(route) => builder_of(route),
            None => Ok(None),
        }
    }

    /// The open builder for all, if there is one for all and it is open.
    pub fn builder_of_all<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Builder>>> {
        self.for_all.as_ref().map_or(Ok(None), |route| builder_of(route.bind(py)))
    }

    /// The route of the shard that a partition key's hash goes to.
    fn of_shard<'py>(&self, partition_key: &Bound<'py, PyString>) -> PyResult<Option<&Bound<'py, PyAny>>> {
        let py = partition_key.py();
        let Some(text) = text_of(partition_key).filter(|_| !self.ends.is_empty()) else {
            return Ok(None);
        };
        let hash_key = u128::from_be_bytes(md5::digest(text.as_bytes()));
        let nth = self.ends.partition_point(|&end| end < hash_key);
        let Some(route) = self.by_shard.get(nth).map(|route| route.bind(py)) else {
            return Ok(None);
        };
        let remembered = self.by_partition_key.bind(py);
        if remembered.len() < MOST_REMEMBERED {
            remembered.set_item(partition_key, route)?;
        }
        Ok(Some(route))
    }
}

#[inline]
fn builder_of<'py>(route: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, Builder>>> {
    Ok(route.getattr(intern!(route.py(), "builder"))?.cast_into_exact::<Builder>().ok())
}
