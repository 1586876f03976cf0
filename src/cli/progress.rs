//! A progress bar on a terminal.

use std::io::IsTerminal as _;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use super::escape::one_line;
use super::escape::print_error;
use crate::health_report::CheckProgress;
use crate::tasks;

/// Resolution of the bar.
const STEPS: u64 = 1_000;

/// A progress bar, which is invisible if standard error is not a terminal.
#[derive(Debug, Clone)]
pub(super) struct TerminalProgress(ProgressBar);

impl TerminalProgress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(STEPS);
        let terminal = std::io::stderr().is_terminal();
        bar.set_draw_target(if terminal {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        });
        let style = "{msg} {wide_bar} {percent:>3} %{prefix}, {elapsed} elapsed, about {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is constant and valid"));
        Self(bar)
    }

    pub(super) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl tasks::Progress for TerminalProgress {
    fn begin(&self, part: &str) {
        self.0.reset();
        self.0.set_message(one_line(part).into_owned());
        self.0.set_prefix("");
    }

    fn update(&self, share: f64, detail: &str) {
        CheckProgress::done(self, share);
        if !detail.is_empty() {
            self.0.set_prefix(format!(", {}", one_line(detail)));
        }
    }

    fn message(&self, text: &str) {
        self.0.suspend(|| print_error!("{text}"));
    }
}

impl CheckProgress for TerminalProgress {
    fn begin(&self, check: &'static str) {
        self.0.reset();
        self.0.set_message(format!("{} check", check.replace('_', " ")));
    }

    fn done(&self, share: f64) {
        self.0.set_position((share * STEPS as f64) as u64);
    }
}
