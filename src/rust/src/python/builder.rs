//! Aggregates being filled, one by one and in bulk.

use super::objects::NewBytes;
use super::WORTH_DETACHING;
use crate::{pack, wire};
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyString, PyTuple};

const MAX_PARTITION_KEY_CHARACTERS: usize = 256;

/// See `_backend.Builder`.
#[pyclass(module = "shardpack._native")]
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
    fn take(&mut self, partition_key: &Bound<'_, PyString>, data: &Bound<'_, PyBytes>) -> bool {
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
    let new = |one: &&pack::Builder| NewBytes::of(py, &one.parts(), wire::CHECKSUM_BYTES);
    let mut blobs = builders.iter().map(new).collect::<PyResult<Vec<_>>>()?;
    let mut outs: Vec<&mut [u8]> = blobs.iter_mut().map(NewBytes::as_mut).collect();
    if outs.iter().map(|out| out.len()).sum::<usize>() < WORTH_DETACHING {
        pack::sign(&mut outs);
    } else {
        py.detach(|| pack::sign(&mut outs));
    }
    Ok(blobs.into_iter().map(NewBytes::finish).collect())
}

/// Fill builders from an iterator of user records, for as long as it is simple: the way of most records.
///
/// `one_for_all`: the builder of every record; or else `by_partition_key` has objects whose `builder` is the one.
///
/// Returns the first record, in a tuple, that is not simple, that has no builder, or that does not fit; None when there
/// are no more.
#[pyfunction]
pub fn fill<'py>(
    records: &Bound<'py, PyIterator>,
    one_for_all: Option<Bound<'py, Builder>>,
    by_partition_key: &Bound<'py, PyDict>,
) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
    match one_for_all {
        // Nothing of the application runs while a list is read, so the builder stays borrowed.
        Some(builder) if is_of_list(records)? => {
            let mut builder = builder.try_borrow_mut()?;
            take(records, |key, data| Ok(builder.take(key, data)))
        }
        Some(builder) => take(records, |key, data| Ok(builder.try_borrow_mut()?.take(key, data))),
        None => take(records, |key, data| {
            let Some(route) = by_partition_key.get_item(key)? else { return Ok(false) };
            match route.getattr(intern!(key.py(), "builder"))?.cast_into::<Builder>() {
                Ok(builder) => Ok(builder.try_borrow_mut()?.take(key, data)),
                Err(_) => Ok(false),
            }
        }),
    }
}

fn is_of_list(records: &Bound<'_, PyIterator>) -> PyResult<bool> {
    let name = records.get_type().name()?;
    Ok(name == "list_iterator" || name == "tuple_iterator")
}

#[inline(always)]
fn take<'py>(
    records: &Bound<'py, PyIterator>,
    mut one: impl FnMut(&Bound<'py, PyString>, &Bound<'py, PyBytes>) -> PyResult<bool>,
) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
    for record in records {
        let record = record?;
        let is_taken = match simple(&record) {
            Some((key, data)) => one(&key, &data)?,
            None => false,
        };
        if !is_taken {
            return Ok(Some((record,)));
        }
    }
    Ok(None)
}

/// Partition key and data of a user record without explicit hash key and tags, if both are just that.
#[inline]
fn simple<'py>(record: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyString>, Bound<'py, PyBytes>)> {
    let tuple = record.cast::<PyTuple>().ok()?;
    let size = tuple.len();
    if !(2..=4).contains(&size) || (size > 2 && !tuple.get_item(2).ok()?.is_none()) {
        return None;
    }
    if size == 4 && !tuple.get_item(3).ok()?.cast_exact::<PyTuple>().is_ok_and(|tags| tags.is_empty()) {
        return None;
    }
    let key = tuple.get_item(0).ok()?.cast_into_exact::<PyString>().ok()?;
    let data = tuple.get_item(1).ok()?.cast_into_exact::<PyBytes>().ok()?;
    Some((key, data))
}

/// A partition key that breaks no rule of the service.
#[inline]
fn text_of<'a>(partition_key: &'a Bound<'_, PyAny>) -> Option<&'a str> {
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
    let encoder = tags.py().import("shardpack.wire._builder")?;
    Ok(encoder.call_method1("tag_bytes", (tags,))?.cast_into::<PyBytes>()?)
}
