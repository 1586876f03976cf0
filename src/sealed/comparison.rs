//! The comparison of one table: reads the old store and the rows beside each other, piece by piece,
//! and writes the new store.
//!
//! A kill at any moment leaves the old store. Pieces are read without a lock where that is
//! possible, and otherwise under a lock for milliseconds, so that each row is compared as some
//! commit left it, and the whole is no snapshot.

use std::io;
use std::time::Duration;
use std::time::Instant;

use crate::humanize::counted;
use crate::os::MaintenanceLock;
use crate::sqlite::Reader;
use crate::sqlite::SealedColumn;
use crate::sqlite::SealedTable;
use crate::sqlite::SealedTableError;

use super::key::SealKey;
use super::piece::IndexedBlock;
use super::piece::Piece;
use super::piece::PieceFailure;
use super::piece::PieceQuery;
use super::piece::PieceStart;
use super::piece::piece_of_missing_table;
use super::report::SealedTableReport;
use super::request::SealedError;
use super::request::SealedRequest;
use super::request::check_sealed_table;
use super::request::read_between_writes;
use super::request::store_error;
use super::schema_change::ColumnMap;
use super::schema_change::current_set;
use super::schema_change::key_problem;
use super::store::Footer;
use super::store::NextBlock;
use super::store::StorePlace;
use super::store::StoreReader;
use super::store::StoreWriter;
use super::store::StoredColumn;
use super::store::Unusable;
use super::walk::Walk;
use super::writing::Outcome;
use super::writing::Rules;

/// How often a table is begun anew when its schema changes meanwhile.
const MAX_RESTARTS: u32 = 3;

/// A finding is read again after this time, so that a row that is deleted and inserted by two
/// commits is none. That is done for the first pieces with findings alone.
const CONFIRM_AFTER: Duration = Duration::from_millis(250);

/// Acceptances that the store remembers.
const MAX_ACCEPTANCES: usize = 20;

/// Compares the sealed rows of one table, and seals those that are new.
///
/// # Errors
/// See [`SealedError`]; the store is as it was then.
pub fn compare_sealed_table(request: &SealedRequest<'_>) -> Result<SealedTableReport, SealedError> {
    let started = Instant::now();
    let failed = |error: io::Error| store_error(request.directory, error);
    let key = SealKey::open(request.directory).map_err(failed)?;
    let place = StorePlace::of(request.directory, request.path, request.table);
    let lock = MaintenanceLock::try_acquire(request.directory, place.high, place.low).map_err(failed)?;
    let Some(_lock) = lock else {
        return Err(SealedError::Busy(format!(
            "another process is comparing the rows of {}; try again later",
            request.table
        )));
    };
    for _ in 0..MAX_RESTARTS {
        let table = match check_sealed_table(
            request.path,
            request.files,
            (request.table, request.condition),
            request.limits,
        ) {
            Ok(table) => Some(table),
            Err(SealedError::Table(SealedTableError::NoTable(table)))
                if place.path.exists() && !request.accept =>
            {
                // Its sealed rows are gone with it.
                tracing::debug!(table, "a table with sealed rows is gone");
                None
            }
            Err(error) => return Err(error),
        };
        let pass = Pass { request, key: &key, place: &place, table };
        if let Some(mut report) = pass.run()? {
            report.seconds = started.elapsed().as_secs_f64();
            return Ok(report);
        }
    }
    Err(SealedError::Busy(format!(
        "the schema changed repeatedly during the comparison of {}; try again later",
        request.table
    )))
}

/// One try to compare a table.
struct Pass<'pass> {
    request: &'pass SealedRequest<'pass>,
    key: &'pass SealKey,
    place: &'pass StorePlace,
    /// `None` where the table is gone.
    table: Option<SealedTable>,
}

/// The old store, opened.
struct OldStore<'pass> {
    reader: Option<StoreReader<'pass>>,
    footer: Footer,
    notices: Vec<String>,
}

