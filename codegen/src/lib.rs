//! Makes the source files that are made by a program, so that nobody who builds cotter needs the
//! program: they are checked in. A test fails when one is not what would be made now.
//!
//! ```text
//!   cotter-etcd/proto/etcd.proto ──protox──► descriptors ──prost-build──► src/client/stubs.rs
//! ```

use std::error::Error;
use std::path::{Path, PathBuf};

/// A file that is made.
#[derive(Debug)]
pub struct Made {
    /// Where it is.
    pub path: PathBuf,
    /// What is to be in it.
    pub text: String,
}

const HEADER: &str = "\
// Made from proto/etcd.proto by `cargo run -p cotter-codegen`, and compared with it by a test.
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = \"made by a program\")]

";

/// The messages of etcd's API.
///
/// # Errors
/// The .proto file is wrong, or cannot be read.
pub fn etcd_stubs(root: &Path) -> Result<Made, Box<dyn Error>> {
    let store = root.join("crates/cotter-etcd");
    let descriptors = protox::compile(["etcd.proto"], [store.join("proto")])?;
    let mut config = prost_build::Config::new();
    // Keys and values are passed on, not looked into: no copy of them is needed.
    config.bytes([".etcd"]).disable_comments(["."]);
    let mut modules = config.generate(
        descriptors
            .file
            .into_iter()
            .map(|file| (prost_build::Module::from_protobuf_package_name(file.package()), file))
            .collect(),
    )?;
    let module = prost_build::Module::from_protobuf_package_name("etcd");
    let code = modules.remove(&module).ok_or("the package etcd is not in the file")?;
    let path = store.join("src/client/stubs.rs");
    Ok(Made { path, text: format!("{HEADER}{}", code.trim_start()) })
}

/// The workspace: the folder above this crate's.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}
