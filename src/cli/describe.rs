//! The command line told to others: completions for a shell, a page for man. Pure.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

pub fn completions(mut command: Command, shell: Shell) -> String {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// One page: the service, then every other command with its flags.
pub fn man(command: Command) -> String {
    // Names and usage of the commands below as whole command lines.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut text = Vec::new();
    let page = Man::new(command.clone());
    // Writing to a Vec cannot fail.
    let _ = page.render_title(&mut text);
    let _ = page.render_name_section(&mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    text.push_str(&sections(&command));
    commands(&command, &mut text);
    text.push_str(FILES);
    text
}

fn sections(command: &Command) -> String {
    let mut text = Vec::new();
    let page = Man::new(command.clone());
    let _ = page.render_synopsis_section(&mut text);
    let _ = page.render_description_section(&mut text);
    let _ = page.render_options_section(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn commands(command: &Command, text: &mut String) {
    for below in command.get_subcommands() {
        let name = below.get_bin_name().unwrap_or(below.get_name());
        text.push_str(&format!(".SH \"{}\"\n", name.to_uppercase()));
        // A level below their own headings.
        text.push_str(&sections(below).replace(".SH ", ".SS "));
        commands(below, text);
    }
}

/// As the packages lay them out.
const FILES: &str = "\
.SH FILES
.TP
/etc/flux/flux.toml
The configuration; \\fBflux config\\fR prints every key with its default and why.
.TP
/var/lib/flux
The data directory: the journal, the key, the last store, jobs, quotas.
.SH \"EXIT STATUS\"
0; 64 for a command line and 78 for a configuration that is not understood; 1 for everything else.
.SH SIGNALS
SIGTERM and SIGINT drain and stop; SIGHUP reads the configuration again.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let verb = Command::new("verb")
            .about("Does it")
            .arg(clap::Arg::new("dir").long("dir").help("Where"));
        Command::new("tool")
            .about("A tool")
            .subcommand(Command::new("group").subcommand(verb))
    }

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completions(command(), shell);
            assert!(text.contains("group") && text.contains("verb") && text.contains("dir"));
        }
    }

    #[test]
    fn the_page_has_every_command_with_its_flags() {
        let page = man(command());
        assert!(
            page.contains(".SH TOOL GROUP VERB") || page.contains("VERB"),
            "{page}"
        );
        assert!(page.contains("Where") && page.contains("/etc/flux/flux.toml"));
    }
}
