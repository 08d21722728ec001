//! `cotter doctor`: what is wrong with a store, and what to do about it.
//!
//! The stores of servers examine themselves. Of the local store there is less to say: whether its
//! directory is one that locks can live in, and who else may write there.

use super::{block_on, print, print_json};
use crate::args::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Examined, Found, Severity};
use crate::store;
use crate::text::Shown;

/// What an examination came to.
struct Report {
    store: String,
    findings: Vec<Found>,
    /// How many locks were looked at, where locks are.
    locks: Option<usize>,
}

/// Examines a store.
pub(crate) fn doctor(args: &DoctorArgs) -> Exit {
    let shown = match block_on(examine(args)) {
        Ok(report) => tell(args, &report),
        Err(failure) => tell_unknown(args, &failure),
    };
    shown.unwrap_or_else(Failure::tell)
}

async fn examine(args: &DoctorArgs) -> Result<Report, Failure> {
    let url = args.store.url()?;
    #[cfg(feature = "etcd")]
    if url.starts_with("etcd:") || url.starts_with("etcds:") {
        return etcd(&url, args.lock.as_ref()).await;
    }
    #[cfg(feature = "zookeeper")]
    if url.starts_with("zookeeper:") {
        return zookeeper(&url, args.lock.as_ref()).await;
    }
    #[cfg(feature = "redis")]
    if url.starts_with("redis") || url.starts_with("redlock:") {
        let env = cotter::env::Env::system().map_err(Failure::from)?;
        let examined = cotter::redis::examine(&env, &url, args.lock.as_ref()).await?;
        let store = cotter::redis::address(&url)?;
        let findings = examined.findings.into_iter().map(Found::from).collect();
        return Ok(Report { store, findings, locks: Some(examined.locks) });
    }
    #[cfg(feature = "local")]
    if url.starts_with("local:") {
        return local(&url).await;
    }
    let client = store::connect_with(&url, "cotter doctor", None).await?;
    let what = "there is nothing to examine in a store of this kind".to_owned();
    let findings = vec![Found::note("store", client.address(), what)];
    Ok(Report { store: client.address().to_owned(), findings, locks: None })
}

#[cfg(feature = "etcd")]
async fn etcd(url: &str, lock: Option<&cotter::LockName>) -> Result<Report, Failure> {
    use cotter::contract::{Session, Store};
    use cotter::etcd::EtcdStore;

    let opened = EtcdStore::from_url(url)?;
    let mut bearer = cotter::Cotter::options().bearer;
    bearer.command = "cotter doctor".to_owned();
    let session = opened.open(&cotter::env::Env::system()?, &bearer).await?;
    let examined = session.examine(lock).await;
    session.close().await;
    let examined = examined?;
    let findings = examined.findings.into_iter().map(Found::from).collect();
    Ok(Report { store: opened.address(), findings, locks: Some(examined.locks) })
}

#[cfg(feature = "zookeeper")]
async fn zookeeper(url: &str, lock: Option<&cotter::LockName>) -> Result<Report, Failure> {
    use cotter::contract::{Session, Store};
    use cotter::zookeeper::ZooKeeperStore;

    let opened = ZooKeeperStore::from_url(url)?;
    let mut bearer = cotter::Cotter::options().bearer;
    bearer.command = "cotter doctor".to_owned();
    let session = opened.open(&cotter::env::Env::system()?, &bearer).await?;
    let examined = session.examine(lock).await;
    session.close().await;
    let examined = examined?;
    let findings = examined.findings.into_iter().map(Found::from).collect();
    Ok(Report { store: opened.address(), findings, locks: Some(examined.locks) })
}

#[cfg(feature = "local")]
async fn local(url: &str) -> Result<Report, Failure> {
    use std::os::unix::fs::PermissionsExt;

    use cotter::Kind;

    let directory = cotter::local::LocalStore::from_url(url)?.directory().to_owned();
    let place = directory.display().to_string();
    let mut report = Report { store: format!("local:{place}"), findings: Vec::new(), locks: None };
    let about = std::fs::metadata(&directory).ok();
    // Opening would make what is missing, and a look must not.
    if about.as_ref().is_none_or(std::fs::Metadata::is_dir) && !directory.join("lines").is_dir() {
        let what = "there is no store here yet: no lock was ever made in it".to_owned();
        let advice = "nothing, if it is new: the first lock makes it; else look whether the URL \
                      names the right directory";
        let kind = (Severity::Warning, "root-missing");
        report.findings.push(Found::new(kind, &place, what, advice));
        return Ok(report);
    }
    // Opening it is the examination: it refuses a file system that has no locks, and a directory
    // that is not ours to write in.
    let opened = async {
        let client = store::connect_with(url, "cotter doctor", None).await?;
        let used = client.names("").await?.len();
        Ok::<_, cotter::Error>((client.profile().await?.crash_to_free, used))
    };
    match opened.await {
        Ok((crash_to_free, used)) => {
            report.locks = Some(used);
            let what = format!("a crashed holder's lock is free within {crash_to_free:?}");
            report.findings.push(Found::note("crash-to-free", &place, what));
        }
        Err(error) if matches!(error.kind(), Kind::Config | Kind::Denied | Kind::Incompatible) => {
            let advice = "use a directory of your own on a file system of this machine";
            let kind = (Severity::Problem, "unsuitable");
            report.findings.push(Found::new(kind, &place, error.to_string(), advice));
        }
        Err(error) => return Err(error.into()),
    }
    if about.is_some_and(|about| about.is_dir() && about.permissions().mode() & 0o022 != 0) {
        let what = "other users may write here: they share these locks, and whoever can write can \
                    also spoil them";
        report.findings.push(Found::note("shared-directory", &place, what.to_owned()));
    }
    Ok(report)
}

fn tell(args: &DoctorArgs, report: &Report) -> Result<Exit, Failure> {
    let count = |severity| report.findings.iter().filter(|f| f.severity == severity).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    let exit = if problems > 0 { Exit::PROBLEM } else { Exit::DONE };
    if args.json {
        print_json(&Examined::of(&report.store, report.locks, &report.findings))?;
        return Ok(exit);
    }
    for finding in &report.findings {
        let word = finding.severity.word();
        print(&Shown(&format!("{word:<7}  {}: {}", finding.place, finding.what)).to_string())?;
        if !finding.advice.is_empty() {
            print(&format!("{:<7}  -> {}", "", Shown(&finding.advice)))?;
        }
    }
    let locks = match report.locks {
        Some(1) => ", 1 lock looked at".to_owned(),
        Some(locks) => format!(", {locks} locks looked at"),
        None => String::new(),
    };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    print(&format!(
        "{problems} problem{}, {warnings} warning{}{locks}",
        plural(problems),
        plural(warnings)
    ))?;
    Ok(exit)
}

fn tell_unknown(args: &DoctorArgs, failure: &Failure) -> Result<Exit, Failure> {
    if args.json {
        // What was given as the store may hold a secret, and nothing has told its address.
        print_json(&Examined::unknown(&failure.message))?;
    }
    eprintln!("cotter: {}", Shown(&failure.message));
    Ok(Exit::UNKNOWN)
}
