//! The index against a list that is looked through from end to end.

mod invariants;
mod memory;
mod model;
mod points;
mod random;
mod special;
mod steps;
