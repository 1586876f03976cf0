//! `/db/NAME?doctor=true`: the findings of the diagnosis and their remedies.

use maud::Markup;
use maud::html;

use crate::doctor::Diagnosis;
use crate::doctor::Finding;
use crate::doctor::Severity;

use super::super::query::encode;
use super::layout::PageContext;
use super::layout::layout;

/// The data of the page.
pub(in crate::http) struct DoctorPage<'p> {
    pub name: &'p str,
    pub diagnosis: &'p Diagnosis,
    pub page_context: PageContext<'p>,
}

impl DoctorPage<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let Self { name, diagnosis, page_context } = self;
        let content = html! {
            p.soft { a href="/" { "Databases" } " / " a href={ "/db/" (encode(name)) } { (name) } " / doctor" }
            h1 { "Doctor: " (name) }
            @if let Some(error) = &diagnosis.error { p.note.bad { "The diagnosis is incomplete: " (error) } }
            @if diagnosis.findings.is_empty() && diagnosis.error.is_none() { p.note.good { "No findings." } }
            @for finding in &diagnosis.findings { (section(finding)) }
            p.soft { "Review the commands before you run them; litekeeper does not run them. " (diagnosis.path) }
        };
        layout(&format!("Doctor: {name} · litekeeper"), "", *page_context, &content)
    }
}

fn section(finding: &Finding) -> Markup {
    let (class, mark) = match finding.severity {
        Severity::Critical => ("down", "▲ "),
        Severity::Warning => ("pending", "● "),
        Severity::Info => ("", "○ "),
    };
    html! {
        section {
            h2 {
                (finding.id) " "
                span class={ "pill " (class) } { span aria-hidden="true" { (mark) } (finding.severity.label()) }
            }
            p { (finding.what) }
            p.soft { (finding.why) }
            @if let Some(remediation) = finding.remediation { p { (remediation) } }
            @if let Some(command) = &finding.command { pre tabindex="0" { (command) } }
        }
    }
}
