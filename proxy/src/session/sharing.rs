//! Transaction mode: a session that has a server connection only while it needs one.
//!
//! The session knows its *setup* (claims, role, changed settings) and puts it in force on each
//! server connection that it gets, unless the connection carries it already; before that, whatever
//! the last holder may have left is swept away. Settings are not guessed from the text of SET:
//! after a transaction that may have changed some, the server is asked for their values, so that
//! SET LOCAL, rollbacks and savepoints are followed exactly. The connection is kept until it has
//! answered, and for as long as something on it can't be had on another ([`Pin`]).

use std::collections::BTreeSet;
use std::sync::Arc;

use pgwarden_policy::{Effect, Plan};

use super::Session;
use super::queue::Expect;
use crate::backend::{ConnectError, Moment};
use crate::metrics::Pin;
use crate::pool::{Carried, Settings, Setup, Under};
use crate::wire::{Report, report};

/// What a session remembers while it has no server connection.
#[derive(Debug)]
pub(super) struct Sharing {
    /// What must be in force before a statement runs.
    pub(super) setup: Arc<Setup>,
    /// The effective `search_path` under the setup.
    pub(super) search_path: Arc<[String]>,
    /// The state of the catalogue that it was asked for in, if it was.
    pub(super) path_asked: Option<u64>,
    /// The setup whose settings are in force on the connection, if any were put there.
    pub(super) in_place: Option<Arc<Setup>>,
    /// Whether there is a server connection.
    pub(super) attached: bool,
    /// The setup was put in force on the connection, as far as statements since have left it there.
    pub(super) placed: bool,
    /// The connection must be swept before another setup is put in force.
    pub(super) unswept: bool,
    /// Somebody's function ran on the connection since it was swept, which may have changed settings
    /// unseen.
    pub(super) strayed: bool,
    /// A role was put in force on the connection since it was swept.
    pub(super) roled: bool,
    /// Something was written, or may have been, on the connection.
    pub(super) wrote: bool,
    /// All that was written before was before this moment.
    pub(super) wrote_before: Moment,
    /// Settings that were changed, or may have been, since the server was last asked.
    pub(super) touched: BTreeSet<String>,
    /// Counts the statements that may have changed settings, or brought others back.
    changes: u64,
    /// The server must be asked for settings and cursors when the transaction has ended.
    pub(super) asks: bool,
    /// Something ran whose effects nobody knows.
    pub(super) unread: bool,
    /// There are cursors WITH HOLD, or may be.
    pub(super) holds: bool,
    /// Notifications are listened to, or may be.
    pub(super) listens: bool,
    /// Advisory locks of the session are held, or may be.
    pub(super) locks: bool,
    /// Settings of the start-up packet: part of the setup, and what RESET goes back to.
    pub(super) startup: Settings,
    /// The setup is put in force again, since a RESET went further back than it does here.
    pub(super) restores: bool,
    /// Whether the batch that is on its way puts the settings in force.
    pub(super) replay: Replay,
    /// What the server says of its settings is no news to the client.
    pub(super) muted: bool,
    /// Prepared statements turned out to be of before some DDL, when the connection had gone.
    pub(super) distrusts: bool,
    /// A write of the open transaction may have stopped at an Execute's limit: what comes behind it sees its rows
    /// only when the server counts a command, as it does at each Parse.
    pub(super) halted: bool,
    /// A prepared statement may be left on the connection that the session knows nothing of.
    pub(super) soiled: bool,
    /// What the gauge counts this session as.
    pub(super) pin: Option<Pin>,
}

/// What a batch of ours does to the settings, until it is answered: it is one transaction, so its failure takes that
/// back, however much of it was answered before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Replay {
    /// Nothing.
    #[default]
    No,
    /// It puts them in force.
    Places,
    /// It puts them in force again, where only a RESET was followed: nothing was swept.
    Restores,
}

