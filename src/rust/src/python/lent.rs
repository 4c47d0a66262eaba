//! Data that an aggregate only refers to until it is finished: bytes objects, and values of columns.

use super::arrow::Memory;
use super::objects::HeldBytes;
use crate::pack::Lender;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// Objects with fewer bytes are copied at once: until their aggregate is finished, they would be fetched from memory three
/// times, to be counted, to be copied and to be let go, which takes longer than to copy them twice.
pub const OBJECT_WORTH_LENDING: usize = 512;
/// Values with fewer bytes are copied at once: their places take nearly as much.
pub const VALUE_WORTH_LENDING: usize = 64;

/// The values of a column: all of them, one after the other, and where each begins and the last ends.
pub struct Values {
    ends: Memory,
    bytes: Memory,
}

impl Values {
    pub fn new((bytes, ends): (PyBuffer<u8>, PyBuffer<u8>)) -> PyResult<Self> {
        match (Memory::new(bytes), Memory::new(ends)) {
            (Some(bytes), Some(ends)) => Ok(Values { ends, bytes }),
            _ => Err(PyValueError::new_err("a column is not contiguous")),
        }
    }

    pub fn count(&self) -> usize {
        (self.ends.bytes().len() / size_of::<i64>()).saturating_sub(1)
    }

    /// None where there is none, or it does not lie in the column.
    #[inline]
    pub fn get(&self, nth: usize) -> Option<&[u8]> {
        self.bytes.bytes().get(self.end(nth)?..self.end(nth + 1)?)
    }

    #[inline]
    fn end(&self, nth: usize) -> Option<usize> {
        let number = self.ends.bytes().get(nth * size_of::<i64>()..)?.first_chunk()?;
        usize::try_from(i64::from_ne_bytes(*number)).ok()
    }
}

/// Who lends data to an aggregate.
#[derive(Default)]
pub struct Lenders {
    columns: Vec<Arc<Values>>,
}

/// Where the data of one record is.
pub enum Place {
    Object(HeldBytes),
    Value { column: u32, row: u32 },
}

impl Lender for Lenders {
    type Place = Place;

    #[inline]
    fn data<'a>(&'a self, place: &'a Place) -> &'a [u8] {
        match place {
            Place::Object(bytes) => bytes.as_slice(),
            Place::Value { column, row } => self.columns[*column as usize].get(*row as usize).unwrap_or_default(),
        }
    }

    #[inline]
    fn prefetch(&self, place: &Place) {
        if let Place::Object(bytes) = place {
            bytes.prefetch(); // the values of a column are next to each other, which the processor sees by itself
        }
    }
}

impl Lenders {
    #[inline]
    pub fn object(&mut self, bytes: &Bound<'_, PyBytes>) -> Place {
        Place::Object(HeldBytes::new(bytes))
    }

    #[inline]
    pub fn value(&mut self, column: &Arc<Values>, row: u32) -> Place {
        if !self.columns.last().is_some_and(|last| Arc::ptr_eq(last, column)) {
            self.columns.push(column.clone());
        }
        Place::Value { column: self.columns.len() as u32 - 1, row }
    }
}
