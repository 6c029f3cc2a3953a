//! Routes → their entries, the default's last.

use super::Names;
use super::error::Problem;
use super::limits::{Limits, OfRoute};
use super::pools::Pools;
use crate::policy::{Action, Default as PolicyDefault, Policy, Route};
use gateway_common::abi::{COUNTER_DEFAULT, Line, UNSET, Verdict};
use gateway_common::image::{ROUTE_EXTRA, ROUTE_PER_LABEL, RouteEntry};
use gateway_common::reason::Reason;

/// The routes, two a line. Redirects and pools that lead nowhere are added to `problems`.
pub(super) fn compile(
    policy: &Policy,
    limits: &Limits<'_>,
    pools: &Pools,
    names: &dyn Names,
    problems: &mut Vec<Problem>,
) -> Vec<Line> {
    let mut entries = Vec::with_capacity(policy.routes.len() + 2);
    for (route, of_route) in policy.routes.iter().zip(&limits.routes) {
        entries.push(entry(route, of_route, pools, names, problems));
    }
    let (verdict, reason) = match policy.default {
        PolicyDefault::Pass => (Verdict::Pass, 0),
        PolicyDefault::Drop => (Verdict::Drop, Reason::Default.code()),
    };
    entries.push(RouteEntry {
        counter: COUNTER_DEFAULT,
        verdict: verdict as u8,
        reason,
        mark: UNSET,
        priority: UNSET,
        ..RouteEntry::default()
    });
    if entries.len() % 2 != 0 {
        entries.push(RouteEntry::default());
    }
    entries.chunks_exact(2).map(|pair| Line(bytemuck::cast([pair[0], pair[1]]))).collect()
}

fn entry(
    route: &Route,
    of_route: &OfRoute,
    pools: &Pools,
    names: &dyn Names,
    problems: &mut Vec<Problem>,
) -> RouteEntry {
    let (mut pool_index, mut proxy_port) = (0, 0);
    let (verdict, reason, egress_slot) = match &route.action {
        Action::Pass => (Verdict::Pass, 0, 0),
        Action::Drop => (Verdict::Drop, Reason::Route.code(), 0),
        Action::Tx => (Verdict::Tx, 0, 0),
        Action::Redirect { interface } => {
            let slot = names.interface_slot(interface).filter(|&slot| slot != 0);
            if slot.is_none() {
                problems.push(Problem::DanglingRedirect {
                    route: route.name.clone(),
                    interface: interface.clone(),
                });
            }
            (Verdict::Redirect, 0, slot.unwrap_or(0))
        }
        Action::Pool { pool, targets } => {
            match pools.index(pool, targets) {
                Some(index) => pool_index = index,
                None => problems.push(Problem::UnknownPool { route: route.name.clone(), pool: pool.clone() }),
            }
            (Verdict::Redirect, 0, 0)
        }
        Action::Proxy { port } => {
            proxy_port = *port;
            (Verdict::Pass, 0, 0)
        }
    };
    let extra = !route.limits.is_empty()
        || route.syn_cookies.is_some()
        || route.dscp.is_some()
        || pool_index != 0
        || proxy_port != 0;
    let flag = |holds: bool, flag| if holds { flag } else { 0 };
    RouteEntry {
        counter: names.counter_slot(&route.name),
        verdict: verdict as u8,
        reason,
        egress_slot,
        mark: route.mark.unwrap_or(UNSET),
        priority: route.priority.unwrap_or(UNSET),
        dscp: route.dscp.map_or(0, |dscp| dscp << 2 | 1),
        limits: of_route.limits,
        syn_cookies: of_route.syn_cookies,
        pool: pool_index,
        flags: flag(extra, ROUTE_EXTRA) | flag(of_route.per_label, ROUTE_PER_LABEL),
        proxy_port,
    }
}
