//! Something under way: at most one of its kind, stopped by dropping it.

use std::future::{Future, pending};
use std::pin::Pin;

/// A future that is being driven, or none.
pub struct Job<T>(Option<Pin<Box<dyn Future<Output = T>>>>);

impl<T> Default for Job<T> {
    fn default() -> Self {
        Job(None)
    }
}

impl<T> Job<T> {
    /// Starts it in place of whatever was under way.
    pub fn start(&mut self, future: impl Future<Output = T> + 'static) {
        self.0 = Some(Box::pin(future));
    }

    /// Drops what is under way.
    pub fn stop(&mut self) {
        self.0 = None;
    }

    /// Whether something is under way.
    pub fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// What comes of it; never, while nothing is under way. Dropping this does not stop the job.
    pub async fn finished(&mut self) -> T {
        match &mut self.0 {
            None => pending().await,
            Some(future) => {
                let output = future.await;
                self.0 = None;
                output
            }
        }
    }
}
