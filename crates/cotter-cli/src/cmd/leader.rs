//! `cotter leader`: who leads an election, as words, as JSON or as the leader's value alone, and as
//! an exit code; with `--watch` now and at every change.

use cotter::env::wall_clock;
use cotter::{Cotter, Leader};

use super::{block_on, print, print_json};
use crate::args::LeaderArgs;
use crate::exit::{Exit, Failure};
use crate::output::Led;
use crate::store;
use crate::text::{Shown, rfc3339};

/// Says who leads.
pub(crate) fn leader(args: &LeaderArgs) -> Exit {
    let look = async |client: &Cotter| {
        if args.watch {
            return watch(args, client).await;
        }
        let leader = client.election(args.election.as_str()).leader().await?;
        show(args, client.address(), leader.as_ref(), None)?;
        Ok(if leader.is_some() { Exit::DONE } else { Exit::NO_LEADER })
    };
    block_on(store::visit(&args.store, "cotter leader", look)).unwrap_or_else(|failure| {
        if args.json {
            // What was given as the store may hold a secret, and nothing has told its address.
            let unknown = Led::unknown(args.election.as_str(), &failure.message);
            if let Err(failure) = print_json(&unknown) {
                return failure.tell();
            }
        }
        let is_output = failure.exit == Exit::by_signal(13);
        let exit = failure.tell();
        if is_output { exit } else { Exit::UNKNOWN }
    })
}

/// Says it until the store fails or nobody reads any more.
async fn watch(args: &LeaderArgs, client: &Cotter) -> Result<Exit, Failure> {
    let mut observer = client.election(args.election.as_str()).observe();
    loop {
        let leader = observer.next().await?;
        show(args, client.address(), leader.as_ref(), Some(rfc3339(wall_clock())))?;
    }
}

fn show(
    args: &LeaderArgs,
    store: &str,
    leader: Option<&Leader>,
    at: Option<String>,
) -> Result<(), Failure> {
    let election = args.election.as_str();
    if args.json {
        return print_json(&Led::of(store, election, leader, at));
    }
    if args.value {
        // Without a leader a script's $(...) is empty; who watches needs a line for that too.
        return match (leader, args.watch) {
            (Some(leader), _) => print(&Shown(&leader.value).to_string()),
            (None, true) => print(""),
            (None, false) => Ok(()),
        };
    }
    let at = at.map(|at| format!("{at} ")).unwrap_or_default();
    print(&format!("{at}{}", Shown(&words(election, leader))))
}

/// Who leads, in one line.
fn words(election: &str, leader: Option<&Leader>) -> String {
    let Some(leader) = leader else { return format!("{election}: nobody leads") };
    let bearer = &leader.bearer;
    let whose = match (bearer.host.as_str(), bearer.command.as_str()) {
        ("", "") => String::new(),
        ("", command) => format!(" ({command})"),
        (host, "") => format!(" ({host} pid {})", bearer.pid),
        (host, command) => format!(" ({host} pid {}, {command})", bearer.pid),
    };
    let token = leader.token.map(|token| format!(", token {token}")).unwrap_or_default();
    let value = if leader.value.is_empty() { "a holder without a value" } else { &leader.value };
    format!("{election}: led by {value}{whose}{token}")
}

#[cfg(test)]
mod tests {
    use cotter::{Bearer, ClaimId, FencingToken};

    use super::*;

    #[test]
    fn a_leader_is_told_as_far_as_it_is_known() {
        let bearer = Bearer { host: "web".into(), pid: 7, command: "srv".into(), user: "u".into() };
        let (token, claim) = (Some(FencingToken::new(3)), ClaimId::new(1));
        let leader = Leader { value: "10.0.0.1:80".into(), token, claim, bearer };
        assert_eq!(words("e", Some(&leader)), "e: led by 10.0.0.1:80 (web pid 7, srv), token 3");
        let bearer = Bearer { command: "session 0x1".into(), ..Bearer::default() };
        let foreign = Leader { value: String::new(), token: None, claim, bearer };
        let said = "e: led by a holder without a value (session 0x1)";
        assert_eq!(words("e", Some(&foreign)), said);
        assert_eq!(words("e", None), "e: nobody leads");
    }
}
