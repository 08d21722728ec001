//! Streams that are cut into frames. The first byte says in pieces of which length they come.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Some((piece_len, stream)) = bytes.split_first() {
        cotter_zk::fuzz::frames(*piece_len, stream);
    }
});
