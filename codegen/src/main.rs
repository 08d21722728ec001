//! `cargo run -p cotter-codegen`: writes the made files anew.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let made = cotter_codegen::etcd_stubs(&cotter_codegen::root())?;
    std::fs::write(&made.path, made.text)?;
    println!("{}", made.path.display());
    Ok(())
}
