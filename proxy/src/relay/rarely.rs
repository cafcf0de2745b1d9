//! Waiting for what hardly ever comes, beside what comes all the time.
//!
//! A future that is polled registers its waker again; where all sessions wait for the same thing,
//! as for the shutdown, each of their wakes would take a lock that they share. This one is polled
//! when it has been woken, and not before.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only when it has been woken itself.
pub(super) struct Rarely<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    alarm: Arc<Alarm>,
    /// The waker that the alarm has, to compare without a lock.
    task: Option<Waker>,
}

/// What wakes the task on the future's behalf.
struct Alarm {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<T> Rarely<T> {
    pub(super) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let alarm = Alarm {
            rung: AtomicBool::new(true),
            task: Mutex::new(None),
        };
        Self {
            future: Box::pin(future),
            alarm: Arc::new(alarm),
            task: None,
        }
    }
}

impl<T> Future for Rarely<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        if !this
            .task
            .as_ref()
            .is_some_and(|it| it.will_wake(cx.waker()))
        {
            this.task = Some(cx.waker().clone());
            let mut task = this
                .alarm
                .task
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            task.clone_from(&this.task);
        }
        // Taken back before the poll: what rings during it is polled for again.
        if !this.alarm.rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&this.alarm));
        this.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.as_ref() {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::ready;

    use tokio::sync::watch;

    use super::*;

    /// Counts how often it is polled.
    async fn counted(mut stage: watch::Receiver<u8>, polls: Arc<AtomicUsize>) -> u8 {
        let mut changed = std::pin::pin!(stage.changed());
        std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            changed.as_mut().poll(cx)
        })
        .await
        .map_or(0, |()| 1)
    }

    #[tokio::test]
    async fn is_polled_when_it_is_woken_and_not_before() {
        let stage = watch::Sender::new(0);
        let polls = Arc::new(AtomicUsize::new(0));
        let mut rarely = Rarely::new(counted(stage.subscribe(), Arc::clone(&polls)));
        let mut rounds = 0;
        let ready = std::future::poll_fn(|cx| {
            rounds += 1;
            if rounds < 10 {
                cx.waker().wake_by_ref();
            } else {
                stage.send_replace(1);
            }
            Poll::Ready(ready!(Pin::new(&mut rarely).poll(cx)))
        });
        assert_eq!(ready.await, 1);
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn wakes_the_task_that_polled_last() {
        let stage = watch::Sender::new(0);
        let polls = Arc::new(AtomicUsize::new(0));
        let mut rarely = Rarely::new(counted(stage.subscribe(), polls));
        let polled = Pin::new(&mut rarely).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let other = tokio::spawn(rarely);
        tokio::task::yield_now().await;
        stage.send_replace(1);
        assert_eq!(other.await.ok(), Some(1));
    }
}
