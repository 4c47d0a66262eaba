//! A parsed aggregate as Python sees it: by columns, or as named tuples.

use super::list;
use super::objects::NamedTuple;
use crate::wire::{self, Sub, NONE};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyList, PyString, PyTuple, PyType};
use std::ops::Range;

/// So many records are made at once: few enough to be used while they are in the cache.
const CHUNK: usize = 128;

static USER_RECORD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static RECEIVED_RECORD: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// See `wire.core.Aggregate`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Aggregate {
    blob: Py<PyBytes>,
    partition_keys: Vec<Py<PyAny>>,
    explicit_hash_keys: Vec<Py<PyAny>>,
    records: Vec<Sub>,
}

impl Aggregate {
    pub fn new(blob: Bound<'_, PyBytes>, parsed: wire::Aggregate) -> Self {
        let texts = |table: &[Range<usize>]| -> Vec<Py<PyAny>> {
            let text = |at: &Range<usize>| {
                PyString::new(blob.py(), &String::from_utf8_lossy(&blob.as_bytes()[at.clone()])).into_any().unbind()
            };
            table.iter().map(text).collect()
        };
        Aggregate {
            partition_keys: texts(&parsed.partition_keys),
            explicit_hash_keys: texts(&parsed.explicit_hash_keys),
            records: parsed.records,
            blob: blob.unbind(),
        }
    }

    fn partition_key<'py>(&self, py: Python<'py>, sub: &Sub) -> Bound<'py, PyAny> {
        self.partition_keys[sub.partition_key as usize].bind(py).clone()
    }

    fn explicit_hash_key<'py>(&self, py: Python<'py>, sub: &Sub) -> Bound<'py, PyAny> {
        if sub.explicit_hash_key == NONE {
            py.None().into_bound(py)
        } else {
            self.explicit_hash_keys[sub.explicit_hash_key as usize].bind(py).clone()
        }
    }

    fn data_of<'py>(&self, py: Python<'py>, sub: &Sub) -> Bound<'py, PyAny> {
        PyBytes::new(py, &self.blob.bind(py).as_bytes()[sub.start as usize..sub.end as usize]).into_any()
    }
}

#[pymethods]
impl Aggregate {
    #[getter]
    fn partition_keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.records.iter().map(|sub| self.partition_key(py, sub)))
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.records.iter().map(|sub| self.data_of(py, sub)))
    }

    #[getter]
    fn explicit_hash_keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        list(py, self.records.iter().map(|sub| self.explicit_hash_key(py, sub)))
    }

    /// Empty: aggregates with tags are for the pure core.
    #[getter]
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let none = PyTuple::empty(py).into_any();
        list(py, self.records.iter().map(|_| none.clone()))
    }

    /// The sub-records as `UserRecord` objects.
    fn user_records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let class = NamedTuple::new(USER_RECORD.import(py, "shardpack.records", "UserRecord")?)?;
        let tags = PyTuple::empty(py).into_any();
        let make = |sub: &Sub| {
            class.make([
                self.partition_key(py, sub),
                self.data_of(py, sub),
                self.explicit_hash_key(py, sub),
                tags.clone(),
            ])
        };
        list(py, self.records.iter().map(make).collect::<PyResult<Vec<_>>>()?)
    }

    /// The sub-records as `ReceivedRecord` objects, in lists of a few, each made when it is asked for.
    fn received(
        slf: Bound<'_, Self>,
        sequence_number: Bound<'_, PyAny>,
        timestamp: Bound<'_, PyAny>,
        shard_id: Bound<'_, PyAny>,
    ) -> Received {
        Received {
            aggregate: slf.unbind(),
            shared: [sequence_number.unbind(), timestamp.unbind(), shard_id.unbind()],
            at: 0,
        }
    }
}

#[pyclass]
pub struct Received {
    aggregate: Py<Aggregate>,
    shared: [Py<PyAny>; 3],
    at: usize,
}

#[pymethods]
impl Received {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let aggregate = self.aggregate.get();
        let chunk = &aggregate.records[self.at..aggregate.records.len().min(self.at + CHUNK)];
        if chunk.is_empty() {
            return Ok(None);
        }
        let class = NamedTuple::new(RECEIVED_RECORD.import(py, "shardpack.records", "ReceivedRecord")?)?;
        let [sequence_number, timestamp, shard_id] = self.shared.each_ref().map(|one| one.bind(py));
        let tags = PyTuple::empty(py).into_any();
        let aggregated = true.into_pyobject(py)?.to_owned().into_any();
        let mut records = Vec::with_capacity(chunk.len());
        for (nth, sub) in chunk.iter().enumerate() {
            records.push(class.make([
                aggregate.partition_key(py, sub),
                aggregate.data_of(py, sub),
                aggregate.explicit_hash_key(py, sub),
                sequence_number.clone(),
                PyInt::new(py, self.at + nth).into_any(),
                aggregated.clone(),
                timestamp.clone(),
                shard_id.clone(),
                tags.clone(),
            ])?);
        }
        self.at += chunk.len();
        Ok(Some(list(py, records)?))
    }
}
