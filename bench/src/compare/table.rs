//! What was measured of each kind of client, pass by pass, and how it is printed.

use super::Field;
use super::peers::Peers;
use super::work::{Run, Work};
use crate::Outcome;
use crate::measure::{Figures, target};

/// How much longer the first time is, which does not count.
const FIRST_FACTOR: u32 = 5;
const FIRST_MILLIS_MAX: u32 = 600;

/// The runs of every kind that could be measured, in the order in which they are shown.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    kind: &'static str,
    title: &'static str,
    runs: Vec<Run>,
}

impl Table {
    /// Lets all kinds do the same work in turns, `passes` times, after one longer time that does
    /// not count: there the parents of locks and compiled code come to be.
    pub(crate) fn measure<F: Field>(
        peers: &mut Peers<F>,
        part: &str,
        kinds: &[&'static str],
        passes: u32,
        work: &Work,
    ) -> Outcome<Self> {
        // What is long already is only repeated.
        let factor =
            if work.millis >= FIRST_MILLIS_MAX && work.rounds == 0 { 1 } else { FIRST_FACTOR };
        Self::measure_after(peers, part, kinds, factor, passes, work)
    }

    /// The same, where the time that does not count is so much longer.
    pub(crate) fn measure_after<F: Field>(
        peers: &mut Peers<F>,
        part: &str,
        kinds: &[&'static str],
        first_factor: u32,
        passes: u32,
        work: &Work,
    ) -> Outcome<Self> {
        let mut rows = Vec::new();
        for kind in kinds {
            let work = Work { path: peers.field.make_path(part, kind)?, ..work.clone() };
            rows.push((*kind, work, Vec::new()));
        }
        for pass in 0..=passes {
            for (kind, work, runs) in &mut rows {
                let factor = if pass == 0 { first_factor } else { 1 };
                let (millis, rounds) = (factor * work.millis, factor * work.rounds);
                if let Some(run) = peers.run(kind, &Work { millis, rounds, ..work.clone() })
                    && pass > 0
                {
                    runs.push(run);
                }
            }
        }
        // One that failed on the way would be compared with other passes than it has.
        rows.retain(|(_, _, runs)| runs.len() == passes as usize);
        let rows = rows.into_iter();
        let rows = rows.map(|(kind, _, runs)| Row { kind, title: peers.field.title(kind), runs });
        Ok(Self { rows: rows.collect() })
    }

    /// One figure a pass; none for a kind that is not there.
    pub(crate) fn figures(&self, kind: &str, of: impl Fn(&Run) -> f64) -> Figures {
        let row = self.rows.iter().find(|row| row.kind == kind);
        row.map(|row| row.runs.iter().map(of).collect()).unwrap_or_default()
    }

    /// Prints a line for each kind.
    pub(crate) fn print(&self, columns: &[Column<'_>]) {
        let heads = columns.iter().map(|column| column.head.to_owned()).collect();
        let mut lines: Vec<(&str, Vec<String>)> = vec![("", heads)];
        for Row { kind, title, runs } in &self.rows {
            let cells = columns.iter().map(|column| (column.cell)(kind, runs)).collect();
            lines.push((title, cells));
        }
        let width = |at: usize| {
            let widths = lines.iter().map(|(_, cells)| cells[at].chars().count());
            widths.max().unwrap_or(0)
        };
        for (first, cells) in &lines {
            print!("  {first:<22}");
            for (at, cell) in cells.iter().enumerate() {
                print!("  {cell:>width$}", width = width(at));
            }
            println!();
        }
    }

    /// Says whether a figure of one kind over that of another, pass by pass, keeps to its bound.
    pub(crate) fn ratio(
        &self,
        what: &str,
        (this, that): (&str, &str),
        of: impl Fn(&Run) -> f64,
        bound: Bound,
    ) {
        bound.judge(what, &self.figures(this, &of).over(&self.figures(that, &of)));
    }
}

/// On which side of a number a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    Least(f64),
    Most(f64),
}

impl Bound {
    /// Says so of the median, and says it too if there is none.
    pub(crate) fn judge(self, what: &str, figures: &Figures) {
        let (words, bound) = match self {
            Bound::Least(bound) => ("at least", bound),
            Bound::Most(bound) => ("at most", bound),
        };
        let is = figures.median();
        if is.is_nan() {
            println!("  target: {what} {words} {bound}: NOT MEASURED");
            return;
        }
        let is_met = match self {
            Bound::Least(bound) => is >= bound,
            Bound::Most(bound) => is <= bound,
        };
        target(&format!("{what} {words}"), is, bound, is_met);
    }
}

/// What stands beside one kind, after these runs.
type Cell<'a> = dyn Fn(&str, &[Run]) -> String + 'a;

/// A column: its head, and what stands in it.
pub(crate) struct Column<'a> {
    head: &'a str,
    cell: Box<Cell<'a>>,
}

impl<'a> Column<'a> {
    /// The median over the passes, and between which figures they lie.
    pub(crate) fn spread(head: &'a str, decimals: usize, of: impl Fn(&Run) -> f64 + 'a) -> Self {
        let cell = move |_: &str, runs: &[Run]| {
            let figures: Figures = runs.iter().map(&of).collect();
            figures.shown(decimals)
        };
        Self { head, cell: Box::new(cell) }
    }

    pub(crate) fn median(head: &'a str, decimals: usize, of: impl Fn(&Run) -> f64 + 'a) -> Self {
        let cell = move |_: &str, runs: &[Run]| {
            let figures: Figures = runs.iter().map(&of).collect();
            format!("{:.decimals$}", figures.median())
        };
        Self { head, cell: Box::new(cell) }
    }

    /// The median and the 99th percentile within a pass; of each the median over the passes.
    pub(crate) fn latency(head: &'a str, unit: f64, of: impl Fn(&Run) -> Figures + 'a) -> Self {
        let decimals = if unit > 1_000.0 { 2 } else { 0 };
        let cell = move |_: &str, runs: &[Run]| {
            let at = |quantile| {
                let figures: Figures = runs.iter().map(|run| of(run).at(quantile) / unit).collect();
                figures.median()
            };
            format!("{:.decimals$}/{:.decimals$}", at(0.5), at(0.99))
        };
        Self { head, cell: Box::new(cell) }
    }

    /// Over another kind, pass by pass.
    pub(crate) fn over(
        head: &'a str,
        table: &'a Table,
        that: &'a str,
        of: impl Fn(&Run) -> f64 + 'a,
    ) -> Self {
        let cell = move |kind: &str, _: &[Run]| {
            format!("{:.2}", table.figures(kind, &of).over(&table.figures(that, &of)).median())
        };
        Self { head, cell: Box::new(cell) }
    }
}
