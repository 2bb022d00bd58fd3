//! The example server, against clients that are well-behaved and others.
//!
//! The tests take turns: each counts descriptors and threads of the process, before and after its server.

mod clients;
mod epoll;
mod files;
#[path = "../../examples/http/load.rs"]
#[expect(dead_code, reason = "the bench reads more of it")]
mod load;
mod php;
#[path = "../../examples/http/server/mod.rs"]
mod server;
mod site;
