//! `concurrent.futures.ProcessPoolExecutor`, by a script of its own.

use std::process::{Command, Stdio};

use crate::Result;
use crate::measure::Figures;
use crate::plan::Plan;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/executor.py");

/// Measures it once, in a fresh interpreter.
pub(crate) fn round(plan: &Plan) -> Result<Figures> {
    let output = Command::new("python3")
        .arg(SCRIPT)
        .arg(serde_json::to_string(plan)?)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("cannot run python3: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{SCRIPT} failed, {}: {}", output.status, said.lines().last().unwrap_or_default()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
