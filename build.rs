//! Compiles `proto/*.proto` to Rust, without protoc.

use std::error::Error;

const PROTOS: [&str; 7] = [
    "mvccpb.proto",
    "authpb.proto",
    "etcdserverpb.proto",
    "v3electionpb.proto",
    "v3lockpb.proto",
    "health.proto",
    "braidpb.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=build.rs");
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    prost_build::Config::new()
        // Keys and values stay slices of what the socket read.
        .bytes(["."])
        // The prose of the .proto files is not rustdoc.
        .disable_comments(["."])
        .include_file("pb.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
