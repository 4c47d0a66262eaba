//! `columns` for `shardpack.arrow`, by Arrow's C data interface.

use super::arrow::{bytes_of, Column, Kept, Part};
use crate::columns::{self, Columns, Data, Dictionary, How};
use crate::memory::{Buffer, Item};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};
use std::ffi::CStr;
use std::sync::Arc;

/// The user records that were cut out of Kinesis records.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Cut {
    columns: Columns,
    exported: Column,
}

#[pymethods]
impl Cut {
    /// User records of each Kinesis record, as numbers of 32 bits; negative for what was left alone: see
    /// `Columns::counts`.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes: Vec<u8> = self.columns.counts.iter().flat_map(|count| count.to_ne_bytes()).collect();
        PyBytes::new(py, &bytes)
    }

    fn __len__(&self) -> usize {
        self.exported.length
    }

    /// The columns of user records, as one struct array.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema; // which is a wish; the columns have one type
        self.exported.capsules(py)
    }

    /// A number of each Kinesis record, as often as it has user records: of 32 bits or of 64.
    fn spread(&self, py: Python<'_>, values: &Bound<'_, PyAny>) -> PyResult<Spread> {
        if let Ok(numbers) = PyBuffer::<i32>::get(values) {
            return self.spread_by(py, c"i", &numbers);
        }
        self.spread_by(py, c"l", &PyBuffer::<i64>::get(values)?)
    }
}

impl Cut {
    fn spread_by<T: Item + pyo3::buffer::Element>(
        &self,
        py: Python<'_>,
        format: &'static CStr,
        values: &PyBuffer<T>,
    ) -> PyResult<Spread> {
        let values = values.to_vec(py)?;
        if values.len() != self.columns.counts.len() {
            return Err(PyValueError::new_err("there is not one number for each Kinesis record"));
        }
        let numbers = py.detach(|| self.columns.spread(&values));
        Ok(Spread(Column::new(c"", format, numbers.len(), vec![None, part(numbers)])))
    }
}

/// What `Cut.spread` gives.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Spread(Column);

#[pymethods]
impl Spread {
    /// The numbers.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_array__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let _ = requested_schema; // which is a wish; the columns have one type
        self.0.capsules(py)
    }
}

/// So many bytes are cut together: a byte of a key may become three, and offsets of 32 bits lead to all of them.
const MOST_BYTES: usize = i32::MAX as usize / 3;

/// Kinesis records whose user records are cut out together.
#[derive(FromPyObject)]
pub enum Group<'py> {
    /// Bytes objects.
    Each(Vec<Bound<'py, PyBytes>>),
    /// All of them, one after the other, in memory that nobody changes, and where each begins and the last ends.
    One(PyBuffer<u8>, PyBuffer<i64>),
}

/// The Kinesis records of a group, and where they begin if they are in one buffer.
struct Blobs<'a> {
    slices: Vec<&'a [u8]>,
    ends: Option<Vec<i64>>,
}

impl Blobs<'_> {
    fn cut(&self, views: bool) -> Columns {
        let how = match &self.ends {
            _ if !views => How::Copied,
            Some(ends) => How::One(ends),
            None => How::Each,
        };
        columns::cut(&self.slices, how)
    }
}

