//! Aggregates being filled.

use super::objects::NewBytes;
use super::WORTH_DETACHING;
use crate::{frame, pack};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

const MAX_PARTITION_KEY_CHARACTERS: usize = 256;

/// See `wire.core.Builder`.
#[pyclass(module = "shardpack.wire._native")]
pub struct Builder {
    #[pyo3(get, set)]
    capacity: isize, // below 0 where the keys around the aggregate take it all
    inner: pack::Builder,
}

impl Builder {
    fn most(&self) -> usize {
        self.capacity.try_into().unwrap_or(0)
    }

    /// Whether a record without explicit hash key and tags is sound and fits; then it is taken.
    #[inline]
    pub fn take(&mut self, partition_key: &Bound<'_, PyString>, data: &Bound<'_, PyBytes>) -> bool {
        let most = self.most();
        text_of(partition_key).is_some_and(|key| self.inner.add(most, key.as_bytes(), data.as_bytes(), None, &[]))
    }
}

#[pymethods]
impl Builder {
    #[new]
    fn new(capacity: isize, pin: Option<&str>) -> Self {
        Builder { capacity, inner: pack::Builder::new(pin.map(str::as_bytes)) }
    }

    #[getter]
    fn count(&self) -> usize {
        self.inner.count
    }

    #[getter]
    fn size(&self) -> usize {
        self.inner.size()
    }

    fn add(&mut self, partition_key: &Bound<'_, PyAny>, data: &Bound<'_, PyBytes>) -> PyResult<bool> {
        self.add_any(partition_key, data, None, None)
    }

    #[pyo3(signature = (partition_key, data, explicit_hash_key, tags))]
    fn add_any(
        &mut self,
        partition_key: &Bound<'_, PyAny>,
        data: &Bound<'_, PyBytes>,
        explicit_hash_key: Option<&str>,
        tags: Option<&Bound<'_, PyTuple>>,
    ) -> PyResult<bool> {
        let tags = match tags {
            Some(tags) if !tags.is_empty() => Some(encoded_tags(tags)?),
            _ => None,
        };
        let tags = tags.as_ref().map_or(&[][..], |tags| tags.as_bytes());
        let Some(key) = text_of(partition_key) else {
            return Err(refusal(partition_key)?);
        };
        let own = explicit_hash_key.map(str::as_bytes);
        Ok(self.inner.add(self.most(), key.as_bytes(), data.as_bytes(), own, tags))
    }

    fn build<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let blobs = finished(py, &[&self.inner])?;
        blobs.into_iter().next().ok_or_else(|| PyRuntimeError::new_err("nothing was built"))
    }
}

/// `Builder.build` for several, whose checksums are made side by side.
#[pyfunction]
pub fn build_many<'py>(py: Python<'py>, builders: Vec<PyRef<'py, Builder>>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    finished(py, &builders.iter().map(|builder| &builder.inner).collect::<Vec<_>>())
}

fn finished<'py>(py: Python<'py>, builders: &[&pack::Builder]) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    let new = |one: &&pack::Builder| NewBytes::of(py, &one.parts(), frame::CHECKSUM_BYTES);
    let mut blobs = builders.iter().map(new).collect::<PyResult<Vec<_>>>()?;
    let mut outs: Vec<&mut [u8]> = blobs.iter_mut().map(NewBytes::as_mut).collect();
    if outs.iter().map(|out| out.len()).sum::<usize>() < WORTH_DETACHING {
        frame::sign(&mut outs);
    } else {
        py.detach(|| frame::sign(&mut outs));
    }
    Ok(blobs.into_iter().map(NewBytes::finish).collect())
}

/// A partition key that breaks no rule of the service.
#[inline]
pub fn text_of<'a>(partition_key: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    let text = partition_key.cast::<PyString>().ok()?.to_str().ok()?;
    let is_short = text.len() <= MAX_PARTITION_KEY_CHARACTERS || text.chars().count() <= MAX_PARTITION_KEY_CHARACTERS;
    (is_short && !text.is_empty()).then_some(text)
}

/// The error that the pure core has for a partition key that breaks one.
fn refusal(partition_key: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let records = partition_key.py().import("shardpack.records")?;
    match records.call_method1("check_partition_key", (partition_key,)) {
        Err(error) => Ok(error),
        Ok(_) => Ok(PyRuntimeError::new_err("the cores disagree about a partition key; please report it")),
    }
}

fn encoded_tags<'py>(tags: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyBytes>> {
    let encoder = tags.py().import("shardpack.wire.builder")?;
    Ok(encoder.call_method1("tag_bytes", (tags,))?.cast_into::<PyBytes>()?)
}
