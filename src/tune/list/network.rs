//! Connections, queues and packets.

use super::super::{Applies, Item, Kind, Severity, Side, Wishes, judge};
use super::ITEM;

const SYNCOOKIES: &str = "/proc/sys/net/ipv4/tcp_syncookies";

fn backlog(wishes: &Wishes) -> Vec<u64> {
    vec![u64::from(wishes.backlog)]
}

pub static ITEMS: &[Item] = &[
    Item {
        id: "somaxconn",
        reads: &["/proc/sys/net/core/somaxconn"],
        kind: Kind::Minimum(backlog),
        severity: Severity::Advised,
        why: "http.backlog is cut to this in silence, and connections that find the queue full wait for a second SYN",
        when: "when many clients connect at once, as after a restart",
        risk: "none: the queue is as long as each program asks for",
        source: "http.backlog; kernel ip-sysctl: somaxconn, 4096 since Linux 5.4 and 128 before",
        ..ITEM
    },
    Item {
        id: "tcp_max_syn_backlog",
        reads: &["/proc/sys/net/ipv4/tcp_max_syn_backlog", SYNCOOKIES],
        kind: Kind::Minimum(backlog),
        severity: Severity::Advised,
        applies: Some(Applies {
            only_if: "net.ipv4.tcp_syncookies is 0",
            shell: r#"[ "$(cat "$root/proc/sys/net/ipv4/tcp_syncookies" 2>/dev/null)" = 0 ]"#,
            holds: |host, _| host.value(SYNCOOKIES).as_deref() == Some("0"),
        }),
        why: "without SYN cookies, handshakes under way beyond three quarters of this are dropped",
        when: "when many clients connect at once; with SYN cookies the kernel does not look at it",
        risk: "300 bytes for each handshake under way",
        source: "http.backlog; kernel ip-sysctl: tcp_max_syn_backlog, tcp_syncookies",
        ..ITEM
    },
    Item {
        id: "listen_overflows",
        reads: &["/proc/net/netstat"],
        kind: Kind::Report(judge::listen_overflows),
        why: "connections that found an accept queue full, of any program, since the host started",
        when: "when clients see connection timeouts: raise http.backlog and net.core.somaxconn, or add shards",
        risk: "none",
        source: "TcpExt ListenOverflows in /proc/net/netstat",
        ..ITEM
    },
    Item {
        id: "tcp_migrate_req",
        reads: &["/proc/sys/net/ipv4/tcp_migrate_req"],
        kind: Kind::Exact("1"),
        severity: Severity::Advised,
        why: "when one of several listeners on a port closes, its waiting connections go to another and are not reset",
        when: "at a stop, between the first shard's listener and the last; with socket activation no listener closes",
        risk: "programs whose SO_REUSEPORT listeners have different options from each other may be confused",
        source: "kernel ip-sysctl: tcp_migrate_req, since Linux 5.14",
        ..ITEM
    },
    Item {
        id: "tcp_congestion_control",
        reads: &["/proc/sys/net/ipv4/tcp_congestion_control"],
        kind: Kind::OneOf(&["cubic", "bbr"]),
        offered: Some("/proc/sys/net/ipv4/tcp_available_congestion_control"),
        why: "reno and the experimental ones recover slowly on a long path to carbon; clients choose their own",
        when: "when carbon is far away",
        risk: "connections that are open keep what they have",
        source: "kernel ip-sysctl: tcp_congestion_control; the kernel's default is cubic",
        ..ITEM
    },
    Item {
        id: "tcp_mem",
        reads: &[
            "/proc/net/sockstat",
            "/proc/sys/net/ipv4/tcp_mem",
            "/proc/net/netstat",
        ],
        kind: Kind::Report(judge::tcp_mem),
        why: "beyond the second number TCP shrinks its windows; it is sized by the memory at boot and rarely wants a hand",
        when: "with thousands of connections that send large bodies",
        risk: "a larger value takes memory from everything else",
        source: "kernel ip-sysctl: tcp_mem; use from /proc/net/sockstat, TcpExt TCPMemoryPressures",
        ..ITEM
    },
    Item {
        id: "tcp_rmem",
        reads: &["/proc/sys/net/ipv4/tcp_rmem"],
        kind: Kind::Minimum(|_| vec![4096, 131_072, 6_291_456]),
        severity: Severity::Advised,
        why: "a smaller last number holds back clients with large bodies on a long path; the kernel's own are enough",
        when: "on hosts where an old guide has lowered them",
        risk: "a connection may take that much; tcp_mem bounds all of them together",
        source: "kernel ip-sysctl: tcp_rmem; the defaults of a host with 1 GiB and more",
        ..ITEM
    },
    Item {
        id: "tcp_wmem",
        reads: &["/proc/sys/net/ipv4/tcp_wmem"],
        kind: Kind::Minimum(|_| vec![4096, 16_384, 4_194_304]),
        severity: Severity::Advised,
        why: "a smaller last number holds back the connection to carbon on a long path; the kernel's own are enough",
        when: "on hosts where an old guide has lowered them",
        risk: "a connection may take that much; tcp_mem bounds all of them together",
        source: "kernel ip-sysctl: tcp_wmem; the defaults of a host with 1 GiB and more",
        ..ITEM
    },
    Item {
        id: "tcp_notsent_lowat",
        reads: &["/proc/sys/net/ipv4/tcp_notsent_lowat"],
        kind: Kind::Minimum(|_| vec![131_072]),
        why: "a smaller one wakes the writer for every few packets of a frame; what is unsent is bounded by the program",
        when: "on hosts tuned for interactive HTTP/2",
        risk: "other programs on the host that count on a low value get longer queues",
        source: "kernel ip-sysctl: tcp_notsent_lowat, unlimited by default",
        ..ITEM
    },
    Item {
        id: "tcp_slow_start_after_idle",
        reads: &["/proc/sys/net/ipv4/tcp_slow_start_after_idle"],
        kind: Kind::Exact("0"),
        severity: Severity::Advised,
        why: "the connection to carbon rests between flushes, and would begin each with ten packets again",
        when: "when carbon is more than a millisecond away",
        risk: "a burst meets a path that may have filled meanwhile",
        source: "kernel ip-sysctl: tcp_slow_start_after_idle (RFC 2861)",
        ..ITEM
    },
    Item {
        id: "ip_local_port_range",
        reads: &["/proc/sys/net/ipv4/ip_local_port_range"],
        kind: Kind::Covers(10_240, 65_535),
        severity: Severity::Advised,
        side: Side::Generator,
        why: "each connection to one address takes a port, and a generator that connects anew runs out of 28,000 in a minute",
        when: "where load comes from",
        risk: "services above port 10240 may find theirs in use: put them in ip_local_reserved_ports",
        source: "kernel ip-sysctl: ip_local_port_range; it begins above the ports of flux, carbon and Redis",
        ..ITEM
    },
    Item {
        id: "tcp_tw_reuse",
        reads: &["/proc/sys/net/ipv4/tcp_tw_reuse"],
        kind: Kind::Exact("1"),
        severity: Severity::Advised,
        side: Side::Generator,
        why: "a port in TIME-WAIT is used again after a second; it is for who connects, and does nothing for a listener",
        when: "where load comes from",
        risk: "none on a test network; timestamps must be on",
        source: "kernel ip-sysctl: tcp_tw_reuse; the default 2 does so on loopback only",
        ..ITEM
    },
    Item {
        id: "busy_poll",
        reads: &[
            "/proc/sys/net/core/busy_read",
            "/proc/sys/net/core/busy_poll",
        ],
        kind: Kind::Report(judge::busy_poll),
        why: "shards wait in io_uring, where these do nothing, and busy_read makes every read of an empty socket spin",
        when: "on hosts tuned for trading",
        risk: "none",
        source: "kernel admin-guide/sysctl/net: busy_read, busy_poll; both are 0 by default",
        ..ITEM
    },
    Item {
        id: "netdev_max_backlog",
        reads: &[
            "/proc/net/softnet_stat",
            "/proc/sys/net/core/netdev_max_backlog",
        ],
        kind: Kind::Report(judge::netdev_max_backlog),
        why: "packets dropped because a CPU's queue was full, since the host started: only these say that it is too short",
        when: "with RPS, and between containers (loopback, veth); double it while drops go on",
        risk: "longer queues are later answers",
        source: "kernel admin-guide/sysctl/net: netdev_max_backlog; second column of /proc/net/softnet_stat",
        ..ITEM
    },
    Item {
        id: "netdev_budget",
        reads: &[
            "/proc/net/softnet_stat",
            "/proc/sys/net/core/netdev_budget",
            "/proc/sys/net/core/netdev_budget_usecs",
        ],
        kind: Kind::Report(judge::netdev_budget),
        why: "rounds that ended with packets left over, since the host started: only these say that it is too small",
        when: "when one CPU is at its end with packets; double netdev_budget and netdev_budget_usecs while they go on",
        risk: "longer rounds keep the CPU from the shard on it",
        source: "kernel admin-guide/sysctl/net: netdev_budget; third column of /proc/net/softnet_stat",
        ..ITEM
    },
    Item {
        id: "rps",
        reads: &[
            "/sys/class/net/*/queues/rx-*/rps_cpus",
            "/sys/class/net/*/device/uevent",
            "/sys/devices/system/cpu/online",
        ],
        kind: Kind::Report(judge::rps),
        why: "a card with fewer receive queues than CPUs leaves the packets to few of them; RPS spreads them in software",
        when: "when one CPU is at its end with packets (softirq in mpstat) and the others are not",
        risk: "an interrupt between CPUs for every batch of packets; with a queue per CPU it only costs",
        source: "kernel networking/scaling: RPS, suggested configuration",
        ..ITEM
    },
    Item {
        id: "rfs",
        reads: &[
            "/proc/sys/net/core/rps_sock_flow_entries",
            "/sys/class/net/*/queues/rx-*/rps_cpus",
            "/sys/class/net/*/queues/rx-*/rps_flow_cnt",
        ],
        kind: Kind::Report(judge::rfs),
        applies: Some(Applies {
            only_if: "RPS is on",
            shell: "",
            holds: |host, _| judge::rps_is_on(host),
        }),
        why: "RFS sends a connection's packets to the CPU of its shard, and shards stay on their CPU",
        when: "with RPS; it needs rps_sock_flow_entries and the rps_flow_cnt of each queue",
        risk: "memory for the tables; connections that share an entry of the table share a CPU",
        source: "kernel networking/scaling: RFS, 32768 entries for a moderate number of connections",
        ..ITEM
    },
    Item {
        id: "xps",
        reads: &[
            "/sys/class/net/*/queues/tx-*/xps_cpus",
            "/sys/class/net/*/device/uevent",
        ],
        kind: Kind::Report(judge::xps),
        applies: Some(Applies {
            only_if: "a card has several transmit queues",
            shell: "",
            holds: |host, _| judge::has_several_tx_queues(host),
        }),
        why: "with a transmit queue per CPU no two shards wait for the same queue's lock; most drivers set it up themselves",
        when: "with cards of several queues",
        risk: "none",
        source: "kernel networking/scaling: XPS",
        ..ITEM
    },
];
