//! Objects that are made by hand, because nothing that Python offers is as cheap.

use crate::memory::{self, Room};
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple, PyType};
use pyo3::{PyTraverseError, PyVisit};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Tuples in each other that are looked through for what may be part of a cycle: no field that makes sense has more.
const MOST_NESTED: u32 = 8;

/// Makes the objects of a class made by `typing.NamedTuple`, as `tuple.__new__(class, fields)` does.
///
/// CPython itself makes them, so that they have all that an object has in its version. What is saved is the tuple of
/// fields that it copies: one is filled again and again. Nobody else sees that one: the garbage collector does not
/// know it, unless the objects may be part of a cycle.
///
/// Objects that cannot be part of a cycle are hidden from the collector, by the rule by which CPython hides plain
/// tuples. It would look at each again and again: a list of a million records takes three times as long when it does.
pub struct Maker<const N: usize> {
    class: Py<PyType>,
    new: ffi::newfunc,
    fields: Py<PyTuple>,
    arguments: Py<PyTuple>,
    is_hidden: bool,
    /// What `make_next` gave last, the older one first.
    given: [Option<Py<PyAny>>; 2],
}

impl<const N: usize> Maker<N> {
    /// `common`: the fields that all objects have in common, and None in place of the others.
    pub fn new<'py>(class: &Bound<'py, PyType>, common: [Bound<'py, PyAny>; N]) -> PyResult<Self> {
        let py = class.py();
        let tuple = py.get_type::<PyTuple>();
        // SAFETY: the type is alive, and this field of it never changes.
        let new = unsafe { (*tuple.as_type_ptr()).tp_new };
        let Some(new) = new.filter(|_| class.is_subclass(&tuple).unwrap_or(false)) else {
            return Err(PyTypeError::new_err(format!("{} is no named tuple", class.name()?)));
        };
        let is_hidden = !common.iter().any(|field| may_be_in_cycle(field, MOST_NESTED));
        let fields = PyTuple::new(py, common)?;
        if is_hidden {
            // SAFETY: a tuple has the collector's header.
            unsafe { ffi::PyObject_GC_UnTrack(fields.as_ptr().cast()) };
        }
        let arguments = PyTuple::new(py, [&fields])?;
        if is_hidden {
            // SAFETY: likewise. It leads to the other one.
            unsafe { ffi::PyObject_GC_UnTrack(arguments.as_ptr().cast()) };
        }
        Ok(Maker {
            class: class.clone().unbind(),
            new,
            fields: fields.unbind(),
            arguments: arguments.unbind(),
            is_hidden,
            given: [None, None],
        })
    }

    /// An object with some other fields than the one before, as `set` takes them; for an iterator.
    ///
    /// A loop lets go of an object when it has the next one. So the one before the last is mostly in nobody's hands, and
    /// is filled again, as `zip` does with its tuple: to make an object and to free it costs more than all the rest.
    #[inline]
    pub fn make_next<'py, const K: usize>(
        &mut self,
        py: Python<'py>,
        changed: [(usize, Bound<'py, PyAny>); K],
    ) -> PyResult<Bound<'py, PyAny>> {
        let [older, newer] = &mut self.given;
        std::mem::swap(older, newer);
        if let Some(free) = newer.take().filter(|object| is_free(py, object, &self.class)) {
            let object = free.into_bound(py);
            for (place, field) in changed {
                assert!(place < N);
                // SAFETY: see `is_free`.
                unsafe { put(object.as_ptr(), place, field) };
            }
            *newer = Some(object.clone().unbind());
            return Ok(object);
        }
        for (place, field) in changed {
            self.set(py, place, field);
        }
        let object = self.make(py)?;
        if self.is_hidden {
            self.given[1] = Some(object.clone().unbind());
        }
        Ok(object)
    }

    /// Let go of what was given, when no more will be.
    pub fn forget(&mut self) {
        self.given = [None, None];
    }

    /// Put a field in its place: text, bytes, a number or None, which no cycle goes through.
    #[inline]
    pub fn set(&mut self, _py: Python<'_>, place: usize, field: Bound<'_, PyAny>) {
        assert!(place < N);
        // SAFETY: the tuple has N items, and only `arguments` refers to it besides `self`.
        unsafe { put(self.fields.as_ptr(), place, field) };
    }

    /// An object with the fields as they are now.
    #[inline]
    pub fn make<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: this is `tuple.__new__(class, fields)`, which gives a new object that nobody has seen, or an error;
        // the class is a tuple's, so the object has the collector's header.
        unsafe {
            let object = (self.new)(self.class.as_ptr().cast(), self.arguments.as_ptr(), std::ptr::null_mut());
            let object = Bound::from_owned_ptr_or_err(py, object)?;
            if self.is_hidden {
                ffi::PyObject_GC_UnTrack(object.as_ptr().cast());
            }
            Ok(object)
        }
    }

    /// Show the collector what this refers to.
    pub fn visit(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        visit.call(&self.fields)?;
        visit.call(&self.arguments)
    }
}

/// Put a field in its place. The reference that was there is given up, after the new one has taken its place.
///
/// # Safety
/// The object is a tuple with so many items, which nobody else looks at.
#[inline]
unsafe fn put(tuple: *mut ffi::PyObject, place: usize, field: Bound<'_, PyAny>) {
    let before = ffi::PyTuple_GET_ITEM(tuple, place as ffi::Py_ssize_t);
    ffi::PyTuple_SET_ITEM(tuple, place as ffi::Py_ssize_t, field.into_ptr());
    ffi::Py_DECREF(before);
}

