//! The ring against real sockets: what arrives, in which order, what ends what, and what is left afterwards.

use super::super::buffered::Buffered;
use super::super::executor::{self, Pool};
use super::*;
use futures_lite::future;
use std::future::Future;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const SMALL: Size = Size {
    count: 2,
    bytes: 64,
};

/// Runs `body` on an executor with a ring, and checks that nothing is left in it.
fn on_ring<F: Future<Output = ()>>(
    size: Size,
    kept_max: usize,
    body: impl FnOnce(Rc<Ring>) -> F + Send + 'static,
) {
    let run = move || async move {
        let buffered = Rc::new(Buffered::new(kept_max));
        let bells = [0; 2].map(|_| Eventfd::new().unwrap());
        let ring = Ring::of_size(size, buffered, Rc::default(), bells).unwrap();
        glommio::spawn_local(run(ring.clone(), None)).detach();
        body(ring.clone()).await;
        until(|| ring.slots.borrow_mut().is_empty()).await;
        assert_eq!(ring.buffered.bytes(), 0);
    };
    executor::spawn(
        "test",
        0,
        Pool {
            cpus: &[0],
            more: 0,
        },
        run,
    )
    .unwrap()
    .join()
    .unwrap();
}

async fn until(mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < PATIENCE, "waited too long");
        glommio::timer::sleep(Duration::from_millis(1)).await;
    }
}

fn pair(ring: &Rc<Ring>) -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    theirs.set_write_timeout(Some(PATIENCE)).unwrap();
    (Stream::new(ring.clone(), ours.into()), theirs)
}

fn shared() -> RefCell<Box<[u8]>> {
    RefCell::new(vec![0; 256 * 1024].into())
}

/// Bytes that tell their place, and whose they are.
fn text(of: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| (at * 7 + at / 251 + of * 13) as u8)
        .collect()
}

async fn read_to_end(stream: &mut Stream) -> Vec<u8> {
    let shared = shared();
    let mut all = Vec::new();
    while stream
        .receive(&shared, |bytes| all.extend_from_slice(bytes))
        .await
        .unwrap()
        .is_some()
    {}
    all
}

#[test]
fn pieces_of_any_size_arrive_in_order_and_then_the_end() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        let sender = thread::spawn(move || {
            for piece in text(1, 600_000).chunks(31_337) {
                client.write_all(piece).unwrap();
            }
        });
        assert!(read_to_end(&mut stream).await == text(1, 600_000));
        sender.join().unwrap();
    });
}

#[test]
fn what_is_small_is_received_before_what_is_large_and_came_with_it() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Vec::new();
        let mut clients = Vec::new();
        for of in 0..3 {
            let (mut stream, client) = pair(&ring);
            let order = order.clone();
            tasks.push(glommio::spawn_local(async move {
                let shared = shared();
                let received = stream.receive(&shared, |bytes| bytes.len());
                let received = received.await.unwrap();
                order.borrow_mut().push((of, received));
            }));
            clients.push(client);
        }
        let receives = |slot: &mut Slot| slot.receive == Receive::On;
        let is_armed = |of| ring.slots.borrow_mut().find(of).is_some_and(receives);
        until(|| (0..3).all(is_armed)).await;
        // Until we wait there is no look at them.
        for (client, length) in clients.iter_mut().zip([5_000, 9_000, 100]) {
            client.write_all(&text(0, length)).unwrap();
        }
        for task in tasks {
            task.await;
        }
        let order = order.borrow();
        assert_eq!(order[0], (2, Some(100)));
        assert_eq!(order[1..], [(0, Some(5_000)), (1, Some(9_000))]);
    });
}

#[test]
fn with_two_buffers_for_twenty_clients_nobody_loses_a_byte() {
    on_ring(SMALL, usize::MAX, |ring| async move {
        let mut tasks = Vec::new();
        for of in 0..20 {
            let (mut stream, mut client) = pair(&ring);
            let sender = thread::spawn(move || client.write_all(&text(of, 20_000)).unwrap());
            tasks.push(glommio::spawn_local(async move {
                assert!(
                    read_to_end(&mut stream).await == text(of, 20_000),
                    "client {of}"
                );
                sender.join().unwrap();
            }));
        }
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn who_is_not_read_is_stopped_and_what_came_is_kept_in_order() {
    const LENGTH: usize = 8 * 1024 * 1024;
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        client.write_all(b"a").unwrap();
        stream.receive(&shared(), |_| ()).await.unwrap().unwrap();
        // From here on nobody asks.
        let sender = thread::spawn(move || client.write_all(&text(3, LENGTH)).unwrap());
        until(|| ring.buffered.bytes() > 0).await;
        glommio::timer::sleep(Duration::from_millis(100)).await;
        let kept = ring.buffered.bytes();
        let most = 2 * usize::from(BUFFERS.count) * BUFFERS.bytes;
        assert!(
            kept <= most,
            "{kept} bytes were read from a client that nobody reads"
        );
        assert!(!sender.is_finished());
        assert!(read_to_end(&mut stream).await == text(3, LENGTH));
        sender.join().unwrap();
    });
}

#[test]
fn what_may_not_be_kept_is_an_overrun_after_what_was() {
    on_ring(SMALL, 50, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        client.write_all(b"a").unwrap();
        stream.receive(&shared(), |_| ()).await.unwrap().unwrap();
        client.write_all(&text(5, 4000)).unwrap();
        until(|| ring.slots.borrow_mut().held(0).overrun).await;
        let shared = shared();
        let mut came = Vec::new();
        let error = loop {
            let take = |bytes: &mut [u8]| came.extend_from_slice(bytes);
            match stream.receive(&shared, take).await {
                Ok(some) => assert!(some.is_some()),
                Err(error) => break error,
            }
        };
        assert!(error.get_ref().unwrap().is::<Overrun>(), "{error}");
        assert!(came.len() < 4000 && text(5, 4000).starts_with(&came));
    });
}

