//! What the service cannot run without.

use super::super::{Applies, Item, Kind, Severity, judge, needs};
use super::ITEM;

pub static ITEMS: &[Item] = &[
    Item {
        id: "kernel",
        reads: &["/proc/sys/kernel/osrelease"],
        kind: Kind::Report(judge::kernel),
        severity: Severity::Required,
        need: Some(needs::kernel),
        reboot: true,
        why: "the runtime underneath needs io_uring operations that came with Linux 5.8",
        when: "at every start",
        risk: "none",
        source: "glommio 0.9's own floor",
        ..ITEM
    },
    Item {
        id: "io_uring_disabled",
        reads: &["/proc/sys/kernel/io_uring_disabled"],
        kind: Kind::OneOf(&["0", "1"]),
        severity: Severity::Required,
        need: Some(needs::sysctl),
        why: "2 forbids io_uring to everybody, and 1 to all but the privileged and one group",
        when: "at every start",
        risk: "0 lets every user of the host have io_uring; on a shared host write 1 and a group instead",
        source: "kernel admin-guide/sysctl/kernel: io_uring_disabled; absent before Linux 6.6, where nothing forbids it",
        ..ITEM
    },
    Item {
        id: "io_uring_group",
        reads: &[
            "/proc/sys/kernel/io_uring_group",
            "/proc/sys/kernel/io_uring_disabled",
        ],
        kind: Kind::Report(judge::io_uring_group),
        severity: Severity::Advised,
        applies: Some(Applies {
            only_if: "kernel.io_uring_disabled is 1",
            shell: "",
            holds: |host, _| {
                host.value("/proc/sys/kernel/io_uring_disabled").as_deref() == Some("1")
            },
        }),
        why: "with io_uring_disabled = 1 a service without CAP_SYS_ADMIN gets a ring only as a member of this group",
        when: "on hosts that keep io_uring to a group",
        risk: "members of the group have io_uring",
        source: "kernel admin-guide/sysctl/kernel: io_uring_group",
        ..ITEM
    },
    Item {
        id: "seccomp",
        reads: &["/proc/self/status"],
        kind: Kind::Report(judge::seccomp),
        severity: Severity::Required,
        need: Some(needs::ring),
        why: "a container's filter may refuse io_uring, as Docker's default one does; the kernel is asked for a ring",
        when: "at every start in a container, or under SystemCallFilter=",
        risk: "three more system calls are allowed: io_uring_setup, io_uring_enter, io_uring_register",
        source: "kernel userspace-api/seccomp_filter; moby's default profile",
        ..ITEM
    },
    Item {
        id: "memlock",
        reads: &["/proc/self/limits", "/proc/sys/kernel/osrelease"],
        kind: Kind::Report(judge::memlock),
        severity: Severity::Required,
        need: Some(needs::memlock),
        why: "the runtime locks its buffers, and kernels before 5.12 count the rings too",
        when: "at every start; this is the limit of the shell that checks, and a unit has its own",
        risk: "locked memory cannot be swapped: the service takes less than 1 MiB per shard",
        source: "glommio 0.9 refuses less than 512 KiB; systemd.exec: LimitMEMLOCK=",
        ..ITEM
    },
    Item {
        id: "nofile",
        reads: &["/proc/self/limits"],
        kind: Kind::Report(judge::nofile),
        severity: Severity::Required,
        need: Some(needs::nofile),
        why: "every connection is a file, and http.connections_max of them must fit beside a few dozen per shard",
        when: "at every start; this is the limit of the shell that checks, and a unit has its own",
        risk: "none: files that are not open cost nothing",
        source: "counted from http.connections_max, cpu.shards and http.listen; systemd.exec: LimitNOFILE=",
        ..ITEM
    },
];
