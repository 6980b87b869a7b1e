//! A capturing closure does not compile, and the compiler says what to do instead.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

const SENTENCE: &str = "a task function must not capture; pass what it needs as input or with `map_with`";

/// Builds a program with this body of `main`; returns whether that worked, and what the compiler said.
fn build(name: &str, body: &str) -> (bool, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("capture");
    let library = env!("CARGO_MANIFEST_DIR");
    fs::create_dir_all(folder.join("src/bin")).unwrap();
    let manifest = format!(
        "[package]\nname = \"capture\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\nprocpool = {{ path = {library:?} }}\n[workspace]\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(Path::new(library).join("../../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let program = format!(
        "fn main() -> procpool::Result<()> {{\n    procpool::init();\n    let pool = procpool::Pool::new()?;\n    {body}\n    Ok(())\n}}\n"
    );
    fs::write(folder.join(format!("src/bin/{name}.rs")), program).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet", "--bin", name])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_capturing_closure_is_refused_with_a_sentence_that_helps() {
    let (built, said) = build("plain", "pool.submit(|x: u32| x + 1, 1)?.wait()?;");
    assert!(built, "{said}");
    let (built, said) = build("capture", "let y = 2; pool.submit(move |x: u32| x + y, 1)?.wait()?;");
    assert!(!built && said.contains(SENTENCE), "{said}");
    let (built, said) = build("pointer", "let f: fn(u32) -> u32 = |x| x; pool.submit(f, 1)?.wait()?;");
    assert!(!built && said.contains("function pointers: pass the function itself"), "{said}");
    let (built, said) = build("map", "let y = 2u32; pool.map(move |x: u32| x + y, 0..3).count();");
    assert!(!built && said.contains(SENTENCE), "{said}");
}