#[test]
fn a_stream_that_is_dropped_under_way_is_cancelled_and_then_closed() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        let shared = shared();
        // Receiving is under way, and its future is dropped.
        assert!(
            future::poll_once(stream.receive(&shared, |_| ()))
                .await
                .is_none()
        );
        until(|| ring.slots.borrow_mut().held(0).receive == Receive::On).await;
        glommio::timer::sleep(Duration::from_millis(5)).await;
        drop(stream);
        let ended = thread::spawn(move || client.read(&mut [0; 8]).unwrap());
        until(|| ended.is_finished()).await;
        assert_eq!(ended.join().unwrap(), 0);
    });
}

#[test]
fn a_send_that_waits_is_cancelled_and_holds_nobody_else_up() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut slow, mut asleep) = pair(&ring);
        let sending = glommio::spawn_local(async move {
            slow.send(&mut text(0, 16 * 1024 * 1024)).await.unwrap();
        });
        until(|| ring.slots.borrow_mut().held(0).outgoing.is_some()).await;
        let mut tasks = Vec::new();
        for of in 1..30 {
            let (mut stream, mut client) = pair(&ring);
            let asking = thread::spawn(move || {
                for round in 0..100 {
                    let question = text(of + round, 200);
                    client.write_all(&question).unwrap();
                    let mut answer = [0; 200];
                    client.read_exact(&mut answer).unwrap();
                    assert!(answer[..] == question);
                }
            });
            tasks.push(glommio::spawn_local(async move {
                let shared = shared();
                let mut out = Vec::new();
                while stream
                    .receive(&shared, |bytes| out.extend_from_slice(bytes))
                    .await
                    .unwrap()
                    .is_some()
                {
                    stream.send(&mut out).await.unwrap();
                    assert!(out.is_empty());
                }
                asking.join().unwrap();
            }));
        }
        for task in tasks {
            task.await;
        }
        assert!(ring.slots.borrow_mut().held(0).outgoing.is_some());
        drop(sending);
        // What had fitted into the socket comes, then the end.
        let ended = thread::spawn(move || {
            let mut all = Vec::new();
            asleep.read_to_end(&mut all).unwrap();
            assert!(all.len() < 16 * 1024 * 1024 && text(0, all.len()) == all);
        });
        until(|| ended.is_finished()).await;
        ended.join().unwrap();
    });
}

#[test]
fn a_client_that_takes_its_time_gets_everything() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            let mut piece = vec![0; 10_000];
            while all.len() < 3_000_000 {
                let length = client.read(&mut piece).unwrap();
                all.extend_from_slice(&piece[..length]);
            }
            assert!(all == text(9, 3_000_000));
        });
        let mut out = text(9, 3_000_000);
        stream.send(&mut out).await.unwrap();
        assert!(out.is_empty());
        until(|| reader.is_finished()).await;
        reader.join().unwrap();
    });
}

/// How the sweep ends a wait.
#[test]
fn a_shutdown_from_outside_ends_a_receive_and_a_send() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        for how in [Shutdown::Read, Shutdown::Both] {
            let (mut stream, _client) = pair(&ring);
            let descriptor = stream.as_raw_fd();
            let waits = glommio::spawn_local(async move {
                match how {
                    Shutdown::Read => stream.receive(&shared(), |_| ()).await.unwrap().is_none(),
                    _ => stream.send(&mut text(0, 16 << 20)).await.is_err(),
                }
            });
            glommio::timer::sleep(Duration::from_millis(5)).await;
            // SAFETY: open until the task ends.
            let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
            socket2::SockRef::from(&borrowed).shutdown(how).unwrap();
            assert!(waits.await);
        }
    });
}

