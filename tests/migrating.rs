//! The proxies of docs/migrating.md, run as they stand there but for the ports.

mod common;

use std::path::Path;

use common::apache::Apache;
use common::blackhole::Blackhole;
use common::flux::{Flux, KEY};
use common::http::{Client, batch, request, single};
use common::nginx::Nginx;
use common::{free_port, now};

/// The page's block of this language, with each address in place of another.
fn snippet(language: &str, addresses: [(&str, u16); 2]) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating.md");
    let text = std::fs::read_to_string(page).expect("the page is there");
    let begin = format!("```{language}\n");
    let (_, rest) = text.split_once(&begin).expect("a block of this language");
    let (block, _) = rest.split_once("```").expect("the block's end");
    let mut block = block.to_owned();
    for (address, port) in addresses {
        assert!(block.contains(address), "{block}");
        block = block.replace(address, &format!("127.0.0.1:{port}"));
    }
    block
}

/// Everything a client may do, through the proxy on this port.
fn exercise(port: u16, blackhole: &Blackhole) {
    let mut client = Client::connect(port);
    let at = now();
    let query = format!("/flux/metric_data?metric=proxied.get&value=1&timestamp={at}&key={KEY}");
    assert_eq!(client.get(&query).status, 204);
    let mut post = |body: &str| {
        client.send(&request(
            "POST",
            "/flux/metric_data_post",
            &[],
            body.as_bytes(),
        ));
        client.answer()
    };
    assert_eq!(post(&single(KEY, "proxied.post", at, 1.0)).status, 204);
    let names: Vec<String> = (0..10_000)
        .map(|i| format!("proxied.{}.{i}", "n".repeat(60)))
        .collect();
    let large = batch(KEY, names.iter().map(|name| (name.as_str(), at, 1.0)));
    assert!((1 << 20..4 << 20).contains(&large.len()), "{}", large.len());
    assert_eq!(post(&large).status, 204);
    let wrong = post(&single(&"x".repeat(32), "a", at, 1.0));
    let body = r#"{"code": 401, "message": "invalid key"}"#;
    assert_eq!((wrong.status, wrong.body.as_str()), (401, body));
    let probe = client.get("/flux/metric_data?status=true");
    assert_eq!(
        (probe.status, probe.body.as_str()),
        (200, r#"{"status": "ok"}"#)
    );
    assert_eq!(blackhole.wait_points(10_002).len(), 10_002);
}

#[test]
fn the_page_s_nginx_serves() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let port = free_port();
    let addresses = [("127.0.0.1:8000", flux.port), ("127.0.0.1:8080", port)];
    let nginx = Nginx::start(&snippet("nginx", addresses), port);
    exercise(nginx.port, &blackhole);
}

#[test]
fn the_page_s_apache_serves() {
    let blackhole = Blackhole::start();
    let flux = Flux::builder().carbon(&blackhole.endpoint()).start();
    let port = free_port();
    let addresses = [("127.0.0.1:8000", flux.port), ("127.0.0.1:8081", port)];
    let apache = Apache::start(&snippet("apache", addresses), port);
    exercise(apache.port, &blackhole);
}
