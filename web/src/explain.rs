//! Who can reach what with a role, and what would change if it were saved: the decision, asked for every pair of a
//! holder and a host, now and as if.

use crate::ask::{Ask, Fresh};
use crate::body::{Json, bounded};
use crate::error::Failure;
use palisade_core::access::View;
use palisade_core::api::{Explain, Reaches, RoleExplained};
use palisade_core::hosts::Hosts;
use palisade_core::kv::Kv;
use palisade_core::name::Login;
use palisade_core::record::{AnyRecord, Grant, Record, RoleSpec, UserSpec, Verb, parse_records};
use palisade_core::state;
use palisade_core::time::Timestamp;

/// Pairs looked at: a second of work at most.
const PAIRS_MAX: u64 = 500_000;
/// What is shown of each list.
const SHOWN_MAX: usize = 500;

/// `POST /v1/roles/explain`.
pub(crate) async fn role(
    ask: Ask,
    Json(request): Json<Explain>,
) -> Result<axum::Json<RoleExplained>, Failure> {
    let who = ask.who(Fresh::Linear).await?;
    // It tells of users, roles and hosts: whoever asks may see all three.
    for grant in [Grant::Role, Grant::User, Grant::Host] {
        ask.permit(&who, Verb::List, grant, None).await?;
    }
    bounded(&request.text)?;
    let mut records = parse_records(&request.text).map_err(|e| Failure::invalid(e.to_string()))?;
    let (Some(AnyRecord::Role(role)), true) = (records.pop(), records.is_empty()) else {
        return Err(Failure::invalid("the text must be exactly one role"));
    };
    let (kv, hosts, now) = (ask.kv(), ask.app.api.consensus.hosts()?, ask.now());
    let looking = tokio::task::spawn_blocking(move || explained(kv.as_ref(), &hosts, &role, now));
    let answer = looking.await.map_err(|e| Failure::internal("explain", &e))?;
    answer.map(axum::Json)
}

fn explained(
    kv: &dyn Kv,
    hosts: &Hosts,
    role: &Record<RoleSpec>,
    now: Timestamp,
) -> Result<RoleExplained, Failure> {
    let name = &role.metadata.name;
    let mut answer = RoleExplained {
        role: name.to_string(),
        exists: state::record::<RoleSpec>(kv, name)?.is_some(),
        users: Vec::new(),
        reach: Vec::new(),
        gained: Vec::new(),
        lost: Vec::new(),
        pairs: 0,
        cut: false,
    };
    let mut users = state::records::<UserSpec>(kv)?;
    users.retain(|user| user.spec.roles.contains(name) && !user.expired(now));
    for user in users {
        let user = user.metadata.name;
        answer.users.push(user.to_string());
        let Some(before) = View::load(kv, &user)? else {
            continue;
        };
        let after = with_role(before.clone(), role);
        let (reach_before, reach_after) = (before.reach(now), after.reach(now));
        for row in hosts.after("") {
            let host = &row.record;
            if host.expired(now) {
                continue;
            }
            if answer.pairs >= PAIRS_MAX {
                answer.cut = true;
                return Ok(answer);
            }
            answer.pairs += 1;
            let (had, has) = (reach_before.logins_on(host), reach_after.logins_on(host));
            let lines = [
                (&mut answer.gained, only_in(&has, &had)),
                (&mut answer.lost, only_in(&had, &has)),
                (&mut answer.reach, has),
            ];
            for (list, logins) in lines {
                if logins.is_empty() {
                    continue;
                }
                if list.len() >= SHOWN_MAX {
                    answer.cut = true;
                    continue;
                }
                list.push(Reaches {
                    user: user.to_string(),
                    host: host.metadata.name.to_string(),
                    logins: logins.iter().map(ToString::to_string).collect(),
                });
            }
        }
    }
    Ok(answer)
}

/// The view as it would be with the role saved.
fn with_role(mut view: View, role: &Record<RoleSpec>) -> View {
    view.roles.retain(|held| held.metadata.name != role.metadata.name);
    view.roles.push(role.clone());
    view
}

fn only_in(these: &[Login], those: &[Login]) -> Vec<Login> {
    these
        .iter()
        .filter(|login| !those.contains(login))
        .cloned()
        .collect()
}
