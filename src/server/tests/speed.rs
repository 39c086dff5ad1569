//! The speed of connections over a core that costs nothing. Run with
//! `cargo test --release --lib server::tests::speed -- --ignored --nocapture`.

use std::time::Instant;

use prost::Message;

use super::frames::{Client, put};
use super::grpc::{frame, request, with_client};
use super::*;
use crate::protocol::method::Method;

const REQUESTS: u32 = 200_000;

fn cpu_seconds() -> f64 {
    // SAFETY: `usage` is valid for writes.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn report(what: &str, began: Instant, cpu: f64) {
    let seconds = began.elapsed().as_secs_f64();
    let each = (cpu_seconds() - cpu) / f64::from(REQUESTS) * 1e6;
    println!(
        "{what}: {:.0}/s, {each:.2} us CPU each, client included",
        f64::from(REQUESTS) / seconds
    );
}

#[test]
#[ignore = "a measurement"]
fn frames() {
    for outstanding in [1u32, 128, 1024] {
        let rig = Rig::start(1);
        let (mut client, _) = Client::connect(&rig, None);
        let message = put("key", &[b'v'; 100]);
        let requests = if outstanding == 1 { REQUESTS / 10 } else { REQUESTS };
        let (began, cpu) = (Instant::now(), cpu_seconds());
        let mut sent = 0;
        let mut received = 0;
        while received < requests {
            while sent < requests && sent - received < outstanding {
                client.queue(sent + 1, Method::Put, &message);
                sent += 1;
            }
            client.flush();
            received += client.frames();
        }
        let scale = f64::from(REQUESTS) / f64::from(requests);
        let seconds = began.elapsed().as_secs_f64() * scale;
        let each = (cpu_seconds() - cpu) * scale / f64::from(REQUESTS) * 1e6;
        println!(
            "frames, {outstanding} outstanding: {:.0}/s, {each:.2} us CPU each with the client",
            f64::from(REQUESTS) / seconds
        );
        rig.stop();
    }
}

#[test]
#[ignore = "a measurement"]
fn grpc() {
    for outstanding in [128usize, 1024] {
        let rig = Rig::start(1);
        let message = frame(&put("key", &[b'v'; 100]));
        let (began, cpu) = (Instant::now(), cpu_seconds());
        with_client(&rig, async |client| {
            let mut under_way = std::collections::VecDeque::new();
            for _ in 0..REQUESTS {
                if under_way.len() == outstanding {
                    finish(under_way.pop_front().expect("some")).await;
                }
                let mut client = client.clone().ready().await.expect("room");
                let head = request("/etcdserverpb.KV/Put").body(()).expect("a request");
                let (response, mut body) = client.send_request(head, false).expect("sent");
                body.send_data(message.clone(), true).expect("sent");
                under_way.push_back(response);
            }
            for response in under_way {
                finish(response).await;
            }
        });
        report(&format!("gRPC, one connection, {outstanding} outstanding"), began, cpu);
        rig.stop();
    }
}

async fn finish(response: h2::client::ResponseFuture) {
    let mut body = response.await.expect("an answer").into_body();
    let message = body.data().await.expect("a message").expect("a message");
    body.flow_control().release_capacity(message.len()).expect("window");
    let reply = crate::protocol::pb::etcdserverpb::PutResponse::decode(&message[5..]);
    assert!(reply.is_ok());
    let trailers = body.trailers().await.expect("an end").expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
}
