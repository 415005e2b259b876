//! OpenTelemetry export: metrics and spans, by OTLP over HTTP, to where the configuration says. Without an endpoint nothing is
//! kept and nothing is sent.
//!
//! The metrics are those of `/metrics`, under the same names. Spans are one for each request that was answered and one for
//! each change that was committed; they name routes and commands, never paths, bodies or people.

use crate::config::Config;
use crate::meter::{Meter, Span};
use crate::metrics;
use crate::operations::NodeOperations;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1 as om;
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as ot;
use prometheus::proto::{MetricFamily, MetricType};
use prost::Message;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the collector may take.
const SEND_FOR: Duration = Duration::from_secs(5);

/// Where to, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The collector's address, without `/v1/…`.
    pub endpoint: String,
    /// Between two exports.
    pub every: Duration,
}

/// What the configuration asks for.
pub fn target(config: &Config) -> Option<Target> {
    let endpoint = config.otlp_endpoint.trim_end_matches('/');
    (!endpoint.is_empty()).then(|| Target {
        endpoint: endpoint.to_owned(),
        every: config.otlp_every,
    })
}

/// Exports for as long as there is a target, until `stop`.
pub(crate) fn start(
    node: &Arc<NodeOperations>,
    mut target: watch::Receiver<Option<Target>>,
    stop: &CancellationToken,
) {
    let (node, stop) = (node.clone(), stop.clone());
    tokio::spawn(async move {
        let meter = node.consensus.meter().clone();
        let began = nanos(SystemTime::now());
        let mut failing = false;
        loop {
            let now = target.borrow_and_update().clone();
            meter.keep_spans(now.is_some());
            let Some(to) = now else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    changed = target.changed() => if changed.is_err() { return },
                }
                continue;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                changed = target.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = tokio::time::sleep(to.every) => {}
            }
            // Said once, not at every try: a collector that is away for a day is no news.
            match export(&node, &meter, &to, began).await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!(endpoint = to.endpoint, "telemetry is exported again");
                }
                Ok(()) => {}
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(endpoint = to.endpoint, error, "telemetry cannot be exported");
                }
                Err(_) => {}
            }
        }
    });
}

async fn export(node: &NodeOperations, meter: &Meter, to: &Target, began: u64) -> Result<(), String> {
    // Certificates are checked as everywhere; there is no way to switch that off. A redirect would carry what is sent
    // somewhere that nobody configured.
    let client = reqwest::Client::builder()
        .timeout(SEND_FOR)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|e| e.to_string())?;
    let resource = resource(node);
    let spans = meter.take_spans();
    if !spans.is_empty() {
        let body = traces(&resource, spans).encode_to_vec();
        send(&client, &format!("{}/v1/traces", to.endpoint), body).await?;
    }
    let families = metrics::families(node);
    let body = measurements(&resource, &families, began, nanos(SystemTime::now())).encode_to_vec();
    send(&client, &format!("{}/v1/metrics", to.endpoint), body).await
}

async fn send(client: &reqwest::Client, url: &str, body: Vec<u8>) -> Result<(), String> {
    let request = client
        .post(url)
        .header("content-type", "application/x-protobuf")
        .body(body);
    let answer = request.send().await.map_err(|e| e.without_url().to_string())?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(format!("the collector answered {status}")),
    }
}

fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn resource(node: &NodeOperations) -> Resource {
    let id = node.consensus.raft().status().id;
    Resource {
        attributes: vec![
            text("service.name", "palisade"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", node.config.name.as_str()),
            text("palisade.node.id", &id.to_string()),
        ],
        ..Resource::default()
    }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "palisade".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    })
}

fn traces(resource: &Resource, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let span = |span: Span| ot::Span {
        trace_id: rand::random::<[u8; 16]>().to_vec(),
        span_id: rand::random::<[u8; 8]>().to_vec(),
        name: span.name,
        kind: if span.server {
            ot::span::SpanKind::Server
        } else {
            ot::span::SpanKind::Internal
        }
        .into(),
        start_time_unix_nano: nanos(span.ended - span.took),
        end_time_unix_nano: nanos(span.ended),
        attributes: span
            .attributes
            .iter()
            .map(|(key, value)| text(key, value))
            .collect(),
        status: Some(ot::Status {
            code: if span.failed {
                ot::status::StatusCode::Error
            } else {
                ot::status::StatusCode::Unset
            }
            .into(),
            ..ot::Status::default()
        }),
        ..ot::Span::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ot::ResourceSpans {
            resource: Some(resource.clone()),
            scope_spans: vec![ot::ScopeSpans {
                scope: scope(),
                spans: spans.into_iter().map(span).collect(),
                ..ot::ScopeSpans::default()
            }],
            ..ot::ResourceSpans::default()
        }],
    }
}

