//! `cotter evict`: takes a lock away from the holder that the operator saw, and from no other.

use cotter::{Cotter, Evicted, FencingToken};

use super::{print, print_json};
use crate::args::EvictArgs;
use crate::exit::{Exit, Failure};
use crate::output::Eviction;
use crate::store;
use crate::text::Shown;

/// Evicts the holder with the expected token.
///
/// # Errors
/// What the store said.
pub(crate) async fn evict(args: &EvictArgs) -> Result<Exit, Failure> {
    let work = async |client: &Cotter| take_away(args, client).await;
    store::visit(&args.lock.store, "cotter evict", work).await
}

async fn take_away(args: &EvictArgs, client: &Cotter) -> Result<Exit, Failure> {
    let lock = client.lock(args.lock.lock.as_str());
    let bearer = client.bearer();
    let mut words = format!("by {} on {}", bearer.user, bearer.host);
    if !args.reason.is_empty() {
        words.push_str(&format!(": {}", args.reason));
    }
    let answer = lock.evict(FencingToken::new(args.expect_token), &words).await?;
    let holding = match answer {
        Evicted::Done => None,
        Evicted::NotHolder(tokens) => {
            Some(tokens.into_iter().map(FencingToken::number).collect::<Vec<_>>())
        }
    };
    let exit = if holding.is_none() { Exit::DONE } else { Exit::BUSY };
    if args.lock.json {
        let (store, lock) = (client.address(), args.lock.lock.as_str());
        print_json(&Eviction::of(store, lock, args.expect_token, holding))?;
        return Ok(exit);
    }
    let name = Shown(args.lock.lock.as_str());
    match holding.as_deref() {
        None => print(&format!("{name}: evicted the holder with token {}", args.expect_token))?,
        Some([]) => print(&format!("{name}: not evicted: nobody holds it"))?,
        Some(tokens) => {
            let tokens: Vec<String> = tokens.iter().map(u64::to_string).collect();
            let (now, expected) = (tokens.join(", "), args.expect_token);
            print(&format!("{name}: not evicted: held with token {now} now, not {expected}"))?;
        }
    }
    Ok(exit)
}
