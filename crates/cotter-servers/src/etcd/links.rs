//! The ways between the members of a cluster, each of which can be silenced by itself.
//!
//! ```text
//!   member 0 ──┐                      ┌── way 0→2: bytes that member 0 sends
//!              ├─► listener of 2 ─────┤
//!   member 1 ──┘   whose is it?       └── way 2→0: bytes that member 2 sends back
//! ```
//!
//! Members dial these listeners instead of each other. Both directions of one pair are carried by
//! connections of either side, so a listener has to know *who* dialed it: it finds the socket's
//! number in the kernel's table and looks which member's process has it. No rights are needed for
//! that, and no network of one's own.
//!
//! A silenced way holds its bytes back until it is healed and then delivers them, as the kernel
//! would after a cable was plugged in again. Nobody is told meanwhile.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::ask::ANSWER_LIMIT;
use crate::{Error, Result};

/// The ways between members. Dropping it ends them.
#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
    listeners: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Where each member listens.
    members: Vec<u16>,
}

#[derive(Debug, Default)]
struct State {
    /// The processes of the members, as far as they run.
    processes: Vec<Option<u32>>,
    /// The ways that are silent, from and to.
    silent: Vec<(usize, usize)>,
    /// Both ends of each connection, to be closed at the end.
    open: HashMap<u64, [TcpStream; 2]>,
    count: u64,
    is_over: bool,
}

impl Links {
    /// Listens once for each member, which will listen at these ports.
    pub(super) fn before(members: &[u16]) -> Result<Self> {
        let state = State { processes: vec![None; members.len()], ..State::default() };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let shared = Arc::new(Shared { state, changed, members: members.to_vec() });
        let mut links = Self { shared: Arc::clone(&shared), listeners: Vec::new() };
        let failed = |error| Error::io("no port for the way to a member", error);
        for to in 0..members.len() {
            let port = crate::port::free(1)?[0];
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
            links.listeners.push(listener.local_addr().map_err(failed)?);
            let shared = Arc::clone(&shared);
            // It ends when the links are dropped, which dials it once more.
            thread::spawn(move || accept(&listener, to, &shared));
        }
        Ok(links)
    }

