//! Reads request bodies with a limit on size and time.

use std::time::Duration;

use http_body_util::BodyExt as _;
use http_body_util::Limited;
use hyper::StatusCode;
use hyper::body::Body;
use hyper::body::Bytes;

/// More than any form or API request needs.
const MAX_BYTES: usize = 16 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a whole body.
///
/// # Errors
/// The body is too large, late or broken: the status and a message.
pub(super) async fn read_body<B>(body: B) -> Result<Bytes, (StatusCode, String)>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // A body that announces too much is not read at all.
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err((StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))),
        Err(_) => {
            Err((StatusCode::REQUEST_TIMEOUT, format!("the body did not arrive within {BODY_TIMEOUT:?}")))
        }
    }
}

fn too_large() -> (StatusCode, String) {
    (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {MAX_BYTES} bytes"))
}