#[test]
fn descriptors_are_used_again_and_nobody_meets_anothers_bytes() {
    on_ring(SMALL, usize::MAX, |ring| async move {
        let before = ring.uring.borrow().as_raw_fd();
        for of in 0..500 {
            let (mut stream, mut client) = pair(&ring);
            client.write_all(&text(of, 300)).unwrap();
            let mut came = Vec::new();
            let shared = shared();
            stream
                .receive(&shared, |bytes| came.extend_from_slice(bytes))
                .await
                .unwrap();
            assert!(text(of, 300).starts_with(&came), "client {of}");
            // The rest is under way when it is dropped.
        }
        let (stream, _client) = pair(&ring);
        assert!(
            stream.as_raw_fd() < before + 100,
            "descriptors are left open"
        );
    });
}

#[test]
fn a_listener_accepts_what_is_asked_for_and_is_gone_when_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    on_ring(BUFFERS, usize::MAX, move |ring| async move {
        let socket = UnixListener::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = Rc::new(Listener::new(ring.clone(), socket.into()));
        let clients: Vec<_> = (0..100)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        for mut client in clients {
            client.write_all(b"hello").unwrap();
            let mut stream = listener.accept().await.unwrap();
            let length = stream
                .receive(&shared(), |bytes| bytes.len())
                .await
                .unwrap();
            assert_eq!(length, Some(5));
        }
        let waits = glommio::spawn_local({
            let listener = listener.clone();
            async move { drop(listener.accept().await) }
        });
        glommio::timer::sleep(Duration::from_millis(5)).await;
        drop(waits);
        drop(listener);
        until(|| UnixStream::connect(&path).is_err()).await;
    });
}

#[test]
fn what_the_ring_has_taken_and_nobody_has_read_is_known() {
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        let received = stream.received();
        let shared = shared();
        assert!(!received.has_bytes());
        let bytes = {
            let mut read = std::pin::pin!(stream.receive(&shared, |bytes| bytes.to_vec()));
            assert!(future::poll_once(&mut read).await.is_none());
            client.write_all(b"a beginning").unwrap();
            // Its task is not asked: the bytes are in no socket, and in nobody's hands.
            until(|| received.has_bytes()).await;
            read.await
        };
        assert_eq!(bytes.unwrap().unwrap(), b"a beginning");
        assert!(!received.has_bytes());
        drop(stream);
    });
}

/// A ring's flags (IORING_SQ_TASKRUN is one of them), where the kernel and we both see them. `params` as io_uring_setup(2) fills it: the offset
/// of the flags is its word 14, and the same for every ring.
fn flags_of(ring: &Ring) -> &'static AtomicU32 {
    const FLAGS_OFFSET_WORD: usize = 14;
    const PAGE: usize = 4096;
    let mut params = [0u32; 30];
    // SAFETY: 120 bytes, as many as the kernel fills; the mapping is never taken back.
    unsafe {
        let other = libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr());
        assert!(other >= 0, "{}", io::Error::last_os_error());
        libc::close(other as i32);
        let descriptor = ring.uring.borrow().as_raw_fd();
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        let mapped = libc::mmap(std::ptr::null_mut(), PAGE, access, kind, descriptor, 0);
        assert!(mapped != libc::MAP_FAILED, "{}", io::Error::last_os_error());
        &*mapped.byte_add(params[FLAGS_OFFSET_WORD] as usize).cast()
    }
}

fn cpu_of_this_thread() -> Duration {
    // SAFETY: a structure of numbers that the kernel fills.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: it outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_promise_of_the_kernel_that_is_left_over_keeps_nobody_awake() {
    const TASKRUN: u32 = 1 << 2;
    const WINDOW: Duration = Duration::from_millis(200);
    on_ring(BUFFERS, usize::MAX, |ring| async move {
        let (mut stream, mut client) = pair(&ring);
        let shared = shared();
        client.write_all(b"a").unwrap();
        assert!(stream.receive(&shared, |_| ()).await.unwrap().is_some());
        let flags = flags_of(&ring);
        flags.fetch_or(TASKRUN, Ordering::SeqCst);
        let before = cpu_of_this_thread();
        glommio::timer::sleep(WINDOW).await;
        let taken = cpu_of_this_thread() - before;
        let left = flags.load(Ordering::SeqCst) & TASKRUN;
        assert_eq!(
            left, TASKRUN,
            "the kernel has taken it back: nothing was tried"
        );
        assert!(taken < WINDOW / 4, "{taken:?} of {WINDOW:?}");

        let began = Instant::now();
        let sender = thread::spawn(move || {
            for _ in 0..50 {
                thread::sleep(Duration::from_millis(1));
                client.write_all(b"b").unwrap();
            }
        });
        let mut received = 0;
        while received < 50 {
            let all = stream.receive(&shared, |bytes| received += bytes.len());
            assert!(all.await.unwrap().is_some());
        }
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        sender.join().unwrap();
    });
}
