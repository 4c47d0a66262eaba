//! Aggregates being filled.

use super::lent::{Lenders, OBJECT_WORTH_LENDING, VALUE_WORTH_LENDING};
use super::objects::NewBytes;
use super::rows::Rows;
use super::WORTH_DETACHING;
use crate::memory::Room;
use crate::{memory, pack};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Rows of columns that are taken without a pause.
const ROWS_AT_ONCE: usize = 256;
const MAX_PARTITION_KEY_CHARACTERS: usize = 256;

/// See `wire.core.Builder`. Threads may share one: each record is taken whole, or not at all.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Builder(Mutex<Filling>);

struct Filling {
    capacity: isize, // below 0 where the keys around the aggregate take it all
    inner: pack::Builder<Lenders>,
}

impl Filling {
    #[inline]
    fn most(&self) -> usize {
        self.capacity.try_into().unwrap_or(0)
    }

    /// Whether a record without explicit hash key and tags fits; then it is taken, and its data not copied yet.
    #[inline]
    fn hold(&mut self, partition_key: &[u8], data: &Bound<'_, PyBytes>) -> bool {
        let (most, bytes) = (self.most(), data.as_bytes());
        if bytes.len() < OBJECT_WORTH_LENDING || !self.inner.may_borrow() {
            return self.inner.add(most, partition_key, bytes, None, &[]);
        }
        self.inner.borrow(most, partition_key, |_| true, bytes.len(), |lenders| lenders.object(data))
    }

    /// Whether a row is sound and fits; then it is taken, and its data not copied yet.
    #[inline]
    fn hold_row(&mut self, rows: &Rows, nth: usize) -> bool {
        let (Some(key), Some(data)) = (rows.keys.get(nth), rows.data.get(nth)) else { return false };
        let is_sound = |key: &[u8]| std::str::from_utf8(key).is_ok_and(|key| sound(key).is_some());
        let most = self.most();
        match u32::try_from(nth) {
            Ok(row) if data.len() >= VALUE_WORTH_LENDING && self.inner.may_borrow() => {
                self.inner.borrow(most, key, is_sound, data.len(), |lenders| lenders.value(&rows.data, row))
            }
            _ => (self.inner.knows(key) || is_sound(key)) && self.inner.add(most, key, data, None, &[]),
        }
    }
}

impl Builder {
    /// Nothing of Python's runs while it is locked, so nobody waits long, and nobody for himself. That goes for what is
    /// let go, too: a buffer calls its owner, which may be of the application.
    #[inline]
    fn filling(&self) -> MutexGuard<'_, Filling> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record without explicit hash key and tags is sound, and fits among `most`; then it is taken.
    #[inline]
    pub fn take(&self, partition_key: &Bound<'_, PyString>, data: &Bound<'_, PyBytes>, most: usize) -> bool {
        let Some(key) = text_of(partition_key) else { return false };
        let mut filling = self.filling();
        if filling.inner.count >= most {
            return false;
        }
        let most = filling.most();
        filling.inner.add(most, key.as_bytes(), data.as_bytes(), None, &[])
    }

    /// `take` for data that is there in any case, as that of a list is: it is copied when the aggregate is finished.
    #[inline]
    pub fn take_of_list(&self, partition_key: &Bound<'_, PyString>, data: &Bound<'_, PyBytes>, most: usize) -> bool {
        let Some(key) = text_of(partition_key) else { return false };
        let mut filling = self.filling();
        filling.inner.count < most && filling.hold(key.as_bytes(), data)
    }

    /// Take rows of columns from one on; the first that is not sound or does not fit, or how many there are.
    pub fn take_rows(&self, rows: &Rows, start: usize, most: usize) -> usize {
        let count = rows.keys.count();
        let mut nth = start;
        while nth < count {
            let mut filling = self.filling(); // for some rows, because others may be waiting
            let end = count.min(nth + ROWS_AT_ONCE);
            while nth < end {
                if filling.inner.count >= most || !filling.hold_row(rows, nth) {
                    return nth;
                }
                nth += 1;
            }
        }
        count
    }

    /// Take a row of columns.
    pub fn take_row(&self, rows: &Rows, nth: usize, most: usize) -> bool {
        let mut filling = self.filling();
        filling.inner.count < most && filling.hold_row(rows, nth)
    }

    /// Copy what is only referred to.
    pub fn give_back(&self) {
        let given_back = self.filling().inner.give_back();
        drop(given_back); // when it is no longer locked
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
        let mut filling = self.filling();
        if tags.is_empty()
            && explicit_hash_key.is_none()
            && filling.inner.is_lent()
            && data.is_exact_instance_of::<PyBytes>()
        {
            return Ok(filling.hold(key.as_bytes(), data)); // one of a list like those before it
        }
        let own = explicit_hash_key.map(str::as_bytes);
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

/// The aggregates of builders, each written where it stays.
fn finished<'py>(py: Python<'py>, builders: &[&Builder]) -> PyResult<Vec<Bound<'py, PyBytes>>> {
    // Each is locked once, and all in one order, so that two threads that finish the same ones do not wait for each other.
    let mut each: Vec<&Builder> = builders.to_vec();
    each.sort_by_key(|one| std::ptr::from_ref(*one));
    each.dedup_by_key(|one| std::ptr::from_ref(*one));
    let blobs = loop {
        let sizes: Vec<usize> = each.iter().map(|one| one.filling().inner.size()).collect();
        let bytes: usize = sizes.iter().sum();
        memory::count_made(bytes);
        let mut is_same = false;
        let written = NewBytes::all_written(py, &sizes, |rooms| {
            is_same = if bytes < WORTH_DETACHING { write(&each, rooms) } else { py.detach(|| write(&each, rooms)) };
            is_same
        })?;
        match written {
            Some(blobs) => break blobs,
            None if is_same => return Err(PyRuntimeError::new_err("a column has changed while it was packed")),
            None => {} // another thread has added a record in between
        }
    };
    let nth = |one: &&Builder| each.binary_search_by_key(&std::ptr::from_ref(*one), |one| std::ptr::from_ref(*one));
    Ok(builders.iter().filter_map(|one| blobs.get(nth(one).ok()?).cloned()).collect())
}

/// Finish aggregates, if they have the sizes of their rooms; whether they have.
///
/// The locks are given up before the GIL is waited for, because who has it may be waiting for one of them.
fn write(builders: &[&Builder], rooms: &mut [Room]) -> bool {
    let filling: Vec<_> = builders.iter().map(|one| one.filling()).collect();
    let inner: Vec<_> = filling.iter().map(|one| &one.inner).collect();
    let is_same = inner.iter().zip(rooms.iter()).all(|(one, room)| one.size() == room.size()); // or a record has come
    if is_same {
        pack::finish(&inner, rooms);
    }
    is_same
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
