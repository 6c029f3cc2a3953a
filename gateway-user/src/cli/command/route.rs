//! `gateway route`.

use super::super::args::matching;
use super::super::args::{AddRouteArgs, ChangeArgs, DeleteRouteArgs, Format, RouteVerb, SetRouteArgs};
use super::super::client::Client;
use super::super::target::Target;
use super::super::{CliError, output, render};
use super::policy::show_applied;
use crate::api::types::{AddRoute, ApplyReport, LimitUse, RouteInfo, RouteList, RoutePatch, RouteSpec};
use hyper::Method;

const ROUTES: &str = "/v1/routes";

/// Does what the verb says.
///
/// # Errors
/// See [`CliError`].
pub async fn run(client: &Client, verb: RouteVerb) -> Result<(), CliError> {
    match verb {
        RouteVerb::List(args) => {
            let routes: RouteList = client.get(&Target::new(ROUTES)).await?;
            output::show(args.output, &routes, |wide| render::route::list(&routes, wide))
        }
        RouteVerb::Show(args) => {
            let route: RouteInfo = client.get(&Target::new(ROUTES).segment(&args.name)).await?;
            output::show(args.output.output, &route, |wide| render::route::one(&route, wide))
        }
        RouteVerb::Add(args) => add(client, args).await,
        RouteVerb::Set(args) => set(client, args).await,
        RouteVerb::Delete(args) => delete(client, &args).await,
    }
}

async fn add(client: &Client, args: AddRouteArgs) -> Result<(), CliError> {
    let route = AddRoute {
        route: RouteSpec {
            name: args.name,
            matches: matching::spec(args.matches, args.not).unwrap_or_default(),
            limit: Some(args.limit).filter(|limits| !limits.is_empty()),
            syn_cookies: args.syn_cookies,
            mark: args.mark,
            priority: args.priority,
            dscp: args.set_dscp,
            action: args.action,
        },
        position: args.place.position().unwrap_or_default(),
    };
    let target = change(Target::new(ROUTES), &args.change);
    let report: ApplyReport = client.send(Method::POST, &target, &route).await?;
    show(args.change.output.output, &report)
}

async fn set(client: &Client, args: SetRouteArgs) -> Result<(), CliError> {
    let none = LimitUse::Named("none".to_owned());
    let patch = RoutePatch {
        matches: matching::spec(args.matches, args.not),
        // `none` is no limit's name.
        limit: args.limit.map(|limits| if limits == [none] { Vec::new() } else { limits }),
        syn_cookies: args.syn_cookies,
        dscp: args.set_dscp,
        mark: args.mark,
        priority: args.priority,
        action: args.action,
        position: args.place.position(),
    };
    if patch == RoutePatch::default() {
        return Err(CliError::Usage {
            message: "nothing to set\nhelp: name what changes, such as --mark 0x20 or --action drop"
                .to_owned(),
        });
    }
    let target = change(Target::new(ROUTES).segment(&args.name), &args.change);
    let report: ApplyReport = client.send(Method::PATCH, &target, &patch).await?;
    show(args.change.output.output, &report)
}

async fn delete(client: &Client, args: &DeleteRouteArgs) -> Result<(), CliError> {
    let target = change(Target::new(ROUTES).segment(&args.name), &args.change);
    let report: ApplyReport = client.call(Method::DELETE, &target).await?;
    show(args.change.output.output, &report)
}

fn change(target: Target, args: &ChangeArgs) -> Target {
    target.query("base_generation", args.if_generation).query("dry_run", args.dry_run.then_some(true))
}

fn show(format: Format, report: &ApplyReport) -> Result<(), CliError> {
    show_applied(format, report)
}
