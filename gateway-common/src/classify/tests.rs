//! Where classes stand in keys.

use super::*;

#[test]
fn every_class_has_bits_of_its_own() {
    let mut taken = [0_u64; 3];
    for i in 0..dimension::COUNT {
        let words = mask(1 << i);
        for (taken, word) in taken.iter_mut().zip(words) {
            assert_eq!(*taken & word, 0, "dimension {i}");
            *taken |= word;
        }
    }
    let all = Classes {
        source: 0xff_ffff,
        destination: 0xff_ffff,
        label: 0xffff,
        port: 0xffff,
        source_port: 0xffff,
        vlan: 0x3ff,
        interface: 0xff,
        protocol: 0xff,
        icmp_type: 0xff,
        icmp_code: 0xff,
        attributes: Attributes {
            tcp_flags: 0xff,
            dscp: 0x3f,
            fragment: 0xf,
            ttl: 0xff,
            length: 0x3fff,
            flow_label: 0x3fff,
        },
    };
    assert_eq!(all.words(), taken);
}

#[test]
fn a_class_stands_where_its_mask_is() {
    let one = |i: usize| {
        let mut classes = Classes::default();
        let of_packet = &mut classes.attributes;
        match 1_u32 << i {
            dimension::INTERFACE => classes.interface = 1,
            dimension::SOURCE => classes.source = 1,
            dimension::DESTINATION => classes.destination = 1,
            dimension::PROTOCOL => classes.protocol = 1,
            dimension::PORT => classes.port = 1,
            dimension::SOURCE_PORT => classes.source_port = 1,
            dimension::LABEL => classes.label = 1,
            dimension::VLAN => classes.vlan = 1,
            dimension::ICMP_TYPE => classes.icmp_type = 1,
            dimension::ICMP_CODE => classes.icmp_code = 1,
            dimension::TCP_FLAGS => of_packet.tcp_flags = 1,
            dimension::LENGTH => of_packet.length = 1,
            dimension::DSCP => of_packet.dscp = 1,
            dimension::FRAGMENT => of_packet.fragment = 1,
            dimension::FLOW_LABEL => of_packet.flow_label = 1,
            _ => of_packet.ttl = 1,
        }
        classes
    };
    for (i, &(word, low, _)) in FIELDS.iter().enumerate() {
        let mut words = [0; 3];
        words[word] = 1 << low;
        assert_eq!(one(i).words(), words, "dimension {i}");
        assert_ne!(one(i).present() & 1 << i, 0);
    }
}