/// What the server has told of a session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The settings that are not those of the start-up.
    pub(super) settings: Settings,
    /// Whether there are cursors WITH HOLD.
    pub(super) holds: bool,
    /// Whether notifications are listened to.
    pub(super) listens: bool,
    /// Whether advisory locks of the session are held.
    pub(super) locks: bool,
}

impl Sharing {
    /// Of a session that begins: its setup holds the settings of its start-up packet.
    pub(super) fn new(setup: Arc<Setup>) -> Self {
        Self {
            startup: setup.settings.clone(),
            restores: false,
            setup,
            search_path: Arc::default(),
            path_asked: None,
            in_place: None,
            attached: false,
            placed: false,
            unswept: false,
            strayed: false,
            roled: false,
            wrote: false,
            wrote_before: Moment::default(),
            touched: BTreeSet::new(),
            changes: 0,
            asks: false,
            unread: false,
            holds: false,
            listens: false,
            locks: false,
            replay: Replay::No,
            muted: false,
            distrusts: false,
            halted: false,
            soiled: false,
            pin: None,
        }
    }

    /// The statement of a plan is on its way.
    pub(super) fn follow(&mut self, plan: &Plan) {
        self.unswept |= plan.leaves_traces();
        self.wrote |= plan.may_write();
        self.unread |= plan
            .observed
            .as_ref()
            .is_some_and(|observed| observed.reason.is_some());
        for effect in &plan.effects {
            match effect {
                // Those of the transaction end with it.
                Effect::Setting(name)
                    if name.starts_with("transaction_") && name != "transaction_timeout" => {}
                Effect::Setting(name) => self.touch(name),
                Effect::SearchPath => self.touch("search_path"),
                Effect::ClaimsLost => self.asks = true,
                Effect::Temporaries => {
                    self.asks = true;
                    self.unswept = true;
                }
                Effect::Hold(_) => {
                    self.holds = true;
                    self.asks = true;
                }
                Effect::CloseAll | Effect::Close(_) => self.asks |= self.holds,
                Effect::Listen => {
                    self.listens = true;
                    self.asks = true;
                    self.unswept = true;
                }
                Effect::Unlisten => self.asks |= self.listens,
                // No rollback undoes it, and one call may take many: the server is asked what is left.
                Effect::Lock => {
                    self.locks = true;
                    self.asks = true;
                    self.unswept = true;
                }
                Effect::Unlock => self.asks |= self.locks,
                Effect::DeallocateAll
                | Effect::RollbackTo
                | Effect::Declare { .. }
                | Effect::CurrentOf { .. }
                | Effect::Deallocate(_)
                | Effect::Prepare(_)
                | Effect::Execute(_)
                | Effect::Fetch(_) => {}
            }
        }
        if !plan.kind.is_of_rows() {
            self.may_bring_settings_back();
        }
        self.strayed |= plan.calls_users;
    }

    /// The batch has failed.
    pub(super) fn forget_replay(&mut self) {
        let replay = std::mem::take(&mut self.replay);
        if replay != Replay::No {
            (self.placed, self.in_place) = (false, None);
            self.restores |= replay == Replay::Restores;
        }
    }

    /// The end of a savepoint or transaction brings back what was in force before it.
    pub(super) fn may_bring_settings_back(&mut self) {
        self.changes += 1;
    }

    /// What a statement is parsed under that a session sends now.
    pub(super) fn under(&self, session: u64) -> Under {
        if self.touched.is_empty() {
            return self.setup.under();
        }
        let changes = self.changes;
        Under::Own { session, changes }
    }

    fn touch(&mut self, name: &str) {
        self.changes += 1;
        self.asks = true;
        self.unswept = true;
        if !self.touched.contains(name) {
            self.touched.insert(name.to_owned());
        }
    }

