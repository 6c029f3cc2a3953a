//! Real clients of real servers through a daemon's pools of every kind: curl and wrk from nginx, iperf3 by
//! TCP and UDP, over IPv4 and IPv6; and curl and wrk by TLS, which haproxy on the node ends.

use anyhow::{Context, Result, ensure};
use gateway_tests::backends::{BACKENDS, Decapsulation, Delivery, Links, SERVICE, Serving, address_of};
use gateway_tests::daemon::Daemon;
use gateway_tests::netns::run;
use gateway_tests::process::Process;
use gateway_tests::report::report;
use gateway_tests::web::{BODY, Server, large};
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Ports of the services of the first row; those of others follow.
const WEB: u16 = 8_001;
const BULK: u16 = 5_201;
/// From the port of a service to that of the targets that its packets are translated to.
const TRANSLATED: u16 = 1_000;
/// Fetches by curl.
const FETCHES: usize = 8;

/// A kind of pool.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    forward: &'static str,
    /// Its clients use IPv6.
    client_six: bool,
    /// Its targets have IPv6 addresses.
    target_six: bool,
    /// What else the pool says.
    more: &'static str,
}

const fn row(name: &'static str, forward: &'static str, client_six: bool, target_six: bool) -> Row {
    Row { name, forward, client_six, target_six, more: "" }
}

const DIRECT: &[Row] = &[
    row("ipip-4in4", "ipip", false, false),
    row("ipip-4in6", "ipip", false, true),
    row("ipip-6in6", "ipip", true, true),
    row("gue-4in4", "gue", false, false),
    row("gue-6in4", "gue", true, false),
    row("l2-ipv4", "l2", false, false),
    row("l2-ipv6", "l2", true, true),
];

const TRANSLATING: &[Row] = &[
    row("dnat-ipv4", "dnat", false, false),
    row("dnat-ipv6", "dnat", true, true),
    Row { more: ", source: masquerade", ..row("full-ipv4", "dnat", false, false) },
    Row { more: ", source: masquerade", ..row("full-ipv6", "dnat", true, true) },
];

impl Row {
    fn service(self) -> Result<IpAddr> {
        Ok(SERVICE[usize::from(self.client_six)].parse()?)
    }

    /// Where a backend serves what clients ask for at a port of the service; `translated` says that the
    /// pool translates the port too.
    fn served(self, backend: usize, port: u16, translated: bool) -> Result<SocketAddr> {
        if self.forward != "dnat" {
            return Ok(SocketAddr::new(self.service()?, port));
        }
        let port = if translated { port + TRANSLATED } else { port };
        Ok(SocketAddr::new(address_of(backend, self.target_six).parse()?, port))
    }

    /// The pools of this row: one for the web, and one that keeps all that a client sends together.
    fn pools(self, place: u16) -> String {
        let Row { name, forward, more, .. } = self;
        let targets = |port: &str| {
            let target = |i| format!("{{name: b{i}, address: '{}'{port}}}", address_of(i, self.target_six));
            (0..BACKENDS).map(target).collect::<Vec<_>>().join(", ")
        };
        let translated = match forward {
            "dnat" => format!(", port: {}", WEB + place + TRANSLATED),
            _ => String::new(),
        };
        format!(
            "  {name}: {{forward: {forward}{more}, targets: [{}]}}\n  \
             {name}-bulk: {{forward: {forward}{more}, hash: source, targets: [{}]}}\n",
            targets(&translated),
            targets("")
        )
    }

    fn routes(self, place: u16) -> String {
        let (name, web, bulk) = (self.name, WEB + place, BULK + place);
        format!(
            "  - {{name: {name}, match: {{protocol: tcp, port: {web}}}, action: {{pool: {name}}}}}\n  \
             - {{name: {name}-bulk, match: {{protocol: [tcp, udp], port: {bulk}}}, \
             action: {{pool: {name}-bulk}}}}\n"
        )
    }
}

fn policy(rows: &[Row]) -> String {
    let pools: String = (0..).zip(rows).map(|(place, row)| row.pools(place)).collect();
    let routes: String = (0..).zip(rows).map(|(place, row)| row.routes(place)).collect();
    format!("version: 1\npools:\n{pools}routes:\n{routes}")
}

fn through(rows: &[Row], delivery: &Delivery) -> Result<()> {
    let mut serving = Serving::default();
    Decapsulation::Threads.start(delivery, &mut serving)?;
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
    daemon.apply(&policy(rows))?;
    let mut servers = Vec::new();
    for (number, backend) in delivery.backends.iter().enumerate() {
        let places = (0..).zip(rows);
        let listen = places.map(|(place, row)| row.served(number, WEB + place, true));
        servers.push(Server::start(backend, &listen.collect::<Result<Vec<_>>>()?)?);
    }
    let mut requests = 0;
    for (place, row) in (0..).zip(rows) {
        let at = SocketAddr::new(row.service()?, WEB + place);
        let url = format!("http://{at}");
        requests += web(delivery, &url, &[], &url).with_context(|| row.name)?;
        let pool = daemon.json(&["pool", "show", row.name])?;
        let targets = pool["targets"].as_array().context("no targets")?;
        let sent =
            targets.iter().filter(|target| target["sent"]["packets"].as_u64().is_some_and(|sent| sent > 0));
        ensure!(sent.count() == BACKENDS, "{}: not every target was sent something: {pool}", row.name);
        bulk(delivery, *row, BULK + place).with_context(|| row.name)?;
    }
    drop(servers);
    serving.stop()?;
    report(&format!("clients_{}", rows[0].name), "requests_by_wrk", requests);
    Ok(())
}

