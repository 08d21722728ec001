//! Ending a session: what is still there is given back, and nothing more is asked.

use futures_util::future::join_all;

use super::OwnSession;

impl OwnSession {
    /// Gives back what is still live, in one flight, and ends the connections. What cannot be given
    /// back ends with its lease.
    pub(crate) async fn close(&self) {
        let tickets = self.tickets.all();
        let giving_back = async {
            join_all(tickets.iter().map(|ticket| self.give_back(ticket))).await;
        };
        tokio::select! {
            biased;
            () = giving_back => {}
            () = self.env.sleep(self.config.limit()) => {}
        }
        self.route.close();
    }
}
