#!/bin/sh
# The host settings of flux, as a script: `flux tune render` printed it, and `flux tune check` explains each of them.
# It writes what is not as wanted, never lowers a minimum, and does nothing when run twice. It keeps no originals:
# `flux tune apply` does, and `flux tune revert` puts them back. ROOT=/some/dir rehearses it on a copy.
set -eu
root=${ROOT:-}

# put PATH VALUE: the live value, and the line that makes it last.
put() {
    echo "$1: $(tr -s '\t\n' '  ' <"$root$1")-> $2"
    printf '%s' "$2" >"$root$1"
    case $1 in
    /proc/sys/*) file=/etc/sysctl.d/90-flux-tune.conf line="$(echo "${1#/proc/sys/}" | tr / .) = $2" ;;
    *) file=/etc/tmpfiles.d/90-flux-tune.conf line="w $1 - - - - $2" ;;
    esac
    mkdir -p "$root${file%/*}"
    echo "$line" >>"$root$file"
}

here() {
    [ -e "$root$1" ] || {
        echo "unsupported here: $1"
        return 1
    }
}

# at_least PATH NUMBER...: each number of the file.
at_least() {
    path=$1 wanted='' changed=''
    shift
    here "$path" || return 0
    for has in $(cat "$root$path"); do
        if [ "$has" -lt "$1" ]; then has=$1 changed=yes; fi
        wanted="$wanted${wanted:+ }$has"
        shift
    done
    if [ "$changed" ]; then put "$path" "$wanted"; fi
}

# covers PATH LOW HIGH: the range in the file is at least this one.
covers() {
    path=$1 wanted_low=$2 wanted_high=$3
    here "$path" || return 0
    read -r low high <"$root$path" || :
    if [ "$low" -gt "$wanted_low" ] || [ "$high" -lt "$wanted_high" ]; then
        [ "$low" -le "$wanted_low" ] || low=$wanted_low
        [ "$high" -ge "$wanted_high" ] || high=$wanted_high
        put "$path" "$low $high"
    fi
}

# one_of PATH OFFERED VALUE...: the first value that is offered, unless one of them is in force.
one_of() {
    path=$1 offered=$2
    shift 2
    here "$path" || return 0
    text=$(cat "$root$path")
    case $text in
    *'['*) current=${text#*[} current=${current%%]*} words=$(echo "$text" | tr -d '[]') ;;
    *) current=$text words=$(cat "$root$offered" 2>/dev/null) || words=$* ;;
    esac
    for value; do
        if [ "$value" = "$current" ]; then return 0; fi
    done
    for value; do
        case " $(echo $words) " in *" $value "*)
            put "$path" "$value"
            return 0
            ;;
        esac
    done
    echo "unsupported here: $path offers none of $*"
}

# io_uring_disabled: 2 forbids io_uring to everybody, and 1 to all but the privileged and one group.
# Risk: 0 lets every user of the host have io_uring; on a shared host write 1 and a group instead.
one_of /proc/sys/kernel/io_uring_disabled '' 0 1

# somaxconn: http.backlog is cut to this in silence, and connections that find the queue full wait for a second SYN.
# Risk: none: the queue is as long as each program asks for.
at_least /proc/sys/net/core/somaxconn 1024

# tcp_max_syn_backlog: without SYN cookies, handshakes under way beyond three quarters of this are dropped.
# Risk: 300 bytes for each handshake under way.
if [ "$(cat "$root/proc/sys/net/ipv4/tcp_syncookies" 2>/dev/null)" = 0 ]; then
    at_least /proc/sys/net/ipv4/tcp_max_syn_backlog 1024
fi

# tcp_migrate_req: when one of several listeners on a port closes, its waiting connections go to another and are not reset.
# Risk: programs whose SO_REUSEPORT listeners have different options from each other may be confused.
one_of /proc/sys/net/ipv4/tcp_migrate_req '' 1

# tcp_congestion_control: reno and the experimental ones recover slowly on a long path to carbon; clients choose their own.
# Risk: connections that are open keep what they have.
one_of /proc/sys/net/ipv4/tcp_congestion_control /proc/sys/net/ipv4/tcp_available_congestion_control cubic bbr

# tcp_rmem: a smaller last number holds back clients with large bodies on a long path; the kernel's own are enough.
# Risk: a connection may take that much; tcp_mem bounds all of them together.
at_least /proc/sys/net/ipv4/tcp_rmem 4096 131072 6291456

# tcp_wmem: a smaller last number holds back the connection to carbon on a long path; the kernel's own are enough.
# Risk: a connection may take that much; tcp_mem bounds all of them together.
at_least /proc/sys/net/ipv4/tcp_wmem 4096 16384 4194304

# tcp_notsent_lowat: a smaller one wakes the writer for every few packets of a frame; what is unsent is bounded by the program.
# Risk: other programs on the host that count on a low value get longer queues.
at_least /proc/sys/net/ipv4/tcp_notsent_lowat 131072

# tcp_slow_start_after_idle: the connection to carbon rests between flushes, and would begin each with ten packets again.
# Risk: a burst meets a path that may have filled meanwhile.
one_of /proc/sys/net/ipv4/tcp_slow_start_after_idle '' 0

# governor: a shard that wakes for a few microseconds is over before another governor has raised the clock.
# Risk: power and heat, all day.
for path in "$root"/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do one_of "${path#"$root"}" /sys/devices/system/cpu/cpu0/cpufreq/scaling_available_governors performance; done

# transparent_hugepage: with always, memory is handed out 2 MiB at a time, and making room for that stalls whoever asks.
# Risk: programs that gain from huge pages without asking for them lose them.
one_of /sys/kernel/mm/transparent_hugepage/enabled '' madvise never

# swappiness: a shard that touches a page in swap stands still for the disk, and all its connections with it.
# Risk: the page cache is given up first.
if [ "$(cat "$root/proc/swaps" 2>/dev/null | wc -l)" -gt 1 ]; then
    one_of /proc/sys/vm/swappiness '' 1 0 5 10
fi

# numa_balancing: it unmaps pages to see who uses them, and shards that stay on their CPU have their memory near already.
# Risk: programs that move between nodes lose by it.
if grep -q "[-,]" "$root/sys/devices/system/node/online" 2>/dev/null; then
    one_of /proc/sys/kernel/numa_balancing '' 0
fi

# disk_scheduler: bfq spends CPU on fairness between programs, and makes the journal's writes and syncs wait for it.
# Risk: interactive programs on the same disk lose bfq's fairness.
# The disk of the data directory is not known here.
