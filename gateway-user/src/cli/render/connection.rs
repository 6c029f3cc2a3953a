//! Connections.

use super::super::output::Columns;
use super::super::units::{age_ms, bytes, grouped, number};
use super::endpoint;
use crate::api::types::{ConnectionInfo, ConnectionList};

/// Connections as a table, and how many there are.
#[must_use]
pub fn list(list: &ConnectionList, wide: bool) -> String {
    let mut heads =
        vec!["PROTOCOL", "CLIENT", "SERVICE", "TARGET", "STATE", ">AGE", ">LEFT", ">PACKETS", ">BYTES"];
    if wide {
        heads.extend([">RETURNED", ">RETURNED BYTES", "ADDRESS", "SOURCE", "ROUTE"]);
    }
    let mut columns = Columns::new(&heads);
    for connection in &list.connections {
        columns.row(cells(connection, wide));
    }
    let shown = list.connections.len() as u64;
    let more = if shown < list.matched { format!("the last {} of ", grouped(shown)) } else { String::new() };
    let matched = grouped(list.matched);
    let (all, max) = (grouped(list.all), grouped(list.max));
    columns.text() + &format!("\n{more}{matched} asked for; {all} in all, {max} at most\n")
}

fn cells(connection: &ConnectionInfo, wide: bool) -> Vec<String> {
    let ConnectionInfo { sent, returned, .. } = connection;
    // People ask how much a connection carried; which way, the wide table tells.
    let (packets, all) = if wide {
        (sent.packets, sent.bytes)
    } else {
        (sent.packets + returned.packets, sent.bytes + returned.bytes)
    };
    let mut cells = vec![
        connection.protocol.clone(),
        endpoint(&connection.client, connection.client_port),
        endpoint(&connection.service, connection.service_port),
        connection.target_name.clone(),
        connection.state.name().to_owned(),
        age_ms(connection.age_ms),
        age_ms(connection.left_ms),
        number(packets, wide),
        bytes(all, wide),
    ];
    if wide {
        let source = connection.source.as_ref();
        cells.extend([
            number(returned.packets, wide),
            bytes(returned.bytes, wide),
            endpoint(&connection.target, connection.target_port),
            source.map_or_else(|| "-".to_owned(), |source| endpoint(source, connection.source_port)),
            connection.route.clone(),
        ]);
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{ConnectionState, Counts};

    fn sample() -> ConnectionList {
        let tcp = ConnectionInfo {
            family: 4,
            protocol: "tcp".into(),
            client: "198.51.100.7".into(),
            client_port: Some(4242),
            service: "203.0.113.10".into(),
            service_port: Some(80),
            target_name: "web/v1".into(),
            target: "10.0.0.11".into(),
            target_port: Some(8080),
            source: Some("10.0.0.1".into()),
            source_port: Some(61_000),
            state: ConnectionState::Open,
            age_ms: 75_000,
            left_ms: 3_600_000,
            sent: Counts { packets: 10, bytes: 1_000 },
            returned: Counts { packets: 12, bytes: 20_000 },
            route: "web".into(),
        };
        let echo = ConnectionInfo {
            family: 6,
            protocol: "icmpv6".into(),
            client: "2001:db8::7".into(),
            client_port: Some(9),
            service: "2001:db8::10".into(),
            service_port: None,
            target_port: None,
            source: None,
            source_port: None,
            state: ConnectionState::HalfOpen,
            age_ms: 0,
            left_ms: 30_064,
            sent: Counts { packets: 1, bytes: 98 },
            returned: Counts::default(),
            ..tcp.clone()
        };
        ConnectionList { connections: vec![echo, tcp], matched: 5, all: 1_234, max: 262_144 }
    }

    #[test]
    fn a_list() {
        let text = "\
PROTOCOL  CLIENT             SERVICE          TARGET  STATE         AGE   LEFT  PACKETS    BYTES
icmpv6    [2001:db8::7]:9    2001:db8::10     web/v1  half_open    0.0s    30s        1     98 B
tcp       198.51.100.7:4242  203.0.113.10:80  web/v1  open       1m 15s  1h 0m       22  21.0 kB

the last 2 of 5 asked for; 1,234 in all, 262,144 at most
";
        assert_eq!(list(&sample(), false), text);
    }

    #[test]
    fn a_wide_list_tells_both_ways() {
        let text = list(&sample(), true);
        let row = text.lines().nth(2).unwrap();
        for part in ["10.0.0.11:8080", "10.0.0.1:61000", "web", "20000", "1000", "12"] {
            assert!(row.contains(part), "{part} is not in {row}");
        }
        assert!(text.lines().nth(1).unwrap().contains("  -  "), "{text}");
    }
}
