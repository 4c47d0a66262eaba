//! User records into the builders of their routes: the way of most records, without a step in Python.

use super::routes::Routes;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyIterator, PyList, PyString, PyTuple};
use pyo3::{ffi, intern};

/// What `Packer` is a kind of, for its `add`. It has no state of its own: that is in the packer's attributes.
#[pyclass(frozen, subclass, module = "shardpack.wire._native")]
pub struct Adding;

#[pymethods]
impl Adding {
    #[new]
    #[pyo3(signature = (*_arguments, **_settings))]
    fn new(_arguments: &Bound<'_, PyTuple>, _settings: Option<&Bound<'_, PyDict>>) -> Self {
        Adding
    }

    /// Take a user record.
    ///
    /// Args:
    ///     partition_key: 1 to 256 Unicode characters.
    ///     data: the payload; a bytearray or memoryview is copied.
    ///     explicit_hash_key: a number from 0 to 2^128-1 that overrides the partition key's hash, as a str or an int.
    ///     tags: (key, value or None) pairs to carry inside the aggregate.
    ///
    /// Returns:
    ///     The Kinesis records that are now complete: usually none.
    ///
    /// Raises:
    ///     InvalidRecordError: a field breaks a rule of the service.
    ///     RecordTooLargeError: the record does not fit, even alone. In both cases nothing has changed.
    #[pyo3(
        signature = (partition_key, data, explicit_hash_key = None, tags = None),
        text_signature = "($self, partition_key, data, explicit_hash_key=None, tags=())"
    )]
    fn add<'py>(
        slf: &Bound<'py, Self>,
        partition_key: &Bound<'py, PyAny>,
        data: &Bound<'py, PyAny>,
        explicit_hash_key: Option<&Bound<'py, PyAny>>,
        tags: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        if explicit_hash_key.is_none() && is_empty(tags.as_ref()) && is_added(slf, partition_key, data)? {
            return Ok(PyList::empty(py).into_any());
        }
        let tags = tags.unwrap_or_else(|| PyTuple::empty(py).into_any());
        slf.call_method1(intern!(py, "_add_in_python"), (partition_key, data, explicit_hash_key, tags))
    }
}

#[inline]
fn is_empty(tags: Option<&Bound<'_, PyAny>>) -> bool {
    tags.is_none_or(|tags| tags.cast_exact::<PyTuple>().is_ok_and(|tags| tags.is_empty()))
}

/// Whether the record was simple, and the open aggregate of its route has taken it.
#[inline]
fn is_added(packer: &Bound<'_, Adding>, partition_key: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<bool> {
    let (Ok(key), Ok(data)) = (partition_key.cast_exact::<PyString>(), data.cast_exact::<PyBytes>()) else {
        return Ok(false);
    };
    match packer.getattr(intern!(packer.py(), "_simple"))?.cast_exact::<Routes>() {
        Ok(routes) => into_route(routes.get(), key, data, false),
        Err(_) => Ok(false),
    }
}

#[inline]
fn into_route(
    routes: &Routes,
    key: &Bound<'_, PyString>,
    data: &Bound<'_, PyBytes>,
    is_of_list: bool,
) -> PyResult<bool> {
    Ok(match routes.builder(key)? {
        Some(builder) if is_of_list => builder.get().take_of_list(key, data, routes.most),
        Some(builder) => builder.get().take(key, data, routes.most),
        None => false,
    })
}

/// Fill builders from an iterator of user records, for as long as it is simple: the way of most records.
///
/// Returns the first record, in a tuple, that is not simple, that has no builder, or that does not fit; None when there
/// are no more.
#[pyfunction]
pub fn fill<'py>(
    records: &Bound<'py, PyIterator>,
    routes: &Bound<'py, Routes>,
) -> PyResult<Option<(Bound<'py, PyAny>,)>> {
    let routes = routes.get();
    if !is_of_list(records) {
        return take(records, |key, data| into_route(routes, key, data, false));
    }
    match routes.builder_of_all(records.py())? {
        // Nothing of the application runs while a list is read, so the builder stays the same.
        Some(builder) => take(records, |key, data| Ok(builder.get().take_of_list(key, data, routes.most))),
        None => take(records, |key, data| into_route(routes, key, data, true)),
    }
}

/// Whether it is an iterator of Python's own over a list or a tuple.
fn is_of_list(records: &Bound<'_, PyIterator>) -> bool {
    let class = records.get_type_ptr().cast_const();
    class == &raw const ffi::PyListIter_Type || class == &raw const ffi::PyTupleIter_Type
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
pub fn simple<'py>(record: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyString>, Bound<'py, PyBytes>)> {
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
