//! `procpool._core`: the engine, as the Python package uses it. Bytes and buffers in, futures out; what they mean, and everything
//! that a Python program sees, is in `python/procpool`.

mod buffers;
mod codec;
mod collector;
mod faults;
mod future;
mod interpreter;
mod launcher;
mod map;
mod port;
mod template;
mod value;

use pyo3::prelude::*;

/// How many CPUs this process may use.
#[pyfunction]
fn available_cpus() -> usize {
    procpool::available_cpus()
}

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<buffers::Run>()?;
    module.add_class::<future::FutureBase>()?;
    module.add_class::<launcher::Template>()?;
    module.add_class::<map::MapIter>()?;
    module.add_class::<port::Function>()?;
    module.add_class::<port::Port>()?;
    module.add_class::<port::TaskOptions>()?;
    module.add_function(wrap_pyfunction!(available_cpus, module)?)?;
    module.add_function(wrap_pyfunction!(buffers::keep_lent, module)?)?;
    module.add_function(wrap_pyfunction!(collector::collect, module)?)?;
    module.add_function(wrap_pyfunction!(collector::close_collector, module)?)?;
    module.add_function(wrap_pyfunction!(collector::wake_collector, module)?)?;
    module.add_function(wrap_pyfunction!(interpreter::serve, module)?)?;
    module.add_function(wrap_pyfunction!(launcher::template_socket, module)?)?;
    module.add_function(wrap_pyfunction!(port::finalize, module)?)?;
    module.add_function(wrap_pyfunction!(port::forked, module)?)?;
    module.add_function(wrap_pyfunction!(port::join_lingering, module)?)?;
    module.add_function(wrap_pyfunction!(template::close_inherited, module)?)?;
    module.add_function(wrap_pyfunction!(template::ignore_interrupts, module)?)?;
    module.add_function(wrap_pyfunction!(template::make_copies, module)?)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
