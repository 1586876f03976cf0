//! Who is connected. There is always a place for one more: the one that keeps its place for nothing has to go.

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

/// All connections.
#[derive(Debug)]
pub(super) struct ConnectionTracker {
    places: Arc<Semaphore>,
    started: Instant,
    present: Mutex<HashMap<u64, Arc<Connection>>>,
    next: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    from: Option<IpAddr>,
    /// Requests that are being answered.
    answering: AtomicUsize,
    /// Milliseconds since the start when it was last of use: when it came, or took some of an answer.
    used_at: AtomicU64,
    /// Says that it has to go.
    leave: CancellationToken,
    started: Instant,
}

/// A place that is taken, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    guests: Arc<ConnectionTracker>,
    id: u64,
    guest: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

/// Held while a request is being answered.
pub(super) struct InFlightRequest(Arc<Connection>);

impl ConnectionTracker {
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            started: Instant::now(),
            present: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.present.lock()
    }

    /// Takes a place. With all of them taken, the one goes that was of no use for longest, of the address that has most.
    pub async fn admit(self: &Arc<Self>, from: Option<IpAddr>) -> Option<Place> {
        let permit = match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                self.send_one_away();
                Arc::clone(&self.places).acquire_owned().await.ok()?
            }
        };
        let guest = Arc::new(Connection {
            from,
            answering: AtomicUsize::new(0),
            used_at: AtomicU64::new(0),
            leave: CancellationToken::new(),
            started: self.started,
        });
        guest.used();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Arc::clone(&guest));
        Some(Place { guests: Arc::clone(self), id, guest, _permit: permit })
    }

    fn send_one_away(&self) {
        let present = self.lock();
        let mut by_address: HashMap<Option<IpAddr>, usize> = HashMap::new();
        for guest in present.values() {
            *by_address.entry(guest.from).or_default() += 1;
        }
        let idle = present
            .values()
            .filter(|guest| guest.answering.load(Ordering::Relaxed) == 0 && !guest.leave.is_cancelled());
        let worst = idle.max_by_key(|guest| {
            let used_at = guest.used_at.load(Ordering::Relaxed);
            (by_address.get(&guest.from).copied(), std::cmp::Reverse(used_at))
        });
        if let Some(guest) = worst {
            guest.leave.cancel();
        }
    }
}

impl Connection {
    /// It took some of its answer.
    pub fn used(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used_at.store(now, Ordering::Relaxed);
    }

    /// Where it comes from.
    pub fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// A request is being answered until the result is dropped.
    pub fn answering(self: &Arc<Self>) -> InFlightRequest {
        self.answering.fetch_add(1, Ordering::Relaxed);
        InFlightRequest(Arc::clone(self))
    }

    /// Waits until it has to go.
    pub async fn told_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Place {
    pub fn guest(&self) -> &Arc<Connection> {
        &self.guest
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.lock().remove(&self.id);
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.used();
        self.0.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_of_no_use_makes_room() {
        let guests = ConnectionTracker::new(4);
        let crowd: Option<IpAddr> = Some([192, 0, 2, 1].into());
        let scraper: Option<IpAddr> = Some([192, 0, 2, 2].into());
        let first = guests.admit(scraper).await.unwrap();
        let mut places = Vec::new();
        for used_at in [5, 1, 2] {
            let place = guests.admit(crowd).await.unwrap();
            place.guest.used_at.store(used_at, Ordering::Relaxed);
            places.push(place);
        }
        let busy = places[1].guest().answering();
        first.guest.used_at.store(0, Ordering::Relaxed);
        // The oldest of the crowd is being answered, and the scraper is alone at its address.
        guests.send_one_away();
        let left: Vec<bool> = places.iter().map(|place| place.guest.leave.is_cancelled()).collect();
        assert_eq!((first.guest.leave.is_cancelled(), left), (false, vec![false, false, true]));
        places.remove(2);
        let newcomer = guests.admit(None).await.unwrap();
        assert_eq!(guests.lock().len(), 4);
        drop((busy, newcomer, places, first));
        assert_eq!((guests.lock().len(), guests.places.available_permits()), (0, 4));
    }
}