fn measurements(
    resource: &Resource,
    families: &[MetricFamily],
    began: u64,
    now: u64,
) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest {
        resource_metrics: vec![om::ResourceMetrics {
            resource: Some(resource.clone()),
            scope_metrics: vec![om::ScopeMetrics {
                scope: scope(),
                metrics: families
                    .iter()
                    .map(|family| measured(family, began, now))
                    .collect(),
                ..om::ScopeMetrics::default()
            }],
            ..om::ResourceMetrics::default()
        }],
    }
}

/// A family of Prometheus as OpenTelemetry has it: counters are sums since the start, histograms count each bucket alone.
fn measured(family: &MetricFamily, began: u64, now: u64) -> om::Metric {
    let labels = |metric: &prometheus::proto::Metric| -> Vec<KeyValue> {
        let pairs = metric.get_label().iter();
        pairs.map(|pair| text(pair.name(), pair.value())).collect()
    };
    let point = |metric: &prometheus::proto::Metric, value: f64| om::NumberDataPoint {
        attributes: labels(metric),
        start_time_unix_nano: began,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..om::NumberDataPoint::default()
    };
    let all = family.get_metric();
    let cumulative = i32::from(om::AggregationTemporality::Cumulative);
    let data = match family.get_field_type() {
        MetricType::COUNTER => metric::Data::Sum(om::Sum {
            data_points: all
                .iter()
                .map(|m| point(m, m.get_counter().get_value()))
                .collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::HISTOGRAM => metric::Data::Histogram(om::Histogram {
            data_points: all
                .iter()
                .map(|m| {
                    let histogram = m.get_histogram();
                    let count = histogram.get_sample_count();
                    let (bounds, counts) = buckets(histogram.get_bucket(), count);
                    om::HistogramDataPoint {
                        attributes: labels(m),
                        start_time_unix_nano: began,
                        time_unix_nano: now,
                        count,
                        sum: Some(histogram.get_sample_sum()),
                        bucket_counts: counts,
                        explicit_bounds: bounds,
                        ..om::HistogramDataPoint::default()
                    }
                })
                .collect(),
            aggregation_temporality: cumulative,
        }),
        MetricType::GAUGE | MetricType::SUMMARY | MetricType::UNTYPED => metric::Data::Gauge(om::Gauge {
            data_points: all.iter().map(|m| point(m, m.get_gauge().get_value())).collect(),
        }),
    };
    om::Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        data: Some(data),
        ..om::Metric::default()
    }
}

/// Bounds, and what is in each bucket alone, the one above the last bound included.
fn buckets(all: &[prometheus::proto::Bucket], count: u64) -> (Vec<f64>, Vec<u64>) {
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for bucket in all.iter().filter(|b| b.upper_bound().is_finite()) {
        bounds.push(bucket.upper_bound());
        counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    counts.push(count.saturating_sub(below));
    (bounds, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::core::Collector as _;
    use prometheus::{Histogram, HistogramOpts};

    #[test]
    fn each_bucket_counts_for_itself() {
        let opts = HistogramOpts::new("h", "h").buckets(vec![1.0, 2.0, 5.0]);
        let histogram = Histogram::with_opts(opts).expect("well formed");
        for value in [0.5, 0.7, 1.5, 9.0] {
            histogram.observe(value);
        }
        let family = histogram.collect().remove(0);
        let Some(metric::Data::Histogram(told)) = measured(&family, 1, 2).data else {
            panic!("a histogram stays one");
        };
        let point = &told.data_points[0];
        assert_eq!(point.explicit_bounds, [1.0, 2.0, 5.0]);
        assert_eq!(point.bucket_counts, [2, 1, 0, 1]);
        assert_eq!((point.count, point.sum), (4, Some(11.7)));
    }
}
