//! Frames for the decoder of the first answer of a connection.
#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| cotter_zk::fuzz::connected(frame));
