//! Columns handed over by the Arrow C data interface: pointers to buffers, which live until whoever got them lets go.
//!
//! The two structures and what they mean are laid down in Arrow's documents ("The Arrow C data interface", with
//! "The Arrow PyCapsule interface" for Python). They are written here by hand: Arrow's own crates would double the size
//! of the module, for what is two structures, and checks of what was never in doubt.

use crate::memory::{Buffer, Item};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyCapsule};
use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr::null_mut;
use std::sync::Arc;

const NULLABLE: i64 = 2; // ARROW_FLAG_NULLABLE

/// Memory that a column lies in. It stays where it is, and nobody writes there.
pub trait Part: Send + Sync {
    fn start(&self) -> *const u8;
}

impl<T: Item> Part for Buffer<T> {
    fn start(&self) -> *const u8 {
        self.as_ptr().cast()
    }
}

impl Part for PyBuffer<u8> {
    fn start(&self) -> *const u8 {
        self.buf_ptr().cast()
    }
}

/// What is in a buffer of Arrow's, or in another that nobody changes; None if it is not in one piece.
pub fn bytes_of(buffer: &PyBuffer<u8>) -> Option<&[u8]> {
    if buffer.len_bytes() == 0 {
        return Some(&[]); // where the buffer may be nowhere
    }
    // SAFETY: the buffer is contiguous, and stays where it is for as long as it is held.
    buffer
        .is_c_contiguous()
        .then(|| unsafe { std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes()) })
}

/// What is in a buffer, for as long as it is held.
pub struct Memory(PyBuffer<u8>);

impl Memory {
    /// None: it is not in one piece.
    pub fn new(buffer: PyBuffer<u8>) -> Option<Self> {
        bytes_of(&buffer)?;
        Some(Memory(buffer))
    }

    #[inline]
    pub fn bytes(&self) -> &[u8] {
        if self.0.len_bytes() == 0 {
            return &[]; // where the buffer may be nowhere
        }
        // SAFETY: `new` has seen that the buffer is contiguous; it stays where it is for as long as it is held.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}

/// A bytes object that is kept alive.
pub struct Kept(Option<Py<PyBytes>>);

impl Kept {
    pub fn new(bytes: Bound<'_, PyBytes>) -> Self {
        Kept(Some(bytes.unbind()))
    }
}

impl Part for Kept {
    fn start(&self) -> *const u8 {
        let bytes = |bytes: &Py<PyBytes>| Python::attach(|py| bytes.as_bytes(py).as_ptr());
        self.0.as_ref().map_or(std::ptr::null(), bytes)
    }
}

impl Drop for Kept {
    /// At once, and not at the next call into this module: what is kept may be all that came in.
    fn drop(&mut self) {
        let bytes = self.0.take();
        Python::try_attach(move |_| drop(bytes));
    }
}

/// A column, or several as a struct: what an array of Arrow's is made of.
#[derive(Clone)]
pub struct Column {
    pub name: &'static CStr,
    /// Of the type, as the C data interface writes it.
    pub format: &'static CStr,
    pub length: usize,
    /// How many are null; None: they cannot be.
    pub nulls: Option<usize>,
    /// In the order of the layout; None: there is none, as of validity where nothing is null.
    pub parts: Vec<Option<Arc<dyn Part>>>,
    /// Sizes of the last parts, where the layout wants them.
    pub sizes: Option<Arc<Vec<i64>>>,
    pub children: Vec<Column>,
    pub dictionary: Option<Box<Column>>,
}

impl Column {
    pub fn new(name: &'static CStr, format: &'static CStr, length: usize, parts: Vec<Option<Arc<dyn Part>>>) -> Self {
        Column { name, format, length, nulls: None, parts, sizes: None, children: Vec::new(), dictionary: None }
    }

    /// What `__arrow_c_array__` is to return.
    pub fn capsules<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyCapsule>, Bound<'py, PyCapsule>)> {
        let schema = PyCapsule::new_with_value(py, Schema::of(self), c"arrow_schema")?;
        Ok((schema, PyCapsule::new_with_value(py, Array::of(self), c"arrow_array")?))
    }
}

/// `struct ArrowSchema`.
#[repr(C)]
struct Schema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    children_count: i64,
    children: *mut *mut Schema,
    dictionary: *mut Schema,
    release: Option<unsafe extern "C" fn(*mut Schema)>,
    own: *mut c_void,
}

