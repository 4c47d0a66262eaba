//! A parsed aggregate as Python sees it: by columns, or as named tuples.

use super::list;
use super::objects::Maker;
use crate::aggregate::{self, Sub, Tag, NONE};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyInt, PyList, PyString, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;
use std::ops::Range;

static USER_RECORD: PyOnceLock<Py<PyType>> = PyOnceLock::new();
static RECEIVED_RECORD: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// See `wire.core.Aggregate`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Aggregate {
    blob: Py<PyBytes>,
    partition_keys: Vec<Py<PyAny>>,
    explicit_hash_keys: Vec<Py<PyAny>>,
    records: Vec<Sub>,
    tags: Vec<Tag>,
}

impl Aggregate {
    pub fn new<'a>(blob: &'a Bound<'_, PyBytes>, parsed: aggregate::Aggregate, texts: &mut Texts<'a>) -> Self {
        let mut each = |table: &[Range<usize>]| table.iter().map(|at| texts.of(blob, at).into_any().unbind()).collect();
        Aggregate {
            partition_keys: each(&parsed.partition_keys),
            explicit_hash_keys: each(&parsed.explicit_hash_keys),
            records: parsed.records,
            tags: parsed.tags,
            blob: blob.clone().unbind(),
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

    /// The tags of a sub-record, by its place.
    #[inline]
    fn tags_of<'py>(&self, py: Python<'py>, nth: usize) -> PyResult<Bound<'py, PyAny>> {
        if self.tags.is_empty() {
            return Ok(PyTuple::empty(py).into_any());
        }
        // Where each record has one, it is there; else it is looked for.
        let is_there = self.tags.get(nth).is_some_and(|tag| tag.record as usize == nth)
            && (nth == 0 || (self.tags[nth - 1].record as usize) < nth);
        let first = if is_there { nth } else { self.tags.partition_point(|tag| (tag.record as usize) < nth) };
        let blob = self.blob.bind(py);
        let own = self.tags[first..].iter().take_while(|tag| tag.record as usize == nth);
        let pair = |tag: &Tag| (text(blob, &tag.key), tag.value.as_ref().map(|at| text(blob, at))).into_pyobject(py);
        Ok(PyTuple::new(py, own.map(pair).collect::<PyResult<Vec<_>>>()?)?.into_any())
    }

    /// The field in place of tags, for a maker of records: one that shows that they may be hidden from the collector.
    fn no_tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(if self.tags.is_empty() { PyTuple::empty(py).into_any() } else { PyTuple::new(py, [py.None()])?.into_any() })
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

    #[getter]
    fn tags<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let tags = (0..self.records.len()).map(|nth| self.tags_of(py, nth));
        list(py, tags.collect::<PyResult<Vec<_>>>()?)
    }

    /// The sub-records as `UserRecord` objects.
    fn user_records<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let class = USER_RECORD.import(py, "shardpack.records", "UserRecord")?;
        let none = py.None().into_bound(py);
        let mut maker = Maker::new(class, [none.clone(), none.clone(), none, self.no_tags(py)?])?;
        let make = |(nth, sub): (usize, &Sub)| {
            if !self.tags.is_empty() {
                maker.set(py, 3, self.tags_of(py, nth)?);
            }
            maker.set(py, 0, self.partition_key(py, sub));
            maker.set(py, 1, self.data_of(py, sub));
            maker.set(py, 2, self.explicit_hash_key(py, sub));
            maker.make(py)
        };
        list(py, self.records.iter().enumerate().map(make).collect::<PyResult<Vec<_>>>()?)
    }

    /// The sub-records as `ReceivedRecord` objects, each made when it is asked for.
    fn received<'py>(
        slf: Bound<'py, Self>,
        sequence_number: Bound<'py, PyAny>,
        timestamp: Bound<'py, PyAny>,
        shard_id: Bound<'py, PyAny>,
    ) -> PyResult<Received> {
        let py = slf.py();
        let class = RECEIVED_RECORD.import(py, "shardpack.records", "ReceivedRecord")?;
        let none = py.None().into_bound(py);
        let tags = slf.get().no_tags(py)?;
        let aggregated = true.into_pyobject(py)?.to_owned().into_any();
        let fields =
            [none.clone(), none.clone(), none.clone(), sequence_number, none, aggregated, timestamp, shard_id, tags];
        Ok(Received { maker: Maker::new(class, fields)?, aggregate: slf.unbind(), at: 0 })
    }
}

/// The sub-records of an aggregate, on their way out.
#[pyclass(module = "shardpack.wire._native")]
pub struct Received {
    aggregate: Py<Aggregate>,
    maker: Maker<9>,
    at: usize,
}

impl Received {
    #[inline]
    pub fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let aggregate = self.aggregate.get();
        let Some(sub) = aggregate.records.get(self.at) else {
            self.maker.forget();
            return Ok(None);
        };
        let fields = [
            (0, aggregate.partition_key(py, sub)),
            (1, aggregate.data_of(py, sub)),
            (2, aggregate.explicit_hash_key(py, sub)),
            (4, index(py, self.at)),
        ];
        let record = if aggregate.tags.is_empty() {
            self.maker.make_next(py, fields)?
        } else {
            self.maker.set(py, 8, aggregate.tags_of(py, self.at)?);
            for (place, field) in fields {
                self.maker.set(py, place, field);
            }
            self.maker.make(py)?
        };
        self.at += 1;
        Ok(Some(record))
    }
}

#[pymethods]
impl Received {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.next(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.maker.visit(visit)
    }
}

/// An index as Python's number. Those that come again and again are made once.
#[inline]
fn index(py: Python<'_>, nth: usize) -> Bound<'_, PyAny> {
    static MADE: [PyOnceLock<Py<PyInt>>; 8192] = [const { PyOnceLock::new() }; 8192];
    match MADE.get(nth) {
        // Without a GIL, threads would get in each other's way with counting who has it.
        Some(made) if cfg!(not(Py_GIL_DISABLED)) => {
            made.get_or_init(py, || PyInt::new(py, nth).unbind()).bind(py).clone().into_any()
        }
        _ => PyInt::new(py, nth).into_any(),
    }
}

fn text<'py>(blob: &Bound<'py, PyBytes>, at: &Range<usize>) -> Bound<'py, PyString> {
    let bytes = &blob.as_bytes()[at.clone()];
    match std::str::from_utf8(bytes) {
        Ok(text) => PyString::new(blob.py(), text),
        Err(_) => PyString::new(blob.py(), &String::from_utf8_lossy(bytes)),
    }
}

/// Texts that were made for other aggregates: most keys of one are those of the next.
#[derive(Default)]
pub struct Texts<'a> {
    /// By a part of their hash; a text takes the place of another that has the same.
    made: Vec<Option<(&'a [u8], Py<PyString>)>>,
}

const PLACES: usize = 1024;

impl<'a> Texts<'a> {
    /// For so many aggregates.
    pub fn of_many(aggregates: usize) -> Self {
        Texts { made: (0..if aggregates > 1 { PLACES } else { 0 }).map(|_| None).collect() }
    }

    fn of<'py>(&mut self, blob: &'a Bound<'py, PyBytes>, at: &Range<usize>) -> Bound<'py, PyString> {
        let bytes = &blob.as_bytes()[at.clone()];
        let Some(place) = self.made.get_mut(FxBuildHasher.hash_one(bytes) as usize % PLACES) else {
            return text(blob, at);
        };
        match place {
            Some((known, made)) if *known == bytes => made.bind(blob.py()).clone(),
            _ => {
                let made = text(blob, at);
                *place = Some((bytes, made.clone().unbind()));
                made
            }
        }
    }
}
