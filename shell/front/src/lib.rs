//! One module per client protocol.
