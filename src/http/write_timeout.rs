//! A stream whose other end must go on reading: one that takes nothing for a while is let go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Sleep;

use super::connections::Connection;
use super::listener::Stream;

/// How long a client may take nothing of an answer that is waiting for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The stream.
pub(super) struct WriteTimeoutStream {
    stream: Box<dyn Stream>,
    guest: Arc<Connection>,
    waiting: Option<Pin<Box<Sleep>>>,
    /// The first byte, when it was looked at and not yet read.
    kept: Option<u8>,
}

impl WriteTimeoutStream {
    pub fn new(stream: Box<dyn Stream>, guest: Arc<Connection>) -> Self {
        Self { stream, guest, waiting: None, kept: None }
    }

    /// The first byte, which stays to be read; none where the stream ends.
    pub async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let read = self.stream.read(&mut byte).await?;
        self.kept = (read == 1).then_some(byte[0]);
        Ok(self.kept)
    }

    /// Ends the wait, or a wait that was too long.
    fn judge<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            self.guest.used();
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
        match waiting.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for WriteTimeoutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(byte) = self.kept.take()
        {
            buffer.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WriteTimeoutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(ended, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::http::connections::ConnectionTracker;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_let_go() {
        let place = ConnectionTracker::new(1).admit(None).await.unwrap();
        let (mut client, server) = tokio::io::duplex(16);
        let mut patient = WriteTimeoutStream::new(Box::new(server), Arc::clone(place.guest()));
        let write = tokio::spawn(async move { patient.write_all(&[0; 64]).await });
        // One that reads now and then is waited for.
        for _ in 0..2 {
            tokio::time::sleep(PATIENCE / 2).await;
            let mut some = [0; 16];
            client.read_exact(&mut some).await.unwrap();
        }
        assert!(!write.is_finished());
        let ended = write.await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
