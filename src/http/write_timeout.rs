//! A stream that fails when the client does not read its response for some time.

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

/// How long a write may wait for the client to read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Wraps the stream of a client.
pub(super) struct WriteTimeoutStream {
    stream: Box<dyn Stream>,
    connection: Arc<Connection>,
    waiting: Option<Pin<Box<Sleep>>>,
    /// The first byte, if `first_byte` has read it and no reader has taken it yet.
    peeked: Option<u8>,
}

impl WriteTimeoutStream {
    pub fn new(stream: Box<dyn Stream>, connection: Arc<Connection>) -> Self {
        Self { stream, connection, waiting: None, peeked: None }
    }

    /// Peeks at the first byte; `None` at the end of the stream.
    pub async fn first_byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let read = self.stream.read(&mut byte).await?;
        self.peeked = (read == 1).then_some(byte[0]);
        Ok(self.peeked)
    }

    /// Resets the timeout after progress, and fails when it has elapsed.
    fn check_timeout<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            self.connection.touch();
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_TIMEOUT)));
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
            && let Some(byte) = self.peeked.take()
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
        self.check_timeout(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.check_timeout(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.check_timeout(ended, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::io::AsyncWriteExt as _;

    use super::*;
    use crate::http::connections::ConnectionTracker;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_disconnected() {
        let permit = ConnectionTracker::new(1).acquire(None).await.unwrap();
        let (mut client, server) = tokio::io::duplex(16);
        let mut stream = WriteTimeoutStream::new(Box::new(server), Arc::clone(permit.connection()));
        let write = tokio::spawn(async move { stream.write_all(&[0; 64]).await });
        // A client that reads now and then stays connected.
        for _ in 0..2 {
            tokio::time::sleep(WRITE_TIMEOUT / 2).await;
            let mut some = [0; 16];
            client.read_exact(&mut some).await.unwrap();
        }
        assert!(!write.is_finished());
        let ended = write.await.unwrap();
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
