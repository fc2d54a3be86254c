//! Built daemons on loopback, driven from outside.
