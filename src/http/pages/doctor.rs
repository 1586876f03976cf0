//! `/db/NAME?doctor=true`: what is wrong around a database, and what mends it.

use maud::Markup;
use maud::html;

use crate::doctor::Diagnosis;
use crate::doctor::Finding;
use crate::doctor::Severity;

use super::Frame;
use super::encode;
use super::layout;

/// What the page is made of.
pub(in crate::http) struct DoctorPage<'p> {
    pub name: &'p str,
    pub diagnosis: &'p Diagnosis,
    pub frame: Frame<'p>,
}

impl DoctorPage<'_> {
    /// The page as HTML.
    pub fn render(&self) -> String {
        let Self { name, diagnosis, frame } = self;
        let content = html! {
            p.soft { a href="/" { "Databases" } " / " a href={ "/db/" (encode(name)) } { (name) } " / doctor" }
            h1 { "Doctor: " (name) }
            @if let Some(error) = &diagnosis.error { p.note.bad { "Could not look at all of it: " (error) } }
            @if diagnosis.findings.is_empty() && diagnosis.error.is_none() { p.note.good { "Nothing was found." } }
            @for finding in &diagnosis.findings { (section(finding)) }
            p.soft { "The commands are to be read, and copied if they are right; nothing is mended from here. " (diagnosis.path) }
        };
        layout(&format!("Doctor: {name} · litekeeper"), "", *frame, &content)
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
