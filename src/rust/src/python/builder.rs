//! Aggregates being filled.

use super::objects::NewBytes;
use super::WORTH_DETACHING;
use crate::{frame, memory, pack};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Who packs so much at once is likely to go on, and gains by memory that is not new.
const MANY_BYTES: usize = 1 << 20;
const MAX_PARTITION_KEY_CHARACTERS: usize = 256;

/// See `wire.core.Builder`. Threads may share one: each record is taken whole, or not at all.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Builder(Mutex<Filling>);

struct Filling {
    capacity: isize, // below 0 where the keys around the aggregate take it all
    inner: pack::Builder,
}

impl Filling {
    fn most(&self) -> usize {
        self.capacity.try_into().unwrap_or(0)
    }
}

impl Builder {
    /// Nothing of Python's runs while it is locked, so nobody waits long, and nobody for himself.
    #[inline]
    fn filling(&self) -> MutexGuard<'_, Filling> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record without explicit hash key and tags is sound and fits; then it is taken.
    #[inline]
    pub fn take(&self, partition_key: &Bound<'_, PyString>, data: &Bound<'_, PyBytes>) -> bool {
        text_of(partition_key).is_some_and(|key| self.take_sound(key, data.as_bytes()))
    }

    /// Whether a record fits whose partition key breaks no rule of the service; then it is taken.
    #[inline]
    pub fn take_sound(&self, partition_key: &str, data: &[u8]) -> bool {
        let mut filling = self.filling();
        let most = filling.most();
        filling.inner.add(most, partition_key.as_bytes(), data, None, &[])
    }
}

#[pymethods]
impl Builder {
    #[new]
    fn new(capacity: isize, pin: Option<&str>) -> Self {
        let inner = pack::Builder::new(pin.map(str::as_bytes));
        Builder(Mutex::new(Filling { capacity, inner }))
    }

    #[getter]
    fn capacity(&self) -> isize {
        self.filling().capacity
    }

    #[setter]
    fn set_capacity(&self, capacity: isize) {
        self.filling().capacity = capacity;
    }

    #[getter]
    fn count(&self) -> usize {
        self.filling().inner.count
    }

    #[getter]
    fn size(&self) -> usize {
        self.filling().inner.size()
    }

    fn add(&self, partition_key: &Bound<'_, PyAny>, data: &Bound<'_, PyBytes>) -> PyResult<bool> {
        self.add_any(partition_key, data, None, None)
    }

    #[pyo3(signature = (partition_key, data, explicit_hash_key, tags))]
    fn add_any(
        &self,
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
        let mut filling = self.filling();
        let most = filling.most();
        Ok(filling.inner.add(most, key.as_bytes(), data.as_bytes(), own, tags))
    }

    fn repin(&self, pin: &str) -> PyResult<()> {
        if !self.filling().inner.repin(pin.as_bytes()) {
            return Err(PyValueError::new_err("the aggregate is not pinned"));
        }
        Ok(())
    }

    fn build<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let blobs = finished(py, &[self])?;
        blobs.into_iter().next().ok_or_else(|| PyRuntimeError::new_err("nothing was built"))
    }
}

/// `Builder.build` for several, whose checksums are made side by side.
#[pyfunction]
pub fn build_many<'py>(py: Python<'py>, builders: Vec<Bound<'py, Builder>>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    finished(py, &builders.iter().map(Bound::get).collect::<Vec<_>>())
}

fn finished<'py>(py: Python<'py>, builders: &[&Builder]) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    if builders.iter().map(|one| one.filling().inner.size()).sum::<usize>() > MANY_BYTES {
        memory::keep_pages();
    }
    let new = |one: &&Builder| NewBytes::of(py, &one.filling().inner.parts(), frame::CHECKSUM_BYTES);
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
    sound(partition_key.cast::<PyString>().ok()?.to_str().ok()?)
}

/// The text, if it breaks no rule of the service for a partition key.
#[inline]
pub fn sound(text: &str) -> Option<&str> {
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
