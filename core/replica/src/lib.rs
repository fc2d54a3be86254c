//! What a node knows and how nodes come to agree; values are opaque.
