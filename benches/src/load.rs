//! Many clients at once, and what they saw.

use std::future::Future;
use std::time::{Duration, Instant};

/// Latencies of one measurement.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    took: Vec<Duration>,
    over: Duration,
}

impl Seen {
    pub(crate) fn of(mut took: Vec<Duration>, over: Duration) -> Self {
        took.sort();
        Seen { took, over }
    }

    /// How many were done.
    pub(crate) fn count(&self) -> usize {
        self.took.len()
    }

    /// Done a second.
    pub(crate) fn rate(&self) -> f64 {
        self.took.len() as f64 / self.over.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let last = self.took.len().saturating_sub(1);
        let at = (self.took.len() * percent / 100).min(last);
        self.took.get(at).map_or(f64::NAN, |d| d.as_secs_f64() * 1000.0)
    }

    pub(crate) fn line(&self) -> String {
        format!(
            "{:>8.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms",
            self.rate(),
            self.percentile(50),
            self.percentile(99)
        )
    }
}

/// One client: does one thing, as often as it is asked.
pub(crate) trait Client: Send + 'static {
    /// Does it once; `n` is never the same for two calls of one measurement.
    fn once(&mut self, n: u64) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Lets all clients work for a while. Connections exist before the clock starts.
pub(crate) async fn measure<C: Client>(clients: Vec<C>, seconds: u64) -> anyhow::Result<Seen> {
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(which, mut client)| {
            tokio::spawn(async move {
                let mut took = Vec::new();
                let mut n = (which as u64) << 32;
                while Instant::now() < until {
                    let start = Instant::now();
                    client.once(n).await?;
                    took.push(start.elapsed());
                    n += 1;
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(Seen::of(all, began.elapsed()))
}
