//! The command of a run: from the arguments to something that can be started, and back to words.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::process::Command;

use crate::args::HowArgs;
use crate::exit::{Exit, Failure};

/// As much of a command's name as people need to know it in a line-up.
const SHOWN_CHARS_MAX: usize = 40;

/// The command: the arguments as they are, or a shell with the given line.
pub(super) fn of(args: &HowArgs) -> Command {
    let Some(line) = &args.shell else {
        // The command line requires one; should there be none, starting it fails.
        let (program, arguments) = args.command.split_first().unzip();
        let mut command = Command::new(program.map_or("".as_ref(), OsString::as_os_str));
        command.args(arguments.into_iter().flatten());
        return command;
    };
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let mut command = Command::new(shell.unwrap_or_else(|| "/bin/sh".into()));
    command.arg("-c").arg(line);
    command
}

/// What others see running: the program's own name, or the beginning of the shell's line.
pub(super) fn shown(args: &HowArgs) -> String {
    let name = match (&args.shell, args.command.first()) {
        (Some(line), _) => line.as_os_str(),
        (None, Some(program)) => Path::new(program).file_name().unwrap_or(program),
        (None, None) => "".as_ref(),
    };
    name.to_string_lossy().chars().take(SHOWN_CHARS_MAX).collect()
}

/// Why it did not start, as a shell's exit codes tell it.
pub(super) fn not_started(args: &HowArgs, error: &io::Error) -> Failure {
    let command = of(args);
    let program = command.get_program();
    let name = program.to_string_lossy();
    if program.is_empty() {
        return Failure::new(Exit::NOT_FOUND, "cannot run a command whose name is empty");
    }
    if error.kind() != io::ErrorKind::NotFound {
        return Failure::new(Exit::NOT_STARTED, format!("cannot run {name}: {error}"));
    }
    // The kernel says the same of a script that is there and what its first line names is not.
    if is_there(program) {
        let message = format!("cannot run {name}: its interpreter is missing");
        return Failure::new(Exit::NOT_STARTED, message);
    }
    Failure::new(Exit::NOT_FOUND, format!("cannot run {name}: {error}"))
}

/// Whether a program of this name is where exec looks for it.
fn is_there(program: &OsStr) -> bool {
    if program.as_encoded_bytes().contains(&b'/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
