//! One iterator over the members of groups, which threads may share.

use super::aggregate::Received;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyIterator;
use pyo3::{PyTraverseError, PyVisit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// See `wire.core.NewFlat`.
#[pyclass(frozen, module = "shardpack.wire._native")]
pub struct Flat {
    state: Mutex<State>,
    /// Which thread is inside, 0 for none: a group that asks this iterator for its next member would wait for ever.
    inside: AtomicUsize,
}

#[derive(Default)]
struct State {
    groups: Option<Py<PyIterator>>,
    group: Option<Group>,
    is_cut: bool,
}

enum Group {
    Received(Py<Received>),
    Any(Py<PyIterator>),
}

#[pymethods]
impl Flat {
    #[new]
    fn new(groups: &Bound<'_, PyAny>) -> PyResult<Self> {
        let state = State { groups: Some(groups.try_iter()?.unbind()), ..State::default() };
        Ok(Flat { state: Mutex::new(state), inside: AtomicUsize::new(0) })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let mut turn = self.turn(py)?;
        let found = turn.state.next(py);
        if let Err(error) = &found {
            let is_cut = !error.is_instance_of::<PyException>(py);
            *turn.state = State { is_cut, ..State::default() };
        }
        found
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // What a thread is using just now is not garbage.
        let Ok(state) = self.state.try_lock() else { return Ok(()) };
        visit.call(&state.groups)?;
        match &state.group {
            Some(Group::Received(group)) => visit.call(group),
            Some(Group::Any(group)) => visit.call(group),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let state = self.state.try_lock().map(|mut state| std::mem::take(&mut *state));
        drop(state); // after the lock: what it referred to may do anything at its end
    }
}

/// The turn of a thread; it ends with it.
struct Turn<'a> {
    state: MutexGuard<'a, State>,
    inside: &'a AtomicUsize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.inside.store(0, Ordering::Relaxed);
    }
}

impl Flat {
    fn turn(&self, py: Python<'_>) -> PyResult<Turn<'_>> {
        let me = this_thread();
        if self.inside.load(Ordering::Relaxed) == me {
            return Err(PyRuntimeError::new_err("the iterator was asked for the next while it was looking for it"));
        }
        let state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner),
        };
        self.inside.store(me, Ordering::Relaxed);
        Ok(Turn { state, inside: &self.inside })
    }
}

/// A number that no other living thread has, and that is not 0.
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

impl State {
    #[inline]
    fn next<'py>(&mut self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        loop {
            let member = match &self.group {
                Some(Group::Received(group)) => group.bind(py).try_borrow_mut()?.next(py)?,
                Some(Group::Any(group)) => group.bind(py).clone().next().transpose()?,
                None => None,
            };
            if member.is_some() {
                return Ok(member);
            }
            let Some(groups) = &self.groups else {
                return if self.is_cut { Err(cut()) } else { Ok(None) };
            };
            let Some(group) = groups.bind(py).clone().next().transpose()? else {
                *self = State::default();
                return Ok(None);
            };
            self.group = Some(match group.cast_into_exact::<Received>() {
                Ok(group) => Group::Received(group.unbind()),
                Err(other) => Group::Any(other.into_inner().try_iter()?.unbind()),
            });
        }
    }
}

#[cold]
fn cut() -> PyErr {
    PyRuntimeError::new_err("the iterator was cut short by an interrupt, and has lost its place; make another")
}
