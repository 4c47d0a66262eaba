//! Named tuples, made as cheaply as CPython allows.
//!
//! A named tuple made from Python costs a tuple more than itself, and the garbage collector looks at each again and
//! again. Here its fields are put in place, and it is hidden from the collector, as CPython hides plain tuples of which
//! it sees that they cannot be part of a cycle.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};

/// A class made by `typing.NamedTuple`.
pub struct NamedTuple<'py> {
    class: Bound<'py, PyType>,
    alloc: ffi::allocfunc,
}

impl<'py> NamedTuple<'py> {
    pub fn new(class: &Bound<'py, PyType>) -> PyResult<Self> {
        let tuple = class.py().get_type::<PyTuple>();
        // SAFETY: both are types, and stay alive; their fields are read while attached to the interpreter.
        let (alloc, is_tuple) = unsafe {
            let (class, tuple) = (&*class.as_type_ptr(), &*tuple.as_type_ptr());
            let is_tuple = class.tp_basicsize == tuple.tp_basicsize && class.tp_itemsize == tuple.tp_itemsize;
            (class.tp_alloc, is_tuple)
        };
        match alloc {
            Some(alloc) if is_tuple && class.is_subclass(&tuple)? => Ok(NamedTuple { class: class.clone(), alloc }),
            _ => Err(PyTypeError::new_err(format!("{} is no named tuple", class.name()?))),
        }
    }

    /// An object with these fields, none of which may ever refer back to it: text, bytes, numbers, times, None.
    #[inline]
    pub fn make<const N: usize>(&self, fields: [Bound<'py, PyAny>; N]) -> PyResult<Bound<'py, PyAny>> {
        let py = self.class.py();
        // SAFETY: the class has a tuple's layout (`new`), so N items follow; each gets the reference that is given up
        // here, before anyone else can see the object.
        unsafe {
            let object = (self.alloc)(self.class.as_type_ptr(), N as ffi::Py_ssize_t);
            if object.is_null() {
                return Err(PyErr::fetch(py));
            }
            for (nth, field) in fields.into_iter().enumerate() {
                ffi::PyTuple_SET_ITEM(object, nth as ffi::Py_ssize_t, field.into_ptr());
            }
            ffi::PyObject_GC_UnTrack(object.cast());
            Ok(Bound::from_owned_ptr(py, object))
        }
    }
}

/// A bytes object that nobody has seen yet, and that may therefore still be written.
pub struct NewBytes<'py>(Bound<'py, PyBytes>);

impl<'py> NewBytes<'py> {
    /// One that the parts fill, and as many bytes after them as `room` says, which are zeros.
    pub fn of(py: Python<'py>, parts: &[&[u8]], room: usize) -> PyResult<Self> {
        let size = parts.iter().map(|part| part.len()).sum::<usize>() + room;
        // SAFETY: without a source, the object is made with room for `size` bytes, which are all written here; it has
        // the one reference that is taken over.
        unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size as ffi::Py_ssize_t);
            if object.is_null() {
                return Err(PyErr::fetch(py));
            }
            let mut to = ffi::PyBytes_AsString(object).cast::<u8>();
            for part in parts {
                to.copy_from_nonoverlapping(part.as_ptr(), part.len());
                to = to.add(part.len());
            }
            to.write_bytes(0, room);
            Ok(NewBytes(Bound::from_owned_ptr(py, object).cast_into_unchecked()))
        }
    }

    pub fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: `self` has the only reference to the object, and is borrowed for as long as the slice lives.
        unsafe {
            let start = ffi::PyBytes_AsString(self.0.as_ptr()).cast::<u8>();
            std::slice::from_raw_parts_mut(start, self.0.as_bytes().len())
        }
    }

    /// The object, which does not change any more.
    pub fn finish(self) -> Bound<'py, PyBytes> {
        self.0
    }
}
