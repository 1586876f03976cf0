//! The top level of a file: the agent itself and its maintenance.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Serialize;

use crate::config::context::ParseContext;
use crate::config::decode::Decoder;
use crate::config::decode::Value;
use crate::config::environment::escape;
use crate::config::kinds::Given;
use crate::config::kinds::Group;
use crate::config::kinds::Nested;
use crate::config::kinds::Optional;
use crate::config::listen::Listen;
use crate::config::paths::resolve_path;
use crate::config::section::Section;
use crate::config::section::section;
use crate::config::sources::ProfilesAndDatabases;
use crate::config::sources::Source;
use crate::config::tracing::Tracing;
use crate::config::tracing::TracingSettings;
use crate::config::tree::Node;
use crate::config::tree::Tree;
use crate::config::units::DAY;
use crate::config::units::HOUR;
use crate::config::units::MINUTE;
use crate::config::units::SECOND;
use crate::config::values::Between;
use crate::config::values::By;
use crate::config::values::FilePath;
use crate::config::values::TimeZone;
use crate::config::web::WebSettings;

/// Where the agent listens by default: only this machine can reach it.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10321);

section! {
    /// The effective configuration, every default filled in.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Config {
        /// Where the metrics and the page are served. Never empty.
        pub listen: Vec<Listen> = vec![Listen::Tcp(DEFAULT_LISTEN)] => By(read_listen, |listen| shown_listen(listen)),
        /// The web server.
        pub web: WebSettings = WebSettings::default() => Nested,
        /// How maintenance is done.
        pub maintenance: Maintenance = Maintenance::default() => Group,
        /// How often every database is sampled.
        pub sample_interval: Duration = 15 * SECOND => Between(SECOND, HOUR),
        /// How often the configured paths, globs and directories are scanned for files.
        pub discovery_interval: Duration = 30 * SECOND => Between(SECOND, DAY),
        /// The most databases watched at once; files beyond it are reported and left out. A sample
        /// of each must fit into memory.
        pub max_databases: usize = 20_000 => Between(1, 100_000),
        /// The most series that the table and custom collectors may publish for one database.
        pub series_limit: usize = 500 => Between(1, 100_000),
        /// Where traces go.
        pub tracing: TracingSettings = TracingSettings::default() => Tracing,
        /// What to watch, in the order of the file.
        pub sources: Vec<Source> = Vec::new() => ProfilesAndDatabases,
    }
}

section! {
    /// How maintenance is done, whatever the task.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Maintenance {
        /// Where history, verdicts and due times are kept.
        pub state: StateLocation = StateLocation::Default => Given(By(read_state, shown_state)),
        /// The time zone of schedules that name none.
        pub timezone: Tz = Tz::UTC => TimeZone,
        /// Where SQLite puts temporary files; `None` for SQLite's own choice.
        pub temp_directory: Option<PathBuf> = None => Optional(FilePath),
        /// While this file is there, no task runs.
        pub pause_file: Option<PathBuf> = None => Optional(FilePath),
        /// The most runs at once.
        pub max_jobs: usize = 1 => Between(1, 64),
        /// The most runs at once on one file system.
        pub max_jobs_per_filesystem: usize = 1 => Between(1, 64),
        /// How long after its start the agent does what fell due while it was down.
        pub catch_up_delay: Duration = MINUTE => Between(Duration::ZERO, DAY),
        /// How long runs are remembered. A month shows whether a monthly task works.
        pub history_retention: Duration = 400 * DAY => Between(31 * DAY, 3_660 * DAY),
    }
}

impl Default for Maintenance {
    fn default() -> Self {
        Self::defaults()
    }
}

/// Where the agent keeps what it must know after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateLocation {
    /// In the directory that is usual for the user, see [`StateLocation::file`].
    Default,
    /// In memory: nothing is written anywhere, and nothing is known after a restart.
    Memory,
    /// In this SQLite file.
    File(PathBuf),
}

