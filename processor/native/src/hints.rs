//! A heap of the state's hints as Python sees it: the first is at 0. Law: it is the core's heap, never a copy of it.

use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};

use crate::core::Core;
use crate::state::{Finished, TaskWaiting, Waiting};

#[derive(Clone, Copy)]
pub enum Which {
    Finished(usize), // of the bandit in a slot
    Waiting(usize),
    TaskWaiting,
}

#[pyclass(frozen, module = "armstream._native")]
pub struct Hints {
    core: Py<Core>,
    which: Which,
}

impl Hints {
    pub fn new(core: &Bound<Core>, which: Which) -> Self {
        Self { core: core.clone().unbind(), which }
    }
}

#[pymethods]
impl Hints {
    fn __len__(&self, py: Python) -> usize {
        let state = &self.core.borrow(py).state;
        match self.which {
            Which::Finished(slot) => state.slots[slot].finished.len(),
            Which::Waiting(slot) => state.slots[slot].waiting.len(),
            Which::TaskWaiting => state.waiting.len(),
        }
    }

    fn __getitem__<'py>(&self, py: Python<'py>, index: usize) -> PyResult<Bound<'py, PyTuple>> {
        let state = &self.core.borrow(py).state;
        let first = match self.which {
            Which::Finished(slot) => state.slots[slot].finished.peek().map(|hint| finished(py, &hint.0)),
            Which::Waiting(slot) => state.slots[slot].waiting.peek().map(|hint| waiting(py, &hint.0)),
            Which::TaskWaiting => state.waiting.peek().map(|hint| task_waiting(py, &hint.0)),
        };
        first.filter(|_| index == 0).ok_or_else(|| PyIndexError::new_err("there is no such hint"))?
    }

    /// Takes the first away; rollback puts it back.
    fn pop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let state = &mut self.core.borrow_mut(py).state;
        let popped = match self.which {
            Which::Finished(slot) => state.pop_finished(slot).map(|hint| finished(py, &hint)),
            Which::Waiting(slot) => state.pop_waiting(slot).map(|hint| waiting(py, &hint)),
            Which::TaskWaiting => state.pop_task_waiting().map(|hint| task_waiting(py, &hint)),
        };
        popped.ok_or_else(|| PyKeyError::new_err("there is no hint"))?
    }

    fn __traverse__(&self, visit: PyVisit) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }
}

fn finished<'py>(py: Python<'py>, hint: &Finished) -> PyResult<Bound<'py, PyTuple>> {
    (hint.0, &*hint.1).into_pyobject(py)
}

fn waiting<'py>(py: Python<'py>, hint: &Waiting) -> PyResult<Bound<'py, PyTuple>> {
    (hint.0, &*hint.1, &*hint.2).into_pyobject(py)
}

fn task_waiting<'py>(py: Python<'py>, hint: &TaskWaiting) -> PyResult<Bound<'py, PyTuple>> {
    (hint.0, &*hint.1, &*hint.2, &*hint.3).into_pyobject(py)
}
