//! What every command prints for machines.

use serde_json::Value;

/// The rows of a document, which says too what they were found with.
#[track_caller]
pub fn rows(stdout: impl AsRef<[u8]>) -> Vec<Value> {
    let document: Value = serde_json::from_slice(stdout.as_ref()).expect("one object");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["seed"].is_u64() || document["seed"].is_null(), "{document}");
    let machine = &document["machine"];
    assert!(machine["cpus"].as_u64() > Some(0) && machine["architecture"].is_string(), "{machine}");
    assert!(machine["system"].as_str().is_some_and(|system| system.starts_with("Linux ")), "{machine}");
    document["rows"].as_array().expect("an array").clone()
}
