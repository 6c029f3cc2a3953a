//! The little netlink that is needed: one request and its answer, and events of links and addresses.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

const HEADER_LEN: usize = 16;
const ATTRIBUTE_HEADER_LEN: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
/// Everything there is.
const NLM_F_DUMP: u16 = 0x300;
/// More than the kernel ever sends in one datagram.
const BUFFER_LEN: usize = 65_536;

/// A message in the making.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A request of this type with the family's fixed header.
    pub(super) fn new(kind: u16, fixed: &[u8]) -> Message {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        bytes.extend_from_slice(fixed);
        Message(bytes)
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.0.extend_from_slice(&((ATTRIBUTE_HEADER_LEN + value.len()) as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Asks for everything there is of the kind.
    pub(super) fn dump(mut self) -> Message {
        self.0[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
        self
    }

    /// The attributes alone, for nesting.
    pub(super) fn nested(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let message = attributes
            .iter()
            .fold(Message(Vec::new()), |message, (kind, value)| message.attribute(*kind, value));
        message.0
    }
}

/// A netlink socket in the current network namespace.
pub(super) fn open(protocol: SockProtocol) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?)
}

/// Sends a request and returns the bodies of the answers.
///
/// # Errors
/// The kernel's, by number.
pub(super) fn request(socket: &OwnedFd, message: Message) -> io::Result<Vec<Vec<u8>>> {
    let mut bytes = message.0;
    let len = bytes.len() as u32;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    let mut answers = Vec::new();
    let mut buffer = vec![0; BUFFER_LEN];
    loop {
        let len = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        for (kind, body) in messages(&buffer[..len]) {
            match kind {
                NLMSG_ERROR => {
                    let code = body.first_chunk().map_or(-libc::EPROTO, |code| i32::from_ne_bytes(*code));
                    return if code == 0 { Ok(answers) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                NLMSG_DONE => return Ok(answers),
                _ => answers.push(body.to_vec()),
            }
        }
    }
}

/// The messages of a datagram: type and body.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
        let body = bytes.get(HEADER_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, body))
    })
}

/// The attributes of a body behind its fixed header: kind and value.
pub(super) fn attributes(body: &[u8], fixed_len: usize) -> impl Iterator<Item = (u16, &[u8])> {
    const KIND_MASK: u16 = 0x3fff;
    let mut bytes = body.get(fixed_len..).unwrap_or(&[]);
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & KIND_MASK;
        let value = bytes.get(ATTRIBUTE_HEADER_LEN..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = Message::new(16, &[1, 2, 3, 4]).attribute(7, b"abc").attribute(8, &[9; 4]).0;
        let len = bytes.len() as u32;
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        let (kind, body) = messages(&bytes).next().unwrap();
        assert_eq!((kind, &body[..4]), (16, &[1, 2, 3, 4][..]));
        let found: Vec<_> = attributes(body, 4).collect();
        assert_eq!(found, [(7, &b"abc"[..]), (8, &[9; 4][..])]);
    }

    #[test]
    fn what_is_cut_short_ends_the_reading() {
        assert_eq!(messages(&[200, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
        assert_eq!(messages(&[3, 0, 0, 0, 1, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0], 0).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0], 0).count(), 0);
        assert_eq!(attributes(&[], 16).count(), 0);
    }
}
