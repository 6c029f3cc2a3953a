//! The sources that send most.

use super::super::output::Columns;
use super::super::units::{age_ms, bit_rate, bytes, grouped, number, packet_rate};
use crate::api::types::{TalkerList, TalkerOrder};

/// One look: what all sent, and those who sent most.
#[must_use]
pub fn top(list: &TalkerList, limit: usize, wide: bool) -> String {
    if !list.enabled {
        return "flow accounting is off (--flow-accounting on)\n".to_owned();
    }
    let secs = (list.milliseconds.max(1)) as f64 / 1e3;
    let is_bytes = list.by == TalkerOrder::Bytes;
    let amount = |amount: u64| if is_bytes { bytes(amount, wide) } else { number(amount, wide) };
    let rate = |amount: u64| {
        if is_bytes { bit_rate(amount as f64 / secs) } else { packet_rate(amount as f64 / secs) }
    };
    let mut text =
        format!("last {}: {}, {}", age_ms(list.milliseconds), rate(list.total), amount(list.total));
    if !is_bytes {
        text.push_str(" packets");
    }
    if list.unknown_max > 0 {
        text.push_str(&format!("; who is unknown sent {} at most", amount(list.unknown_max)));
    }
    if list.lost.packets > 0 {
        text.push_str(&format!("; {} packets are missing", grouped(list.lost.packets)));
    }
    text.push_str("\n\n");
    let mut heads = vec![">RATE", ">SENT", ">SHARE", "SOURCE"];
    if wide {
        heads.insert(2, ">ERROR");
    }
    let mut columns = Columns::new(&heads);
    for talker in list.talkers.iter().take(limit) {
        let permille = u128::from(talker.sent) * 1000 / u128::from(list.total.max(1));
        let mut cells = vec![
            rate(talker.sent),
            amount(talker.sent),
            format!("{}.{} %", permille / 10, permille % 10),
            talker.source.clone(),
        ];
        if wide {
            cells.insert(2, amount(talker.error));
        }
        columns.row(cells);
    }
    text + &columns.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::{Counts, Talker, TalkerGroup};

    fn sample(by: TalkerOrder) -> TalkerList {
        let talker = |source: &str, sent, error| Talker { source: source.into(), sent, error };
        TalkerList {
            enabled: true,
            by,
            group: TalkerGroup::Address,
            since_unix_ms: 1,
            milliseconds: 100_000,
            talkers: vec![talker("198.51.100.7", 5_000_000, 0), talker("2001:db8::7", 123_456, 310)],
            total: 10_000_000,
            unknown_max: 310,
            lost: Counts { packets: 1_234, bytes: 5 },
        }
    }

    #[test]
    fn packets() {
        assert_eq!(
            top(&sample(TalkerOrder::Packets), 10, false),
            "\
last 1m 40s: 100 kpps, 10.0M packets; who is unknown sent 310 at most; 1,234 packets are missing

     RATE   SENT   SHARE  SOURCE
50.0 kpps  5.00M  50.0 %  198.51.100.7
1.23 kpps   123k   1.2 %  2001:db8::7
"
        );
    }

    #[test]
    fn bytes_in_full() {
        let exact = TalkerList { unknown_max: 0, lost: Counts::default(), ..sample(TalkerOrder::Bytes) };
        assert_eq!(
            top(&exact, 1, true),
            "\
last 1m 40s: 800 kbit/s, 10000000

      RATE     SENT  ERROR   SHARE  SOURCE
400 kbit/s  5000000      0  50.0 %  198.51.100.7
"
        );
    }

    #[test]
    fn accounting_off_is_said() {
        let off = TalkerList { enabled: false, ..sample(TalkerOrder::Bytes) };
        assert_eq!(top(&off, 1, false), "flow accounting is off (--flow-accounting on)\n");
    }
}