impl<'pass> Pass<'pass> {
    /// Runs the comparison; `None` when the schema changed meanwhile.
    fn run(&self) -> Result<Option<SealedTableReport>, SealedError> {
        let mut old = self.open_store()?;
        let mut footer = old.footer.clone();
        let mut maps = Vec::new();
        let mut columns = 0;
        if let Some(table) = &self.table {
            maps = footer.column_sets.iter().map(|set| ColumnMap::of(set, table)).collect();
            for map in &maps {
                old.notices.extend(map.notices("rows"));
            }
            columns =
                current_set(&mut footer, &mut maps, table, self.request.accept).map_err(SealedError::Key)?;
            footer.key = table.key.iter().map(StoredColumn::from).collect();
        }
        old.notices.dedup();
        let rules = Rules {
            now: self.request.now,
            previous_at: old.footer.compared_at,
            accept: self.request.accept,
            condition_changed: old.reader.is_some() && old.footer.condition != self.request.condition,
            columns,
        };
        if rules.condition_changed {
            old.notices.push(format!(
                "the condition was `{}` when the rows were last compared",
                old.footer.condition
            ));
        }
        let report = SealedTableReport {
            table: self.request.table.to_owned(),
            condition: self.request.condition.to_owned(),
            baseline_at: footer.baseline_at,
            previous_at: old.footer.compared_at,
            compared_at: self.request.now,
            notices: std::mem::take(&mut old.notices),
            ..SealedTableReport::default()
        };
        let key: Vec<SealedColumn> = footer
            .key
            .iter()
            .map(|column| SealedColumn { name: column.name.clone(), place: column.place })
            .collect();
        let writer = StoreWriter::create(self.key, &self.place.path).map_err(|error| self.failed(error))?;
        let mut outcome = Outcome::new(writer, report, rules, &key);
        let places: Vec<_> = maps.into_iter().map(|map| map.places).collect();
        if !self.compare(&mut old, &places, &mut outcome)? {
            return Ok(None);
        }
        self.finish(outcome, footer).map(Some)
    }

