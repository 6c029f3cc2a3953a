//! Every struct that kernel and user space share through a map lies the same way in both: the
//! object's own type information against what this side compiled.

use anyhow::{Result, ensure};
use gateway_common::abi::{
    Bucket, ConnectionEntry, Control, Count, Egress, FlowAddresses, FlowRecord, FragmentEntry,
    HandshakeCount, HealthGroup, Interface, InterfaceStats, KeyName, KeyedEntry, LimitCount, Line, MemoLine,
    Neighbour, NextHop, OwnAddresses, PacketEvent, PathMtu, Pending, ReasonCount, TargetCount, TargetHealth,
    TargetState, Tracked, maps,
};
use gateway_common::packet::Packet;
use gateway_tests::btf::Btf;
use gateway_tests::report::report;
use gateway_user::dataplane::OBJECT;
use std::mem::offset_of;

/// A field on this side: name in BTF, offset, size.
type Field = (&'static str, usize, usize);

fn compare(btf: &Btf, name: &str, size: usize, fields: &[Field]) -> Result<usize> {
    let there = btf.structure(name)?;
    ensure!(there.size_or_type as usize == size, "{name}: {} bytes there, {size} here", there.size_or_type);
    ensure!(there.members.len() == fields.len(), "{name}: other members: {:?}", there.members);
    for (field, offset, size) in fields {
        let member = there.members.iter().find(|member| member.name == *field);
        let Some(member) = member else { anyhow::bail!("{name}.{field} is not there: {:?}", there.members) };
        ensure!(member.offset == *offset, "{name}.{field}: at {} there, {offset} here", member.offset);
        let bytes = btf.size(member.type_id)?;
        ensure!(bytes == *size, "{name}.{field}: {bytes} bytes there, {size} here");
    }
    Ok(fields.len())
}

fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! fields {
    ($btf:expr, $type:ident { $($field:ident),+ $(,)? }) => {
        compare($btf, stringify!($type), size_of::<$type>(), &[
            $((stringify!($field), offset_of!($type, $field), size_of_field(|value: &$type| &value.$field)),)+
        ])?
    };
}

#[test]
fn layouts_agree_with_the_objects_btf() -> Result<()> {
    let btf = Btf::of_object(OBJECT)?;
    let mut count = compare(&btf, "Line", size_of::<Line>(), &[("__0", 0, 64)])?;
    count += fields!(
        &btf,
        Control {
            active,
            sample_below,
            sample_drops_below,
            abi,
            flags,
            generation,
            reserved,
            ns_per_jiffy,
            jiffies_offset_ns,
            fixed_now_ns,
            limit_seed,
            reserved2,
        }
    );
    count += fields!(&btf, Interface { ifindex, slot, flags });
    count += fields!(&btf, Egress { ifindex, flags });
    count += fields!(&btf, Count { packets, bytes });
    count += fields!(&btf, InterfaceStats { received, verdicts, reserved });
    count += fields!(&btf, ReasonCount { dropped, passed });
    count += fields!(
        &btf,
        MemoLine {
            key,
            key_addresses,
            stamp,
            variant,
            until,
            decision,
            mark,
            priority,
            route,
            detail,
            tcp_flags,
            packets,
            bytes,
            first,
            last,
        }
    );
    count += fields!(&btf, FlowRecord { line, addresses });
    count += fields!(&btf, FlowAddresses { source, destination });
    count += fields!(
        &btf,
        PacketEvent {
            time_ns,
            source,
            destination,
            ifindex,
            length,
            counter,
            generation,
            mark,
            source_port,
            port,
            family,
            protocol,
            verdict,
            reason,
            hook,
            tcp_flags,
            packet_flags,
            kind,
            limit,
            reserved,
            refused,
        }
    );
    count += fields!(&btf, Bucket { full_at, attack_until, alert_at, reserved });
    count += fields!(&btf, KeyedEntry { tag, full_at });
    count += fields!(&btf, KeyName { key, slot, family, since, reserved });
    count += fields!(&btf, ConnectionEntry { tag, owner, last });
    count +=
        fields!(&btf, NextHop { address, family, until, ifindex, mtu, state, ethernet_be, flags, reserved });
    count += fields!(&btf, Neighbour { family, address_be, ifindex, reserved });
    count += fields!(&btf, TargetCount { sent, returned, opened, evicted, reserved });
    count += fields!(&btf, TargetState { address, ends_at_ns, flags, port });
    count += fields!(
        &btf,
        TargetHealth {
            circuit,
            open,
            trips,
            spared,
            window,
            base,
            most,
            slow_start,
            failures,
            ratio,
            rise,
            connections,
            trial,
            group,
        }
    );
    count += fields!(&btf, HealthGroup { ejected, most, panic });
    count += fields!(
        &btf,
        HandshakeCount { times, time_ns, unanswered, refused, reset, retransmitted, passed_over }
    );
    count += fields!(&btf, Pending { tag, slot, repeated, time_ns });
    count += fields!(&btf, FragmentEntry { key, ports, until });
    count += fields!(&btf, OwnAddresses { ipv4, ipv6 });
    count += fields!(&btf, PathMtu { address, mtu, until, reserved });
    count += fields!(
        &btf,
        Tracked {
            client,
            service,
            client_port,
            service_port,
            protocol,
            family,
            mss,
            counter,
            progress,
            slot,
            idle,
            half_open,
            closing,
            packets,
            target,
            source,
            target_port,
            source_port,
            opened,
            bytes,
            return_packets,
            return_bytes,
        }
    );
    count += fields!(&btf, LimitCount { admitted, refused, evicted, bans, cookies, proven });
    count += fields!(
        &btf,
        Packet {
            source,
            destination,
            source_port,
            port,
            family,
            protocol,
            flags,
            tcp_flags,
            vlan,
            l3_offset,
            end,
            flow_label,
            traffic_class,
            ttl,
            l4_offset,
            sequence,
            identification,
            payload,
            reserved,
        }
    );
    report("layouts", "layout_fields", count);
    Ok(())
}

#[test]
fn every_maps_value_is_one_that_is_compared() -> Result<()> {
    let values = Btf::of_object(OBJECT)?.map_values()?;
    let wanted = [
        (maps::CONTROL, "Control"),
        (maps::ARENA, "Line"),
        (maps::INTERFACES, "Interface"),
        (maps::EGRESS, "Egress"),
        (maps::STATS, "InterfaceStats"),
        (maps::REASONS, "ReasonCount"),
        (maps::ROUTES, "Count"),
        (maps::MEMO, "MemoLine"),
        (maps::MEMO_ADDRESSES, "FlowAddresses"),
        (maps::TELEMETRY, "u64"),
        // The kernel's own, but for the packet in it.
        (maps::SCRATCH, "Scratch"),
        (maps::FLOWS, "FlowRecord"),
        (maps::EVENTS, "PacketEvent"),
        (maps::LIVE, "Line"),
        (maps::BUCKETS, "Bucket"),
        (maps::KEYED, "KeyedEntry"),
        (maps::KEYED_NAMES, "KeyName"),
        (maps::LIMITS, "LimitCount"),
        (maps::CONNECTIONS, "ConnectionEntry"),
        (maps::TARGETS, "TargetCount"),
        (maps::NEXT_HOPS, "NextHop"),
        (maps::PATHS, "Path"),
        (maps::NEIGHBOURS, "Neighbour"),
        (maps::TARGET_STATES, "TargetState"),
        (maps::TARGET_HEALTH, "TargetHealth"),
        (maps::HEALTH_GROUPS, "HealthGroup"),
        (maps::HANDSHAKES, "HandshakeCount"),
        (maps::PENDING, "Pending"),
        (maps::TRACK_TAGS, "u64"),
        (maps::TRACK_RETURNS, "u64"),
        (maps::TRACKED, "Tracked"),
        (maps::FRAGMENTS, "FragmentEntry"),
        (maps::OWN_ADDRESSES, "OwnAddresses"),
        (maps::PATH_MTUS, "PathMtu"),
        (maps::XDP_WHOLE, "u32"),
    ];
    let wanted = wanted.map(|(map, value)| (map.to_owned(), value.to_owned())).into_iter().collect();
    assert_eq!(values, wanted);
    Ok(())
}
