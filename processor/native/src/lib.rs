//! Armstream's native core: the usual work of the stages on a task's state, from records to records.
//!
//! Law: the Python stages are the law. What the core does gives their bytes, and what it does not do it hands to them,
//! in order, over this one state. Nothing here reads a clock, draws, or calls Kafka.

mod avro;
mod bandit;
mod batch;
mod core;
mod decision;
mod events;
mod hints;
mod learning;
mod matching;
mod position;
mod restored;
mod reward;
mod rules;
mod state;

use mimalloc::MiMalloc;
use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<core::Core>()?;
    module.add_class::<hints::Hints>()?;
    module.add_class::<rules::NativeRules>()?;
    Ok(())
}
