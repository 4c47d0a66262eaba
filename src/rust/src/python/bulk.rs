//! What a producer does with many user records at once.

use super::adding::simple;
use super::builder::text_of;
use super::list;
use super::objects::Maker;
use crate::md5;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString, PyTuple, PyType};

/// Room is made for so many records at once, and for more when they come.
const MOST_EXPECTED: usize = 1 << 16;

/// The records of an iterable as `UserRecord` objects, each checked as `records.check_user_record` does.
#[pyfunction]
pub fn checked<'py>(user_records: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let py = user_records.py();
    let module = py.import(intern!(py, "shardpack.records"))?;
    let class = module.getattr(intern!(py, "UserRecord"))?.cast_into::<PyType>()?;
    let check = module.getattr(intern!(py, "check_user_record"))?;
    let none = || py.None().into_bound(py);
    let mut maker = Maker::<4>::new(&class, [none(), none(), none(), PyTuple::empty(py).into_any()])?;
    // As many as it says, which may be more than there are, or than any memory holds.
    let mut records = Vec::with_capacity(user_records.len().unwrap_or(0).min(MOST_EXPECTED));
    for record in user_records.try_iter()? {
        let record = record?;
        records.push(match simple(&record) {
            Some((key, _)) if text_of(&key).is_none() => check.call1((record,))?,
            Some(_) if record.get_type().is(&class) => record,
            Some((key, data)) => {
                maker.set(py, 0, key.into_any());
                maker.set(py, 1, data.into_any());
                maker.make(py)?
            }
            None => check.call1((record,))?,
        });
    }
    list(py, records)
}

/// Of `UserRecord` objects that were checked: the bytes with partition keys, those of the largest, and without.
#[pyfunction]
pub fn measured(records: &Bound<'_, PyAny>) -> PyResult<(usize, usize, usize)> {
    let (mut all, mut largest, mut data) = (0, 0, 0);
    for record in records.try_iter()? {
        let (key, bytes, _) = fields(&record?)?;
        let text = key.to_str()?.len();
        let bytes = bytes.as_bytes().len();
        all += text + bytes;
        data += bytes;
        largest = largest.max(text + bytes);
    }
    Ok((all, largest, data))
}

/// Which of `UserRecord` objects that were checked go to which shard: the shard's place, and the places of its records.
///
/// `ends`: the last hash key of each shard, in their order. None: a record has an explicit hash key.
#[pyfunction]
pub fn divided<'py>(
    py: Python<'py>,
    records: &Bound<'py, PyAny>,
    ends: &Bound<'py, Ends>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let ends = &ends.get().0;
    let mut places: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut known = rustc_hash::FxHashMap::<usize, usize>::default();
    for (nth, record) in records.try_iter()?.enumerate() {
        let (key, _, has_own) = fields(&record?)?;
        if has_own {
            return Ok(None);
        }
        let shard = if ends.len() < 2 {
            0 // nothing to choose from
        } else {
            let hash_key = u128::from_be_bytes(md5::digest(key.to_str()?.as_bytes()));
            ends.partition_point(|&end| end < hash_key)
        };
        let at = *known.entry(shard).or_insert_with(|| {
            places.push((shard, Vec::new()));
            places.len() - 1
        });
        places[at].1.push(nth);
    }
    let by_shard = PyDict::new(py);
    for (shard, of_shard) in places {
        by_shard.set_item(shard, of_shard)?;
    }
    Ok(Some(by_shard))
}

/// See `wire.core.ShardEnds`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Ends(Vec<u128>);

#[pymethods]
impl Ends {
    #[new]
    fn new(ends: Vec<u128>) -> Self {
        Ends(ends)
    }
}

/// Partition key and data of a `UserRecord` that was checked, and whether it has an explicit hash key.
#[inline]
fn fields<'py>(record: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyString>, Bound<'py, PyBytes>, bool)> {
    let tuple = record.cast::<PyTuple>()?;
    if tuple.len() != 4 {
        return Err(PyTypeError::new_err("a user record has four fields"));
    }
    let key = tuple.get_item(0)?.cast_into::<PyString>()?;
    let data = tuple.get_item(1)?.cast_into::<PyBytes>()?;
    Ok((key, data, !tuple.get_item(2)?.is_none()))
}

/// As many named tuples of five fields as `count` says: the first one, and others in which the number in the third field
/// counts on.
#[pyfunction]
pub fn counted_on<'py>(py: Python<'py>, first: &Bound<'py, PyTuple>, count: usize) -> PyResult<Bound<'py, PyList>> {
    let field = |nth| first.get_item(nth);
    let start: usize = field(2)?.extract()?;
    let common = [field(0)?, field(1)?, py.None().into_bound(py), field(3)?, field(4)?];
    let mut maker = Maker::<5>::new(&first.get_type(), common)?;
    let mut made = Vec::with_capacity(count);
    for number in start..start + count {
        maker.set(py, 2, PyInt::new(py, number).into_any());
        made.push(maker.make(py)?);
    }
    list(py, made)
}