    /// The names whose values the server is to be asked for.
    pub(super) fn asked_names(&self) -> BTreeSet<&str> {
        let known = self.setup.settings.iter().map(|(name, _)| name.as_str());
        known
            .chain(self.touched.iter().map(String::as_str))
            .collect()
    }

    /// The server has told them.
    pub(super) fn learn(&mut self, told: Told) {
        let Told {
            mut settings,
            holds,
            listens,
            locks,
        } = told;
        let told = settings.len();
        for (name, value) in &self.startup {
            if !settings.iter().any(|(known, _)| known == name) {
                settings.push((name.clone(), value.clone()));
            }
        }
        if settings.len() > told {
            settings.sort_unstable();
            (self.restores, self.placed) = (true, false);
        }
        if self.setup.settings != settings {
            let role = self.setup.role.as_deref();
            self.setup = Setup::new(&self.setup.claims, role, settings);
            // Sessions that change settings leave the connection to be swept.
            self.in_place = None;
        }
        self.touched.clear();
        self.asks = false;
        self.holds = holds;
        self.listens = listens;
        self.locks = locks;
    }
}

impl Session {
    /// Whether a message needs a server connection. Asked only while there is none.
    pub(crate) fn needs_server(&self, tag: u8) -> bool {
        match tag {
            b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'F' => self.skip != super::Skip::Local,
            _ => false,
        }
    }

    /// The setup, in transaction mode.
    pub(crate) fn setup(&self) -> Option<&Arc<Setup>> {
        self.sharing.as_ref().map(|sharing| &sharing.setup)
    }

