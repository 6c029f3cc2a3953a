//! What arrives, seen from a socket: marks at UDP sockets, whole frames at packet sockets.

use anyhow::{Context, Result, ensure};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// `SO_RCVMARK` of asm-generic/socket.h, since Linux 5.19.
const SO_RCVMARK: libc::c_int = 75;
/// Bytes that a packet socket reads of a frame.
const FRAME_LONGEST: usize = 2048;
/// Room for the control messages of one packet.
const CONTROL: usize = 256;

/// A UDP socket that tells the mark of each packet.
#[derive(Debug)]
pub struct MarkSocket {
    socket: UdpSocket,
}

impl MarkSocket {
    /// Binds one in the calling thread's namespace. Receiving waits no longer than `patience`.
    ///
    /// # Errors
    /// If the address is taken or the kernel does not tell marks.
    pub fn bind(address: IpAddr, port: u16, patience: Duration) -> Result<MarkSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(address, port)).context("binding")?;
        socket.set_read_timeout(Some(patience))?;
        set_option(socket.as_raw_fd(), libc::SOL_SOCKET, SO_RCVMARK).context("SO_RCVMARK")?;
        Ok(MarkSocket { socket })
    }

    /// The mark of the next packet; nothing if none comes in time.
    ///
    /// # Errors
    /// If receiving fails otherwise, or the packet comes without its mark.
    pub fn next_mark(&self) -> Result<Option<u32>> {
        let mut payload = [0u8; FRAME_LONGEST];
        let mut control = [0u64; CONTROL / 8];
        let mut piece = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
        // SAFETY: msghdr is plain data, for which zero is a value.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        // SAFETY: the header and everything it points to live across the call.
        let received = unsafe { libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, 0) };
        if received < 0 {
            return nothing_in_time();
        }
        // SAFETY: the kernel has filled the header in; the control buffer is aligned and lives.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        while !header.is_null() {
            // SAFETY: not null, so it points to a whole header within the control buffer.
            let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
            if level == libc::SOL_SOCKET && kind == libc::SO_MARK {
                // SAFETY: a mark's message holds 32 bits; they need not be aligned.
                return Ok(Some(unsafe { libc::CMSG_DATA(header).cast::<u32>().read_unaligned() }));
            }
            // SAFETY: header is one of this message's.
            header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
        }
        anyhow::bail!("a packet without a word of its mark")
    }
}

/// A packet socket that gets every frame that arrives on a link, behind XDP and tc.
#[derive(Debug)]
pub struct FrameSocket {
    socket: OwnedFd,
}

impl FrameSocket {
    /// Opens one in the calling thread's namespace. Receiving waits no longer than `patience`.
    ///
    /// # Errors
    /// Without the right to, or without the link.
    pub fn open(link: &str, patience: Duration) -> Result<FrameSocket> {
        let index = nix::net::if_::if_nametoindex(link).with_context(|| format!("link {link}"))?;
        let all = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: socket has no memory arguments.
        let number = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        ensure!(number >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(number) };
        set_option(number, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING)
            .context("PACKET_IGNORE_OUTGOING")?;
        nix::sys::socket::setsockopt(
            &socket,
            nix::sys::socket::sockopt::ReceiveTimeout,
            &nix::sys::time::TimeVal::new(patience.as_secs() as _, patience.subsec_micros() as _),
        )?;
        // SAFETY: sockaddr_ll is plain data, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = all;
        address.sll_ifindex = index as i32;
        // SAFETY: the address and its length are right and live across the call.
        let bound = unsafe {
            libc::bind(number, (&raw const address).cast(), size_of_val(&address) as libc::socklen_t)
        };
        ensure!(bound == 0, "bind to {link}: {}", io::Error::last_os_error());
        Ok(FrameSocket { socket })
    }

    /// The next frame; nothing if none comes in time.
    ///
    /// # Errors
    /// If receiving fails otherwise.
    pub fn next_frame(&self) -> Result<Option<Vec<u8>>> {
        let mut frame = vec![0; FRAME_LONGEST];
        // SAFETY: the buffer and its length belong together and live across the call.
        let received =
            unsafe { libc::recv(self.socket.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        if received < 0 {
            return nothing_in_time();
        }
        frame.truncate(received as usize);
        Ok(Some(frame))
    }
}

/// Switches an option on.
pub(crate) fn set_option(socket: libc::c_int, level: libc::c_int, name: libc::c_int) -> io::Result<()> {
    let one: libc::c_int = 1;
    let length = size_of_val(&one) as libc::socklen_t;
    // SAFETY: the option's value is an int that lives across the call.
    let done = unsafe { libc::setsockopt(socket, level, name, (&raw const one).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn nothing_in_time<T>() -> Result<Option<T>> {
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Ok(None),
        _ => Err(error).context("receiving"),
    }
}