    /// The ports by which members reach each other.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.listeners.iter().map(SocketAddr::port).collect()
    }

    pub(super) fn runs_as(&self, member: usize, process: Option<u32>) {
        self.shared.state().processes[member] = process;
    }

    /// From now on nothing that one member sends to the other arrives.
    pub fn silence(&self, from: usize, to: usize) {
        self.shared.state().silent.push((from, to));
    }

    /// From now on a member and all others hear nothing of each other.
    pub fn isolate(&self, member: usize) {
        let others = (0..self.listeners.len()).filter(|other| *other != member);
        let both = others.flat_map(|other| [(member, other), (other, member)]);
        self.shared.state().silent.extend(both);
    }

    /// Everything arrives again, and what was held back does now.
    pub fn heal(&self) {
        self.shared.state().silent.clear();
        self.shared.changed.notify_all();
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_over = true;
        for end in state.open.values().flatten() {
            // One that is closed already is all that is wanted.
            let _ = end.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        for listener in &self.listeners {
            let _ = TcpStream::connect_timeout(listener, ANSWER_LIMIT);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is behind it is whole at every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what one member sends arrives at the other. Whether it ever will.
    fn until_heard(&self, from: Option<usize>, to: usize) -> bool {
        let state = self.state();
        let is_silent = |state: &State| from.is_some_and(|from| state.silent.contains(&(from, to)));
        let waited = self.changed.wait_while(state, |state| !state.is_over && is_silent(state));
        !waited.unwrap_or_else(PoisonError::into_inner).is_over
    }
}

fn accept(listener: &TcpListener, to: usize, shared: &Arc<Shared>) {
    while let Ok((dialed, from)) = listener.accept() {
        if shared.state().is_over {
            return;
        }
        let shared = Arc::clone(shared);
        // It ends with the connection.
        thread::spawn(move || carry(dialed, from, to, &shared));
    }
}

/// Carries one connection, which is with the member `to`.
fn carry(dialed: TcpStream, address: SocketAddr, to: usize, shared: &Arc<Shared>) {
    let from = shared.who_dialed(address, dialed.local_addr().ok());
    if !shared.until_heard(from, to) {
        return;
    }
    let member = SocketAddr::from((Ipv4Addr::LOCALHOST, shared.members[to]));
    let Ok(reached) = TcpStream::connect_timeout(&member, ANSWER_LIMIT) else { return };
    let clones = (dialed.try_clone(), reached.try_clone(), dialed.try_clone(), reached.try_clone());
    let (Ok(dialed_end), Ok(reached_end), Ok(dialed_copy), Ok(reached_copy)) = clones else {
        return;
    };
    let number = {
        let mut state = shared.state();
        state.count += 1;
        let number = state.count;
        state.open.insert(number, [dialed_end, reached_end]);
        number
    };
    let back = {
        let shared = Arc::clone(shared);
        thread::spawn(move || pump(reached_copy, dialed_copy, &|| shared.until_back(from, to)))
    };
    pump(dialed, reached, &|| shared.until_heard(from, to));
    let _ = back.join();
    shared.state().open.remove(&number);
}

/// Carries bytes until either side ends.
fn pump(mut from: TcpStream, mut to: TcpStream, is_heard: &dyn Fn() -> bool) {
    let mut bytes = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !is_heard() || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // That it has ended is news too, and travels like any other.
    is_heard();
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

impl Shared {
    fn until_back(&self, from: Option<usize>, to: usize) -> bool {
        // Somebody who is no member is always heard.
        from.is_none_or(|from| self.until_heard(Some(to), from))
    }

    /// Which member's process has the other end of a connection.
    fn who_dialed(&self, theirs: SocketAddr, ours: Option<SocketAddr>) -> Option<usize> {
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let inode = inode(&table, theirs.port(), ours?.port())?;
        let socket = format!("socket:[{inode}]");
        let has_it = |process: u32| {
            let files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?;
            let mut links = files.flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
            links.any(|link| link.as_os_str() == socket.as_str()).then_some(())
        };
        let processes = self.state().processes.clone();
        processes.iter().position(|process| process.and_then(has_it).is_some())
    }
}

/// The number of the socket at this port of ours that is connected to that one, in the kernel's
/// table: `sl local remote state queues timer retransmits uid timeout inode`, in hexadecimal.
fn inode(table: &str, local: u16, remote: u16) -> Option<&str> {
    let (local, remote) = (format!("0100007F:{local:04X}"), format!("0100007F:{remote:04X}"));
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_it = words.get(1) == Some(&&*local) && words.get(2) == Some(&&*remote);
        is_it.then(|| words.get(9).copied())?
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_socket_is_found_by_both_its_ports() {
        let end = "00000000:00000000 00:00000000 00000000     0        0";
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
             \x20  0: 0100007F:3A98 00000000:0000 0A {end} 11 1 0 100 0\n\
             \x20  1: 0100007F:8000 0100007F:3A98 01 {end} 22 1 0 20 4\n\
             \x20  2: 0100007F:3A98 0100007F:8000 01 {end} 33 1 0 20 4\n"
        );
        assert_eq!(inode(&table, 0x8000, 0x3A98), Some("22"));
        assert_eq!(inode(&table, 0x3A98, 0x8000), Some("33"));
        assert_eq!(inode(&table, 0x3A98, 0x8001), None);
    }

    #[test]
    fn a_silent_way_holds_back_and_the_other_does_not() {
        let members: Vec<TcpListener> =
            (0..2).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")).collect();
        let port = |member: &TcpListener| member.local_addr().expect("bound").port();
        let links = Links::before(&[port(&members[0]), port(&members[1])]).expect("ports");
        // This process stands for member 0: it has the dialing end.
        links.runs_as(0, Some(std::process::id()));
        let mut dialed = TcpStream::connect(links.listeners[1]).expect("it is let in");
        dialed.write_all(b"1").expect("sent");
        let (mut reached, _) = members[1].accept().expect("it is carried on");
        let (mut one, short) = ([0], Some(Duration::from_millis(100)));
        reached.read_exact(&mut one).expect("it arrives");
        links.silence(0, 1);
        dialed.write_all(b"2").expect("sent");
        reached.set_read_timeout(short).expect("set");
        assert!(reached.read_exact(&mut one).is_err(), "it is held back");
        reached.write_all(b"3").expect("sent");
        dialed.read_exact(&mut one).expect("the way back is open");
        links.heal();
        reached.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        reached.read_exact(&mut one).expect("it was only held back");
        assert_eq!(&one, b"2");
        drop(links);
        assert_eq!(reached.read(&mut one).expect("an end"), 0);
    }
}