impl StateLocation {
    /// The file, if there is one: as configured, or `state.db` in the directory that systemd names,
    /// for root in `/var/lib/litekeeper`, for others in `$XDG_STATE_HOME/litekeeper`
    /// (`~/.local/state/litekeeper`).
    #[must_use]
    pub fn file(&self, environment: &dyn Fn(&str) -> Option<String>, is_root: bool) -> Option<PathBuf> {
        const NAME: &str = "state.db";
        let directory = match self {
            Self::Memory => return None,
            Self::File(path) => return Some(path.clone()),
            Self::Default => environment("STATE_DIRECTORY").map(PathBuf::from),
        };
        let home = || {
            let state = environment("XDG_STATE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
            let state =
                state.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/state")));
            state.map(|state| state.join("litekeeper"))
        };
        let usual = || if is_root { Some(PathBuf::from("/var/lib/litekeeper")) } else { home() };
        directory.or_else(usual).map(|directory| directory.join(NAME))
    }
}

impl Config {
    /// The defaults of the agent, for the given sources.
    pub(super) fn with_sources(sources: Vec<Source>) -> Self {
        Self { sources, ..Self::defaults() }
    }

    /// Reads a whole file; relative paths are below `base`. What is wrong is noted in the decoder;
    /// the result is of use only without errors.
    pub(super) fn read_file(tree: &Tree, base: &Path, decoder: &mut Decoder<'_>) -> Option<Self> {
        let root = Value { tree, key: String::new() };
        if matches!(tree.node, Node::Null) {
            decoder.refuse_value(&root, "is empty; write at least `databases: [{path: /srv/app/app.db}]`");
            return None;
        }
        let fields = decoder.fields(&root, &Self::keys())?;
        Some(Self::read(&fields, &mut ParseContext::new(base), decoder).over(Self::defaults()))
    }

    /// The configuration as YAML that [`Config::load`] reads to an equal one: every default is
    /// filled in, what is not set is `null`, a task that is not named is `off`, profiles are laid
    /// into the databases that use them, and paths stand as they were resolved. Two file names of
    /// the command line cannot be written as they are: bytes that are no UTF-8 are replaced, and a
    /// file with a `*` in its name becomes a `glob` for it alone. Values of `tracing.headers` are
    /// secrets and not shown.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the expectation below cannot fail")]
    pub fn to_yaml(&self) -> String {
        let options = serde_saphyr::ser_options! {
            // A long text stays on its line; one with line breaks becomes a block.
            folded_wrap_chars: usize::MAX,
            // `on` and `off` need no quotes: every scalar is read as text.
            yaml_12: true,
            no_lang_directive: true,
        };
        serde_saphyr::to_string_with_options(self, options)
            .expect("maps, lists, texts and numbers can always be written as YAML")
    }
}

/// Reads one address, or a list of them.
fn read_listen(
    value: &Value<'_>,
    _: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<Vec<Listen>> {
    if !matches!(value.tree.node, Node::Sequence(_)) {
        return decoder.parsed(value).map(|address| vec![address]);
    }
    let items = decoder.items(value)?;
    if items.is_empty() {
        decoder.refuse_value(value, "must name at least one address, as in `127.0.0.1:10321`");
    }
    Some(items.iter().filter_map(|item| decoder.parsed(item)).collect())
}

/// One address as it is written most often, several as a list.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownListen {
    One(String),
    Several(Vec<String>),
}

fn shown_listen(listen: &[Listen]) -> ShownListen {
    let shown = |listen: &Listen| escape(&listen.to_string());
    match listen {
        [one] => ShownListen::One(shown(one)),
        several => ShownListen::Several(several.iter().map(shown).collect()),
    }
}

fn read_state(
    value: &Value<'_>,
    context: &mut ParseContext<'_>,
    decoder: &mut Decoder<'_>,
) -> Option<StateLocation> {
    decoder.text(value).map(|text| StateLocation::File(resolve_path(context.base, &text)))
}

fn shown_state(state: &StateLocation) -> Option<String> {
    match state {
        StateLocation::File(path) => Some(escape(&path.to_string_lossy())),
        StateLocation::Default | StateLocation::Memory => None,
    }
}
