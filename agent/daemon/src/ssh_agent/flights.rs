//! Something that takes time, done once for all who want it meanwhile, and to its end whoever goes away.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

type Under<T> = watch::Receiver<Option<T>>;

/// What is under way, by what it is for.
#[derive(Debug)]
pub struct Flights<K, T>(Mutex<HashMap<K, Under<T>>>);

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Flights(Mutex::default())
    }
}

/// What will come of something.
#[derive(Debug)]
pub struct Flight<T>(Under<T>);

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// What is under way for `key`; started with `start` where there is nothing.
    pub fn join<F>(self: &Arc<Self>, key: K, start: impl FnOnce() -> F) -> Flight<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flights = self.flights();
        if let Some(under) = flights.get(&key) {
            return Flight(under.clone());
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(key.clone(), receiver.clone());
        let (own, future) = (self.clone(), start());
        tokio::spawn(async move {
            let landing = Landing { flights: own, key };
            let output = future.await;
            // Gone before it is told: whoever is told and asks again starts anew.
            drop(landing);
            let _ = sender.send(Some(output));
        });
        Flight(receiver)
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<K, Under<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a flight off the list, should it panic too.
struct Landing<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + Sync + 'static> {
    flights: Arc<Flights<K, T>>,
    key: K,
}

impl<K, T> Drop for Landing<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.flights.flights().remove(&self.key);
    }
}

impl<T: Clone> Flight<T> {
    /// Waits for it; `None` where nothing came of it.
    pub async fn landed(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn many_want_it_and_it_is_done_once() {
        let flights = Arc::new(Flights::<u32, usize>::default());
        let started = Arc::new(AtomicUsize::new(0));
        let (release, released) = watch::channel(false);
        let join = || {
            let (started, mut released) = (started.clone(), released.clone());
            flights.join(112, move || async move {
                let _ = released.wait_for(|free| *free).await;
                started.fetch_add(1, Ordering::Relaxed) + 1
            })
        };
        // The first goes away; what it started goes on.
        drop(join());
        let waiting: Vec<_> = (0..100).map(|_| tokio::spawn(join().landed())).collect();
        release.send(true).unwrap();
        for flight in waiting {
            assert_eq!(flight.await.unwrap(), Some(1));
        }
        assert_eq!(join().landed().await, Some(2), "it is over: the next one starts anew");
    }

    #[tokio::test]
    async fn a_panic_is_no_answer_and_does_not_stay() {
        let flights = Arc::new(Flights::<u32, u32>::default());
        let failing = flights.join(1, || async { panic!("on purpose") });
        assert_eq!(failing.landed().await, None);
        assert_eq!(flights.join(1, || async { 7 }).landed().await, Some(7));
    }
}
