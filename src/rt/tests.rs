//! Executors, wake-ups and sockets as the rest of the system uses them.

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::*;

fn settings() -> ExecutorSettings {
    ExecutorSettings { name: "test".to_owned(), spin: Duration::ZERO }
}

/// Runs `body` on one executor and returns its result.
fn on_executor<T, B, F>(body: B) -> T
where
    T: Send + 'static,
    B: FnOnce() -> F + Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (sender, receiver) = mpsc::channel();
    let run = move || async move { sender.send(body().await).expect("the test waits") };
    start(&settings(), vec![run]).expect("executor").join().expect("no panic");
    receiver.recv().expect("the body has returned")
}

#[test]
fn a_notification_before_the_wait_is_not_lost_and_many_are_one() {
    let turns = on_executor(|| async {
        let notify = Rc::new(Notify::new());
        let turns = Rc::new(Cell::new(0));
        notify.notify();
        notify.notify();
        notify.wait().await;
        let (waiting, counted) = (notify.clone(), turns.clone());
        let task = spawn(async move {
            loop {
                waiting.wait().await;
                counted.set(counted.get() + 1);
            }
        });
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(turns.get(), 0, "the two notifications were one");
        notify.notify();
        notify.notify();
        for _ in 0..3 {
            yield_now().await;
        }
        drop(task);
        turns.get()
    });
    assert_eq!(turns, 1);
}

#[test]
fn an_inbox_carries_everything_across_threads_and_refuses_when_full() {
    let (sender, inbox) = Inbox::<u32>::new(4).expect("inbox");
    for number in 0..4 {
        sender.send(number).expect("room");
    }
    assert!(matches!(sender.send(9), Err(InboxFull(9))));
    let (done, finished) = mpsc::channel();
    let body = move || async move {
        let inbox = inbox.open().expect("inbox");
        for expected in 0..20_000 {
            assert_eq!(inbox.receive().await, expected);
        }
        done.send(()).expect("the test waits");
    };
    let executors = start(&settings(), vec![body]).expect("executor");
    for number in 4..20_000 {
        while sender.send(number).is_err() {
            std::thread::yield_now();
        }
    }
    finished.recv_timeout(Duration::from_secs(30)).expect("no ring was lost");
    executors.join().expect("no panic");
    assert!(matches!(sender.send(1), Err(InboxFull(1))), "nobody receives any more");
}

#[test]
fn accepted_sockets_are_dealt_to_cores_and_serve() {
    let listener =
        Listener::bind(([127, 0, 0, 1], 0).into(), ListenerOptions::default()).expect("port");
    let address = listener.address();
    let (sender, inbox) = Inbox::<Accepted>::new(16).expect("inbox");
    let body = move || async move {
        let inbox = inbox.open().expect("inbox");
        for _ in 0..3 {
            let Accepted { fd, open, .. } = inbox.receive().await;
            let stream = TcpStream::from_fd(fd).expect("socket");
            let mut bytes = BytesMut::new();
            while stream.read(&mut bytes).await.expect("read") > 0 {
                let echo = bytes.split();
                stream.write_all(&echo).await.expect("write");
            }
            drop(open);
        }
    };
    let executors = start(&settings(), vec![body]).expect("executor");
    let acceptor =
        Acceptor::start(vec![listener], vec![sender], AcceptSettings { open_max: 1 }).expect("ok");
    for round in 0..3u8 {
        // With room for one connection the next is accepted only when the last is closed.
        let mut client = std::net::TcpStream::connect(address).expect("connect");
        let sent = vec![round; 300_000];
        let mut writer = client.try_clone().expect("clone");
        let writing = std::thread::spawn(move || {
            writer.write_all(&sent).expect("write");
            writer.shutdown(std::net::Shutdown::Write).expect("shutdown");
        });
        let mut echoed = Vec::new();
        client.read_to_end(&mut echoed).expect("read");
        writing.join().expect("writer");
        assert_eq!(echoed, vec![round; 300_000]);
    }
    executors.join().expect("no panic");
    assert_eq!(acceptor.open_connections(), 0);
    acceptor.stop();
    let refused = std::net::TcpStream::connect(address).expect_err("the listener is closed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// Prints what a wake-up from another core costs; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_round_trip_between_two_cores() {
    const ROUNDS: u32 = 20_000;
    let (to_a, inbox_a) = Inbox::<u32>::new(16).expect("inbox");
    let (to_b, inbox_b) = Inbox::<u32>::new(16).expect("inbox");
    let a: Box<dyn FnOnce() -> _ + Send> = Box::new(move || {
        Box::pin(async move {
            let inbox = inbox_a.open().expect("inbox");
            let began = Instant::now();
            for round in 0..ROUNDS {
                to_b.send(round).expect("room");
                inbox.receive().await;
            }
            println!("round trip {:?}", began.elapsed() / ROUNDS);
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    });
    let b: Box<dyn FnOnce() -> _ + Send> = Box::new(move || {
        Box::pin(async move {
            let inbox = inbox_b.open().expect("inbox");
            for round in 0..ROUNDS {
                inbox.receive().await;
                to_a.send(round).expect("room");
            }
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    });
    let spin = std::env::var("SPIN_US").map_or(0, |text| text.parse().expect("a number"));
    let settings = ExecutorSettings { spin: Duration::from_micros(spin), ..settings() };
    start(&settings, vec![a, b]).expect("executors").join().expect("no panic");
}
