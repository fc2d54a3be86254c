//! The real program as real processes, driven over sockets.

mod agreement;
mod bounds;
mod dump;
mod foreign;
mod google;
mod herd;
mod http;
mod line;
mod logs;
mod membership;
mod operate;
mod refusals;
mod start_stop;
mod storage;
mod whatsat;
mod wire;
