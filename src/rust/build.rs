//! Names the Python that this is built for (`Py_3_14`, `Py_GIL_DISABLED`), as far as the binding has to know it.

fn main() {
    #[cfg(feature = "python")]
    pyo3_build_config::use_pyo3_cfgs();
}
