//! A register in memory, for state that lives in one process and for tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Accepted, Entry, FencingToken, Refused, check};

/// A value in memory that refuses a token lower than the highest it has seen.
///
/// It forgets with the process: use it where the protected state does so too.
#[derive(Debug)]
pub struct MemoryRegister<T>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    seen: Option<FencingToken>,
    entry: Option<Entry<T>>,
}

impl<T> MemoryRegister<T> {
    /// A register that holds nothing and has seen nobody.
    pub const fn new() -> Self {
        Self(Mutex::new(State { seen: None, entry: None }))
    }

    /// Writes a value, unless a later holder has been here.
    ///
    /// # Errors
    /// [`Refused`] if a higher token was seen. Nothing was changed.
    pub fn write(&self, token: FencingToken, value: T) -> Result<Accepted, Refused> {
        self.update(token, |_| value)
    }

    /// Replaces the value by one made from it, in one atomic step, unless a later holder has been
    /// here. `change` runs inside the register's lock: keep it short, and call nothing of this
    /// register in it. If it panics, nothing was changed.
    ///
    /// # Errors
    /// [`Refused`] if a higher token was seen. `change` was not called.
    pub fn update(
        &self,
        token: FencingToken,
        change: impl FnOnce(Option<&T>) -> T,
    ) -> Result<Accepted, Refused> {
        let mut state = self.state();
        check(state.seen, token)?;
        let value = change(state.entry.as_ref().map(|entry| &entry.value));
        state.entry = Some(Entry { token, value });
        Ok(Accepted { seen_before: state.seen.replace(token) })
    }

    /// Announces a holder without writing: from here on, every older one is refused.
    ///
    /// # Errors
    /// [`Refused`] if a higher token was seen.
    pub fn observe(&self, token: FencingToken) -> Result<Accepted, Refused> {
        let mut state = self.state();
        check(state.seen, token)?;
        Ok(Accepted { seen_before: state.seen.replace(token) })
    }

    /// Announces a holder and reads what it starts from, in one atomic step: no older holder can
    /// write behind this read.
    ///
    /// # Errors
    /// [`Refused`] if a higher token was seen.
    pub fn read_as(&self, token: FencingToken) -> Result<Option<Entry<T>>, Refused>
    where
        T: Clone,
    {
        let mut state = self.state();
        check(state.seen, token)?;
        state.seen = Some(token);
        Ok(state.entry.clone())
    }

    /// What is there, for those who only look.
    pub fn read(&self) -> Option<Entry<T>>
    where
        T: Clone,
    {
        self.state().entry.clone()
    }

    /// The highest token seen.
    pub fn seen(&self) -> Option<FencingToken> {
        self.state().seen
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        // A `change` that panicked has left the state as it was: it is assigned afterwards.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for MemoryRegister<T> {
    fn default() -> Self {
        Self::new()
    }
}
