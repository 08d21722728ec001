//! cotter-local
