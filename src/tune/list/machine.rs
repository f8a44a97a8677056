//! CPUs, memory, clock and disk.

use super::super::{Applies, Item, Kind, Severity, judge};
use super::ITEM;

const GOVERNORS: &str = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors";

pub static ITEMS: &[Item] = &[
    Item {
        id: "irq_affinity",
        reads: &["/proc/softirqs", "/sys/devices/system/cpu/online"],
        kind: Kind::Report(judge::irq_affinity),
        applies: Some(Applies {
            only_if: "there are four CPUs or more",
            shell: "",
            holds: |host, _| host.listed("/sys/devices/system/cpu/online") >= Some(4),
        }),
        why: "which CPUs have received packets since the host started: one that does nearly all is the first to be full",
        when: "above some 100,000 packets a second",
        risk: "the CPUs that get interrupts have less time for their shard",
        source: "NET_RX in /proc/softirqs; kernel networking/scaling: RSS IRQ configuration",
        ..ITEM
    },
    Item {
        id: "irqbalance",
        reads: &["/proc/*/comm", "/proc/cmdline"],
        kind: Kind::Report(judge::irqbalance),
        why: "irqbalance spreads interrupts, and undoes what was set by hand: use it or smp_affinity, not both",
        when: "with interrupts set by hand, or isolated CPUs (IRQBALANCE_BANNED_CPULIST keeps it off some)",
        risk: "none",
        source: "kernel core-api/irq/irq-affinity; irqbalance(1)",
        ..ITEM
    },
    Item {
        id: "isolcpus",
        reads: &["/proc/cmdline"],
        kind: Kind::Report(judge::isolcpus),
        reboot: true,
        why: "isolated CPUs are left out of the affinity a service starts with, so no shard runs there unless CPUAffinity= names them",
        when: "for the last bit of tail latency, measured; else leave it",
        risk: "the helper threads of a shard are not moved off a full isolated CPU either",
        source: "kernel admin-guide/kernel-parameters: isolcpus; systemd.exec: CPUAffinity=",
        ..ITEM
    },
    Item {
        id: "nohz_full",
        reads: &["/proc/cmdline"],
        kind: Kind::Report(judge::nohz_full),
        reboot: true,
        why: "it makes every system call dearer to spare a timer tick, and a shard makes many system calls",
        when: "leave it unless measured",
        risk: "accounting and scheduling on those CPUs change",
        source: "kernel timers/no_hz: known issues",
        ..ITEM
    },
    Item {
        id: "rcu_nocbs",
        reads: &["/proc/cmdline"],
        kind: Kind::Report(judge::rcu_nocbs),
        reboot: true,
        why: "moves the kernel's deferred work off these CPUs, at the price of a wake-up for each batch of it",
        when: "only together with isolated CPUs",
        risk: "the threads that do the work need CPUs of their own",
        source: "kernel admin-guide/kernel-parameters: rcu_nocbs",
        ..ITEM
    },
    Item {
        id: "governor",
        reads: &["/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"],
        kind: Kind::OneOf(&["performance"]),
        severity: Severity::Advised,
        offered: Some(GOVERNORS),
        why: "a shard that wakes for a few microseconds is over before another governor has raised the clock",
        when: "on hosts of one's own; a virtual machine has none",
        risk: "power and heat, all day",
        source: "kernel admin-guide/pm/cpufreq",
        ..ITEM
    },
    Item {
        id: "cstates",
        reads: &[
            "/sys/devices/system/cpu/cpu*/cpuidle/state*/latency",
            "/sys/devices/system/cpu/cpu*/cpuidle/state*/disable",
        ],
        kind: Kind::Report(judge::cstates),
        why: "waking from the deepest enabled idle state takes this long, and an idle shard pays it on the next request",
        when: "for tail latency at low load (intel_idle.max_cstate=1 processor.max_cstate=1, or tuned's latency profiles)",
        risk: "power, and less turbo for the busy CPUs",
        source: "kernel admin-guide/pm/cpuidle",
        ..ITEM
    },
    Item {
        id: "transparent_hugepage",
        reads: &["/sys/kernel/mm/transparent_hugepage/enabled"],
        kind: Kind::OneOf(&["madvise", "never"]),
        severity: Severity::Advised,
        why: "with always, memory is handed out 2 MiB at a time, and making room for that stalls whoever asks",
        when: "always",
        risk: "programs that gain from huge pages without asking for them lose them",
        source: "kernel admin-guide/mm/transhuge",
        ..ITEM
    },
    Item {
        id: "swappiness",
        reads: &["/proc/sys/vm/swappiness", "/proc/swaps"],
        kind: Kind::OneOf(&["1", "0", "5", "10"]),
        severity: Severity::Advised,
        applies: Some(Applies {
            only_if: "there is swap",
            shell: r#"[ "$(cat "$root/proc/swaps" 2>/dev/null | wc -l)" -gt 1 ]"#,
            // The first line is the heading.
            holds: |host, _| {
                let swaps = host.text("/proc/swaps").unwrap_or_default();
                swaps.lines().count() > 1
            },
        }),
        why: "a shard that touches a page in swap stands still for the disk, and all its connections with it",
        when: "on hosts with swap, while the journal fills the page cache",
        risk: "the page cache is given up first",
        source: "kernel admin-guide/sysctl/vm: swappiness, 60 by default",
        ..ITEM
    },
    Item {
        id: "numa_balancing",
        reads: &[
            "/proc/sys/kernel/numa_balancing",
            "/sys/devices/system/node/online",
        ],
        kind: Kind::Exact("0"),
        severity: Severity::Advised,
        applies: Some(Applies {
            only_if: "there are several memory nodes",
            shell: r#"grep -q "[-,]" "$root/sys/devices/system/node/online" 2>/dev/null"#,
            holds: |host, _| host.listed("/sys/devices/system/node/online") > Some(1),
        }),
        why: "it unmaps pages to see who uses them, and shards that stay on their CPU have their memory near already",
        when: "on hosts with several sockets",
        risk: "programs that move between nodes lose by it",
        source: "kernel admin-guide/sysctl/kernel: numa_balancing",
        ..ITEM
    },
    Item {
        id: "clocksource",
        reads: &[
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "/sys/devices/system/clocksource/clocksource0/available_clocksource",
        ],
        kind: Kind::Report(judge::clocksource),
        severity: Severity::Advised,
        why: "every turn of a shard reads the clock: with tsc or a paravirtual one that is 20 ns, with hpet or acpi_pm a microsecond",
        when: "always; the kernel gives tsc up when it finds it unstable, and its log says so",
        risk: "forcing tsc on a machine where it is unstable makes time jump",
        source: "kernel timers/timekeeping; current_clocksource",
        ..ITEM
    },
    Item {
        id: "disk_scheduler",
        reads: &["{disk}/scheduler"],
        kind: Kind::OneOf(&["mq-deadline", "none", "kyber"]),
        why: "bfq spends CPU on fairness between programs, and makes the journal's writes and syncs wait for it",
        when: "with durability = fsync, or when the journal is larger than the page cache",
        risk: "interactive programs on the same disk lose bfq's fairness",
        source: "kernel block/switching-sched, block/bfq-iosched",
        ..ITEM
    },
];