/// Fetches by curl with these options, small and large, and by wrk, which knows no names, over many
/// connections at once; how many requests wrk made.
fn web(delivery: &Delivery, url: &str, options: &[&str], of_wrk: &str) -> Result<u64> {
    let curl = |path: &str| {
        let url = format!("{url}{path}");
        delivery.client.command("curl", &[&["-gsS", "--max-time", "60", &url], options].concat())
    };
    for fetch in 0..FETCHES {
        let body = curl("/").with_context(|| format!("fetch {fetch}"))?;
        ensure!(body == BODY, "fetch {fetch}: got {body:?}");
    }
    ensure!(curl("/large")? == large(), "what is large came changed");
    let out = delivery.client.command("wrk", &["-t1", "-c16", "-d1s", &format!("{of_wrk}/")])?;
    ensure!(!out.contains("Socket errors") && !out.contains("Non-2xx"), "{out}");
    // "  12345 requests in 1.00s, 2.00MB read"
    let requests = out.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
    let requests = requests.with_context(|| out.clone())?;
    ensure!(requests > 0, "{out}");
    Ok(requests)
}

/// What iperf3 tells at its end; its servers are new ones, since one that still reads what an earlier client
/// has sent refuses the next.
fn iperf(delivery: &Delivery, row: Row, port: u16, arguments: &[&str]) -> Result<Value> {
    let text = port.to_string();
    let mut servers = Vec::new();
    for (number, backend) in delivery.backends.iter().enumerate() {
        let at = row.served(number, port, false)?.ip().to_string();
        servers.push(Process::serve(backend, "iperf3", &["-s", "-B", &at, "-p", &text], port)?);
    }
    let service = row.service()?.to_string();
    let common = ["-c", &service, "-p", &text, "-J", "--connect-timeout", "10000"];
    let out = delivery.client.command("iperf3", &[&common[..], arguments].concat())?;
    let mut told: Value = serde_json::from_str(&out)?;
    ensure!(told["error"].is_null(), "iperf3 {}: {}", arguments.join(" "), told["error"]);
    Ok(told["end"].take())
}

/// Sends by iperf3, TCP and UDP.
fn bulk(delivery: &Delivery, row: Row, port: u16) -> Result<()> {
    let end = iperf(delivery, row, port, &["-t", "1"])?;
    // The sender ends the test, whatever is yet to be read.
    let [sent, received] = ["sum_sent", "sum_received"].map(|sum| end[sum]["bytes"].as_u64().unwrap_or(0));
    ensure!(sent >= 4_000_000 && received >= sent / 2, "TCP: {sent} bytes sent, {received} arrived: {end}");
    let end = iperf(delivery, row, port, &["-u", "-b", "8M", "-l", "1200", "-n", "600000"])?;
    let number = |key: &str| end["sum"][key].as_u64().with_context(|| format!("UDP: no {key}: {end}"));
    let (sent, lost) = (number("packets")?, number("lost_packets")?);
    // A receiver that does not get a CPU in time loses some.
    ensure!(sent >= 500 && lost * 10 <= sent, "UDP: {lost} of {sent} lost");
    Ok(())
}

/// Where clients find what the proxy serves.
const SECURE: [&str; 2] = ["203.0.113.20", "2001:db8:5::20"];
/// Where the proxy listens, and where it asks.
const PROXY: u16 = 8_443;
const BEHIND: u16 = 9_080;

/// haproxy in the gateway's namespace, with a certificate of its own in this folder.
fn proxy(delivery: &Delivery, folder: &Path) -> Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (file("certificate.pem"), file("certificate.pem.key"));
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let names = ["-subj", "/CN=service.test", "-addext", "subjectAltName=DNS:service.test"];
    let out = ["-keyout", &key, "-out", &certificate];
    run("openssl", &[&request[..], &names, &out].concat())?;
    let server = |i| format!("  server b{i} {}:{BEHIND}\n", address_of(i, false));
    let servers: String = (0..BACKENDS).map(server).collect();
    // What clients asked for, and who asked, are the connection's own addresses.
    let text = format!(
        "defaults\n  mode http\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
         frontend secure\n  bind 0.0.0.0:{PROXY} ssl crt {certificate}\n  \
         bind :::{PROXY} v6only ssl crt {certificate}\n  default_backend web\n\
         backend web\n  http-response set-header x-asked \"%[dst]:%[dst_port] by %[src]\"\n{servers}"
    );
    std::fs::write(folder.join("haproxy.cfg"), text)?;
    Process::serve(&delivery.gateway, "haproxy", &["-db", "-f", &file("haproxy.cfg")], PROXY)
}

