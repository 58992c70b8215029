//! The log on stderr: lines for people, or one JSON object a line; each says which service of which pipeline speaks.

use std::fmt;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Log, LogFormat};

/// The environment variable that overrides `[log] level`.
pub const FILTER_VARIABLE: &str = "LOGWEIR_LOG";

/// Who speaks.
#[derive(Clone, Debug)]
pub struct Speaker {
    /// `reader`, `applier` or `logweir`.
    pub service: &'static str,
    /// The pipeline's name; empty where there is none.
    pub pipeline: String,
    /// The destination of an applier.
    pub destination: Option<String>,
}

/// Starts logging. A second call in one process does nothing.
pub fn init(speaker: Speaker, log: &Log) {
    let text = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| log.level.clone());
    let filter = EnvFilter::try_new(&text).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    // Whoever read our stderr may be gone. To complain about that on stderr would panic, and take a service's SIGTERM handler with it.
    let subscriber = subscriber.log_internal_errors(false);
    let format = Lines { speaker, json: log.format == LogFormat::Json };
    // Fails only if there is one already: then that one stays.
    let _ = tracing::subscriber::set_global_default(subscriber.event_format(format).finish());
}

struct Lines {
    speaker: Speaker,
    json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let at = OffsetDateTime::now_utc().format(&Rfc3339).map_err(|_| fmt::Error)?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans = String::new();
        for span in ctx.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            let inner = extensions.get::<FormattedFields<N>>().map(|f| f.fields.as_str()).unwrap_or_default();
            let space = if spans.is_empty() { "" } else { " " };
            spans.push_str(&format!("{space}{}{{{inner}}}", span.name()));
        }
        let (meta, speaker) = (event.metadata(), &self.speaker);
        if self.json {
            let mut line = Map::new();
            let mut put = |key: &str, value: &str| {
                if !value.is_empty() {
                    line.insert(key.to_owned(), Value::String(value.to_owned()));
                }
            };
            put("time", &at);
            put("level", meta.level().as_str());
            put("service", speaker.service);
            put("pipeline", &speaker.pipeline);
            put("destination", speaker.destination.as_deref().unwrap_or_default());
            put("message", &fields.message);
            put("target", meta.target());
            put("spans", &spans);
            for (key, value) in fields.others {
                line.entry(key).or_insert(value);
            }
            return writeln!(out, "{}", Value::Object(line));
        }
        // Milliseconds do for people.
        let second = at.get(..19).unwrap_or(&at);
        let millis = at.get(19..).and_then(|rest| rest.strip_prefix('.')).map_or(String::new(), |rest| {
            format!(".{:0<3}", rest.chars().take(3).take_while(char::is_ascii_digit).collect::<String>())
        });
        write!(out, "{second}{millis}Z {:5} {}", meta.level().as_str(), speaker.service)?;
        if let Some(destination) = &speaker.destination {
            write!(out, " {destination}")?;
        }
        write!(out, ": {}", one_line(&fields.message))?;
        for (key, value) in &fields.others {
            match value {
                Value::String(text) if !text.is_empty() && !text.contains([' ', '\n', '"']) => {
                    write!(out, " {key}={text}")?
                }
                other => write!(out, " {key}={other}")?,
            }
        }
        if !spans.is_empty() {
            write!(out, " [{spans}]")?;
        }
        writeln!(out)
    }
}

/// What comes from elsewhere must not be able to forge a line of ours.
fn one_line(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains(['\n', '\r']) { text.replace('\n', "\\n").replace('\r', "\\r").into() } else { text.into() }
}

/// The fields of one event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.put(field, Value::String(text)) }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { value.clone_into(&mut self.message) } else { self.put(field, value.into()) }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            let more = error.to_string();
            // Many of our messages say their cause already.
            if !text.contains(&more) {
                text.push_str(": ");
                text.push_str(&more);
            }
            source = error.source();
        }
        self.put(field, Value::String(text));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let speaker = Speaker { service: "applier", pipeline: "shop".into(), destination: Some("replica".into()) };
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .event_format(Lines { speaker, json })
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let _in = tracing::info_span!("group", seq = 7).entered();
            tracing::warn!(rows = 12u64, table = "shop.or\"ders\n", "a row is missing");
        });
        String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_carries_service_pipeline_destination_fields_and_spans() {
        let line: Value = serde_json::from_str(&logged(true)).unwrap();
        for (key, wanted) in [
            ("level", "WARN"),
            ("service", "applier"),
            ("pipeline", "shop"),
            ("destination", "replica"),
            ("message", "a row is missing"),
            ("table", "shop.or\"ders\n"),
            ("spans", "group{seq=7}"),
        ] {
            assert_eq!(line.get(key).and_then(Value::as_str), Some(wanted), "{key}");
        }
        assert_eq!(line.get("rows").and_then(Value::as_u64), Some(12));
    }

    #[test]
    fn a_text_line_stays_one_line() {
        let text = logged(false);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("WARN  applier replica: a row is missing rows=12"), "{text}");
    }
}
