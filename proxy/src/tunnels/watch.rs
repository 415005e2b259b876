//! Sessions of agents are decided about again whenever the policy changes, by every node that holds their tunnel.

use super::{Held, Live, Tunnels, agent};
use crate::ssh::node::Refused;
use palisade_core::pass::Pass;
use palisade_core::tunnel::Order;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often everything is decided anew without a change of the policy: records run out by themselves.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What an agent was told last about a connection.
type Told = HashMap<String, Result<Pass, String>>;

pub(super) fn start(tunnels: &Arc<Tunnels>) {
    let weak = Arc::downgrade(tunnels);
    tokio::spawn(watch(
        weak,
        tunnels.stop.clone(),
        Arc::clone(&tunnels.node.consensus),
    ));
}

async fn watch(
    tunnels: Weak<Tunnels>,
    stop: tokio_util::sync::CancellationToken,
    consensus: Arc<dyn palisade_core::ports::Consensus>,
) {
    let mut told = Told::new();
    let mut seen = consensus.policy_version();
    loop {
        let Some(now) = tunnels.upgrade() else { return };
        let mut fresh = Told::new();
        for held in now.all_held() {
            for live in held.live() {
                let id = live.claims.connection.clone();
                let before = told.remove(&id);
                if let Some(decided) = now.again(&held, &live, before) {
                    fresh.insert(id, decided);
                }
            }
        }
        told = fresh;
        drop(now);
        tokio::select! {
            () = stop.cancelled() => return,
            now = consensus.policy_changed(seen) => seen = now,
            () = tokio::time::sleep(ASK_AGAIN) => {}
        }
    }
}

impl Tunnels {
    /// Decides about one connection, and tells its agent if the outcome is another one than `before`. A node that
    /// cannot decide now keeps what runs.
    fn again(
        self: &Arc<Self>,
        held: &Arc<Held>,
        live: &Live,
        before: Option<Result<Pass, String>>,
    ) -> Option<Result<Pass, String>> {
        if self.node.consensus.may_decide().is_err() {
            return before;
        }
        let decided = self.pass_again(live)?;
        let same = match (&before, &decided) {
            (Some(Ok(before)), Ok(now)) => before.allows_the_same_as(now),
            (Some(Err(before)), Err(now)) => before == now,
            _ => false,
        };
        // What was decided when the connection began is not known here: the first time, an agent is told what holds.
        if same {
            return Some(decided);
        }
        let connection = live.claims.connection.clone();
        let order = match &decided {
            Ok(pass) => Order::Revise {
                connection,
                pass: Box::new(pass.clone()),
            },
            Err(why) => Order::Refuse {
                connection,
                why: why.clone(),
            },
        };
        let (held, host) = (Arc::clone(held), live.claims.host.clone());
        self.node.tasks.spawn(async move {
            if let Err(error) = agent::order(&held.tunnel, order).await {
                tracing::warn!(host = %host, error = %error, "an agent could not be told of a new decision");
            }
        });
        Some(decided)
    }

    fn pass_again(&self, live: &Live) -> Option<Result<Pass, String>> {
        let claims = (*live.claims).clone();
        let (view, host) = match self.known(&claims) {
            Ok(known) => known,
            Err(agent::Declined::Unavailable(_)) => return None,
            Err(agent::Declined::Refused(why)) => return Some(Err(why)),
        };
        if let Some(joining) = claims.join.clone() {
            return match self.join_again(&claims, &joining, &view) {
                Err(Refused::Unavailable(_)) => None,
                decided => Some(decided.map_err(|why| why.to_string())),
            };
        }
        let now = self.node.consensus.now();
        let seal = |bytes: &[u8]| self.prove(bytes);
        Some(Pass::decide_again(claims, &host, &view, now, seal).map_err(|why| why.to_string()))
    }
}