/// Whether nobody else has an object that was made here, so that it may be filled again; then it is as new.
///
/// Without a GIL, no count of references tells that for certain.
#[inline]
fn is_free(py: Python<'_>, object: &Py<PyAny>, class: &Py<PyType>) -> bool {
    let object = object.as_ptr();
    // SAFETY: the object is alive, and a tuple. Only `Maker` has it when its count is 1: it is hidden from the collector,
    // and tuples have no weak references. Whoever had it may have given it another class of the same layout.
    unsafe {
        let is_free = cfg!(not(Py_GIL_DISABLED))
            && ffi::Py_REFCNT(object) == 1
            && std::ptr::eq(ffi::Py_TYPE(object), class.bind(py).as_type_ptr());
        #[cfg(Py_3_14)]
        if is_free {
            (*object.cast::<ffi::PyTupleObject>()).ob_hash = -1; // not known yet
        }
        is_free
    }
}

/// Whether the collector might find a cycle through an object: one of a type that it knows, unless it is a tuple that
/// CPython itself has hidden, or that holds nothing through which it might. `deeper`: how many tuples in each other are
/// looked through.
fn may_be_in_cycle(object: &Bound<'_, PyAny>, deeper: u32) -> bool {
    // SAFETY: the object is alive; this only looks.
    let is_known = unsafe { ffi::PyType_IS_GC(ffi::Py_TYPE(object.as_ptr())) != 0 };
    let holds_none = |tuple: &Bound<'_, PyTuple>| {
        deeper > 0 && is_bare(tuple) && !tuple.iter().any(|it| may_be_in_cycle(&it, deeper - 1))
    };
    is_known && !object.cast::<PyTuple>().is_ok_and(holds_none)
}

/// Whether a tuple has its items and nothing more, as named tuples have; one that never changes, in any case.
fn is_bare(tuple: &Bound<'_, PyTuple>) -> bool {
    const MANAGED_DICT: std::ffi::c_ulong = 1 << 4;
    // SAFETY: the type is alive, and these fields of it never change.
    unsafe {
        let class = ffi::Py_TYPE(tuple.as_ptr());
        (*class).tp_dictoffset == 0 && ffi::PyType_GetFlags(class) & MANAGED_DICT == 0
    }
}

/// Makes bytes objects that are written before anybody else sees them.
pub struct NewBytes<'py>(PhantomData<&'py ()>);

impl<'py> NewBytes<'py> {
    /// One of so many bytes, which `write` has written all; None: it says that it has not.
    pub fn written(
        py: Python<'py>,
        size: usize,
        write: impl FnOnce(&mut [MaybeUninit<u8>]) -> bool,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        // SAFETY: without a source, the object is made with room for `size` bytes, and nobody reads them before they
        // are written; it has the one reference that is taken over.
        unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size as ffi::Py_ssize_t);
            let bytes = Bound::from_owned_ptr_or_err(py, object)?;
            let to = ffi::PyBytes_AsString(object).cast::<MaybeUninit<u8>>();
            // Python has only one empty object, of which there is nothing to write; without a source, it makes each
            // other one anew.
            let is_written = write(std::slice::from_raw_parts_mut(to, size));
            Ok(is_written.then(|| bytes.cast_into_unchecked()))
        }
    }

    /// Several of so many bytes, each written in a room; None: `write` says that it has not, or they are not full.
    pub fn all_written(
        py: Python<'py>,
        sizes: &[usize],
        write: impl FnOnce(&mut [Room]) -> bool,
    ) -> PyResult<Option<Vec<Bound<'py, PyBytes>>>> {
        // SAFETY: as in `written`.
        let new = |&size: &usize| unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), size as ffi::Py_ssize_t);
            Bound::from_owned_ptr_or_err(py, object)
        };
        let made = sizes.iter().map(new).collect::<PyResult<Vec<_>>>()?;
        let room = |(object, &size): (&Bound<'py, PyAny>, &usize)| {
            // SAFETY: the object has room for so many bytes; there are not two rooms of one, but of the empty one, which
            // has no bytes.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>(), size)
            };
            Room::new(bytes)
        };
        let mut rooms: Vec<Room> = made.iter().zip(sizes).map(room).collect();
        let is_written = write(&mut rooms) && rooms.iter().all(Room::is_full);
        // SAFETY: they are bytes objects.
        Ok(is_written.then(|| made.into_iter().map(|object| unsafe { object.cast_into_unchecked() }).collect()))
    }
}

/// A bytes object whose content can be read without Python.
pub struct HeldBytes(Py<PyBytes>);

impl HeldBytes {
    #[inline]
    pub fn new(bytes: &Bound<'_, PyBytes>) -> Self {
        HeldBytes(bytes.clone().unbind())
    }

    /// Have the processor fetch the object's beginning.
    #[inline]
    pub fn prefetch(&self) {
        const BEGINNING: usize = 2 * 64;
        let start = self.0.as_ptr().cast::<u8>();
        for line in (0..BEGINNING).step_by(64) {
            memory::prefetch_at(start.wrapping_add(line));
        }
    }

    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        let object = self.0.as_ptr();
        // SAFETY: it is a bytes object, which is kept alive, and whose size and content never change once somebody else
        // has it; both are looked at where they are, which needs no interpreter.
        unsafe {
            let size = ffi::Py_SIZE(object) as usize;
            std::slice::from_raw_parts(ffi::PyBytes_AS_STRING(object).cast::<u8>(), size)
        }
    }
}
