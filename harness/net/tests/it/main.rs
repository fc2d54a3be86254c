//! Servers in network namespaces. Where those may not be made, each test says so and does nothing.

mod faults;
mod soak;