#[test]
fn through_a_proxy_on_the_node_that_ends_tls() -> Result<()> {
    let delivery = Delivery::new(Links::Plain)?;
    let folder = tempfile::tempdir()?;
    let _proxy = proxy(&delivery, folder.path())?;
    let mut servers = Vec::new();
    for (number, backend) in delivery.backends.iter().enumerate() {
        let at = SocketAddr::new(address_of(number, false).parse()?, BEHIND);
        servers.push(Server::start(backend, &[at])?);
    }
    for service in SECURE {
        delivery.gateway.ip(&["route", "add", "local", service, "dev", "lo"])?;
    }
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0", "back1"], &[])?;
    daemon.apply(&format!(
        "version: 1\nroutes:\n  - {{name: secure, match: {{to: [{}, '{}'], protocol: tcp, port: 443}}, \
         action: {{proxy: {PROXY}}}}}\n",
        SECURE[0], SECURE[1]
    ))?;
    let certificate = folder.path().join("certificate.pem").display().to_string();
    let mut requests = 0;
    for (service, client) in SECURE.into_iter().zip(["192.0.2.77", "2001:db8:c::77"]) {
        let host = if service.contains(':') { format!("[{service}]") } else { service.to_owned() };
        let resolve = format!("service.test:443:{host}");
        let options = ["--cacert", &certificate, "--resolve", &resolve];
        let look = [&["-sSI", "--max-time", "60", "https://service.test/"][..], &options].concat();
        let head = delivery.client.command("curl", &look)?;
        let asked = format!("x-asked: {service}:443 by {client}");
        ensure!(head.contains(&asked), "not {asked:?}: {head}");
        requests += web(&delivery, "https://service.test", &options, &format!("https://{host}"))?;
    }
    ensure!(daemon.metric("gateway_route_packets_total", &["route=\"secure\""])? > 0.0, "nothing counted");
    report("clients_proxy", "requests_by_wrk", requests);
    Ok(())
}

#[test]
fn through_pools_whose_targets_answer_themselves() -> Result<()> {
    through(DIRECT, &Delivery::new(Links::Plain)?)
}

#[test]
fn through_pools_that_translate() -> Result<()> {
    let delivery = Delivery::new(Links::Plain)?;
    delivery.answer_through_gateway()?;
    through(TRANSLATING, &delivery)
}

/// A pool of the node itself and a backend, whose sources are translated: those of the node's own are not, or it would
/// take no packet in.
#[test]
fn through_pools_of_the_node_itself_and_others() -> Result<()> {
    const ANSWERS: u16 = 9_090;
    let delivery = Delivery::new(Links::Plain)?;
    let rows = [(false, "192.0.2.1"), (true, "2001:db8:c::1")];
    let mut servers = Vec::new();
    for (six, own) in rows {
        let at = |address: &str| Ok::<_, anyhow::Error>(SocketAddr::new(address.parse()?, ANSWERS));
        servers.push(Server::start(&delivery.gateway, &[at(own)?])?);
        servers.push(Server::start(&delivery.backends[0], &[at(&address_of(0, six))?])?);
    }
    let target =
        |name: &str, address: &str| format!("{{name: {name}, address: '{address}', port: {ANSWERS}}}");
    let targets = rows.map(|(six, own)| {
        let family = if six { "six" } else { "four" };
        let [node, backend] = ["node", "backend"].map(|name| format!("{name}-{family}"));
        format!("{}, {}", target(&node, own), target(&backend, &address_of(0, six)))
    });
    let daemon = Daemon::start(&delivery.gateway, &["gw0", "back0"], &[])?;
    daemon.apply(&format!(
        "version: 1\npools:\n  web: {{forward: dnat, source: masquerade, targets: [{}]}}\nroutes:\n  \
         - {{name: web, match: {{to: [{}, '{}'], protocol: tcp, port: {WEB}}}, action: {{pool: web}}}}\n",
        targets.join(", "),
        SERVICE[0],
        SERVICE[1]
    ))?;
    for service in SERVICE {
        let url = format!("http://{}", SocketAddr::new(service.parse()?, WEB));
        web(&delivery, &url, &[], &url).with_context(|| service)?;
    }
    let pool = daemon.json(&["pool", "show", "web"])?;
    for target in pool["targets"].as_array().context("no targets")? {
        let counts = [&target["sent"], &target["connections"]["returned"]].map(|way| way["packets"].as_u64());
        ensure!(
            counts.iter().all(|count| count.is_some_and(|count| count > 0)),
            "not there and back: {target}"
        );
    }
    Ok(())
}
