//! A cancel reaches the connection that it is meant for.

use std::sync::Arc;

use pgwarden::backend::{Backend, CancelRegistry};
use pgwarden_config::settings::SslMode;

use super::{database, frame, login, until_answered, world};

#[tokio::test]
async fn cancel_reaches_its_own_connection_only() {
    for mode in [SslMode::Disable, SslMode::Require] {
        let settings = database(world().with_tls.address(), "scram", mode);
        let mut one = login(&settings).await.unwrap();
        let registry = Arc::new(CancelRegistry::default());
        let registration = registry.register(Some(one.facts().pid), 4).unwrap();
        registration.slot().attach(one.cancel_target().clone());
        assert_eq!(registration.pid(), one.facts().pid);
        assert_eq!(registration.secret().len(), 4);
        let (pid, secret) = (registration.pid(), registration.secret().to_vec());
        assert!(registry.find(pid, &[0; 4]).is_none() || secret == [0; 4]);
        assert!(registry.find(pid + 1, &secret).is_none());
        assert!(registry.find(pid, &secret[..3]).is_none());
        one.outbox().own_query("SELECT pg_sleep(20)");
        one.flush().await.unwrap();
        let slot = registry.find(pid, &secret).unwrap();
        let answer = async {
            loop {
                if let Some((b'E', body)) = frame(&mut one) {
                    return body;
                }
                if frame_is_missing(&mut one) {
                    assert_ne!(one.fill().await.unwrap(), 0);
                }
            }
        };
        let body = until_answered(answer, async || slot.cancel().await.unwrap()).await;
        assert!(body.windows(5).any(|five| five == b"57014"));
        drop(registration);
        assert!(registry.find(pid, &secret).is_none());
    }
}

fn frame_is_missing(backend: &mut Backend) -> bool {
    let inbox = backend.inbox();
    let length = |four: &[u8]| u32::from_be_bytes(four.try_into().unwrap()) as usize;
    inbox
        .get(1..5)
        .is_none_or(|four| inbox.len() <= length(four))
}
