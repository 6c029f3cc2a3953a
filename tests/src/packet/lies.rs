//! What a frame claims that is not so.

use super::{Frame, transport};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lies {
    pub version: Option<u8>,
    pub header_words: Option<u8>,
    pub length: Option<u16>,
    pub ethertype: Option<u16>,
    pub transport: transport::Lies,
}

impl Frame {
    /// Claims this IP version.
    #[must_use]
    pub fn claim_version(mut self, version: u8) -> Frame {
        self.lies.version = Some(version);
        self
    }

    /// Claims this IPv4 header length, in words.
    #[must_use]
    pub fn claim_header_words(mut self, words: u8) -> Frame {
        self.lies.header_words = Some(words);
        self
    }

    /// Claims this IPv4 total length or IPv6 payload length, bytes.
    #[must_use]
    pub fn claim_length(mut self, bytes: u16) -> Frame {
        self.lies.length = Some(bytes);
        self
    }

    /// Claims this EtherType.
    #[must_use]
    pub fn claim_ethertype(mut self, ethertype: u16) -> Frame {
        self.lies.ethertype = Some(ethertype);
        self
    }

    /// Claims this UDP length, bytes.
    #[must_use]
    pub fn claim_udp_length(mut self, bytes: u16) -> Frame {
        self.lies.transport.udp_length = Some(bytes);
        self
    }

    /// Claims this TCP data offset, in words.
    #[must_use]
    pub fn claim_data_offset(mut self, words: u8) -> Frame {
        self.lies.transport.data_offset = Some(words);
        self
    }
}
