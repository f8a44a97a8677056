fn main() {
    let mut config = skyline_flux::config::Config::default();
    if let Ok(c) = std::env::var("FLUX_CARBON") {
        let (h, p) = c.split_once(':').unwrap();
        config.carbon.endpoint = Some((h.into(), p.parse().unwrap()));
    }
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let n: usize = std::env::var("FLUX_SHARDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1);
    let ready = skyline_flux::preflight::Ready {
        placement: skyline_flux::preflight::Placement {
            shards: (0..n).map(|i| i % 2).collect(),
            populate: 1,
            populate_shared: true,
        },
        self_key: "0123456789abcdef0123456789abcdef".into(),
    };
    skyline_flux::runtime::run(&config, &ready, || eprintln!("started")).unwrap();
}
