//! A fenced key that programs in several languages write to, each with the token of its own lock.

mod redis;

use cotter::redis::{FencedKey, RedisSession, RedissonSession};
use cotter::{Cotter, FencingToken, Kind};
use cotter_interop::{Failure, Result, Seat};
use redis::{LEASE, Place, SOON, granted, python, redisson, seat, server};

async fn write(python: &Seat<'_>, key: &str, token: u64, value: &str) -> Result<String> {
    python.ask(&format!("fence {key} {token} {value}")).await
}

async fn read(key: &FencedKey, token: FencingToken) -> Result<String> {
    Ok(String::from_utf8(key.read_as(token).await?.unwrap_or_default())?)
}

#[tokio::test]
async fn python_and_cotter_refuse_each_others_old_holders() -> Result<()> {
    let place = Place::new("fence")?;
    let cotter = Cotter::connect(&format!("redis://{}", server()?)).await?;
    let python = seat(python()?, "fence", LEASE).await?;
    let (lock, key) = (place.at("x"), place.at("account"));

    let first = cotter.lock(&lock).acquire().within(SOON).await?;
    let old = first.token();
    let session: &RedisSession = first.native().ok_or(Failure::new("this store's"))?;
    let fenced = session.fenced_key(&key);
    fenced.write(old, b"a").await?;
    assert_eq!(write(&python, &key, old.number(), "b").await?, "done", "the same holder");
    assert_eq!(read(&fenced, old).await?, "b");
    first.release().await?;

    let second = cotter.lock(&lock).acquire().within(SOON).await?;
    assert_eq!(write(&python, &key, second.token().number(), "c").await?, "done");
    let late = fenced.write(old, b"late").await.expect_err("a later holder has been here");
    assert_eq!(late.kind(), Kind::Lost);
    assert_eq!(write(&python, &key, old.number(), "late").await?, "refused");
    assert_eq!(read(&fenced, second.token()).await?, "c");
    second.release().await?;
    Ok(())
}

#[tokio::test]
async fn the_tokens_of_javas_fenced_locks_are_refused_and_taken_in_turn() -> Result<()> {
    let place = Place::new("fence-java")?;
    let cotter = Cotter::connect(&format!("redis://{}?dialect=redisson", server()?)).await?;
    let python = seat(python()?, "fence-java", LEASE).await?;
    let java = seat(redisson()?, "fence-java", LEASE).await?;
    let (lock, key) = (place.at("x"), place.at("account"));

    let old = granted(java.lock("fenced", &lock, SOON).await?)?.token;
    assert_eq!(write(&python, &key, old, "java").await?, "done");
    java.unlock("fenced", &lock).await?;
    let guard = cotter.lock(&lock).acquire().within(SOON).await?;
    let session: &RedissonSession = guard.native().ok_or(Failure::new("this store's"))?;
    let fenced = session.fenced_key(&key);
    assert_eq!(read(&fenced, guard.token()).await?, "java");
    assert_eq!(write(&python, &key, old, "late").await?, "refused", "it was announced");
    fenced.write(guard.token(), b"rust").await?;
    let held = guard.token().number();
    guard.release().await?;
    let new = granted(java.lock("fenced", &lock, SOON).await?)?.token;
    assert_eq!(write(&python, &key, new, "java").await?, "done");
    assert_eq!(write(&python, &key, held, "late").await?, "refused");
    java.unlock("fenced", &lock).await
}
