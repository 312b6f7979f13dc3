//! What a learner was made under, as Python gives it, once for all bandits that share it.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::bandit::Rules;
use crate::learning::{Feedback, Parameters, Transform};

#[pyclass(frozen, module = "armstream._native", name = "Rules")]
pub struct NativeRules {
    pub inner: Arc<Rules>,
}

#[pymethods]
impl NativeRules {
    /// `made_under` is given back with a bandit; `published` is written of every learner, and `learner` is what one of
    /// the core's is made of.
    #[new]
    fn new(made_under: Py<PyAny>, published: &Bound<PyDict>, learner: &Bound<PyDict>) -> PyResult<Self> {
        let text = |name: &str| -> PyResult<Box<[u8]>> { Ok(given::<String>(published, name)?.into_bytes().into()) };
        Ok(Self {
            inner: Arc::new(Rules {
                made_under,
                algorithm: text("algorithm")?,
                estimator: text("estimator")?,
                settings_json: text("settings_json")?,
                blend_alpha: given(published, "blend_alpha")?,
                warm_start_steps: given(published, "warm_start_steps")?,
                ramp_steps: given(published, "ramp_steps")?,
                parameters: parameters(learner)?,
            }),
        })
    }
}

fn given<'py, T: FromPyObjectOwned<'py>>(values: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    let value = values.get_item(name)?.ok_or_else(|| PyValueError::new_err(format!("{name} is missing")))?;
    value.extract().map_err(Into::into)
}

fn parameters(values: &Bound<PyDict>) -> PyResult<Parameters> {
    let transform: String = given(values, "transform")?;
    let feedback: String = given(values, "feedback")?;
    Ok(Parameters {
        is_tsallis: given(values, "is_tsallis")?,
        is_observing: given(values, "is_observing")?,
        is_adaptive: given(values, "is_adaptive")?,
        is_implicit: given(values, "is_implicit")?,
        gamma: given(values, "gamma")?,
        eta: given(values, "eta")?,
        eta_max: given(values, "eta_max")?,
        implicit: given(values, "implicit")?,
        fixed_share: given(values, "fixed_share")?,
        transform: match transform.as_str() {
            "none" => Transform::None,
            "clip" => Transform::Clip,
            "tanh" => Transform::Tanh,
            other => return Err(PyValueError::new_err(format!("a transform {other:?} is not known"))),
        },
        transform_bps: given(values, "transform_bps")?,
        min_weight: given(values, "min_weight")?,
        log_floor: given(values, "log_floor")?,
        feedback: match feedback.as_str() {
            "drawn" => Feedback::Drawn,
            "side" => Feedback::Side,
            "both" => Feedback::Both,
            other => return Err(PyValueError::new_err(format!("a feedback {other:?} is not known"))),
        },
        is_undivided: given(values, "is_undivided")?,
        reveals_by_horizon: given(values, "reveals_by_horizon")?,
    })
}
