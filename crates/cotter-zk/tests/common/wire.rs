//! A connection under a test's control, over TCP or what a test brings: it can be cut, refused,
//! deaf or mute.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use cotter_zk::{Dial, Dialing, Stream, Tcp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// All connections of one client. Clones are the same.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Switches>, Arc<dyn Dial>);

impl Default for Wire {
    fn default() -> Self {
        Self::over(Arc::new(Tcp))
    }
}

#[derive(Default)]
struct Switches {
    /// The number of the newest connection; a connection that is older than `cut` is dead.
    dialed: AtomicU64,
    cut: AtomicU64,
    refuses: AtomicBool,
    /// Answers are kept back.
    is_deaf: AtomicBool,
    /// What is written is kept back.
    is_mute: AtomicBool,
    written: AtomicU64,
    writes: AtomicU64,
    wakers: Mutex<Vec<Waker>>,
}

impl Wire {
    /// Whose connections are made by another.
    pub(crate) fn over(dial: Arc<dyn Dial>) -> Self {
        Self(Arc::default(), dial)
    }

    /// Ends the present connections.
    pub(crate) fn cut(&self) {
        self.0.cut.store(self.0.dialed.load(Ordering::SeqCst), Ordering::SeqCst);
        self.wake();
    }

    /// Whether new connections are refused.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.0.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Whether answers are kept back.
    pub(crate) fn deafen(&self, is_deaf: bool) {
        self.0.is_deaf.store(is_deaf, Ordering::SeqCst);
        self.wake();
    }

    /// Whether the connection takes nothing more.
    pub(crate) fn mute(&self, is_mute: bool) {
        self.0.is_mute.store(is_mute, Ordering::SeqCst);
        self.wake();
    }

    /// How many bytes were written on all connections.
    pub(crate) fn written(&self) -> u64 {
        self.0.written.load(Ordering::SeqCst)
    }

    /// In how many writes.
    pub(crate) fn writes(&self) -> u64 {
        self.0.writes.load(Ordering::SeqCst)
    }

    /// How many connections there have been.
    pub(crate) fn dialed(&self) -> u64 {
        self.0.dialed.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.0.wakers.lock().expect("no panic under it"));
        wakers.into_iter().for_each(Waker::wake);
    }

    fn listen(&self, context: &Context<'_>) {
        self.0.wakers.lock().expect("no panic under it").push(context.waker().clone());
    }
}

impl Dial for Wire {
    fn dial<'a>(&'a self, server: &'a str) -> Dialing<'a> {
        Box::pin(async move {
            if self.0.refuses.load(Ordering::SeqCst) {
                return Err(io::Error::other("the test refuses connections"));
            }
            let inner = self.1.dial(server).await?;
            let number = self.0.dialed.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(Box::new(Wired { wire: self.clone(), number, inner }) as Box<dyn Stream>)
        })
    }
}

struct Wired {
    wire: Wire,
    number: u64,
    inner: Box<dyn Stream>,
}

impl Wired {
    fn check(&self, context: &Context<'_>) -> io::Result<()> {
        self.wire.listen(context);
        if self.number <= self.wire.0.cut.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "the test cut it"));
        }
        Ok(())
    }
}

impl AsyncRead for Wired {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        if self.wire.0.is_deaf.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wired {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        if self.wire.0.is_mute.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(len)) = &written {
            self.wire.0.written.fetch_add(*len as u64, Ordering::SeqCst);
            self.wire.0.writes.fetch_add(1, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
