//! The end of a session: when it is due, and what is left to do.

use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::Relay;
use crate::frontend::ClientStream;
use crate::proxy::Drain;
use crate::session::Stop;
use crate::wire::Report;

/// How long a client that was stopped in the middle of a message may go on sending it.
const HEARING_TIME: Duration = Duration::from_secs(10);

/// Reads what a client goes on sending, and forgets it. To close a socket that holds something unread is to
/// reset the connection, and the client may lose what it was told before it has read it.
pub(super) async fn hear_out(mut client: ClientStream) {
    let mut unread = vec![0; 16 << 10];
    let heard = async { while let Ok(1..) = client.read(&mut unread).await {} };
    let _ = tokio::time::timeout(HEARING_TIME, heard).await;
}

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

    /// Says why, and gives the server connection back, if nothing of the session is left on it. Gives the
    /// client that is to be heard out.
    pub(super) async fn end(mut self: Box<Self>, stop: Option<Stop>) -> Option<ClientStream> {
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
        let interrupted = matches!(stop, Some(Stop::Fatal(_))) && !self.from_client.is_done();
        let Self {
            client,
            session,
            server,
            passing,
            cancel,
            ..
        } = *self;
        let client = interrupted.then_some(client);
        let Some(mut lease) = server else {
            return client;
        };
        let clean = session.is_settled()
            && passing == 0
            && !lease.has_output()
            && lease.inbox().is_empty()
            && !matches!(stop, Some(Stop::ServerSaid));
        if clean {
            lease.give_back(cancel.slot());
            return client;
        }
        cancel.slot().detach();
        if !session.is_settled() && !lease.mark().is_retired() {
            // Nobody waits for the statement any more.
            let _ = lease.cancel_target().cancel().await;
        }
        lease.close().await;
        client
    }
}