    fn open_store(&self) -> Result<OldStore<'pass>, SealedError> {
        let request = self.request;
        let fresh = Footer {
            path: request.path.to_string_lossy().into_owned(),
            table: request.table.to_owned(),
            condition: request.condition.to_owned(),
            baseline_at: request.now,
            ..Footer::default()
        };
        let opened = StoreReader::open(self.key, &self.place.path).map_err(|error| self.failed(error))?;
        let mut notices = Vec::new();
        let reader = match opened {
            Ok(reader) => Some(reader),
            Err(Unusable::Missing) => None,
            Err(Unusable::Rotten) => {
                notices.push(
                    "the store of its rows was damaged, or made with another key; all rows were sealed anew as they are, and \
                     nothing is known of what happened to them before"
                        .to_owned(),
                );
                None
            }
        };
        let Some(reader) = reader else { return Ok(OldStore { reader: None, footer: fresh, notices }) };
        let problem = self.table.as_ref().and_then(|table| key_problem(&reader.footer.key, table));
        match problem {
            Some(_) if request.accept => {
                notices.push("the key of the table has changed; all rows were sealed anew".to_owned());
                Ok(OldStore { reader: None, footer: fresh, notices })
            }
            Some(problem) => Err(SealedError::Key(problem)),
            None => Ok(OldStore { footer: reader.footer.clone(), reader: Some(reader), notices }),
        }
    }

    /// Goes through the old store and the table; false when the schema changed.
    fn compare(
        &self,
        old: &mut OldStore<'pass>,
        column_maps: &[Option<Vec<usize>>],
        outcome: &mut Outcome<'pass>,
    ) -> Result<bool, SealedError> {
        let mut walk = Walk::new();
        let mut lost = 0_u64;
        loop {
            let next = match &mut old.reader {
                Some(reader) => reader.next_block().map_err(|error| self.failed(error))?,
                None => NextBlock::End,
            };
            let block = match next {
                NextBlock::Block(block) => match IndexedBlock::new(block) {
                    Some(block) => Some(block),
                    None => continue,
                },
                NextBlock::Rotten => {
                    lost += 1;
                    continue;
                }
                NextBlock::End => None,
            };
            if !self.compare_range(&mut walk, block.as_ref(), column_maps, outcome)? {
                return Ok(false);
            }
            if block.is_none() {
                break;
            }
        }
        if lost > 0 {
            outcome.report.notices.push(format!(
                "{} of the store was damaged; the rows of that range were sealed anew as they are",
                counted(lost, "block")
            ));
        }
        outcome.end().map_err(|error| self.failed(error))?;
        Ok(true)
    }

    /// Compares the range of a block, or what lies after the last one.
    fn compare_range(
        &self,
        walk: &mut Walk,
        block: Option<&IndexedBlock>,
        column_maps: &[Option<Vec<usize>>],
        outcome: &mut Outcome<'pass>,
    ) -> Result<bool, SealedError> {
        let mut pending = 0;
        loop {
            let Some(piece) = self.confirmed_piece(walk, block, pending, column_maps)? else {
                return Ok(false);
            };
            let (end, is_complete, hold) = (piece.end.clone(), piece.is_complete, piece.hold);
            pending = piece.pending;
            outcome.add(piece, block).map_err(|error| self.failed(error))?;
            if end.is_some() {
                walk.after = end;
            }
            self.pause_after(hold);
            if is_complete {
                return Ok(true);
            }
        }
    }

    /// Reads a piece, and once more if it has a finding that is new.
    fn confirmed_piece(
        &self,
        walk: &mut Walk,
        block: Option<&IndexedBlock>,
        pending: usize,
        column_maps: &[Option<Vec<usize>>],
    ) -> Result<Option<Piece>, SealedError> {
        let piece = self.piece(walk, block, pending, column_maps)?;
        let has_news = piece.as_ref().is_some_and(|piece| Outcome::has_news(piece, block));
        if !has_news || walk.confirmations == 0 || self.table.is_none() {
            return Ok(piece);
        }
        walk.confirmations -= 1;
        std::thread::sleep(CONFIRM_AFTER);
        self.piece(walk, block, pending, column_maps)
    }

    /// Reads a piece; `None` when the schema changed.
    fn piece(
        &self,
        walk: &mut Walk,
        block: Option<&IndexedBlock>,
        pending: usize,
        column_maps: &[Option<Vec<usize>>],
    ) -> Result<Option<Piece>, SealedError> {
        let request = self.request;
        let Some(table) = &self.table else { return Ok(Some(piece_of_missing_table(block))) };
        let (key, impact_limits, rehash) = (self.key, request.impact_limits, request.accept);
        let query = PieceQuery { table, key, column_maps, rehash, impact_limits };
        loop {
            if request.limits.is_exceeded() {
                return Err(SealedError::Ended);
            }
            let start = PieceStart { after: walk.after.as_ref(), block, pending, rows: walk.rows };
            let read = |reader: &mut Reader| query.read(reader, &start);
            match read_between_writes(request.path, request.files, request.limits, read)? {
                Ok(piece) => {
                    walk.learn(piece.elapsed);
                    return Ok(Some(piece));
                }
                Err(PieceFailure::SchemaChanged) => return Ok(None),
                Err(PieceFailure::TooLong) if walk.shrink() => {}
                Err(PieceFailure::TooLong) => {
                    return Err(SealedError::Busy(format!(
                        "a single row of {} takes longer to read than max_writer_wait, or max_wal_growth is reached",
                        table.name
                    )));
                }
            }
        }
    }

    /// Lets writers have their turn after a lock that kept them from committing.
    fn pause_after(&self, hold: Duration) {
        const FACTOR: u32 = 20;
        if self.request.impact_limits.is_some() && !hold.is_zero() {
            std::thread::sleep(hold * FACTOR);
        }
    }

    fn finish(&self, outcome: Outcome<'pass>, mut footer: Footer) -> Result<SealedTableReport, SealedError> {
        let Outcome { writer, mut report, accepted, released, .. } = outcome;
        if let Some(table) = &self.table {
            report.without_key = self.count_without_key(table)?;
            if report.without_key > 0 {
                report.notices.push(format!(
                    "{} with NULL in the key cannot be compared",
                    counted(report.without_key, "row")
                ));
            }
        } else {
            report.notices.push("the table no longer exists".to_owned());
        }
        if report.on_older_columns > 0 {
            report.notices.push(format!(
                "{} compared over the columns that the table had when they were sealed; `litekeeper sealed --accept` \
                 seals them with all columns of today",
                if report.on_older_columns == 1 { "1 row is".to_owned() } else { format!("{} are", counted(report.on_older_columns, "row")) }
            ));
        }
        if released > 0 {
            report.notices.push(format!(
                "{} no longer sealed, because the condition has changed",
                counted(released, "row")
            ));
        }
        if report.accepted > 0 {
            footer.accepted.push(accepted);
            let surplus = footer.accepted.len().saturating_sub(MAX_ACCEPTANCES);
            footer.accepted.drain(..surplus);
        }
        let SealedTableReport { rows, found, .. } = report;
        let condition = self.request.condition.to_owned();
        let footer = Footer { condition, compared_at: self.request.now, rows, found, ..footer };
        report.store_bytes = writer.finish(&self.place.path, footer).map_err(|error| self.failed(error))?;
        Ok(report)
    }

    fn count_without_key(&self, table: &SealedTable) -> Result<u64, SealedError> {
        let request = self.request;
        let count = |reader: &mut Reader| reader.sealed_rows_without_key(table);
        read_between_writes(request.path, request.files, request.limits, count)
    }

    fn failed(&self, error: io::Error) -> SealedError {
        store_error(self.request.directory, error)
    }
}
