//! Scrapes: concurrent scrapes share one rendering of the exposition, and at most two renderings
//! are in memory.
//!
//! A response does not own the text it sends. It copies small frames from a shared rendering, so
//! that clients that read slowly or not at all cost one frame each instead of one exposition each.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::Weak;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;
use tokio::sync::Mutex;

use crate::metrics::Exposition;
use crate::metrics::Format;
use crate::metrics::TextPart;
use crate::metrics::text_parts;
use crate::worker_pool::run_blocking;

/// The fastest level: an exposition shrinks to a twentieth, and higher levels cost several times
/// the CPU time for a few per cent.
const GZIP_LEVEL: u32 = 1;

/// The size of a frame. hyper queues at most 16 frames for a client that does not read.
const FRAME_BYTES: usize = 8 * 1024;

/// How long a rendering is kept for a client that is still reading it: Prometheus' default
/// `scrape_timeout`. While clients hold two younger renderings, a further scrape gets the newer
/// one.
const MIN_LIFETIME: Duration = Duration::from_secs(10);

/// Renders the exposition and keeps the renderings that are being sent.
#[derive(Debug)]
pub struct Scrapes {
    exposition: Arc<Exposition>,
    renderings: Mutex<Renderings>,
}

#[derive(Debug, Default)]
struct Renderings {
    newest: Option<Arc<Rendering>>,
    /// An older rendering that a client is still reading.
    previous: Option<Arc<Rendering>>,
}

/// One rendering, in every format and encoding that was requested.
#[derive(Debug)]
struct Rendering {
    began_at: Instant,
    openmetrics: String,
    text: OnceLock<Vec<TextPart>>,
    openmetrics_gzip: OnceLock<Vec<u8>>,
    text_gzip: OnceLock<Vec<u8>>,
    /// Cloned by each response to count the readers.
    readers: Arc<()>,
}

/// Format and encoding of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    format: Format,
    gzip: bool,
}

impl Rendering {
    fn new(exposition: &Exposition) -> Option<Self> {
        let began_at = Instant::now();
        Some(Self {
            began_at,
            openmetrics: exposition.encode(Format::OpenMetrics).ok()?,
            text: OnceLock::new(),
            openmetrics_gzip: OnceLock::new(),
            text_gzip: OnceLock::new(),
            readers: Arc::new(()),
        })
    }

    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.readers) > 1
    }

    fn text(&self) -> &[TextPart] {
        self.text.get_or_init(|| text_parts(&self.openmetrics))
    }

    /// The number of pieces in which a form is stored.
    fn pieces(&self, form: Form) -> usize {
        if form == (Form { format: Format::Text, gzip: false }) { self.text().len() } else { 1 }
    }

    fn piece(&self, form: Form, index: usize) -> &[u8] {
        match (form.format, form.gzip) {
            (Format::OpenMetrics, false) => self.openmetrics.as_bytes(),
            (Format::Text, false) => {
                self.text().get(index).map_or(&[], |piece| piece.of(&self.openmetrics).as_bytes())
            }
            (Format::OpenMetrics, true) => {
                self.openmetrics_gzip.get_or_init(|| compressed([self.openmetrics.as_bytes()]))
            }
            (Format::Text, true) => self.text_gzip.get_or_init(|| {
                compressed(self.text().iter().map(|piece| piece.of(&self.openmetrics).as_bytes()))
            }),
        }
    }

    fn length(&self, form: Form) -> usize {
        (0..self.pieces(form)).map(|index| self.piece(form, index).len()).sum()
    }
}

/// Compresses parts into one gzip member.
pub(super) fn compressed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
    for part in parts {
        encoder.write_all(part).expect("writing to memory does not fail");
    }
    encoder.finish().expect("writing to memory does not fail")
}

impl Scrapes {
    /// Serves scrapes of an exposition.
    #[must_use]
    pub fn new(exposition: Exposition) -> Self {
        Self { exposition: Arc::new(exposition), renderings: Mutex::default() }
    }

    pub(super) fn exposition(&self) -> &Exposition {
        &self.exposition
    }

    /// The body of a response: from a rendering that began after the call, or from the newest one
    /// while clients hold two that are younger than [`MIN_LIFETIME`]. `None` if rendering failed.
    pub(super) async fn body(&self, format: Format, gzip: bool) -> Option<ScrapeBody> {
        let arrived_at = Instant::now();
        let form = Form { format, gzip };
        let mut renderings = self.renderings.lock().await;
        let rendering = match renderings.reusable(arrived_at) {
            Some(rendering) => rendering,
            None => {
                renderings.drop_oldest();
                // Rendering ten thousand databases takes about 100 ms, so it runs on a worker
                // thread.
                let exposition = Arc::clone(&self.exposition);
                let rendering = Arc::new(run_blocking(move || Rendering::new(&exposition)).await??);
                renderings.newest = Some(Arc::clone(&rendering));
                rendering
            }
        };
        let readers = Arc::clone(&rendering.readers);
        let weak = Arc::downgrade(&rendering);
        // The first request for a form computes the compression or the other text format.
        let remaining = run_blocking(move || rendering.length(form)).await?;
        Some(ScrapeBody { rendering: weak, form, piece: 0, offset: 0, remaining, _readers: readers })
    }

