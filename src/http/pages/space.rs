//! The tables of a database by size.

use maud::Markup;
use maud::html;

use crate::collectors::TableSize;
use crate::collectors::TableSizes;
use crate::humanize::bytes;
use crate::humanize::counted;
use crate::sqlite::BTreeSize;

use super::index::percent;

/// The largest tables with their indexes, largest first.
pub(super) fn space_table(readings: &TableSizes) -> Markup {
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Table" }
                    th.number.wide scope="col" { "Table" }
                    th.number.wide scope="col" { "Unused" }
                    th.number.wide scope="col" { "Indexes" }
                    th.number scope="col" { "Total" }
                }
            }
            tbody { @for table in &readings.tables { (row(table)) } }
        }
        @if readings.others > 0 {
            p.soft { (counted(readings.others as u64, "other table")) @if readings.others == 1 { " takes " } @else { " take " } (bytes(readings.others_bytes)) "." }
        }
        @if !readings.timed_out.is_empty() {
            p.note {
                "Not measured within the time limit, so their values are old or missing: "
                (readings.timed_out.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", "))
                @if readings.timed_out.len() > 10 { " and " (readings.timed_out.len() - 10) " more" }
            }
        }
    }
}

fn row(table: &TableSize) -> Markup {
    let indexes: u64 = table.indexes.iter().map(|index| index.bytes).fold(0, u64::saturating_add);
    html! {
        tr {
            th scope="row" {
                (table.table)
                @for index in &table.indexes { small { (index.index) " " (bytes(index.bytes)) } }
            }
            @if let Some(BTreeSize { bytes: own, unused }) = table.own {
                td.number.wide { (bytes(own)) }
                td.number.wide { (bytes(unused)) small { (percent(unused as f64 / own.max(1) as f64)) } }
            } @else { td.number.wide { "–" } td.number.wide { "–" } }
            td.number.wide { (bytes(indexes)) }
            td.number { (bytes(table.total())) }
        }
    }
}
