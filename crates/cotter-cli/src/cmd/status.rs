//! `cotter status`: whether a lock is held, as words and as an exit code.

use cotter::{Cotter, LineUp};

use super::{block_on, print, print_json, summary};
use crate::args::LockArgs;
use crate::exit::{Exit, Failure};
use crate::output::{State, Status, state_of};
use crate::store;
use crate::text::Shown;

/// Says how a lock stands: free, held, or unknown because the store did not say.
pub(crate) fn status(args: &LockArgs) -> Exit {
    let look = async |client: &Cotter| {
        let line_up = client.lock(args.lock.as_str()).line_up().await?;
        Ok((client.address().to_owned(), line_up))
    };
    let looked = block_on(store::visit(&args.store, "cotter status", look));
    let shown = match &looked {
        Ok((store, line_up)) => tell(args, store, line_up),
        Err(failure) => tell_unknown(args, failure),
    };
    shown.unwrap_or_else(Failure::tell)
}

fn tell(args: &LockArgs, store: &str, line_up: &LineUp) -> Result<Exit, Failure> {
    if args.json {
        print_json(&Status::of(store, line_up))?;
    } else {
        print(&summary(line_up))?;
    }
    Ok(match state_of(line_up) {
        State::Free => Exit::DONE,
        State::Held => Exit::HELD,
        State::Unknown => Exit::UNKNOWN,
    })
}

fn tell_unknown(args: &LockArgs, failure: &Failure) -> Result<Exit, Failure> {
    if args.json {
        // What was given as the store may hold a secret, and nothing has told its address.
        print_json(&Status::unknown(args.lock.as_str(), &failure.message))?;
    }
    eprintln!("cotter: {}", Shown(&failure.message));
    Ok(Exit::UNKNOWN)
}