    /// Frees the renderings that have no reader.
    pub(super) async fn release(&self) {
        let mut renderings = self.renderings.lock().await;
        renderings.newest.take_if(|rendering| !rendering.is_in_use());
        renderings.previous.take_if(|rendering| !rendering.is_in_use());
    }
}

impl Renderings {
    fn reusable(&self, arrived_at: Instant) -> Option<Arc<Rendering>> {
        let newest = self.newest.as_ref()?;
        let is_held = |rendering: &&Arc<Rendering>| {
            rendering.is_in_use() && arrived_at.duration_since(rendering.began_at) < MIN_LIFETIME
        };
        let both_are_held = newest.is_in_use() && self.previous.as_ref().filter(is_held).is_some();
        (newest.began_at >= arrived_at || both_are_held).then(|| Arc::clone(newest))
    }

    /// Keeps at most one rendering besides the next one. Responses that still read a dropped
    /// rendering end early.
    fn drop_oldest(&mut self) {
        let newest = self.newest.take().filter(|rendering| rendering.is_in_use());
        self.previous = newest.or_else(|| self.previous.take().filter(|rendering| rendering.is_in_use()));
    }
}

/// The body of one response to a scrape.
#[derive(Debug)]
pub(super) struct ScrapeBody {
    rendering: Weak<Rendering>,
    form: Form,
    piece: usize,
    offset: usize,
    remaining: usize,
    _readers: Arc<()>,
}

/// The client read so slowly that its rendering was replaced twice.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the client reads too slowly: newer scrapes have replaced its rendering")]
pub(super) struct TooSlow;

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = TooSlow;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooSlow>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let Some(rendering) = self.rendering.upgrade() else { return Poll::Ready(Some(Err(TooSlow))) };
        let mut page_context = Vec::with_capacity(FRAME_BYTES.min(self.remaining));
        while page_context.len() < FRAME_BYTES && self.piece < rendering.pieces(self.form) {
            let rest = &rendering.piece(self.form, self.piece)[self.offset..];
            let taken = rest.len().min(FRAME_BYTES - page_context.len());
            page_context.extend_from_slice(&rest[..taken]);
            if taken == rest.len() {
                (self.piece, self.offset) = (self.piece + 1, 0);
            } else {
                self.offset += taken;
            }
        }
        self.remaining -= page_context.len();
        Poll::Ready(Some(Ok(Frame::data(page_context.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining as u64)
    }
}

#[cfg(test)]
mod tests {
    use arc_swap::ArcSwap;
    use http_body_util::BodyExt as _;

    use crate::collectors::Snapshot;
    use crate::metrics::AgentMetrics;

    use super::*;

    fn scrapes() -> Scrapes {
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        Scrapes::new(Exposition::new(snapshot, &Arc::default(), &Arc::new(AgentMetrics::default())))
    }

    async fn text(body: ScrapeBody) -> Result<Vec<u8>, TooSlow> {
        body.collect().await.map(|read_body| read_body.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn every_form_is_complete() {
        use std::io::Read as _;
        let scrapes = scrapes();
        for format in [Format::OpenMetrics, Format::Text] {
            let plain = text(scrapes.body(format, false).await.unwrap()).await.unwrap();
            let packed = text(scrapes.body(format, true).await.unwrap()).await.unwrap();
            let mut unpacked = Vec::new();
            flate2::read::GzDecoder::new(&*packed).read_to_end(&mut unpacked).unwrap();
            let families = |bytes: &[u8]| {
                String::from_utf8(bytes.to_vec())
                    .unwrap()
                    .lines()
                    .filter(|line| line.starts_with("# TYPE"))
                    .count()
            };
            assert!(families(&plain) > 20);
            assert_eq!(families(&plain), families(&unpacked));
        }
    }

    #[tokio::test]
    async fn clients_that_do_not_read_hold_two_renderings_at_most() {
        let scrapes = scrapes();
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(scrapes.body(Format::Text, false).await.unwrap());
        }
        let mut distinct: Vec<_> = idle.iter().map(|body| body.rendering.as_ptr()).collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 2);
        // Without readers, the next scrape renders again, and the old renderings are freed.
        let last = idle.pop().unwrap();
        let old = Weak::clone(&last.rendering);
        idle.clear();
        drop(last);
        let fresh = scrapes.body(Format::Text, false).await.unwrap();
        assert!(!fresh.rendering.ptr_eq(&old));
        drop(fresh);
        scrapes.release().await;
        assert!(scrapes.renderings.lock().await.newest.is_none());
    }

    #[tokio::test]
    async fn a_rendering_begins_after_its_request() {
        let scrapes = scrapes();
        let first = scrapes.body(Format::Text, false).await.unwrap();
        let second = scrapes.body(Format::Text, false).await.unwrap();
        assert!(!first.rendering.ptr_eq(&second.rendering));
        assert!(text(first).await.is_ok() && text(second).await.is_ok());
    }
}
