//! The task `health_check`.

use std::time::Duration;

use serde::ser::SerializeMap;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Fields;
use crate::config::kinds::Group;
use crate::config::kinds::TaskOrOff;
use crate::config::kinds::read_or_off;
use crate::config::section::Change;
use crate::config::section::Entries;
use crate::config::section::Kind;
use crate::config::section::Section;
use crate::config::section::assign;
use crate::config::section::section;
use crate::config::tasks::common::MAX_WRITER_WAIT;
use crate::config::tasks::common::Timing;
use crate::config::tasks::common::read_schedule;
use crate::config::tree::Node;
use crate::config::units::HOUR;
use crate::config::units::MIB;
use crate::config::units::MILLISECOND;
use crate::config::values::Between;
use crate::config::values::Bytes;
use crate::config::values::Switch;

section! {
    /// The task `health_check`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct HealthCheck {
        /// When every check runs.
        pub timing: Timing = Timing::new("0 4 * * *", 6 * HOUR) => Group,
        /// When the quick check alone runs, beside that.
        pub quick: Option<Timing> = None => QuickCheck,
        /// Whether foreign keys are checked too.
        pub foreign_keys: bool = true => Switch,
        /// How long writers of a rollback database may be kept from committing; up to five times as
        /// long once, to make a private copy.
        pub max_writer_wait: Duration = MAX_WRITER_WAIT => Between(5 * MILLISECOND, HOUR),
        /// How far a WAL may grow while the check reads; then it goes on table by table.
        pub max_wal_growth: u64 = 64 * MIB => Bytes,
    }
}

/// `quick: on`, `quick: 1h`, or the keys of a timing.
struct QuickCheck;

impl Kind<Option<Timing>> for QuickCheck {
    fn read(
        &self,
        key: &'static str,
        fields: &Fields<'_>,
        context: &mut ParseContext<'_>,
        decoder: &mut Decoder<'_>,
    ) -> Option<Change<Option<Timing>>> {
        let value = fields.find(key)?;
        let defaults = Timing::new("1h", HOUR);
        let is_switch = |text: &str| ["on", "off", "true", "false"].contains(&text);
        if let Node::Scalar(text) = &value.tree.node
            && !is_switch(text)
        {
            let schedule = read_schedule(&value, context.timezone, decoder)?;
            let timing = Timing::read(&Fields::empty(&value), context, decoder).over(defaults);
            return Some(assign(Some(Timing { schedule, ..timing })));
        }
        read_or_off(&value, defaults, context, decoder).map(assign)
    }

    fn show<M: SerializeMap>(
        &self,
        key: &'static str,
        value: &Option<Timing>,
        entries: &mut Entries<M>,
    ) -> Result<(), M::Error> {
        TaskOrOff.show(key, value, entries)
    }
}
