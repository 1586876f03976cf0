//! The key `alerts`: thresholds of alerts for one database or profile. The rules in `alerts/` have
//! a default for each; a threshold from here reaches them as `litekeeper_alert_threshold`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::messages::closest;
use crate::config::messages::listing;
use crate::config::messages::quoted;
use crate::config::units::format_bytes;
use crate::config::units::format_duration;

/// How a threshold is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ThresholdUnit {
    /// A duration.
    Time,
    /// A size.
    Size,
    /// A plain number: a ratio or a count.
    Number,
    /// `off` alone.
    Switch,
}

/// The alerts that have a threshold here.
const ALERTS: [(&str, ThresholdUnit); 16] = [
    ("LitekeeperMaintenanceHoldsLockTooLong", ThresholdUnit::Time),
    ("LitekeeperRetentionBehind", ThresholdUnit::Number),
    ("LitekeeperRetentionKeepsRows", ThresholdUnit::Number),
    ("SqliteBusyErrors", ThresholdUnit::Number),
    ("SqliteCheckpointStarved", ThresholdUnit::Size),
    ("SqliteDatabaseFileReplaced", ThresholdUnit::Switch),
    ("SqliteDatabaseVanished", ThresholdUnit::Switch),
    ("SqliteFilesystemAlmostFull", ThresholdUnit::Number),
    ("SqliteFilesystemFillingUp", ThresholdUnit::Number),
    ("SqliteGrowthAnomalous", ThresholdUnit::Number),
    ("SqliteLongReader", ThresholdUnit::Time),
    ("SqliteOnNetworkFilesystem", ThresholdUnit::Switch),
    ("SqliteVacuumWorthwhile", ThresholdUnit::Size),
    ("SqliteWalTooLarge", ThresholdUnit::Size),
    ("SqliteWriterLockHeld", ThresholdUnit::Time),
    ("SqliteWriterVersionHasWalResetBug", ThresholdUnit::Switch),
];

/// Thresholds by alert, in base units (seconds, bytes, ratios, counts). One that is switched off is
/// never reached.
pub type AlertThresholds = BTreeMap<&'static str, f64>;

/// A hold or a read may be expected to last a day; below a millisecond an alert would always fire.
const TIME: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(86_400));

/// Alerts that fire when a value falls below their threshold: switched off, it is 0.
const BELOW: [&str; 2] = ["SqliteFilesystemAlmostFull", "SqliteFilesystemFillingUp"];

/// Reads the key `alerts` of a database or a profile.
pub(super) fn read_alerts(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<AlertThresholds> {
    let mut thresholds = AlertThresholds::new();
    for (name, position, tree) in decoder.entries(value)? {
        let threshold = Value { tree, key: format!("{}.{name}", value.key) };
        match ALERTS.iter().find(|(alert, _)| *alert == name) {
            Some((alert, unit)) => {
                if let Some(number) = read_threshold(alert, *unit, &threshold, decoder) {
                    thresholds.insert(alert, number);
                }
            }
            None => decoder.refuse(position, &threshold.key, unknown(name)),
        }
    }
    Some(thresholds)
}

fn read_threshold(
    alert: &str,
    unit: ThresholdUnit,
    value: &Value<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<f64> {
    let text = decoder.scalar(value)?;
    if text == "off" {
        return Some(off(alert));
    }
    match unit {
        ThresholdUnit::Time => decoder.duration(value, TIME.0..=TIME.1).map(|time| time.as_secs_f64()),
        ThresholdUnit::Size => decoder.bytes(value).map(|bytes| bytes as f64),
        ThresholdUnit::Number => {
            let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
            if number.is_none() {
                let message =
                    format!("must be a number above 0, as in `0.25`, or `off`, not {}", quoted(&text));
                decoder.refuse_value(value, message);
            }
            number
        }
        ThresholdUnit::Switch => {
            let message =
                format!("this alert has no threshold; it can only be switched `off`, not {}", quoted(&text));
            decoder.refuse_value(value, message);
            None
        }
    }
}

fn off(alert: &str) -> f64 {
    if BELOW.contains(&alert) { 0.0 } else { f64::INFINITY }
}

fn unknown(name: &str) -> String {
    let known = ALERTS.map(|(alert, _)| alert);
    match closest(name, known.into_iter()) {
        Some(guess) => format!("no alert with a configurable threshold; did you mean `{guess}`?"),
        None => format!("no alert with a configurable threshold; these alerts have one: {}", listing(&known)),
    }
}

/// Thresholds as they are written.
pub(super) fn shown_alerts(thresholds: &AlertThresholds) -> BTreeMap<&'static str, String> {
    let shown = |alert: &'static str, number: f64| {
        if number == off(alert) {
            return "off".to_owned();
        }
        match ALERTS.iter().find(|(known, _)| *known == alert).map(|(_, unit)| *unit) {
            Some(ThresholdUnit::Time) => format_duration(Duration::from_secs_f64(number)),
            Some(ThresholdUnit::Size) => format_bytes(number as u64),
            Some(ThresholdUnit::Number | ThresholdUnit::Switch) | None => number.to_string(),
        }
    };
    thresholds.iter().map(|(alert, number)| (*alert, shown(alert, *number))).collect()
}
