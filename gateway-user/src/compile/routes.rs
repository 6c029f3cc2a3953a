//! Routes → their entries, the default's last.

use super::Names;
use super::error::Problem;
use crate::policy::{Action, Default as PolicyDefault, Policy, Route};
use gateway_common::abi::{COUNTER_DEFAULT, Line, UNSET, Verdict};
use gateway_common::image::RouteEntry;
use gateway_common::reason::Reason;

/// The routes, two a line. Redirects that lead nowhere are added to `problems`.
pub(super) fn compile(policy: &Policy, names: &dyn Names, problems: &mut Vec<Problem>) -> Vec<Line> {
    let mut entries = Vec::with_capacity(policy.routes.len() + 2);
    for route in &policy.routes {
        entries.push(entry(route, names, problems));
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

fn entry(route: &Route, names: &dyn Names, problems: &mut Vec<Problem>) -> RouteEntry {
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
    };
    RouteEntry {
        counter: names.counter_slot(&route.name),
        verdict: verdict as u8,
        reason,
        egress_slot,
        mark: route.mark.unwrap_or(UNSET),
        priority: route.priority.unwrap_or(UNSET),
        ..RouteEntry::default()
    }
}
