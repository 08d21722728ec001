//! Acquires and releases one lock again and again, for a profiler or a counter of system calls to
//! look at: `cargo run --release -p cotter-zookeeper --example cycle -- 127.0.0.1:2181 1000`.

use cotter::env::Env;
use cotter::{Cotter, Error, Kind};

fn number(text: Option<String>, usual: u32) -> cotter::Result<u32> {
    let wrong = |_| Error::new(Kind::Config, "it takes a server, a count of cycles, one of tasks");
    text.map_or(Ok(usual), |text| text.parse().map_err(wrong))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> cotter::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let server = arguments.next().unwrap_or_else(|| "127.0.0.1:2181".to_owned());
    let cycles = number(arguments.next(), 1000)?;
    let tasks = number(arguments.next(), 1)?;
    let env = Env::system()?;
    let cotter = Cotter::connect(&format!("zookeeper://{server}/cycle")).await?;
    for task in 0..tasks {
        drop(cotter.lock(format!("demo-{task}")).acquire().await?);
    }
    let began = env.now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let lock = cotter.lock(format!("demo-{task}"));
            env.spawn(async move {
                for _ in 0..cycles {
                    lock.acquire().await?.release().await?;
                }
                Ok::<(), cotter::Error>(())
            })
        })
        .collect();
    for task in running {
        match task.await {
            Ok(done) => done?,
            Err(error) => return Err(Error::new(Kind::Store, "a task died").with_source(error)),
        }
    }
    let took = env.now().since(began);
    let each = took / (cycles * tasks);
    println!("{} cycles in {took:?}, {each:?} each", cycles * tasks);
    Ok(())
}
