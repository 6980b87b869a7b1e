//! Compiles the ring's sources for loom, in this package alone: nothing else of the workspace is built again.
fn main() {
    println!("cargo::rustc-cfg=loom");
    println!("cargo::rerun-if-changed=build.rs");
}
