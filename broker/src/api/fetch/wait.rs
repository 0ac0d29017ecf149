//! Waiting for one of many logs.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use tokio::sync::watch;

/// Returns when one of the watched values has changed; never if there are none.
pub(super) async fn any_change<T>(watched: &mut [watch::Receiver<T>]) {
    let mut changes: Vec<Pin<Box<_>>> = watched
        .iter_mut()
        .map(|receiver| Box::pin(receiver.changed()))
        .collect();
    let changed = poll_fn(|context| {
        if changes
            .iter_mut()
            .any(|change| change.as_mut().poll(context).is_ready())
        {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    pin!(changed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the wait is over already.
    async fn is_over(receivers: &mut [watch::Receiver<i32>]) -> bool {
        tokio::select! {
            biased;
            () = any_change(receivers) => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn any_of_them_wakes_and_none_does_not() {
        let senders = [0; 3].map(watch::Sender::new);
        let mut receivers: Vec<_> = senders.iter().map(watch::Sender::subscribe).collect();
        assert!(!is_over(&mut []).await);
        assert!(!is_over(&mut receivers).await);
        senders[1].send(7).unwrap();
        assert!(is_over(&mut receivers).await);
        assert!(!is_over(&mut receivers).await);
    }
}
