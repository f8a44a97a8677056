//! `flux tune render`: the list as a shell script that needs nothing but a shell, and as an example for sysctl.d.
//! Pure: it touches nothing, and what it prints is the same on every host.

use std::fmt::Write;

use super::change::{SYSCTL, TMPFILES, sysctl_key};
use super::{Item, Kind, Side, Wishes, check, list};

const HEAD: &str = r#"#!/bin/sh
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
    /proc/sys/*) file=@SYSCTL@ line="$(echo "${1#/proc/sys/}" | tr / .) = $2" ;;
    *) file=@TMPFILES@ line="w $1 - - - - $2" ;;
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
"#;

pub fn script(wishes: &Wishes) -> String {
    let mut out = HEAD
        .replace("@SYSCTL@", SYSCTL)
        .replace("@TMPFILES@", TMPFILES);
    for item in written(wishes) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\n# {}: {}.\n# Risk: {}.",
            item.id, item.why, item.risk
        );
        if item.reads[0].contains("{disk}") && wishes.disk.is_none() {
            let _ = writeln!(out, "# The disk of the data directory is not known here.");
            continue;
        }
        let path = wishes.path(item.reads[0]);
        let (before, quoted, after) = match path.contains('*') {
            true => (
                format!("for path in \"$root\"{path}; do "),
                "\"${path#\"$root\"}\"".to_owned(),
                "; done",
            ),
            false => (String::new(), path, ""),
        };
        let command = command(item, &quoted, wishes);
        let _ = match item.applies {
            None => writeln!(out, "{before}{command}{after}"),
            Some(applies) => {
                let condition = applies.shell;
                writeln!(
                    out,
                    "if {condition}; then\n    {before}{command}{after}\nfi"
                )
            }
        };
    }
    out
}

fn command(item: &Item, path: &str, wishes: &Wishes) -> String {
    let offered = item.offered.unwrap_or("''");
    match item.kind {
        Kind::Minimum(least) => {
            let words: Vec<String> = least(wishes).iter().map(u64::to_string).collect();
            format!("at_least {path} {}", words.join(" "))
        }
        Kind::Covers(low, high) => format!("covers {path} {low} {high}"),
        Kind::Exact(value) => format!("one_of {path} {offered} {value}"),
        Kind::OneOf(values) => format!("one_of {path} {offered} {}", values.join(" ")),
        // Not among the written.
        Kind::Report(_) => String::new(),
    }
}

fn written(wishes: &Wishes) -> impl Iterator<Item = &'static Item> {
    let generator = wishes.generator;
    list::all()
        .filter(|item| item.kind.is_written())
        .filter(move |item| item.side == Side::Service || generator)
}

/// A file cannot look before it sets: what is only a minimum, or only one of several, stands as a comment.
pub fn sysctl_example(wishes: &Wishes) -> String {
    let mut out = String::from(
        "# An example for /etc/sysctl.d. `flux tune apply` writes its own, with what this host lacks. Lines that are\n\
         # commented out would lower a larger value, or take a choice away: set them only where `flux tune check` says so.\n",
    );
    for item in written(wishes) {
        let Some(key) = sysctl_key(item.reads[0]) else {
            continue;
        };
        let (sign, value) = match item.kind {
            Kind::Exact(value) if item.applies.is_none() => ("", value.to_owned()),
            Kind::Exact(value) => ("# ", value.to_owned()),
            Kind::OneOf(values) => ("# ", values[0].to_owned()),
            _ => {
                let required = check::required(item, wishes);
                ("# ", required.replace("at least ", "").replace(" to ", " "))
            }
        };
        let _ = writeln!(out, "\n# {}\n{sign}{key} = {value}", item.why);
    }
    out
}
