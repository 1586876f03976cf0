//! A progress bar on a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use crate::report::Observer;

/// A bar that follows a check; invisible where standard error is no terminal.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    phase: Arc<Mutex<Phase>>,
}

#[derive(Debug, Default)]
struct Phase {
    page_size: u64,
    pages_before: u64,
    pages_read: u64,
}

impl Progress {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        bar.set_draw_target(target);
        let style = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is constant and valid"));
        Self { bar, phase: Arc::default() }
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn begin(&self, phase: &'static str, pages: u64, page_size: u32) {
        let mut state = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        state.page_size = u64::from(page_size);
        state.pages_before = state.pages_read;
        self.bar.reset();
        self.bar.set_message(format!("{phase} check"));
        self.bar.set_length(pages * state.page_size);
    }

    fn pages_read(&self, pages: u64) {
        let mut state = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        state.pages_read = pages;
        let bytes = (pages - state.pages_before.min(pages)) * state.page_size;
        // How often a full check reads a page again is not known before: the end moves along.
        self.bar.set_length(self.bar.length().unwrap_or(0).max(bytes));
        self.bar.set_position(bytes);
    }
}
