//! Who this process says it is, to people who look at a line.

use std::path::Path;

use crate::Bearer;

/// This process: its machine, number, user and program.
pub(crate) fn this_process() -> Bearer {
    let uid = rustix::process::geteuid().as_raw();
    Bearer {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        user: user_name(uid).unwrap_or_else(|| uid.to_string()),
        command: program_name().unwrap_or_default(),
    }
}

/// The user's name by the machine's own list. A name from a directory service is not found here;
/// then the number is shown, which is never wrong (`$USER` is, under sudo and cron).
fn user_name(uid: u32) -> Option<String> {
    let list = std::fs::read_to_string("/etc/passwd").ok()?;
    list.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| name.to_owned())
    })
}

fn program_name() -> Option<String> {
    let first = std::env::args_os().next()?;
    Some(Path::new(&first).file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let bearer = this_process();
        assert_eq!(bearer.pid, std::process::id());
        assert!(!bearer.host.is_empty() && !bearer.user.is_empty() && !bearer.command.is_empty());
    }

    #[test]
    fn the_first_user_has_the_number_zero() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(u32::MAX - 7), None);
    }
}
