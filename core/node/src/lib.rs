//! One server of the herd as a state machine without I/O.
