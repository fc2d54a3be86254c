//! Names, times, reports and the codec of the line protocol; no state.
