use super::super::Stage;
use super::*;
use nix::errno::Errno;
use tokio::net::TcpSocket;

#[tokio::test]
async fn who_listens_is_well() {
    for on in [V4, V6] {
        ask(silent(on).await, check(TCP)).await.unwrap();
    }
}

#[tokio::test]
async fn who_does_not_listen_refuses() {
    for (on, socket) in [(V4, TcpSocket::new_v4().unwrap()), (V6, TcpSocket::new_v6().unwrap())] {
        // Bound, so that nobody else comes to listen there.
        socket.bind((on, 0).into()).unwrap();
        assert_eq!(ask(socket.local_addr().unwrap(), check(TCP)).await, Err(Failure::Refused));
    }
}

#[tokio::test]
async fn who_does_not_answer_a_syn_is_waited_for_and_no_longer() {
    for (on, socket) in [(V4, TcpSocket::new_v4().unwrap()), (V6, TcpSocket::new_v6().unwrap())] {
        socket.bind((on, 0).into()).unwrap();
        let full = socket.listen(1).unwrap();
        let address = full.local_addr().unwrap();
        // Once as many wait as may, the kernel answers no further SYN.
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(SHORT, TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
        }
        let failure = Failure::Timeout { stage: Stage::Connecting, after: SHORT };
        assert_eq!(ask(address, hasty(TCP)).await, Err(failure));
    }
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_unreachable() {
    // The kernel refuses TCP to many at once and sends nothing.
    for address in ["255.255.255.255:1", "[ff02::1]:1"] {
        let failure = Failure::Unreachable { errno: Errno::ENETUNREACH };
        assert_eq!(ask(address.parse().unwrap(), check(TCP)).await, Err(failure), "{address}");
    }
}

#[tokio::test]
async fn the_connection_ends_with_a_reset() {
    let (ends, mut ended) = mpsc::channel(1);
    let address = serve(V4, move |mut stream| {
        let ends = ends.clone();
        async move {
            let end = stream.read(&mut [0; 1]).await;
            let _ = ends.send(end).await;
        }
    })
    .await;
    ask(address, check(TCP)).await.unwrap();
    let end = timeout(PATIENCE, ended.recv()).await.unwrap().unwrap();
    assert_eq!(end.unwrap_err().raw_os_error(), Some(libc::ECONNRESET));
}
