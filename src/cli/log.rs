//! Sets up the log: level, format, trace ids, and the span exporter.

use std::fmt;
use std::io::IsTerminal as _;

use clap::Args;
use clap::ValueEnum;
use tracing::Event;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::FilterExt as _;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Format;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::span;
use crate::telemetry;
use crate::telemetry::Telemetry;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Least severe level that is logged, or a filter such as `info,litekeeper::collection=debug`
    #[arg(
        id = "log_level",
        long = "log.level",
        global = true,
        default_value = "info",
        value_name = "LEVEL",
        env = "LITEKEEPER_LOG"
    )]
    level: String,
    /// Log format: `auto` is text on a terminal and JSON elsewhere
    #[arg(
        id = "log_format",
        long = "log.format",
        global = true,
        default_value = "auto",
        value_name = "FORMAT"
    )]
    format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Auto,
    Text,
    Json,
}

/// The validated settings of the log.
#[derive(Debug)]
pub(super) struct Log {
    level: String,
    is_json: bool,
}

impl Log {
    /// Parses the log arguments.
    ///
    /// # Errors
    /// The level is invalid.
    pub(super) fn new(arguments: &Arguments) -> Result<Self, String> {
        let level = &arguments.level;
        EnvFilter::builder().parse(level).map_err(|error| {
            format!("--log.level {level}: {error}; levels are error, warn, info, debug and trace")
        })?;
        // `EnvFilter` takes an unknown level for a module name, which would silence all other
        // modules.
        let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
        if let Some(word) = level.split(',').find(|part| !part.contains(['=', '[']) && !is_level(part)) {
            return Err(format!(
                "--log.level: `{word}` is not a level; levels are error, warn, info, debug and trace; for one module use `litekeeper::collection=debug`"
            ));
        }
        let is_json = match arguments.format {
            LogFormat::Auto => !std::io::stderr().is_terminal(),
            LogFormat::Text => false,
            LogFormat::Json => true,
        };
        Ok(Self { level: level.clone(), is_json })
    }

    /// Starts the log and, with telemetry, the export of spans.
    pub(super) fn begin(&self, telemetry: Option<&Telemetry>) {
        let is_terminal = std::io::stderr().is_terminal();
        // Spans and their events go to the collector only.
        let filter = EnvFilter::builder().parse_lossy(&self.level);
        let filter = filter.and(filter_fn(|metadata| metadata.target() != span::TARGET));
        let layer = tracing_subscriber::fmt::layer::<Registry>().with_writer(std::io::stderr);
        let log = if self.is_json {
            let format = Format::default().json().with_target(false).flatten_event(true);
            let format = format.with_current_span(false).with_span_list(false);
            let layer = layer.event_format(WithTrace { format, is_json: true });
            layer.fmt_fields(JsonFields::new()).with_filter(filter).boxed()
        } else {
            let format = Format::default().with_target(false).with_ansi(is_terminal);
            let layer = layer.with_ansi(is_terminal).event_format(WithTrace { format, is_json: false });
            layer.with_filter(filter).boxed()
        };
        let spans = telemetry.and_then(Telemetry::layer);
        // A second call, in a test, changes nothing.
        let _ = tracing_subscriber::registry().with(log).with(spans).try_init();
        if let Some(telemetry) = telemetry {
            telemetry.log_status();
        }
    }
}

/// Adds the trace id to log lines.
struct WithTrace<F> {
    format: F,
    is_json: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithTrace<F>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace) = telemetry::current() else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        match line.strip_suffix('}').filter(|_| self.is_json) {
            Some(open) => writeln!(writer, "{open},\"trace_id\":\"{}\"}}", trace.id),
            None => writeln!(writer, "{line} trace_id={}", trace.id),
        }
    }
}
