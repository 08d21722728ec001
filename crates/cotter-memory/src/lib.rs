//! cotter-memory