/// `struct ArrowArray`.
#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    buffers_count: i64,
    children_count: i64,
    buffers: *mut *const c_void,
    children: *mut *mut Array,
    dictionary: *mut Array,
    release: Option<unsafe extern "C" fn(*mut Array)>,
    own: *mut c_void,
}

/// What a schema or an array keeps alive; where it stands in memory, the pointers of the structure lead to.
struct Own<T> {
    children: Vec<*mut T>,
    dictionary: *mut T,
    buffers: Vec<*const c_void>,
    _texts: Option<(CString, CString)>,
    _parts: Parts,
}

/// What the buffers are part of: the data, and the offsets of a list.
type Parts = (Vec<Option<Arc<dyn Part>>>, Option<Arc<Vec<i64>>>);

// SAFETY: the pointers lead to what these structures own, and to what never changes; whoever has one may use it in any
// thread, one at a time, as the interface says.
unsafe impl Send for Schema {}
// SAFETY: likewise.
unsafe impl Send for Array {}

impl Schema {
    fn of(column: &Column) -> Self {
        let texts = (column.format.to_owned(), column.name.to_owned());
        let (format, name) = (texts.0.as_ptr(), texts.1.as_ptr()); // which stay where they are when their owner moves
        let mut own = Box::new(Own {
            children: column.children.iter().map(|child| Box::into_raw(Box::new(Schema::of(child)))).collect(),
            dictionary: column.dictionary.as_ref().map_or(null_mut(), |of| Box::into_raw(Box::new(Schema::of(of)))),
            buffers: Vec::new(),
            _texts: Some(texts),
            _parts: (Vec::new(), None),
        });
        Schema {
            format,
            name,
            metadata: std::ptr::null(),
            flags: if column.nulls.is_some() { NULLABLE } else { 0 },
            children_count: own.children.len() as i64,
            children: own.children.as_mut_ptr(),
            dictionary: own.dictionary,
            release: Some(release_schema),
            own: Box::into_raw(own).cast(),
        }
    }
}

impl Array {
    fn of(column: &Column) -> Self {
        let start = |part: &Option<Arc<dyn Part>>| part.as_ref().map_or(std::ptr::null(), |part| part.start().cast());
        let mut buffers: Vec<*const c_void> = column.parts.iter().map(start).collect();
        buffers.extend(column.sizes.iter().map(|sizes| sizes.as_ptr().cast::<c_void>()));
        let mut own = Box::new(Own {
            children: column.children.iter().map(|child| Box::into_raw(Box::new(Array::of(child)))).collect(),
            dictionary: column.dictionary.as_ref().map_or(null_mut(), |of| Box::into_raw(Box::new(Array::of(of)))),
            buffers,
            _texts: None,
            _parts: (column.parts.clone(), column.sizes.clone()),
        });
        Array {
            length: column.length as i64,
            null_count: column.nulls.unwrap_or(0) as i64,
            offset: 0,
            buffers_count: own.buffers.len() as i64,
            children_count: own.children.len() as i64,
            buffers: own.buffers.as_mut_ptr(),
            children: own.children.as_mut_ptr(),
            dictionary: own.dictionary,
            release: Some(release_array),
            own: Box::into_raw(own).cast(),
        }
    }
}

// A capsule that nobody has taken its content from lets go of it.
impl Drop for Schema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it has not been released, and is nobody else's.
            unsafe { release(self) };
        }
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it has not been released, and is nobody else's.
            unsafe { release(self) };
        }
    }
}

/// # Safety
/// It is one that `Schema::of` has made, and that has not been released.
unsafe extern "C" fn release_schema(schema: *mut Schema) {
    give_up::<Schema>((*schema).own);
    (*schema).release = None;
}

/// # Safety
/// It is one that `Array::of` has made, and that has not been released.
unsafe extern "C" fn release_array(array: *mut Array) {
    give_up::<Array>((*array).own);
    (*array).release = None;
}

/// # Safety
/// It is what `of` has made, and this is the first time. Children that somebody has moved away have no `release` any
/// more, so only their empty places go; the others are released when they are dropped.
unsafe fn give_up<T>(own: *mut c_void) {
    let own = Box::from_raw(own.cast::<Own<T>>());
    for &child in own.children.iter().chain(Some(&own.dictionary).filter(|of| !of.is_null())) {
        drop(Box::from_raw(child));
    }
}
