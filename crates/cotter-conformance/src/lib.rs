//! cotter-conformance
