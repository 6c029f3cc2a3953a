use super::super::Stage;
use super::*;
use nix::errno::Errno;
use std::io;

#[test]
fn errors_of_the_kernel_say_who_failed() {
    for (errno, words, local) in [
        (Errno::ECONNREFUSED, "connection refused", false),
        (Errno::ECONNRESET, "connection reset while connecting", false),
        (Errno::EHOSTUNREACH, "unreachable: No route to host", false),
        (Errno::ENETUNREACH, "unreachable: Network is unreachable", false),
        (Errno::EPERM, "unreachable: Operation not permitted", false),
        (Errno::EMFILE, "this node is out of file descriptors", true),
        (Errno::ENFILE, "this node is out of file descriptors", true),
        (Errno::EADDRNOTAVAIL, "this node has no local port or address left to connect from", true),
        (Errno::ENOBUFS, "this node is out of memory for sockets", true),
    ] {
        let failure = Failure::of_io(&io::Error::from_raw_os_error(errno as i32), Stage::Connecting);
        assert_eq!((failure.to_string().as_str(), failure.is_local()), (words, local), "{errno}");
    }
}

#[test]
fn the_stage_is_named() {
    for (stage, words) in [
        (Stage::Connecting, "timeout after 200 ms while connecting"),
        (Stage::Handshake, "timeout after 200 ms in the TLS handshake"),
        (Stage::Answer, "timeout after 200 ms while waiting for the answer"),
    ] {
        assert_eq!(Failure::Timeout { stage, after: SHORT }.to_string(), words);
    }
}
