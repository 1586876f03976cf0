//! Errors in the text of a schedule or a window, each with an example that is valid.

/// A schedule or a window that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields.
    #[error(
        "`{text}` has {count} fields, and a cron expression has five: minute, hour, day of month, month, day of week; \
         `0 4 * * *` is every day at 04:00"
    )]
    Fields {
        /// As written.
        text: String,
        /// How many there are.
        count: usize,
    },
    /// A name with an `@` that is not known.
    #[error(
        "`{text}` is not known; write @hourly, @daily, @weekly, @monthly or @yearly, or five fields as in `0 4 * * *`"
    )]
    Nickname {
        /// As written.
        text: String,
    },
    /// One field cannot be read.
    #[error("`{field}` is not a valid {name}: {allowed}; `{example}` {meaning}")]
    Field {
        /// As written.
        field: String,
        /// Which of the five.
        name: &'static str,
        /// What it may be.
        allowed: &'static str,
        /// An expression that uses the field.
        example: &'static str,
        /// What the example does.
        meaning: &'static str,
    },
    /// The fields are valid, but there is no such day.
    #[error(
        "`{text}` never occurs: no such day is in any calendar; `0 4 28 2 *` is every 28 February at 04:00"
    )]
    Never {
        /// As written.
        text: String,
    },
    /// A window that cannot be read.
    #[error(
        "`{text}` is not a window: {wrong}; write `22:00-06:00`, `Sat-Sun 00:00-24:00` or `Mon,Wed 01:00-05:00`"
    )]
    Window {
        /// As written.
        text: String,
        /// What is wrong.
        wrong: String,
    },
}