impl<'py> Group<'py> {
    fn blobs(&self, py: Python<'py>) -> PyResult<Blobs<'_>> {
        let blobs = match self {
            Group::Each(blobs) => Blobs { slices: blobs.iter().map(|blob| blob.as_bytes()).collect(), ends: None },
            Group::One(data, ends) => {
                let ends = ends.to_vec(py)?;
                let bytes = bytes_of(data).ok_or_else(|| PyValueError::new_err("data is not contiguous"))?;
                let blob = |pair: &[i64]| bytes.get(usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?);
                let Some(slices) = ends.windows(2).map(blob).collect() else {
                    return Err(PyValueError::new_err("ends do not lie in data"));
                };
                Blobs { slices, ends: Some(ends) }
            }
        };
        let last = blobs.ends.as_ref().and_then(|ends| ends.last()).map_or(0, |&end| end as usize); // it lies in `data`
        if blobs.slices.iter().map(|slice| slice.len()).sum::<usize>().max(last) > MOST_BYTES {
            return Err(PyValueError::new_err(format!("the Kinesis records have more than {MOST_BYTES} bytes")));
        }
        Ok(blobs)
    }

    /// What views lead to, and its sizes.
    fn kept(self) -> (Vec<Option<Arc<dyn Part>>>, Vec<i64>) {
        match self {
            Group::Each(blobs) => {
                let sizes = blobs.iter().map(|blob| blob.as_bytes().len() as i64).collect();
                (blobs.into_iter().map(|blob| Some(Arc::new(Kept::new(blob)) as Arc<dyn Part>)).collect(), sizes)
            }
            Group::One(data, _) => {
                let size = data.len_bytes() as i64;
                (vec![Some(Arc::new(data))], vec![size])
            }
        }
    }
}

/// Cut the user records out of groups of Kinesis records, each in a thread of its own.
///
/// `views`: the column of data holds views of what came in, and keeps it alive, in place of copies.
#[pyfunction]
pub fn cut<'py>(py: Python<'py>, groups: Vec<Group<'py>>, views: bool) -> PyResult<Vec<Cut>> {
    let blobs = groups.iter().map(|group| group.blobs(py)).collect::<PyResult<Vec<_>>>()?;
    let found = py.detach(|| in_threads(&blobs, |one| one.cut(views)));
    drop(blobs);
    let made = |(columns, group): (Columns, Group<'py>)| {
        let (viewed, sizes) = if views { group.kept() } else { Default::default() };
        made(columns, sizes, viewed)
    };
    Ok(found.into_iter().zip(groups).map(made).collect())
}

/// The work's result for each item; the first is done by the thread that asks.
fn in_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let Some((first, others)) = items.split_first() else { return Vec::new() };
    std::thread::scope(|scope| {
        let started: Vec<_> =
            others.iter().map(|item| (item, std::thread::Builder::new().spawn_scoped(scope, || work(item)))).collect();
        let mut done = vec![work(first)];
        for (item, thread) in started {
            // Where the system has no more threads, or one has failed, this one does the work, or fails itself.
            done.push(thread.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(|| work(item)));
        }
        done
    })
}

fn part<T: Item>(buffer: Buffer<T>) -> Option<Arc<dyn Part>> {
    Some(Arc::new(buffer))
}

/// `viewed`, with its `sizes`: what views lead to.
fn made(mut columns: Columns, sizes: Vec<i64>, viewed: Vec<Option<Arc<dyn Part>>>) -> Cut {
    let (count, without) = (columns.count(), columns.validity.zeros);
    let validity = part(std::mem::take(&mut columns.validity.bytes)).filter(|_| without > 0);
    let keys = std::mem::take(&mut columns.partition_keys);
    let explicit = std::mem::take(&mut columns.explicit_hash_keys);
    let data = match std::mem::take(&mut columns.data) {
        Data::Copied { offsets, bytes } => Column::new(c"data", c"z", count, vec![None, part(offsets), part(bytes)]),
        Data::Views(views) => Column {
            sizes: Some(Arc::new(sizes)),
            ..Column::new(c"data", c"vz", count, [vec![None, part(views)], viewed].concat())
        },
    };
    let numbers = part(std::mem::take(&mut columns.numbers));
    let children = vec![
        Column { nulls: Some(0), ..texts(c"partition_key", count, keys, None) },
        Column { nulls: Some(without), ..texts(c"explicit_hash_key", count, explicit, validity) },
        Column { nulls: Some(0), ..data },
        Column::new(c"sub_sequence_number", c"I", count, vec![None, numbers]),
    ];
    Cut { columns, exported: Column { children, ..Column::new(c"", c"+s", count, vec![None]) } }
}

fn texts(name: &'static CStr, count: usize, texts: Dictionary, validity: Option<Arc<dyn Part>>) -> Column {
    let entries = texts.offsets.len() - 1;
    let dictionary = Column::new(c"", c"u", entries, vec![None, part(texts.offsets), part(texts.bytes)]);
    Column {
        dictionary: Some(Box::new(Column { nulls: Some(0), ..dictionary })),
        ..Column::new(name, c"i", count, vec![validity, part(texts.indices)])
    }
}
