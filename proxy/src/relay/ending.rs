//! The end of a session: when it is due, and what is left to do.

use super::Relay;
use crate::proxy::Drain;
use crate::session::Stop;
use crate::wire::Report;

impl Relay {
    /// Whether the shutdown or the token ends the session here.
    pub(super) fn due_end(&self, stage: Drain, expired: bool, idled: bool) -> Option<Stop> {
        let idle = self.session.is_settled() && self.from_client.is_done();
        let over = match stage {
            Drain::Running => false,
            Drain::HandingOver => idled && idle && self.session.is_idle(),
            Drain::Draining => idle && self.session.is_idle(),
            Drain::Closing => true,
        };
        if over {
            let message = "terminating connection due to administrator command";
            return Some(Stop::Fatal(Report::fatal("57P01", message)));
        }
        if expired && idle {
            let message = "terminating connection because the token has expired";
            return Some(Stop::Fatal(Report::fatal("57P01", message)));
        }
        None
    }

    /// Says why, and gives the server connection back, if nothing of the session is left on it.
    pub(super) async fn end(mut self: Box<Self>, stop: Option<Stop>) {
        // Behind half of a message nothing can be said: it would be read as the other half.
        if let Some(Stop::Fatal(report)) = &stop
            && self.between_frames()
        {
            self.session.say_goodbye(report);
        }
        if stop.is_some() {
            self.write_goodbye().await;
        }
        self.session.record_disconnect();
        self.session.unpin();
        let Self {
            session,
            server,
            passing,
            cancel,
            ..
        } = *self;
        let Some(mut lease) = server else {
            return;
        };
        let clean = session.is_settled()
            && passing == 0
            && !lease.has_output()
            && lease.inbox().is_empty()
            && !matches!(stop, Some(Stop::ServerSaid));
        if clean {
            lease.give_back(cancel.slot());
            return;
        }
        cancel.slot().detach();
        if !session.is_settled() && !lease.mark().is_retired() {
            // Nobody waits for the statement any more.
            let _ = lease.cancel_target().cancel().await;
        }
        lease.close().await;
    }
}
