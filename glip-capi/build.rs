//! Names the shared library for the loader: its major number is that of the ABI.

const HEADER: &str = "include/glip/glip.h";

fn main() {
    println!("cargo::rerun-if-changed={HEADER}");
    let header = std::fs::read_to_string(HEADER).unwrap_or_default();
    let abi = header
        .lines()
        .find_map(|line| line.strip_prefix("#define GLIP_ABI_VERSION "));
    let is_elf = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    if let (Some(abi), true) = (abi, is_elf) {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libglip.so.{abi}");
    }
}
