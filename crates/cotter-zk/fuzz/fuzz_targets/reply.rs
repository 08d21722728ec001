//! Frames for the decoder of answers, as the answer to every kind of request.
#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| cotter_zk::fuzz::reply(frame));
