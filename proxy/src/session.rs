//! A client's session.

use std::sync::Arc;

use crate::listener::Client;
use crate::proxy::Proxy;

/// Serves one client until it leaves.
pub async fn serve_client(_proxy: Arc<Proxy>, _client: Client) {}
