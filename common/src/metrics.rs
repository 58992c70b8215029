//! `/metrics` for Prometheus and `/healthz`, where `[metrics] listen` is set. The services count with the `metrics` crate's
//! macros; without a listener those do nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} for metrics: {source}; change [metrics] listen or stop what listens there")]
    Listen {
        /// From the configuration.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// There is a recorder already.
    #[error("metrics are recorded elsewhere already: {0}")]
    Recorder(String),
}

/// What `/healthz` answers: `Ok` text with 200, `Err` text with 503.
pub type Health = dyn Fn() -> Result<String, String> + Send + Sync;

/// Serves until the process ends. Every metric carries the labels (`pipeline`, `service`, `destination`). Returns the address, with
/// the port that the system chose if it was asked to.
///
/// # Errors
/// [`MetricsError`]; nothing is served then.
pub async fn serve(
    address: SocketAddr,
    labels: &[(&str, &str)],
    health: Arc<Health>,
) -> Result<SocketAddr, MetricsError> {
    let listen = |source| MetricsError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen)?;
    let bound = listener.local_addr().map_err(listen)?;
    let mut builder = PrometheusBuilder::new();
    for (key, value) in labels {
        builder = builder.add_global_label(*key, *value);
    }
    let handle = builder.install_recorder().map_err(|e| MetricsError::Recorder(e.to_string()))?;
    tokio::spawn(upkeep(handle.clone()));
    let routes = routes(handle, health);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    tracing::info!(address = %bound, "serving /metrics and /healthz");
    Ok(bound)
}

fn routes(handle: PrometheusHandle, health: Arc<Health>) -> Router {
    let answer = move || async move {
        match health() {
            Ok(text) => (StatusCode::OK, text),
            Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
        }
    };
    Router::new().route("/metrics", get(move || async move { handle.render() })).route("/healthz", get(answer))
}

/// Histograms keep every sample until they are folded.
async fn upkeep(handle: PrometheusHandle) {
    let mut every = tokio::time::interval(std::time::Duration::from_secs(5));
    loop {
        every.tick().await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_and_health_are_served() {
        let healthy = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let seen = healthy.clone();
        let health: Arc<Health> = Arc::new(move || {
            if seen.load(std::sync::atomic::Ordering::SeqCst) { Ok("following".into()) } else { Err("lost".into()) }
        });
        let any = "127.0.0.1:0".parse().unwrap();
        let address = serve(any, &[("pipeline", "shop")], health).await.unwrap();
        ::metrics::counter!("logweir_rows_total").increment(3);
        let text = fetch(address, "/metrics").await;
        assert!(text.contains("logweir_rows_total{pipeline=\"shop\"} 3"), "{text}");
        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        healthy.store(false, std::sync::atomic::Ordering::SeqCst);
        let text = fetch(address, "/healthz").await;
        assert!(text.starts_with("HTTP/1.1 503") && text.ends_with("lost"), "{text}");
        assert!(matches!(serve(address, &[], Arc::new(|| Ok(String::new()))).await, Err(MetricsError::Listen { .. })));
    }
}
