//! cotter
