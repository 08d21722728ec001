//! What is checked in is what would be made now.

#[test]
fn the_stubs_of_etcd_are_what_their_proto_says() {
    let made = cotter_codegen::etcd_stubs(&cotter_codegen::root()).expect("it can be made");
    let there = std::fs::read_to_string(&made.path).expect("it is there");
    let how = "run `cargo run -p cotter-codegen`";
    assert!(there == made.text, "{} is not up to date: {how}", made.path.display());
}
