//! Tracks open connections. At the limit, the connection that has been idle for longest is evicted,
//! of the client address that has the most connections.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use parking_lot::Mutex;
use parking_lot::MutexGuard;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// All open connections.
#[derive(Debug)]
pub(super) struct ConnectionTracker {
    permits: Arc<Semaphore>,
    epoch: Instant,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: Option<IpAddr>,
    in_flight: AtomicUsize,
    /// Milliseconds after `epoch` when the connection was accepted or last accepted response bytes.
    last_active_ms: AtomicU64,
    /// Cancelled when the connection is evicted.
    evict: CancellationToken,
    epoch: Instant,
}

/// The right to keep a connection open, released on drop.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    tracker: Arc<ConnectionTracker>,
    id: u64,
    connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

/// Held while a request is in flight.
pub(super) struct InFlightRequest(Arc<Connection>);

impl ConnectionTracker {
    pub fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(permits)),
            epoch: Instant::now(),
            open: Mutex::default(),
            next_id: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock()
    }

    /// Waits for a permit. At the limit, evicts an idle connection first.
    pub async fn acquire(self: &Arc<Self>, address: Option<IpAddr>) -> Option<ConnectionPermit> {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.evict_idle();
                Arc::clone(&self.permits).acquire_owned().await.ok()?
            }
        };
        let connection = Arc::new(Connection {
            address,
            in_flight: AtomicUsize::new(0),
            last_active_ms: AtomicU64::new(0),
            evict: CancellationToken::new(),
            epoch: self.epoch,
        });
        connection.touch();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Arc::clone(&connection));
        Some(ConnectionPermit { tracker: Arc::clone(self), id, connection, _permit: permit })
    }

    fn evict_idle(&self) {
        let open = self.lock();
        let mut by_address: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for connection in open.values() {
            *by_address.entry(connection.address).or_default() += 1;
        }
        let idle = open.values().filter(|connection| {
            connection.in_flight.load(Ordering::Relaxed) == 0 && !connection.evict.is_cancelled()
        });
        let worst = idle.max_by_key(|connection| {
            let last_active_ms = connection.last_active_ms.load(Ordering::Relaxed);
            (by_address.get(&connection.address).copied(), std::cmp::Reverse(last_active_ms))
        });
        if let Some(connection) = worst {
            connection.evict.cancel();
        }
    }
}

impl Connection {
    /// Records that the client accepted response bytes.
    pub fn touch(&self) {
        let now = u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_active_ms.store(now, Ordering::Relaxed);
    }

    /// The client's address; `None` for a unix socket.
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Marks a request as in flight until the result is dropped.
    pub fn in_flight(self: &Arc<Self>) -> InFlightRequest {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlightRequest(Arc::clone(self))
    }

    /// Waits until the connection is evicted.
    pub async fn evicted(&self) {
        self.evict.cancelled().await;
    }
}

impl ConnectionPermit {
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.tracker.lock().remove(&self.id);
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.touch();
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_connections_are_evicted() {
        let tracker = ConnectionTracker::new(4);
        let busy_address: Option<IpAddr> = Some([192, 0, 2, 1].into());
        let scraper: Option<IpAddr> = Some([192, 0, 2, 2].into());
        let first = tracker.acquire(scraper).await.unwrap();
        let mut permits = Vec::new();
        for last_active_ms in [5, 1, 2] {
            let place = tracker.acquire(busy_address).await.unwrap();
            place.connection.last_active_ms.store(last_active_ms, Ordering::Relaxed);
            permits.push(place);
        }
        let busy = permits[1].connection().in_flight();
        first.connection.last_active_ms.store(0, Ordering::Relaxed);
        // The oldest of the busy address has a request in flight, and the scraper is alone at its
        // address.
        tracker.evict_idle();
        let left: Vec<bool> = permits.iter().map(|place| place.connection.evict.is_cancelled()).collect();
        assert_eq!((first.connection.evict.is_cancelled(), left), (false, vec![false, false, true]));
        permits.remove(2);
        let newcomer = tracker.acquire(None).await.unwrap();
        assert_eq!(tracker.lock().len(), 4);
        drop((busy, newcomer, permits, first));
        assert_eq!((tracker.lock().len(), tracker.permits.available_permits()), (0, 4));
    }
}
