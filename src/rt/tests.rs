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

/// A task that is cancelled goes in a turn of its own, in which it is not polled. The executor must
/// not sleep after it: whoever cancelled it is ready then.
#[test]
fn who_waits_for_a_cancelled_task_goes_on() {
    const LONG: Duration = Duration::from_secs(3600);
    let (sender, receiver) = mpsc::channel();
    let body = move || async move {
        // Every order in which the two and the poller may stand in the queue.
        for others in 0..4 {
            for turns in 0..4 {
                let more: Vec<_> = (0..others).map(|_| spawn(sleep(LONG))).collect();
                let task = spawn(sleep(LONG));
                for _ in 0..turns {
                    yield_now().await;
                }
                assert!(task.cancel().await.is_none());
                for task in more {
                    assert!(task.cancel().await.is_none());
                }
            }
        }
        sender.send(()).expect("the test waits");
    };
    let executors = start(&settings(), vec![body]).expect("executor");
    receiver.recv_timeout(Duration::from_secs(20)).expect("the executor does not sleep");
    executors.join().expect("no panic");
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

/// The reactor hears of the end and of bytes at once: the end must not be forgotten when the bytes
/// are read.
#[test]
fn bytes_and_the_end_that_come_at_once_are_both_read() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port");
    let mut client =
        std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    client.write_all(b"all of it").expect("write");
    client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let read = on_executor(move || async move {
        let stream = TcpStream::from_fd(server.into()).expect("socket");
        let mut bytes = BytesMut::new();
        while stream.read(&mut bytes).await.expect("read") > 0 {}
        assert_eq!(stream.read(&mut bytes).await.expect("read"), 0, "the end stays the end");
        bytes.to_vec()
    });
    assert_eq!(read, b"all of it");
}

#[test]
fn a_stream_moves_to_another_executor_with_what_is_unread() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port");
    let address = listener.local_addr().expect("address");
    let (to_b, inbox_b) = Inbox::<std::os::fd::OwnedFd>::new(1).expect("inbox");
    let a: Box<dyn FnOnce() -> _ + Send> = Box::new(move || {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await.expect("connect");
            stream.write_all(b"ping").await.expect("write");
            let mut bytes = BytesMut::new();
            stream.read(&mut bytes).await.expect("read");
            assert_eq!(&bytes[..], b"pong");
            to_b.send(stream.duplicate().expect("dup")).expect("room");
            drop(stream);
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    });
    let b: Box<dyn FnOnce() -> _ + Send> = Box::new(move || {
        Box::pin(async move {
            let inbox = inbox_b.open().expect("inbox");
            let stream = TcpStream::from_fd(inbox.receive().await).expect("socket");
            stream.write_all(b"moved").await.expect("write");
            let mut bytes = BytesMut::new();
            while stream.read(&mut bytes).await.expect("read") > 0 {}
            assert_eq!(&bytes[..], b"end");
        }) as std::pin::Pin<Box<dyn Future<Output = ()>>>
    });
    let executors = start(&settings(), vec![a, b]).expect("executors");
    let (mut peer, _) = listener.accept().expect("accept");
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).expect("read");
    peer.write_all(b"pong").expect("write");
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).expect("read");
    assert_eq!(&bytes, b"moved");
    peer.write_all(b"end").expect("write");
    drop(peer);
    executors.join().expect("no panic");
}

#[test]
fn a_refused_connection_is_an_error() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("port");
    let address = listener.local_addr().expect("address");
    drop(listener);
    let kind = on_executor(move || async move {
        TcpStream::connect(address).await.err().expect("nobody listens").kind()
    });
    assert_eq!(kind, std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn timers_end_in_the_order_in_which_they_are_due_and_never_early() {
    let order = on_executor(|| async {
        let ended = Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        for millis in [7u64, 1, 4, 0] {
            let ended = ended.clone();
            tasks.push(spawn(async move {
                let began = now();
                sleep(Duration::from_millis(millis)).await;
                assert!(now().0 - began.0 >= millis * 1_000_000);
                ended.borrow_mut().push(millis);
            }));
        }
        // One that is dropped is taken back.
        assert!(within(Duration::from_millis(2), sleep(Duration::from_secs(60))).await.is_none());
        for task in tasks {
            task.await;
        }
        ended.take()
    });
    assert_eq!(order, [0, 1, 4, 7]);
}

#[test]
fn a_task_that_gives_way_again_and_again_keeps_nobody_from_sockets_or_timers() {
    let turns = on_executor(|| async {
        let turns = Rc::new(Cell::new(0u64));
        let counted = turns.clone();
        let busy = spawn(async move {
            loop {
                give_way().await;
                counted.set(counted.get() + 1);
            }
        });
        sleep(Duration::from_millis(3)).await;
        drop(busy);
        turns.get()
    });
    assert!(turns > 1, "{turns}");
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

/// Prints what two executors cost that have nothing to do; run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn measure_idle_cpu() {
    fn cpu() -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is valid for writes.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    const SECONDS: u32 = 10;
    let body = || async {
        sleep(Duration::from_secs(1)).await;
        let before = cpu();
        sleep(Duration::from_secs(u64::from(SECONDS))).await;
        println!("two idle executors: {:?} of CPU per second", (cpu() - before) / SECONDS);
    };
    start(&settings(), vec![body, body]).expect("executors").join().expect("no panic");
}
