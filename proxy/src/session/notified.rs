//! NotificationResponse: whose process it says it comes from.

use bytes::BufMut as _;

use super::{Passed, Session, Stop};
use crate::wire::answer;

impl Session {
    /// A notification. In transaction mode the server process that sent it is no number that a client was told: it is
    /// told as that of the client who sent it, if that is one of the session's own tenant.
    pub(super) fn notified(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        if self.sharing.is_none() {
            return Ok(Passed::AsIs);
        }
        let Some((process, rest)) = body.split_first_chunk() else {
            return Err(Stop::desynchronised());
        };
        let pool = self.judging.database().pool();
        let process = i32::from_be_bytes(*process);
        let Some(client) = pool.holder(process, self.who.org.as_deref()) else {
            return Ok(Passed::AsIs);
        };
        answer::message(&mut self.to_client, b'A', |out| {
            out.put_i32(client);
            out.extend_from_slice(rest);
        });
        Ok(Passed::Done)
    }

    /// How the session's connections tell whose they are.
    pub(crate) fn as_holder(&self, pid: i32) -> crate::pool::Holder {
        let pool = self.judging.database().pool();
        pool.as_holder(pid, self.who.org.as_deref())
    }
}
