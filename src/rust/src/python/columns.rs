//! `columns` for `shardpack.arrow`, by Arrow's C data interface.

use super::arrow::{Column, Kept, Part};
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

/// Cut the user records out of Kinesis records, which are bytes objects. `views`: see `cut`.
#[pyfunction]
pub fn cut_each(py: Python<'_>, blobs: Vec<Bound<'_, PyBytes>>, views: bool) -> PyResult<Cut> {
    let slices: Vec<&[u8]> = blobs.iter().map(|blob| blob.as_bytes()).collect();
    if slices.iter().map(|slice| slice.len()).sum::<usize>() > i32::MAX as usize {
        return Err(PyValueError::new_err("the Kinesis records have 2^31 bytes or more"));
    }
    let columns = py.detach(|| columns::cut(&slices, if views { How::Each } else { How::Copied }));
    let sizes = slices.iter().map(|slice| slice.len() as i64).collect();
    let kept = || blobs.into_iter().map(|blob| Some(Arc::new(Kept::new(blob)) as Arc<dyn Part>)).collect();
    Ok(made(columns, sizes, if views { kept() } else { Vec::new() }))
}

/// Cut the user records out of Kinesis records.
///
/// `data`: all of them, one after the other, less than 2^31 bytes, which nobody changes; `ends`: where each begins, and
/// where the last ends; `views`: the column of data holds views of what came in, and keeps it alive, in place of copies.
#[pyfunction]
pub fn cut(py: Python<'_>, data: PyBuffer<u8>, ends: PyBuffer<i64>, views: bool) -> PyResult<Cut> {
    let ends = ends.to_vec(py)?;
    if !data.is_c_contiguous() {
        return Err(PyValueError::new_err("data is not contiguous"));
    }
    // SAFETY: the buffer is contiguous, and stays where it is for as long as `data` is held; it is one of Arrow's, which
    // do not change.
    let bytes = unsafe { std::slice::from_raw_parts(data.buf_ptr().cast::<u8>(), data.len_bytes()) };
    let blob = |pair: &[i64]| bytes.get(usize::try_from(pair[0]).ok()?..usize::try_from(pair[1]).ok()?);
    let blobs: Option<Vec<&[u8]>> = ends.windows(2).map(blob).collect();
    let Some(blobs) = blobs.filter(|_| bytes.len() <= i32::MAX as usize) else {
        return Err(PyValueError::new_err("ends do not lie in data, or it has 2^31 bytes or more"));
    };
    let columns = py.detach(|| columns::cut(&blobs, if views { How::One(&ends) } else { How::Copied }));
    let size = bytes.len() as i64;
    Ok(made(columns, vec![size], if views { vec![Some(Arc::new(data))] } else { Vec::new() }))
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