    /// The session has got a server connection.
    pub(crate) fn attach(&mut self, carried: &mut Carried, on_standby: bool) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        sharing.attached = true;
        self.known.on_standby = on_standby;
        self.known.foreign_sequences = true;
        if on_standby {
            self.proxy.metrics().standby_checkouts.increment();
        }
        sharing.roled = carried.roled;
        sharing.strayed = carried.strayed;
        // Who has no role of its own must not run under another's.
        let foreign_role = carried.roled && sharing.setup.role.is_none();
        sharing.in_place = carried.in_place.take();
        let same = |it: &Arc<Setup>| it.settings == sharing.setup.settings;
        let same = sharing.in_place.as_ref().map(same);
        sharing.unswept = carried.unswept || foreign_role || same == Some(false);
        sharing.restores = false;
        self.prepared = std::mem::take(&mut carried.prepared);
        self.known.lose();
        // What it carries was asked for before the catalogue has changed, or it was not.
        self.known.settled = carried.carries(&sharing.setup)
            && carried.generation == self.judging.database().generation();
        sharing.placed = self.known.settled || (same == Some(true) && !sharing.unswept);
        self.known.in_transaction = false;
        if self.known.settled {
            sharing.search_path = Arc::clone(&carried.search_path);
            sharing.path_asked = Some(carried.generation);
            self.judging.set_search_path(&carried.search_path);
        }
    }

    /// Whether the server connection can go: no transaction is open, nothing is owed, and nothing
    /// on the connection is the session's alone.
    pub(crate) fn can_detach(&mut self) -> bool {
        let owes = |sharing: &Sharing| sharing.asks || sharing.restores;
        if !self.is_idle() || self.leftover || self.sharing.as_deref().is_none_or(owes) {
            return false;
        }
        let pin = self.pinned();
        self.note_pin(pin);
        pin.is_none()
    }

    /// The session gives its server connection up.
    pub(crate) fn detach(&mut self, carried: &mut Carried) {
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        sharing.attached = false;
        if std::mem::take(&mut sharing.wrote) {
            sharing.wrote_before = Moment::next();
        }
        carried.setup = self.known.settled.then(|| Arc::clone(&sharing.setup));
        carried.search_path = Arc::clone(&sharing.search_path);
        carried.generation = self.judging.generation();
        carried.unswept = sharing.unswept;
        carried.roled = sharing.roled;
        carried.strayed = sharing.strayed;
        carried.in_place = sharing.in_place.take();
        carried.soiled = std::mem::take(&mut sharing.soiled);
        carried.prepared = std::mem::take(&mut self.prepared);
        self.known.lose();
    }

    /// Whether the session can go on with another server connection when this one is lost: the
    /// client waits for nothing that was sent to it.
    pub(crate) fn can_swap(&self) -> bool {
        self.status == b'I'
            && !self.pipeline_open
            && self.queue.all(Expect::is_own)
            && self
                .sharing
                .as_ref()
                .is_some_and(|it| it.attached && !it.asks)
            && self.pinned().is_none()
    }

    /// The server connection is lost, and with it what was asked of it.
    pub(crate) fn lose(&mut self) {
        self.queue.clear();
        self.prepared.clear();
        self.known.lose();
        if let Some(sharing) = &mut self.sharing {
            sharing.attached = false;
            sharing.muted = false;
            sharing.replay = Replay::No;
        }
        self.leftover = false;
    }

    /// Why the session must keep its server connection.
    pub(super) fn pinned(&self) -> Option<Pin> {
        let sharing = self.sharing.as_ref()?;
        if !self.judging.access().enforce {
            return Some(Pin::BreakGlass);
        }
        if sharing.unread {
            return Some(Pin::Observed);
        }
        if sharing.holds {
            return Some(Pin::Cursor);
        }
        if sharing.listens {
            return Some(Pin::Listen);
        }
        if sharing.locks {
            return Some(Pin::Lock);
        }
        if !self.judging.temporaries().is_empty() {
            return Some(Pin::Temporary);
        }
        self.names.pins()
    }

    fn note_pin(&mut self, pin: Option<Pin>) {
        let metrics = Arc::clone(self.proxy.metrics());
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        if sharing.pin == pin {
            return;
        }
        if let Some(before) = sharing.pin {
            metrics.pinned(before).add(-1);
        }
        if let Some(now) = pin {
            metrics.pinned(now).add(1);
            tracing::debug!(
                session = self.who.session,
                reason = now.as_str(),
                "the session keeps its server connection"
            );
        }
        sharing.pin = pin;
    }

    /// The session ends: it is pinned no more.
    pub(crate) fn unpin(&mut self) {
        self.note_pin(None);
    }

    /// The policy may have given the session another role. It is put in force with the claims; whatever else the
    /// session has on its server connection stays, as behind a SET ROLE.
    pub(super) fn refresh_setup(&mut self) {
        let role = self.judging.access().set_role.as_deref();
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let may = self.queue.is_empty() && self.status == b'I' && !self.pipeline_open;
        if may && sharing.setup.role.as_deref() != role {
            let settings = sharing.setup.settings.clone();
            sharing.setup = Setup::new(&sharing.setup.claims, role, settings);
            // "$user" in it is the role.
            sharing.path_asked = None;
            self.known.lose();
        }
    }

    /// There is no server connection for a message: the statement fails, the session goes on.
    pub(crate) fn no_server(&mut self, tag: u8, error: &ConnectError) {
        let report = match error {
            ConnectError::PoolFull => Report::error(
                "53300",
                "pgwarden: no server connection became free within checkout_timeout",
            ),
            ConnectError::CalledOff => Report::error("57014", report::CANCELLED),
            ConnectError::Paused => Report::error(
                "08006",
                "pgwarden: the database was paused for longer than pool.pause_timeout",
            ),
            _ => Report::error(
                "08006",
                "pgwarden: the database server can't be reached now",
            ),
        };
        let expect = match tag {
            b'P' => Expect::Parse,
            b'B' => Expect::Bind,
            b'D' => Expect::DescribePortal,
            b'E' => Expect::Execute,
            b'C' => Expect::Close,
            _ => Expect::Query,
        };
        // Nothing is outstanding, so the answer is given here.
        self.refuse(report, expect, None, &mut crate::backend::Outbox::default());
    }
}
