//! One round of a claim over N servers, as its client sees it: no network, no clock, only what the
//! servers said.
//!
//! This file is compiled twice: into the store, which runs it, and into `models`, which searches
//! through everything that can happen to it. So it knows nothing but the standard library.
//!
//! ```text
//!   asked ──► voted(t) ──► raised(T) ──► …      the server keeps our key, with this number
//!     ├─────► busy                              somebody else has its vote
//!     └─────► silent                            no answer, or an error: it may keep our key
//! ```
//!
//! **The rule.** A server that gives its vote raises its counter and answers with the number. The
//! token T is the highest number that was heard. A server whose number is lower is told T: if it
//! still keeps our key, and has given it no higher number, it raises the key's number and its
//! counter to T. The grant is reported when a quorum has said *exactly T*, and not before.

/// What a server last said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Vote {
    /// Nothing yet.
    Asked,
    /// It keeps our key, with this number.
    Own(u64),
    /// It keeps our key with this number, and has been told the higher one.
    Told(u64, u64),
    /// It keeps somebody else's key, or lost ours.
    Busy,
    /// It did not answer.
    Silent,
}

/// Where a round stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Answers are missing that may decide it.
    Open,
    /// A quorum has said exactly this number.
    Granted(u64),
    /// No quorum can come of it any more.
    Lost,
}

/// One round.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Round {
    votes: Vec<Vote>,
    quorum: usize,
}

impl Round {
    /// A round over so many servers. Nobody has answered.
    pub fn new(servers: usize) -> Self {
        Self { votes: vec![Vote::Asked; servers], quorum: quorum_of(servers) }
    }

    /// With another quorum than a majority: for the model, which shows why there is none.
    pub fn with_quorum(servers: usize, quorum: usize) -> Self {
        Self { votes: vec![Vote::Asked; servers], quorum }
    }

    /// The server keeps our key with this number: its answer to the claim or to a write-back. The
    /// number of one key never falls, so of two answers the higher one is the later.
    pub fn hear_own(&mut self, server: usize, number: u64) {
        let vote = &mut self.votes[server];
        *vote = match *vote {
            Vote::Own(known) if known >= number => Vote::Own(known),
            Vote::Told(known, told) if number < told => Vote::Told(known.max(number), told),
            // A vote that is lost does not come back: the next round asks anew.
            Vote::Busy => Vote::Busy,
            Vote::Asked | Vote::Own(_) | Vote::Told(..) | Vote::Silent => Vote::Own(number),
        };
    }

    /// The server keeps somebody else's key, or does not keep ours any more.
    pub fn hear_busy(&mut self, server: usize) {
        self.votes[server] = Vote::Busy;
    }

    /// The server did not answer, or with an error.
    pub fn hear_silence(&mut self, server: usize) {
        let vote = &mut self.votes[server];
        // A vote that was heard stands, but a write-back that was not answered may not be counted.
        *vote = match *vote {
            Vote::Asked | Vote::Told(..) => Vote::Silent,
            other => other,
        };
    }

    /// The highest number that was heard.
    pub fn token(&self) -> Option<u64> {
        self.votes.iter().filter_map(Vote::number).max()
    }

    /// Whom to tell the token now, if anybody: once a quorum has voted, all who voted lower. Each
    /// is told a number once.
    pub fn write_backs(&mut self) -> Vec<(usize, u64)> {
        let Some(token) = self.token().filter(|_| self.votes_heard() >= self.quorum) else {
            return Vec::new();
        };
        let mut told = Vec::new();
        for (server, vote) in self.votes.iter_mut().enumerate() {
            match *vote {
                Vote::Own(number) | Vote::Told(number, _)
                    if number < token
                        && !matches!(*vote, Vote::Told(_, known) if known >= token) =>
                {
                    *vote = Vote::Told(number, token);
                    told.push((server, token));
                }
                _ => {}
            }
        }
        told
    }

    /// Where it stands.
    pub fn verdict(&self) -> Verdict {
        if let Some(token) = self.token() {
            let agreed = |vote: &&Vote| **vote == Vote::Own(token);
            if self.votes.iter().filter(agreed).count() >= self.quorum {
                return Verdict::Granted(token);
            }
        }
        let hopeful = |vote: &&Vote| matches!(vote, Vote::Asked | Vote::Own(_) | Vote::Told(..));
        match self.votes.iter().filter(hopeful).count() >= self.quorum {
            true => Verdict::Open,
            false => Verdict::Lost,
        }
    }

    /// The number of the first server that keeps our key: for the model, which shows that it is no
    /// token.
    pub fn first_number(&self) -> Option<u64> {
        self.votes.iter().find_map(Vote::number)
    }

    /// What each server last said.
    pub fn votes(&self) -> &[Vote] {
        &self.votes
    }

    /// How many servers keep our key, as far as they said.
    pub fn votes_heard(&self) -> usize {
        self.votes.iter().filter(|vote| vote.number().is_some()).count()
    }

    /// How many servers a majority is.
    pub fn quorum(&self) -> usize {
        self.quorum
    }
}

impl Vote {
    fn number(&self) -> Option<u64> {
        match *self {
            Vote::Own(number) | Vote::Told(number, _) => Some(number),
            Vote::Asked | Vote::Busy | Vote::Silent => None,
        }
    }
}

/// More than half.
pub fn quorum_of(servers: usize) -> usize {
    servers / 2 + 1
}
