//! Searches one configuration of the hand-over to the end, however long that takes, and prints
//! what it found. For runs that are too large for the tests:
//!
//! ```text
//!   cargo run --release -p cotter-models --example search -- CLIENTS ROUNDS [FAULT=COUNT]...
//! ```
//!
//! The faults are `losses`, `expiries`, `lapses`, `cancels`, `abandons` and `evictions`.

use cotter_models::model::{Faults, Handover};
use cotter_models::search;
use stateright::Checker;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(model) = model_of(&words) else {
        eprintln!("usage: search CLIENTS ROUNDS [FAULT=COUNT]...");
        return ExitCode::from(2);
    };
    let checker = search::all_states(model);
    println!("{} states, {} steps", checker.unique_state_count(), checker.state_count());
    let mut is_sound = true;
    for (name, path) in checker.discoveries() {
        let is_failure = checker.discovery_classification(name).to_string() == "counterexample";
        is_sound &= !is_failure;
        if is_failure {
            println!("broken: {name}\n{:#?}", path.into_actions());
        } else {
            println!("reached: {name}");
        }
    }
    ExitCode::from(u8::from(!is_sound))
}

fn model_of(words: &[String]) -> Option<Handover> {
    let (clients, rounds) = (words.first()?.parse().ok()?, words.get(1)?.parse().ok()?);
    let mut faults = Faults::default();
    for word in &words[2..] {
        let (name, count) = word.split_once('=')?;
        let budget = match name {
            "losses" => &mut faults.losses,
            "expiries" => &mut faults.expiries,
            "lapses" => &mut faults.lapses,
            "cancels" => &mut faults.cancels,
            "abandons" => &mut faults.abandons,
            "evictions" => &mut faults.evictions,
            _ => return None,
        };
        *budget = count.parse().ok()?;
    }
    Some(Handover::new(clients, rounds, faults))
}
