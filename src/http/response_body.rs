//! Response bodies: a text that is whole in memory, or the frames of a scrape.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use http_body_util::Full;
use hyper::body::Body;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;

use super::scrapes::ScrapeBody;
use super::scrapes::TooSlow;

/// The body of a response.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// A whole text.
    Whole(Full<Bytes>),
    /// The exposition, frame by frame.
    Scrape(ScrapeBody),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = TooSlow;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooSlow>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|infallible| match infallible {}),
            Self::Scrape(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Scrape(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Scrape(body) => body.size_hint(),
        }
    }
}
